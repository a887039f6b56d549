"""Wraps colorizers that were exported elsewhere, so that they take L and give ab.

The conversion from L to a grey picture, and from a coloured RGB picture to ab, becomes part of
the graph: the file then runs through the same pipeline and compiles like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from kinemacolor.export import probe
from kinemacolor.export.convention import Array, Convention, Input, Told
from kinemacolor.export.errors import BadWeights
from kinemacolor.export.model_file import save
from kinemacolor.export.networks.picture import IMAGENET_MEAN
from kinemacolor.export.onnx_nodes import Nodes, grey_picture, picture_ab
from onnx import TensorProto, compose, helper, numpy_helper

MIN_OPSET = 9  # Where and Greater on floats
SIDE = 256  # at which a graph of free size is tried
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Foreign:
    """A colorizer of one picture in and one picture out."""

    path: Path
    model: onnx.ModelProto
    image: onnx.ValueInfoProto  # (N, 3 or 1, H, W)
    colored: onnx.ValueInfoProto  # (N, 3 or 2, h, w)
    channels: int
    out: int


def open_graph(path: Path) -> Foreign:
    """Reads a foreign ONNX file.

    Raises BadWeights when it is no ONNX model, is one of ours, or has other inputs and outputs.
    """
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf and checker raise unrelated classes
        reason = str(error).strip().splitlines()
        raise BadWeights(f"{path} is no ONNX model: {reason[0] if reason else error}") from error
    opset = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset < MIN_OPSET:
        raise BadWeights(f"{path} uses operator set {opset}; at least {MIN_OPSET} is needed")
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    outputs = list(model.graph.output)
    if [value.name for value in (*inputs, *outputs)] == ["L", "ab"]:
        raise BadWeights(
            f"{path} is a model of this program already: kinemacolor FILM --model {path} runs it, "
            f"kinemacolor models info {path} says what it is"
        )
    image, channels = _only(path, "input", inputs, channels=(3, 1))
    colored, out = _only(path, "output", outputs, channels=(3, 2))
    return Foreign(path, model, image, colored, channels, out)


def origin(graph: Foreign) -> tuple[str, str]:
    """The architecture as far as names show it, and the licence as far as the file states it."""
    stated = {entry.key.lower(): entry.value for entry in graph.model.metadata_props}
    license = stated.get("license") or stated.get("licence") or UNKNOWN
    names = " ".join(tensor.name for tensor in graph.model.graph.initializer)
    if "color_decoder" in names and "query_feat" in names:
        return "ddcolor", license
    return "foreign ONNX", license


def settle(graph: Foreign, told: Told) -> tuple[Convention, tuple[str, ...]]:
    """Finds out how a network is used: from what is told, and by trying the rest.

    Returns it, and what was found or assumed in words. Raises BadWeights where it is not clear.
    """
    if told.output and (told.output == "ab") != (graph.out == 2):
        raise BadWeights(
            f"{graph.path} gives {graph.out} planes, which are not --output {told.output}"
        )
    facts: list[str] = []
    if told.input is None and (own := _own_preparation(graph)):
        told = Told(own, told.output, told.scale)
        facts.append(f"found in the graph: ImageNet's mean, for pictures of {own}")
    output = told.output or ("ab" if graph.out == 2 else None)
    if told.input and output and told.scale is not None:
        return Convention(told.input, output, told.scale), (*facts, "told, not tried")
    size = _size(graph)
    found = probe.readings(_runner(graph), size, channels=graph.channels, out=graph.out, told=told)
    best = probe.clear(found)
    if best is not None and not best.unscaled:
        return best.convention, (*facts, f"tried: it {best.convention}{_because(best)}")
    if best is not None:
        raise BadWeights(
            f"{graph.path} takes {best.convention.input} and answers within -1..1: say what makes "
            "CIELAB units of that, --scale 110 or --scale 128 as a rule"
        )
    if told.input and output:
        scale: Any = 1.0 if output != "rgb" else _as(told.input)
        guess = Convention(told.input, output, scale)
        return guess, (*facts, f"assumed: it {guess}; tried on pictures, that does not show")
    raise BadWeights(_unclear(graph.path, found))


def _because(best: probe.Reading) -> str:
    return f"; lightness within {best.distance:.1f}" if best.distance else "; no other way fits"


def _as(kind: Input) -> str:
    return "0..1" if kind == "L" else kind


def _unclear(path: Path, found: list[probe.Reading]) -> str:
    ways = "; ".join(dict.fromkeys(f"it {reading.convention}" for reading in found[:4]))
    what = f"several ways of using it fit ({ways})" if ways else "no way of using it gives colours"
    return (
        f"{path}: tried on pictures, {what}; say which is right with --input "
        "0..1|0..255|imagenet|-1..1|L, --output rgb|ab|lab and --scale"
    )


def _own_preparation(graph: Foreign) -> Input | None:
    """What a graph that normalises by itself takes: it subtracts ImageNet's mean."""
    inner = graph.model.graph
    tensors = {tensor.name: tensor for tensor in inner.initializer}
    for node in inner.node:
        if node.op_type == "Constant" and node.attribute[0].HasField("t"):
            tensors[node.output[0]] = node.attribute[0].t
        taken = tensors.get(node.input[1]) if node.op_type == "Sub" else None
        if taken is None or int(np.prod(taken.dims)) != 3:
            continue
        values = numpy_helper.to_array(taken).ravel().astype(np.float32)
        for picture, factor in (("0..1", 1), ("0..255", 255)):
            if np.allclose(values, factor * np.array(IMAGENET_MEAN, np.float32), rtol=5e-3):
                return picture  # type: ignore[return-value]
    return None


