"""Makes small ONNX models that keep (or break) the contract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_model(
    path: Path,
    *,
    stride: int = 4,
    size: tuple[int, int] | None = None,
    names: tuple[str, str] = ("L", "ab"),
    channels: tuple[int, int] = (1, 2),
    **metadata: str,
) -> Path:
    """A network without training: ab is a fixed curve of the local mean of L.

    Args:
        stride: L size over ab size.
        size: (H, W) fixed in the graph; None leaves both free.
    """
    height, width = size or ("H", "W")
    out = tuple(s // stride if isinstance(s, int) else f"{s}_{stride}" for s in (height, width))
    weights = np.zeros((channels[1], channels[0], 1, 1), np.float32)
    weights[:, 0, 0, 0] = [0.6, -0.4, 0.1][: channels[1]]
    bias = np.array([-20.0, 30.0, 0.0][: channels[1]], np.float32)
    graph = helper.make_graph(
        [
            helper.make_node(
                "AveragePool",
                [names[0]],
                ["mean"],
                kernel_shape=[stride, stride],
                strides=[stride, stride],
            ),
            helper.make_node("Conv", ["mean", "weights", "bias"], [names[1]]),
        ],
        "curve",
        [
            helper.make_tensor_value_info(
                names[0], TensorProto.FLOAT, ["N", channels[0], height, width]
            )
        ],
        [helper.make_tensor_value_info(names[1], TensorProto.FLOAT, ["N", channels[1], *out])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {"name": path.stem, "version": "0", **metadata})
    onnx.save(model, str(path))
    return path
