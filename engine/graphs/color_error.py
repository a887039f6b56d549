"""What FP16 or INT8 costs in colour: the CIEDE2000 between two graphs on the same pictures.

ONNX Runtime's CPU provider computes float16 graphs in float32 and leaves out the roundings in
between, so they are put back as explicit Casts: every tensor is rounded where it is stored.
A GPU may also add up in FP16, which this cannot show; `benchmarks/gpu.py` measures it there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from kinemacolor.engine.color import ciede2000, luma_to_L
from kinemacolor.engine.graphs.edit import set_nodes
from kinemacolor.engine.graphs.fp16 import tensor_types
from kinemacolor.engine.onnxruntime_backend import OnnxRuntimeBackend
from kinemacolor.engine.spec import ModelSpec
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

MEAN_LIMIT = 0.3  # CIEDE2000; a difference of 1 is about what an eye can just see
_PICTURES = Path(__file__).parent / "fp16_pictures.npz"


@dataclass(frozen=True)
class ColorError:
    """CIEDE2000 over all pixels of all pictures."""

    mean: float
    p99: float
    pictures: int
    precision: str = "FP16"

    def __str__(self) -> str:
        return (
            f"{self.precision} against FP32 on {self.pictures} pictures: "
            f"CIEDE2000 mean {self.mean:.3f}, 99th percentile {self.p99:.3f}"
        )


def color_error(
    fp32: onnx.ModelProto,
    fp16: onnx.ModelProto,
    pictures: Iterable[NDArray[np.float32]],
    *,
    precision: str = "FP16",
) -> ColorError:
    """Compares the colours that two graphs give to pictures.

    Args:
        fp16: or a graph with INT8 convolutions.
        pictures: each L (H, W) float32, 0..100; H and W as the model takes them.
        precision: the second graph's, in words.
    """
    pictures = list(pictures)
    differences = []
    for L, ab, ab16 in zip(
        pictures, _run(fp32, pictures), _run(with_roundings(fp16), pictures), strict=True
    ):
        rows, columns = L.shape[0] // ab.shape[1], L.shape[1] // ab.shape[2]
        small = L.reshape(ab.shape[1], rows, ab.shape[2], columns).mean((1, 3))
        difference = ciede2000(*(np.stack([small, *colors], -1) for colors in (ab, ab16)))
        # A NaN (an overflow in FP16) must not hide in a mean.
        differences.append(np.nan_to_num(difference, nan=100.0, posinf=100.0).ravel())
    every = np.concatenate(differences)
    mean, p99 = float(every.mean()), float(np.percentile(every, 99))
    return ColorError(mean, p99, len(differences), precision)


def sample_pictures(height: int, width: int) -> list[NDArray[np.float32]]:
    """Photographs to measure on, when nobody gives others: L (height, width) float32, 0..100.

    Four of scikit-image's, in grey at 256x256: an astronaut (NASA, public domain), Chelsea the
    cat (S. van der Walt, CC0), coffee (R. Michetti, CC0) and a rocket (SpaceX, public domain).
    """
    with np.load(_PICTURES) as stored:
        luma = [stored[name] for name in sorted(stored.files)]
    return [luma_to_L(_fit(codes, height, width) / 255).astype(np.float32) for codes in luma]


def with_roundings(fp16: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the graph in float32, with every tensor that was float16 rounded to it."""
    types = tensor_types(fp16)
    model = onnx.ModelProto()
    model.CopyFrom(fp16)
    graph = model.graph
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    nodes = []
    for node in graph.node:
        if node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT16:
            node.op_type = "Identity"  # the rounding behind it is the cast
            del node.attribute[:]
        nodes.append(node)
        for i, name in enumerate(node.output):
            if types.get(name) != TensorProto.FLOAT16:
                continue
            exact, half = f"{name}_exact", f"{name}_half"
            node.output[i] = exact
            nodes.append(onnx.helper.make_node("Cast", [exact], [half], to=TensorProto.FLOAT16))
            nodes.append(onnx.helper.make_node("Cast", [half], [name], to=TensorProto.FLOAT))
    set_nodes(graph, nodes)
    return model


def _run(
    model: onnx.ModelProto, pictures: list[NDArray[np.float32]]
) -> Iterator[NDArray[np.float32]]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, str(path))
        backend = OnnxRuntimeBackend(ModelSpec(path, "model"))
        try:
            for L in pictures:
                yield backend(np.ascontiguousarray(L[None, None], np.float32))[0]
        finally:
            backend.close()


def _fit(codes: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float64]:
    """Resamples a picture, bilinear: good enough to measure on."""
    rows = np.linspace(0, codes.shape[0] - 1, height)
    columns = np.linspace(0, codes.shape[1] - 1, width)
    top, left = (
        np.minimum(p.astype(int), n - 2) for p, n in zip((rows, columns), codes.shape, strict=True)
    )
    y, x = (rows - top)[:, None], columns - left
    upper = codes[top][:, left] * (1 - x) + codes[top][:, left + 1] * x
    lower = codes[top + 1][:, left] * (1 - x) + codes[top + 1][:, left + 1] * x
    return upper * (1 - y) + lower * y