def _size(graph: Foreign) -> tuple[int, int]:
    _, _, height, width = (_dim(d) for d in graph.image.type.tensor_type.shape.dim)
    return (
        height if isinstance(height, int) else SIDE,
        width if isinstance(width, int) else SIDE,
    )


def _runner(graph: Foreign) -> probe.Run:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    half = graph.image.type.tensor_type.elem_type == TensorProto.FLOAT16
    try:
        session = ort.InferenceSession(str(graph.path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's classes share no base but Exception
        raise BadWeights(f"ONNX Runtime cannot run {graph.path}: {_line(error)}") from error

    def run(picture: Array) -> Array:
        picture = picture.astype(np.float16) if half else picture
        try:
            (answer,) = session.run([graph.colored.name], {graph.image.name: picture})
        except Exception as error:
            raise BadWeights(
                f"{graph.path} does not run on a picture of {picture.shape}: {_line(error)}"
            ) from error
        return answer.astype(np.float32)

    return run


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


def wrap(graph: Foreign, out: Path, convention: Convention, *, metadata: dict[str, str]) -> Path:
    """Writes a contract-keeping model around a foreign one.

    Args:
        convention: what goes in and comes out.
        metadata: entries of the model contract.
    """
    model = compose.add_prefix(graph.model, "foreign/")
    inner = model.graph
    image = next(v for v in inner.input if v.name == f"foreign/{graph.image.name}")
    colored = inner.output[0]
    before, behind = Nodes("before/"), Nodes("behind/")
    kind = image.type.tensor_type.elem_type
    grey_picture(before, convention.input, graph.channels, output=image.name, elements=kind)
    answer = colored.name
    if colored.type.tensor_type.elem_type != TensorProto.FLOAT:
        answer = behind.add("Cast", answer, to=TensorProto.FLOAT)
    _to_ab(behind, answer, convention)

    shape = [_dim(d) for d in image.type.tensor_type.shape.dim]
    answer_shape = [_dim(d) for d in colored.type.tensor_type.shape.dim]
    nodes = before.nodes + list(inner.node) + behind.nodes
    del inner.node[:], inner.output[:]
    inner.node.extend(nodes)
    inner.initializer.extend(before.constants + behind.constants)
    inner.input.remove(image)
    inner.input.insert(0, helper.make_tensor_value_info("L", 1, [shape[0], 1, *shape[2:]]))
    inner.output.append(
        helper.make_tensor_value_info("ab", 1, [answer_shape[0], 2, *answer_shape[2:]])
    )
    del model.metadata_props[:]
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    return save(model, out)


def _to_ab(nodes: Nodes, answer: str, convention: Convention) -> None:
    if convention.output == "rgb":
        assert isinstance(convention.scale, str)
        picture_ab(nodes, answer, convention.scale)
        return
    if convention.output == "lab":
        bounds = [nodes.constant(np.array([n], np.int64)) for n in (1, 3, 1)]
        answer = nodes.add("Slice", answer, *bounds)  # (N, 2, h, w)
    nodes.add("Mul", answer, float(convention.scale), output="ab")


def _only(
    path: Path, kind: str, values: list[onnx.ValueInfoProto], *, channels: tuple[int, int]
) -> tuple[onnx.ValueInfoProto, int]:
    if len(values) != 1:
        names = ", ".join(value.name for value in values)
        raise BadWeights(f"{path} has {len(values)} {kind}s ({names}); one picture was expected")
    shape = [_dim(dim) for dim in values[0].type.tensor_type.shape.dim]
    if len(shape) != 4 or shape[1] not in channels:
        wanted = " or ".join(f"(N, {count}, H, W)" for count in channels)
        raise BadWeights(f"{path}: {kind} of shape {shape}, expected {wanted}")
    return values[0], int(shape[1])


def _dim(dim: onnx.TensorShapeProto.Dimension) -> int | str:
    return dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or "?")
