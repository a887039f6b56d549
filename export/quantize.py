"""Writes a model whose convolutions compute in INT8, as far as its colours allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import onnx
from kinemacolor.engine.graphs.color_error import ColorError, color_error
from kinemacolor.engine.graphs.edit import links
from kinemacolor.engine.graphs.features import without_features
from kinemacolor.engine.graphs.fp16 import unpack
from kinemacolor.engine.graphs.int8 import is_quantized
from kinemacolor.engine.outputs import check_writable
from kinemacolor.engine.spec import ModelSpec, read_spec
from kinemacolor.export.data import Pictures, to_lab
from kinemacolor.export.errors import DataError, ExportError
from kinemacolor.export.model_file import save
from numpy.typing import NDArray
from onnx import helper
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import CalibrationDataReader, create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

MEAN_LIMIT = 0.35  # CIEDE2000 between the INT8 and the float colours
CALIBRATION, JUDGES, TRIALS = 64, 64, 8  # pictures: for ranges, for the error, for one layer's
_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_QUANTIZED = ("Conv", "Clip", "Relu")  # the last two vanish in the rounding behind them

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Quantized:
    """What `kinemacolor models quantize` has to tell."""

    path: Path
    convolutions: int  # in INT8
    in_float: tuple[str, ...]  # left in float because of what they cost; ends not counted
    error: ColorError


def quantize(
    model: Path,
    data: Sequence[Path],
    out: Path,
    *,
    report: Callable[[str, int, int], None] = lambda phase, done, total: None,
) -> Quantized:
    """Quantises the convolutions between the first one and the head, and writes the model.

    Activations are unsigned with one scale a tensor, weights signed with one a channel. The range
    of an activation is the widest seen on half of the pictures; the error is measured on the
    others. Where it is over MEAN_LIMIT, the convolutions that cost most stay in float.

    Args:
        data: zip files and folders of pictures; at most 128 are read, spread out.
        report: called with what is done, how many of how many.

    Raises:
        DataError: fewer than two pictures decode.
        ExportError: the model is in INT8 already, or its colours do not bear it.
        OSError: `out` cannot be written; nothing was computed yet.
    """
    if out.parent.exists():  # it is made only where there is a result
        check_writable(out)
    spec = read_spec(model)
    source = without_features(onnx.load(str(model)))
    if is_quantized(source):
        raise ExportError(f"{model} is in INT8 already: give the model that it was made from")
    plain = unpack(source)
    seen = read_pictures(data, spec, CALIBRATION + JUDGES)
    calibration, judges = seen[::2], seen[1::2]
    candidates = inner_convolutions(plain)
    if not candidates:
        raise ExportError(f"{model} has no convolution between its first and its last layers")
    with TemporaryDirectory() as folder:
        ranges = activation_ranges(plain, calibration, Path(folder))
    report("ranges", 1, 1)

    def cost(coded: onnx.ModelProto, pictures: Sequence[Array]) -> ColorError:
        return color_error(plain, coded, pictures, precision="INT8")

    left: list[str] = []
    made = insert_codes(plain, ranges, candidates)
    error = cost(made, judges)
    if error.mean > MEAN_LIMIT:
        alone = {}
        for done, name in enumerate(candidates, 1):
            one = insert_codes(plain, ranges, [name])
            alone[name] = cost(one, calibration[:TRIALS]).mean
            report("layers", done, len(candidates))
        dearest = sorted(candidates, key=lambda name: -alone[name])
        while error.mean > MEAN_LIMIT and len(left) < len(candidates) // 4:
            left.append(dearest[len(left)])
            inner = [name for name in candidates if name not in left]
            made = insert_codes(plain, ranges, inner, left=left)
            error = cost(made, judges)
            report("layers in float", len(left), len(candidates) // 4)
    if error.mean > MEAN_LIMIT:
        raise ExportError(
            f"{spec.name} does not bear INT8: {error}, with {len(left)} of {len(candidates)} "
            f"convolutions in float; {MEAN_LIMIT} is the limit"
        )
    number = len(candidates) - len(left)
    describe(made, spec, f"{number} convolutions; {error}")
    return Quantized(save(made, out), number, tuple(left), error)


def read_pictures(data: Sequence[Path], spec: ModelSpec, limit: int) -> list[Array]:
    """Returns L (H, W) of pictures spread over the data, at the model's own size.

    Raises DataError when fewer than two decode.
    """
    planes: list[Array] = []
    with closing(Pictures(data)) as pictures:
        for bgr in pictures.spread(limit):
            L = np.ascontiguousarray(to_lab(bgr)[..., 0])
            small = cv2.resize(L, (spec.width, spec.height), interpolation=cv2.INTER_AREA)
            planes.append(np.asarray(small, np.float32))
    if len(planes) < 2:
        raise DataError(f"INT8 needs two pictures at the least, better {limit}: {len(planes)} read")
    return planes


def inner_convolutions(model: onnx.ModelProto) -> list[str]:
    """Returns the names of the convolutions that neither read L nor make ab or its logits."""
    graph = model.graph
    maker, takers = links(graph)
    weights = {tensor.name: tensor.dims for tensor in graph.initializer}
    ends: set[str] = set()
    ahead = [node for value in graph.input for node in takers.get(value.name, [])]
    while ahead:
        node = ahead.pop()
        ends.add(node.name)
        if node.op_type not in _PRODUCTS:
            ahead += [t for name in node.output for t in takers.get(name, []) if t.name not in ends]
    seen: set[str] = set()
    above = [maker[value.name] for value in graph.output if value.name in maker]
    while above:
        node = above.pop()
        seen.add(node.name)
        # Three sums read the bins; what makes the logits is the last layer that was learnt.
        reads_bins = node.op_type == "Conv" and weights.get(node.input[1], [9])[0] <= 3
        if node.op_type not in _PRODUCTS or reads_bins:
            above += [maker[n] for n in node.input if n in maker and maker[n].name not in seen]
    return [
        node.name
        for node in graph.node
        if node.op_type == "Conv" and node.name not in ends | seen and node.input[1] in weights
    ]


class _Reader(CalibrationDataReader):
    def __init__(self, pictures: Sequence[Array]) -> None:
        self._left: Iterator[Array] = iter(pictures)

    def get_next(self) -> dict[str, Array] | None:
        L = next(self._left, None)
        return None if L is None else {"L": L[None, None]}


def activation_ranges(model: onnx.ModelProto, pictures: Sequence[Array], folder: Path) -> Any:
    """Returns the smallest and the largest value of every tensor around a convolution."""
    path = folder / "plain.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(model), str(path))
    calibrator = create_calibrator(path, _QUANTIZED, str(folder / "augmented.onnx"))
    calibrator.collect_data(_Reader(pictures))
    return calibrator.compute_data()


def insert_codes(
    model: onnx.ModelProto, ranges: Any, names: Sequence[str], *, left: Sequence[str] = ()
) -> onnx.ModelProto:
    """Returns the model with these convolutions, and the activations at them, in INT8.

    Args:
        left: convolutions that read float activations. Between codes ONNX Runtime 1.31 would
            make INT8 of their weights by itself (WeightBiasQuantization).
    """
    graph = onnx.shape_inference.infer_shapes(model)
    makers = {output: node for node in graph.graph.node for output in node.output}
    read_in_float = {node.input[0] for node in graph.graph.node if node.name in left}
    followers = [
        node.name
        for node in graph.graph.node
        if node.op_type in ("Clip", "Relu")
        and node.input[0] in makers
        and makers[node.input[0]].name in names
        and node.output[0] not in read_in_float
    ]
    quantizer = QDQQuantizer(
        graph,
        True,  # weights have a scale a channel
        False,
        QuantType.QInt8,
        QuantType.QUInt8,
        ranges,
        [*names, *followers],
        [],
        list(_QUANTIZED),
        # TensorRT takes no int32 bias, and a channel without weights would lose its own.
        {"QuantizeBias": False},
    )
    quantizer.quantize_model()
    made: onnx.ModelProto = quantizer.model.model
    makers = {output: node for node in made.graph.node for output in node.output}
    for node in made.graph.node:
        decoder = makers.get(node.input[0]) if node.name in left else None
        if decoder is not None and decoder.op_type == "DequantizeLinear":
            node.input[0] = makers[decoder.input[0]].input[0]
    quantizer.model.topological_sort()
    return made


def describe(model: onnx.ModelProto, spec: ModelSpec, quantization: str) -> None:
    """Copies the contract's entries, but for the scores, which are the float model's."""
    props = {entry.key: entry.value for entry in model.metadata_props}
    props.pop("scores", None)
    helper.set_model_props(
        model, {**props, "name": f"{spec.name}-int8", "quantization": quantization}
    )
