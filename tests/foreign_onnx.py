"""Makes ONNX colorizers as other programs export them: every convention of picture and answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from kinemacolor.export.convention import Picture, offset_and_factor
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper


def conv(path: Path, weight: NDArray[np.float32], *, side: int, half: bool = False) -> Path:
    """A colorizer of one 3x3 convolution: (1, 3, side, side) in, as many channels as weight out."""
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Conv", ["input", "w"], ["output"], pads=[1, 1, 1, 1])],
        "foreign",
        [helper.make_tensor_value_info("input", kind, [1, 3, side, side])],
        [helper.make_tensor_value_info("output", kind, [1, len(weight), side, side])],
        [numpy_helper.from_array(weight.astype(np.float16 if half else np.float32), "w")],
    )
    return _save(graph, path)


POWERS = np.float32([0.7, 1.0, 1.4])  # of the grey value: a warm tint that keeps the lightness


def tinting(path: Path, takes: Picture, gives: Picture) -> Path:
    """A colorizer that makes RGB of RGB, both written as said; of free size."""
    nodes = _Chain()
    x = nodes.add("Clip", nodes.affine("input", *_to_unit(takes)), np.float32(0), np.float32(1))
    x = nodes.add("Pow", x, POWERS[None, :, None, None])
    offset, factor = offset_and_factor(gives)
    nodes.affine(x, factor, offset, output="output")
    return _save(nodes.graph(3, 3), path)


def coloring(path: Path, takes: Picture | str, *, factor: float = 1.0, channels: int = 3) -> Path:
    """A colorizer that makes ab of a picture, or of L: `ab_of` the grey value, times a factor."""
    nodes = _Chain()
    if takes == "L":
        x = nodes.affine("input", np.float32([0.01] * channels), np.zeros(channels, np.float32))
    else:
        scale, shift = _to_unit(takes)  # type: ignore[arg-type]
        x = nodes.affine("input", scale[:channels], shift[:channels])
    x = nodes.add("Clip", x, np.float32(0), np.float32(1))
    kernel = np.zeros((2, channels, 1, 1), np.float32)
    kernel[:, 0, 0, 0] = [60 * factor, -40 * factor]
    nodes.add("Conv", x, kernel, np.float32([-20 * factor, 30 * factor]), output="output")
    return _save(nodes.graph(channels, 2), path)


def ab_of(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    """grey (1, 1, H, W), 0..1, to the ab (1, 2, H, W) that `coloring` gives."""
    return np.concatenate([60 * grey - 20, 30 - 40 * grey], 1)


def _to_unit(picture: Picture) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scale and shift that make numbers of 0..1."""
    offset, factor = offset_and_factor(picture)
    return (1 / factor).astype(np.float32), (-offset / factor).astype(np.float32)


class _Chain:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, operator: str, x: str, *values: NDArray[np.float32], output: str = "") -> str:
        names = []
        for value in values:
            names.append(f"c{len(self.constants)}")
            self.constants.append(numpy_helper.from_array(np.asarray(value), names[-1]))
        output = output or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, [x, *names], [output]))
        return output

    def affine(
        self, x: str, scale: NDArray[np.float32], shift: NDArray[np.float32], output: str = ""
    ) -> str:
        x = self.add("Mul", x, scale[None, :, None, None])
        return self.add("Add", x, shift[None, :, None, None], output=output)

    def graph(self, channels: int, out: int) -> onnx.GraphProto:
        shape, answer = ["N", channels, "H", "W"], ["N", out, "H", "W"]
        return helper.make_graph(
            self.nodes,
            "foreign",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, answer)],
            self.constants,
        )


def _save(graph: onnx.GraphProto, path: Path) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=7)
    onnx.save(model, str(path))
    return path
