"""Converts an FP32 ONNX graph to strongly typed FP16: TensorRT reads its precisions from the graph.

Islands stay in FP32: what scales L before the first convolution, softmax, the annealed mean
that ends in ab, and normalisations. Inputs and outputs stay float32, as the contract says.
"""

from __future__ import annotations

import numpy as np
import onnx
from kinemacolor.engine.errors import BadModel
from kinemacolor.engine.graphs.edit import links, set_nodes
from kinemacolor.engine.graphs.features import without_features
from onnx import TensorProto, numpy_helper

# Changes whenever the graph that comes out changes: part of every plan's key.
CONVERSION = "1"

_NORMALISATIONS = frozenset(
    [
        "BatchNormalization",
        "GlobalAveragePool",
        "GroupNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "ReduceL2",
        "ReduceMean",
        "ReduceSum",
        "ReduceSumSquare",
    ]
)
_EXPONENTIALS = frozenset(["Exp", "Log", "LogSoftmax", "Pow", "Softmax"])
_SHAPES = frozenset(["Concat", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"])
_POINTWISE = _SHAPES | frozenset(
    ["Add", "Clip", "Div", "Identity", "Mul", "Neg", "Reciprocal", "Sigmoid", "Sqrt", "Sub", "Tanh"]
)
_PRODUCTS = frozenset(["Conv", "ConvTranspose", "Einsum", "Gemm", "MatMul"])
# Their float inputs are scales, or their float output is made from nothing: left as they are.
_UNTOUCHED = frozenset(["Cast", "CastLike", "DequantizeLinear", "QuantizeLinear", "Range"])
_FEW_CHANNELS = 4  # a product with at most so many outputs makes ab (and the sum of weights)


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns a new model whose products and activations are FP16 outside the FP32 islands.

    Written here because onnxconverter-common 1.16 sends a tensor between two islands through
    FP16 when it has two readers: the sums of the annealed mean would overflow there.

    Raises BadModel when the model cannot be converted.
    """
    source = unpack(model)
    graph = source.graph
    if any(a.type in (a.GRAPH, a.GRAPHS) for node in graph.node for a in node.attribute):
        raise BadModel("the model has loops or branches, which do not convert to FP16")
    islands = fp32_islands(source)
    try:
        types = tensor_types(source)
        retyped = _Retyping(graph, types)
        for node in graph.node:
            floats = [name for name in node.input if types.get(name) == TensorProto.FLOAT]
            if node.name in islands or not floats or node.op_type in _UNTOUCHED:
                retyped.keep(node)
            else:
                retyped.halve(node)
        retyped.finish()
        check_fp16(source)
    except (ValueError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BadModel(f"the model does not convert to FP16: {reason}") from error
    return source


def unpack(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns a new model with plain float32 weights, no constant nodes, a name on every node."""
    plain = without_features(model)
    _unpack_weights(plain.graph)
    _name_nodes(plain.graph)
    return plain


class _Retyping:
    """Rebuilds a graph node by node; every tensor has a float32 form, a float16 form, or both."""

    def __init__(self, graph: onnx.GraphProto, types: dict[str, int]) -> None:
        self._graph = graph
        self._types = types
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        self._single = {*self._weights, *(value.name for value in graph.input)}
        self._half: dict[str, str] = {}  # a tensor's name to that of its float16 form
        self._nodes: list[onnx.NodeProto] = []

    def keep(self, node: onnx.NodeProto) -> None:
        """Adds a node as it is; what it reads in float32 is cast back where it has to be."""
        for name in node.input:
            self._as_single(name)
        self._single.update(node.output)
        self._nodes.append(node)

    def halve(self, node: onnx.NodeProto) -> None:
        """Adds a node that reads and writes float16."""
        for i, name in enumerate(node.input):
            if node.op_type == "Resize" and i > 0:
                self._as_single(name)  # its region and scales are float32 in any case
            elif self._types.get(name) == TensorProto.FLOAT:
                node.input[i] = self._as_half(name)
        for i, name in enumerate(node.output):
            if self._types.get(name) == TensorProto.FLOAT:
                self._half[name] = node.output[i] = f"{name}_fp16"
            else:
                self._single.add(name)
        self._nodes.append(node)

    def finish(self) -> None:
        """Writes the nodes back, and drops weights that nobody reads any more."""
        for value in self._graph.output:
            self._as_single(value.name)
        set_nodes(self._graph, self._nodes)

    def _as_single(self, name: str) -> None:
        if name and name not in self._single:
            self._cast(self._half[name], name, TensorProto.FLOAT)
            self._single.add(name)

    def _as_half(self, name: str) -> str:
        if name not in self._half:
            self._half[name] = f"{name}_fp16"
            if name in self._weights:
                self._graph.initializer.append(_half_weight(self._weights[name]))
            else:
                self._cast(name, self._half[name], TensorProto.FLOAT16)
        return self._half[name]

    def _cast(self, source: str, target: str, to: int) -> None:
        name = f"{target}_cast"
        self._nodes.append(onnx.helper.make_node("Cast", [source], [target], name=name, to=to))


def _half_weight(tensor: onnx.TensorProto) -> onnx.TensorProto:
    values = numpy_helper.to_array(tensor)
    if np.any(np.abs(values[np.isfinite(values)]) > np.finfo(np.float16).max):
        raise ValueError(f"{tensor.name} has values beyond the reach of FP16")
    with np.errstate(under="ignore"):
        return numpy_helper.from_array(values.astype(np.float16), f"{tensor.name}_fp16")


def fp32_islands(model: onnx.ModelProto) -> frozenset[str]:
    """Returns the names of the nodes that must compute in FP32."""
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    maker, takers = links(graph)
    names = {n.name for n in graph.node if n.op_type in _NORMALISATIONS | _EXPONENTIALS}

    def head(node: onnx.NodeProto) -> bool:
        if node.op_type in _PRODUCTS:
            return any(_few_outputs(node, weights.get(name)) for name in node.input)
        return node.op_type in _POINTWISE | _EXPONENTIALS

    # From ab upwards, to the layer that makes its features or its logits.
    seen: set[str] = set()
    above = [maker[output.name] for output in graph.output if output.name in maker]
    while above:
        node = above.pop()
        if head(node) and node.name not in seen:
            seen.add(node.name)
            above += [maker[name] for name in node.input if name in maker]
    names |= seen
    # From L downwards, to the first convolution: 255 grey levels need more than FP16's 11 bits.
    ahead = [node for value in graph.input for node in takers.get(value.name, [])]
    while ahead:
        node = ahead.pop()
        if node.op_type in _POINTWISE and node.name not in names:
            names.add(node.name)
            ahead += [taker for name in node.output for taker in takers.get(name, [])]
    return frozenset(names)


def check_fp16(model: onnx.ModelProto) -> None:
    """Raises when the graph is invalid, mixes types, or has large products left in FP32."""
    onnx.checker.check_model(model, full_check=True)
    types = tensor_types(model)
    for value in (*model.graph.input, *model.graph.output):
        if types[value.name] != TensorProto.FLOAT:
            raise ValueError(f"{value.name} must stay float32")
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type not in _PRODUCTS:
            continue
        wide = not any(_few_outputs(node, weights.get(name)) for name in node.input)
        if wide and types.get(node.output[0]) != TensorProto.FLOAT16:
            raise ValueError(f"{node.op_type} {node.name} is not in FP16")


def tensor_types(model: onnx.ModelProto) -> dict[str, int]:
    """Returns the element type of every tensor of the graph, by name."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    types = {tensor.name: tensor.data_type for tensor in inferred.initializer}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        types[value.name] = value.type.tensor_type.elem_type
    return types


def _few_outputs(node: onnx.NodeProto, weight: onnx.TensorProto | None) -> bool:
    if weight is None or len(weight.dims) < 2:
        return False
    match node.op_type:
        case "Conv":
            return weight.dims[0] <= _FEW_CHANNELS
        case "ConvTranspose":
            return weight.dims[1] <= _FEW_CHANNELS
        case _:
            return min(weight.dims) <= _FEW_CHANNELS


def _unpack_weights(graph: onnx.GraphProto) -> None:
    """Makes plain float32 weights of those stored as float16 with a Cast behind them."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    unpacked = [
        node
        for node in graph.node
        if node.op_type == "Cast"
        and node.attribute[0].i == TensorProto.FLOAT
        and node.input[0] in stored
    ]
    for node in unpacked:
        values = numpy_helper.to_array(stored[node.input[0]]).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    for name in {node.input[0] for node in unpacked} - used:
        graph.initializer.remove(stored[name])
    # Constants are easier to tell apart as weights: a 1x1 product over 313 bins is made of one.
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        if node.attribute[0].name == "value":
            tensor = onnx.TensorProto()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
            graph.node.remove(node)


def _name_nodes(graph: onnx.GraphProto) -> None:
    taken: set[str] = set()
    for i, node in enumerate(graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{i}"
        taken.add(node.name)
