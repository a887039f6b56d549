"""Zhang, Isola and Efros's 2016 network as an ONNX file with random weights, for timing only.

    python benchmarks/zhang_stand_in.py zhang-stand-in.onnx

The layers are those of the authors' `colorization_deploy_v2.prototxt` (release v2, 2016), which the
OpenCV samples load; the time a frame takes does not depend on what the weights are.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = 224  # of the input; ab comes out at a quarter of it
BINS = 313
SCALE = 2.606  # of the logits before softmax, in the prototxt: 1 / 0.38 and a little less


class Block(NamedTuple):
    """Convolutions of 3x3 with ReLU; the last has the stride. Batch norm follows the block."""

    convolutions: int
    channels: int
    stride: int = 1
    dilation: int = 1


BLOCKS = (
    Block(2, 64, stride=2),
    Block(2, 128, stride=2),
    Block(3, 256, stride=2),
    Block(3, 512),
    Block(3, 512, dilation=2),
    Block(3, 512, dilation=2),
    Block(3, 512),
)


def zhang_stand_in() -> onnx.ModelProto:
    """Input `L`: float32 (1, 1, 224, 224), L - 50. Output `ab`: float32 (1, 2, 56, 56)."""
    graph = _Graph("L")
    channels = 1
    for block in BLOCKS:
        for index in range(block.convolutions):
            stride = block.stride if index == block.convolutions - 1 else 1
            graph.convolve(channels, block.channels, stride=stride, dilation=block.dilation)
            graph.add("Relu")
            channels = block.channels
        graph.normalise(channels)
    graph.convolve(512, 256, kernel=4, stride=2, transpose=True)
    graph.add("Relu")
    for _ in range(2):
        graph.convolve(256, 256)
        graph.add("Relu")
    graph.convolve(256, BINS, kernel=1)
    graph.add("Mul", np.array(SCALE, np.float32))
    graph.add("Softmax", axis=1)
    graph.convolve(BINS, 2, kernel=1)
    small = SIZE // 4
    return graph.model(("L", [1, 1, SIZE, SIZE]), ("ab", [1, 2, small, small]))


class _Graph:
    """A chain of nodes, each of which takes the one before."""

    def __init__(self, entry: str) -> None:
        self._last = entry
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._dice = np.random.default_rng(2016)

    def add(self, kind: str, *weights: np.ndarray, **attributes: object) -> None:
        names = []
        for weight in weights:
            names.append(f"w{len(self._weights)}")
            self._weights.append(numpy_helper.from_array(weight, names[-1]))
        out = f"x{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, [self._last, *names], [out], **attributes))
        self._last = out

    def convolve(
        self,
        channels: int,
        out_channels: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        dilation: int = 1,
        transpose: bool = False,
    ) -> None:
        pair = (channels, out_channels) if transpose else (out_channels, channels)
        spread = (2 / (channels * kernel * kernel)) ** 0.5  # He et al. 2015: activations stay sane
        weights = self._dice.normal(0, spread, (*pair, kernel, kernel)).astype(np.float32)
        self.add(
            "ConvTranspose" if transpose else "Conv",
            weights,
            np.zeros(out_channels, np.float32),
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            dilations=[dilation] * 2,
            pads=[dilation * (kernel - 1) // 2] * 4,
        )

    def normalise(self, channels: int) -> None:
        one, zero = np.ones(channels, np.float32), np.zeros(channels, np.float32)
        self.add("BatchNormalization", one, zero, zero, one)

    def model(self, entry: tuple[str, list[int]], result: tuple[str, list[int]]) -> onnx.ModelProto:
        self._nodes[-1].output[0] = result[0]
        values = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in (entry, result)
        ]
        graph = helper.make_graph(
            self._nodes, "zhang-stand-in", values[:1], values[1:], self._weights
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        return model


def parameter_count(model: onnx.ModelProto) -> int:
    return sum(int(np.prod(weight.dims)) for weight in model.graph.initializer)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    arguments = parser.parse_args()
    network = zhang_stand_in()
    onnx.save(network, arguments.path)
    print(f"{arguments.path}: {parameter_count(network):,} parameters")
