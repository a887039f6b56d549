"""The arithmetic of pictures as ONNX nodes, to be put before or behind a graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from kinemacolor.engine.color import EPSILON, KAPPA, RGB_TO_XYZ, WHITE
from kinemacolor.export.convention import Input, Picture, offset_and_factor
from numpy.typing import NDArray
from onnx import helper, numpy_helper


class Nodes:
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


def grey_picture(nodes: Nodes, kind: Input, channels: int, *, output: str, elements: int) -> None:
    """L (N, 1, H, W) to the grey picture (N, channels, H, W) that a network takes.

    Args:
        elements: ONNX type of its numbers.
    """
    plane = "L" if kind == "L" else _grey(nodes)
    if channels > 1:
        plane = nodes.add("Concat", *[plane] * channels, axis=1)
    if kind != "L":
        offset, factor = (v[None, :channels, None, None] for v in offset_and_factor(kind))
        plane = nodes.add("Mul", plane, nodes.constant(factor))
        plane = nodes.add("Add", plane, nodes.constant(offset))
    nodes.add("Cast", plane, output=output, to=elements)


def _grey(nodes: Nodes) -> str:
    """L to the sRGB value of a grey of that lightness, 0..1."""
    root = nodes.add("Div", nodes.add("Add", "L", 16.0), 116.0)
    cube = nodes.add("Mul", nodes.add("Mul", root, root), root)
    line = nodes.add("Div", "L", float(KAPPA))
    Y = nodes.add("Where", nodes.add("Greater", "L", 8.0), cube, line)  # luminance, 0..1
    # Zero to a power of 1 / 2.4 is fine, but a rounding error below zero is not.
    bright = nodes.add("Pow", nodes.add("Max", Y, 1e-9), 1 / 2.4)
    curve = nodes.add("Sub", nodes.add("Mul", bright, 1.055), 0.055)
    dark = nodes.add("Mul", Y, 12.92)
    return nodes.add("Where", nodes.add("Greater", Y, 0.0031308), curve, dark)


def picture_ab(nodes: Nodes, rgb: str, picture: Picture) -> None:
    """RGB (N, 3, h, w) as a network writes it to CIELAB's a and b, as the graph's output."""
    offset, factor = (v[None, :, None, None] for v in offset_and_factor(picture))
    rgb = nodes.add("Sub", rgb, nodes.constant(offset))
    rgb = nodes.add("Div", rgb, nodes.constant(factor))
    rgb = nodes.add("Min", nodes.add("Max", rgb, 0.0), 1.0)
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
