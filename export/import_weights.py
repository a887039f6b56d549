"""Turns the well-known public weights of other colorizers into model files of our contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from kinemacolor.export import bins, caffe, foreign_onnx, onnx_export
from kinemacolor.export.errors import BadWeights
from kinemacolor.export.networks.siggraph17 import Siggraph17
from kinemacolor.export.networks.zhang import Zhang
from torch import Tensor, nn

Layout = Literal["auto", "ddcolor", "deoldify"]
CAFFE_TEMPERATURE = 1 / 2.606  # the Scale layer in front of the published network's softmax


@dataclass(frozen=True)
class Imported:
    """What was made of a foreign file."""

    path: Path
    architecture: str
    notice: str  # origin and licence, for the user


def import_model(
    source: Path, out: Path, *, points: Path | None = None, layout: Layout = "auto"
) -> Imported:
    """Writes a contract-keeping ONNX file from a foreign file of weights.

    Args:
        source: Zhang's .caffemodel (any release), `colorizers`' eccv16 or siggraph17 .pth, or an
            ONNX colorizer of the DDColor (RGB in, ab out) or DeOldify (RGB in, RGB out) kind.
        points: pts_in_hull.npy, if the bins should come from the file; a .caffemodel does not
            carry them, and the published ones are built in.
        layout: kind of a foreign ONNX file; auto goes by its number of output channels.

    Raises BadWeights when the file is not what its name says, or has another layout.
    """
    if not source.is_file():
        raise BadWeights(f"no file {source}")
    network: nn.Module
    match source.suffix.lower():
        case ".caffemodel":
            network, architecture, origin = _caffe(source, points), "zhang", ZHANG_ORIGIN
        case ".pth" | ".pt":
            network, architecture, origin = _torch(source)
        case ".onnx":
            return _foreign(source, out, layout)
        case suffix:
            raise BadWeights(f"{source}: {suffix or 'no suffix'}; known: .caffemodel, .pth, .onnx")
    metadata = _metadata(source, architecture, 224 if architecture == "zhang" else 256, origin)
    onnx_export.write(network, out, metadata=metadata, fp16_weights=False)
    return Imported(out, architecture, f"{origin} Check the licence that came with your file.")


ZHANG_ORIGIN = "Weights by R. Zhang, P. Isola and A. Efros (BSD 2-Clause where published)."
SIGGRAPH_ORIGIN = "Weights by R. Zhang et al., 2017 (BSD 2-Clause where published)."
DDCOLOR_ORIGIN = "DDColor by X. Kang et al. (Apache-2.0 where published)."
DEOLDIFY_ORIGIN = "DeOldify by J. Antic (MIT where published)."


def _metadata(source: Path, architecture: str, size: int, origin: str) -> dict[str, str]:
    return {
        "name": source.stem,
        "version": "imported",
        "architecture": architecture,
        "height": str(size),
        "width": str(size),
        "multiple": "8" if architecture in ("zhang", "siggraph17") else "32",
        "license": origin,
        "training_data": "see its authors",
        "scores": "{}",
    }


def _caffe(source: Path, points: Path | None) -> Zhang:
    layers = caffe.read(source)
    network = Zhang(temperature=CAFFE_TEMPERATURE)
    convs = [m for m in network.trunk if isinstance(m, nn.Conv2d)]
    norms = [m for m in network.trunk if isinstance(m, nn.BatchNorm2d)]
    names = [
        f"conv{b}_{i}" for b, n in enumerate((2, 2, 3, 3, 3, 3, 3), 1) for i in range(1, n + 1)
    ]
    tail: list[nn.Conv2d | nn.ConvTranspose2d] = [
        m for m in network.up if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))
    ]
    for module, name in zip(
        [*convs, *tail], [*names, "conv8_1", "conv8_2", "conv8_3", "conv8_313"], strict=True
    ):
        blobs = layers.get(name) or layers.get(f"bw_{name}")
        if blobs is None:
            raise BadWeights(f"{source} has no layer {name}: not Zhang's colorization network")
        weight, bias = blobs[0], blobs[1] if len(blobs) > 1 else None
        if name == "conv1_1":
            weight = weight * 100  # Caffe's network takes L - 50, ours (L - 50) / 100
        _fill(source, name, module.weight, weight)
        assert module.bias is not None
        _fill(source, name, module.bias, np.zeros(len(module.bias)) if bias is None else bias)
    for block, norm in enumerate(norms, 1):
        name = f"conv{block}_{3 if block > 2 else 2}norm"
        if name not in layers or len(layers[name]) < 2:
            raise BadWeights(f"{source} has no layer {name}: not Zhang's colorization network")
        mean, variance, *factor = layers[name]
        # Caffe stores running sums and the number they are to be divided by.
        divisor = float(factor[0].ravel()[0]) if factor else 1.0
        share = 1 / divisor if divisor else 0.0
        assert norm.running_mean is not None
        assert norm.running_var is not None
        _fill(source, name, norm.running_mean, mean * share)
        _fill(source, name, norm.running_var, variance * share)
    if points is not None:
        _fill(points, "points", network.points, _read_points(points))
    elif "class8_ab" in layers and layers["class8_ab"][0].size == 2 * bins.COUNT:
        stored = layers["class8_ab"][0].reshape(2, bins.COUNT)
        if np.abs(stored).max() > 1:  # the release leaves this layer to be filled by the user
            _fill(source, "class8_ab", network.points, stored.T)
    return network.eval()


def _read_points(path: Path) -> np.ndarray:
    try:
        points = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BadWeights(f"{path} is no file of bin centres: {error}") from error
    if points.shape != (bins.COUNT, 2):
        raise BadWeights(f"{path} has shape {points.shape}, expected ({bins.COUNT}, 2)")
    return np.asarray(points)


def _torch(source: Path) -> tuple[nn.Module, str, str]:
    try:
        state = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a wrong byte leads the unpickler to
        reason = str(error).strip().splitlines()
        raise BadWeights(
            f"{source} is no file of weights: {reason[0] if reason else ''}"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise BadWeights(f"{source} is no plain dictionary of weights")
    if "model10.1.weight" in state:
        network: nn.Module = Siggraph17()
        _load(source, network, dict(state))
        return network.eval(), "siggraph17", SIGGRAPH_ORIGIN
    if "model8.6.weight" in state and "model_out.weight" in state:
        return _eccv16(source, dict(state)), "zhang", ZHANG_ORIGIN
    raise BadWeights(f"{source} is neither eccv16 nor siggraph17 of the colorizers package")


def _eccv16(source: Path, state: dict[str, Tensor]) -> Zhang:
    """The same network, its layers counted per block; there the softmax is not sharpened."""
    network = Zhang(temperature=1.0)
    renamed: dict[str, Tensor] = {"points": state["model_out.weight"].reshape(2, -1).T * 110}
    place = 0
    for block in range(1, 8):
        length = 2 * (2 if block < 3 else 3) + 1  # convolutions with ReLU, batch norm
        for i in range(length):
            for key in [k for k in state if k.startswith(f"model{block}.{i}.")]:
                renamed[f"trunk.{place + i}.{key.rsplit('.', 1)[1]}"] = state[key]
        place += length
    for key in [k for k in state if k.startswith("model8.")]:
        renamed[key.replace("model8.", "up.")] = state[key]
    _load(source, network, renamed)
    return network.eval()


def _foreign(source: Path, out: Path, layout: Layout) -> Imported:
    if layout == "auto":
        layout = _guess(source)
    origin = DDCOLOR_ORIGIN if layout == "ddcolor" else DEOLDIFY_ORIGIN
    foreign_onnx.wrap(
        source,
        out,
        answer="ab" if layout == "ddcolor" else "rgb",
        scale=1.0 if layout == "ddcolor" else 255.0,
        metadata=_metadata(source, layout, 512 if layout == "ddcolor" else 256, origin),
    )
    return Imported(out, layout, f"{origin} Check the licence that came with your file.")


def _guess(source: Path) -> Layout:
    """Goes by the output: two channels are ab, three are RGB."""
    import onnx

    try:
        graph = onnx.load(str(source), load_external_data=False).graph
        channels = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    except Exception as error:  # protobuf raises classes of its own
        raise BadWeights(f"{source} is no ONNX model of a picture: {error}") from error
    return "ddcolor" if channels == 2 else "deoldify"


def _load(source: Path, network: nn.Module, state: dict[str, Tensor]) -> None:
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise BadWeights(f"{source} has another layout: {reason}") from error


def _fill(source: Path, name: str, target: Tensor, values: np.ndarray) -> None:
    array = np.asarray(values, np.float32)
    if array.size != target.numel() or (array.ndim == 4 and array.shape != tuple(target.shape)):
        raise BadWeights(
            f"{source}: {name} has shape {array.shape}, expected {tuple(target.shape)}"
        )
    with torch.no_grad():
        target.copy_(torch.from_numpy(array.reshape(target.shape).copy()))
