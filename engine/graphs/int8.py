"""Models with INT8 convolutions, told by explicit QuantizeLinear and DequantizeLinear nodes.

OpenVINO and ONNX Runtime take unsigned activations with any zero point, one bit finer where
nothing is negative. TensorRT takes signed ones around zero alone: `to_symmetric` rewrites them.
"""

from __future__ import annotations

import numpy as np
import onnx
from kinemacolor.engine.errors import BadModel
from kinemacolor.engine.graphs.edit import set_nodes
from onnx import TensorProto, helper, numpy_helper

# Changes whenever the graph that comes out changes: part of every plan's key.
CONVERSION = "1"


def is_quantized(model: onnx.ModelProto) -> bool:
    """Whether some of the model computes in INT8."""
    return any(node.op_type == "DequantizeLinear" for node in model.graph.node)


def to_symmetric(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the same graph with signed activations, zero at zero.

    Unsigned codes that begin at zero also cut negative values; a Relu does that instead.

    Raises BadModel when the scale of an activation is no constant.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    symmetric: dict[tuple[str, str], tuple[str, str]] = {}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        nodes.append(node)
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or len(node.input) < 3:
            continue
        source, scale, zero = node.input
        if scale not in weights or zero not in weights:
            raise BadModel(f"{node.op_type} {node.name}: its scale and zero point must be constant")
        if weights[zero].data_type != TensorProto.UINT8:
            continue
        point = numpy_helper.to_array(weights[zero])
        if (scale, zero) not in symmetric:
            step = numpy_helper.to_array(weights[scale])
            widest = (np.maximum(point, 255 - point) * step / 127).astype(np.float32)
            names = f"{scale}_symmetric", f"{zero}_symmetric"
            zeros = np.zeros_like(point, np.int8)
            graph.initializer.append(numpy_helper.from_array(widest, names[0]))
            graph.initializer.append(numpy_helper.from_array(zeros, names[1]))
            symmetric[scale, zero] = names
        node.input[1], node.input[2] = symmetric[scale, zero]
        if node.op_type == "QuantizeLinear" and not point.any():
            node.input[0] = f"{source}_positive_{len(nodes)}"
            nodes.insert(-1, helper.make_node("Relu", [source], [node.input[0]]))
    set_nodes(graph, nodes)
    return made
