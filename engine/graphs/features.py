"""The optional output `features`: what a network saw in each cell, for matching pictures.

Its parts are tensors that the network computes anyway, brought to one size and concatenated.
A backend computes the output only where it is asked for (`Inputs.features`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import onnx
from kinemacolor.engine.errors import BadModel
from kinemacolor.engine.graphs.edit import set_nodes
from onnx import TensorProto, helper

OUTPUT = "features"
VERSION = 1  # changes whenever the same picture gets other features
SCALE = 8  # input pixels a cell
_KEY = "features"  # of the metadata


@dataclass(frozen=True)
class FeatureSpec:
    """What a model file says of its output `features`: float16 (N, channels, H/scale, W/scale).

    Attributes:
        parts: channels of each tensor in it, in order; each is normalised for itself.
    """

    version: int
    scale: int
    parts: tuple[int, ...]

    @property
    def channels(self) -> int:
        return sum(self.parts)


@dataclass(frozen=True)
class Tap:
    """A tensor of a graph that becomes part of the features.

    Attributes:
        scale: input pixels a cell: as the features', or a multiple.
    """

    tensor: str
    channels: int
    scale: int


# Of kinema, as PyTorch names them: blocks 4 and 10 of the encoder, and the decoder's 1/8.
KINEMA = (
    Tap("/encoder/blocks.4/Add_output_0", 40, 8),
    Tap("/encoder/blocks.10/Add_output_0", 112, 16),
    Tap("/merge8/Relu_1_output_0", 64, 8),
)


def read_features(metadata: dict[str, str]) -> FeatureSpec | None:
    """Reads what a model's metadata says of its features; None where it says nothing.

    Raises ValueError for an entry that cannot be read.
    """
    if _KEY not in metadata:
        return None
    found = json.loads(metadata[_KEY])
    try:
        return FeatureSpec(
            int(found["version"]), int(found["scale"]), tuple(int(n) for n in found["parts"])
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{_KEY} must hold version, scale and parts, not {found}") from error


def has_taps(model: onnx.ModelProto, taps: tuple[Tap, ...] = KINEMA) -> bool:
    """Whether a graph has the tensors that make features."""
    return {tap.tensor for tap in taps} <= {
        name for node in model.graph.node for name in node.output
    }


def add_features(model: onnx.ModelProto, taps: tuple[Tap, ...] = KINEMA) -> onnx.ModelProto:
    """Returns a copy of a model with the output `features`; its weights stay as they are.

    Raises BadModel where the graph has no such tensors.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    there = {name for node in graph.node for name in node.output}
    if missing := [tap.tensor for tap in taps if tap.tensor not in there]:
        raise BadModel(f"the graph has no tensor {missing[0]}: its features are not known")
    if any(value.name == OUTPUT for value in graph.output):
        return made
    joined: list[str] = []
    for tap in taps:
        name = tap.tensor
        if tap.scale != SCALE:
            factor = tap.scale / SCALE
            name = f"{OUTPUT}.{len(joined)}"
            scales = helper.make_tensor(
                f"{name}.scales", TensorProto.FLOAT, [4], [1, 1, factor, factor]
            )
            graph.initializer.append(scales)
            graph.node.append(
                helper.make_node(
                    "Resize",
                    [tap.tensor, "", scales.name],
                    [name],
                    name=name,
                    mode="linear",
                    coordinate_transformation_mode="half_pixel",
                )
            )
        joined.append(name)
    graph.node.append(
        helper.make_node("Concat", joined, [f"{OUTPUT}.all"], name=f"{OUTPUT}.all", axis=1)
    )
    graph.node.append(
        helper.make_node("Cast", [f"{OUTPUT}.all"], [OUTPUT], name=OUTPUT, to=TensorProto.FLOAT16)
    )
    channels = sum(tap.channels for tap in taps)
    graph.output.append(
        helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT16, ["N", channels, "h8", "w8"])
    )
    entry = made.metadata_props.add()
    entry.key = _KEY
    entry.value = json.dumps(
        {"version": VERSION, "scale": SCALE, "parts": [tap.channels for tap in taps]}
    )
    return made


def without_features(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns a copy of a model that computes `ab` alone."""
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    kept = [value for value in plain.graph.output if value.name != OUTPUT]
    del plain.graph.output[:]
    plain.graph.output.extend(kept)
    needed = {value.name for value in kept}
    nodes = []
    for node in reversed(plain.graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            nodes.append(node)
    set_nodes(plain.graph, nodes[::-1])
    props = [entry for entry in plain.metadata_props if entry.key != _KEY]
    del plain.metadata_props[:]
    plain.metadata_props.extend(props)
    return plain
