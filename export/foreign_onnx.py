"""Wraps colorizers that were exported elsewhere, so that they take L and give ab.

The conversion from L to a grey RGB picture, and from a coloured RGB picture to ab, becomes part of
the graph: the file then runs through the same pipeline and compiles like any other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from kinemacolor.engine.color import EPSILON, KAPPA, RGB_TO_XYZ, WHITE
from kinemacolor.export.errors import BadWeights
from kinemacolor.export.model_file import save
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper

Answer = Literal["ab", "rgb"]
MIN_OPSET = 9  # Where and Greater on floats


class _Nodes:
    """Nodes and constants that are put before or behind a graph."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: str | float, output: str = "", **options: Any) -> str:
        """Appends one node; a number becomes a constant. Returns the name of its output."""
        names = [i if isinstance(i, str) else self.constant(np.float32(i)) for i in inputs]
        output = output or f"{self.prefix}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, names, [output], **options))
        return output

    def constant(self, value: NDArray[np.generic] | np.generic) -> str:
        name = f"{self.prefix}constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name


def wrap(
    path: Path,
    out: Path,
    *,
    answer: Answer,
    scale: float = 1.0,
    metadata: dict[str, str],
) -> Path:
    """Writes a contract-keeping model around a foreign one.

    Args:
        path: an ONNX colorizer with one image input (N, 3, H, W), RGB of the grey picture, and one
            output: ab (N, 2, H, W) in CIELAB units, or RGB (N, 3, H, W).
        answer: what the output is. DDColor: "ab". DeOldify: "rgb".
        scale: white's value in the foreign pictures: 1 for DDColor, 255 for DeOldify.
        metadata: entries of the model contract.

    Raises BadWeights when the file is no ONNX model or has other inputs and outputs.
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
    model = compose.add_prefix(model, "foreign/")
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    wanted = 2 if answer == "ab" else 3
    image = _only(path, "input", inputs, channels=3)
    colored = _only(path, "output", list(graph.output), channels=wanted)

    before, behind = _Nodes("before/"), _Nodes("behind/")
    _grey_rgb(before, scale, image.name, image.type.tensor_type.elem_type)
    result = colored.name
    if colored.type.tensor_type.elem_type != TensorProto.FLOAT:
        result = behind.add("Cast", result, to=TensorProto.FLOAT)
    if answer == "ab":
        behind.add("Identity", result, output="ab")
    else:
        _rgb_to_ab(behind, result, scale)

    shape = [_dim(d) for d in image.type.tensor_type.shape.dim]
    answer_shape = [_dim(d) for d in colored.type.tensor_type.shape.dim]
    nodes = before.nodes + list(graph.node) + behind.nodes
    del graph.node[:], graph.output[:]
    graph.node.extend(nodes)
    graph.initializer.extend(before.constants + behind.constants)
    graph.input.remove(image)
    graph.input.insert(0, helper.make_tensor_value_info("L", 1, [shape[0], 1, *shape[2:]]))
    graph.output.append(
        helper.make_tensor_value_info("ab", 1, [answer_shape[0], 2, *answer_shape[2:]])
    )
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    return save(model, out)


def _grey_rgb(nodes: _Nodes, scale: float, output: str, kind: int) -> None:
    """L to the RGB picture of a grey of that lightness."""
    root = nodes.add("Div", nodes.add("Add", "L", 16.0), 116.0)
    cube = nodes.add("Mul", nodes.add("Mul", root, root), root)
    line = nodes.add("Div", "L", float(KAPPA))
    Y = nodes.add("Where", nodes.add("Greater", "L", 8.0), cube, line)  # luminance, 0..1
    # Zero to a power of 1 / 2.4 is fine, but a rounding error below zero is not.
    bright = nodes.add("Pow", nodes.add("Max", Y, 1e-9), 1 / 2.4)
    curve = nodes.add("Sub", nodes.add("Mul", bright, 1.055), 0.055)
    grey = nodes.add("Where", nodes.add("Greater", Y, 0.0031308), curve, nodes.add("Mul", Y, 12.92))
    grey = nodes.add("Mul", grey, scale)
    if kind == TensorProto.FLOAT:
        nodes.add("Concat", grey, grey, grey, output=output, axis=1)  # (N, 3, H, W)
    else:
        nodes.add("Cast", nodes.add("Concat", grey, grey, grey, axis=1), output=output, to=kind)


def _rgb_to_ab(nodes: _Nodes, rgb: str, scale: float) -> None:
    """RGB (N, 3, H, W), 0..scale, to CIELAB's a and b."""
    rgb = nodes.add("Min", nodes.add("Max", nodes.add("Div", rgb, scale), 0.0), 1.0)
    curve = nodes.add("Pow", nodes.add("Div", nodes.add("Add", rgb, 0.055), 1.055), 2.4)
    linear = nodes.add(
        "Where", nodes.add("Greater", rgb, 0.04045), curve, nodes.add("Div", rgb, 12.92)
    )
    kernel = (RGB_TO_XYZ / WHITE[:, None]).astype(np.float32)[:, :, None, None]
    xyz = nodes.add("Conv", linear, nodes.constant(kernel))  # relative to white
    root = nodes.add("Pow", nodes.add("Max", xyz, 1e-9), 1 / 3)
    line = nodes.add("Div", nodes.add("Add", nodes.add("Mul", xyz, float(KAPPA)), 16.0), 116.0)
    f = nodes.add("Where", nodes.add("Greater", xyz, float(EPSILON)), root, line)
    differences = np.array([[500, -500, 0], [0, 200, -200]], np.float32)
    nodes.add("Conv", f, nodes.constant(differences[:, :, None, None]), output="ab")


def _only(
    path: Path, kind: str, values: list[onnx.ValueInfoProto], *, channels: int
) -> onnx.ValueInfoProto:
    if len(values) != 1:
        names = ", ".join(value.name.removeprefix("foreign/") for value in values)
        raise BadWeights(f"{path} has {len(values)} {kind}s ({names}); one picture was expected")
    shape = [_dim(dim) for dim in values[0].type.tensor_type.shape.dim]
    if len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != channels):
        raise BadWeights(f"{path}: {kind} of shape {shape}, expected (N, {channels}, H, W)")
    return values[0]


def _dim(dim: onnx.TensorShapeProto.Dimension) -> int | str:
    return dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or "?")
