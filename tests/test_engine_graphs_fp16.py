"""FP16 graphs: which nodes stay in FP32, that the types hold, and what it costs in colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from kinemacolor.engine.errors import BadModel
from kinemacolor.engine.graphs.color_error import (
    MEAN_LIMIT,
    color_error,
    sample_pictures,
    with_roundings,
)
from kinemacolor.engine.graphs.fp16 import check_fp16, fp32_islands, tensor_types, to_fp16
from kinemacolor.engine.spec import MODELS
from onnx import TensorProto, helper, numpy_helper

from tests.networks import annealed_model, tiny_value

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


@pytest.fixture
def model() -> onnx.ModelProto:
    return annealed_model()


def type_of(model: onnx.ModelProto, op_type: str) -> set[int]:
    types = tensor_types(model)
    return {types[n.output[0]] for n in model.graph.node if n.op_type == op_type}


def test_the_front_the_annealed_mean_and_normalisations_stay_in_fp32(
    model: onnx.ModelProto,
) -> None:
    islands = fp32_islands(model)
    assert {"scale", "shift", "normalise", "sharpen", "exp", "sums", "divide"} <= islands
    assert not {"stem", "wide", "up", "logits"} & islands


def test_products_are_fp16_and_the_contract_stays_float32(model: onnx.ModelProto) -> None:
    half = to_fp16(model)
    types = tensor_types(half)
    assert (types["L"], types["ab"]) == (FLOAT, FLOAT)
    by_name = {node.name: types[node.output[0]] for node in half.graph.node}
    assert {by_name[name] for name in ("stem", "wide", "logits", "up")} == {HALF}
    assert {by_name[name] for name in ("normalise", "exp", "sums", "divide")} == {FLOAT}
    onnx.checker.check_model(half, full_check=True)


def test_the_original_is_left_alone(model: onnx.ModelProto) -> None:
    before = model.SerializeToString()
    to_fp16(model)
    assert model.SerializeToString() == before


def test_metadata_goes_along(model: onnx.ModelProto) -> None:
    helper.set_model_props(model, {"name": "tiny", "version": "3"})
    assert {p.key: p.value for p in to_fp16(model).metadata_props} == {
        "name": "tiny",
        "version": "3",
    }


def test_a_tensor_with_two_readers_between_islands_is_never_fp16(model: onnx.ModelProto) -> None:
    """The sums of the annealed mean have two readers, and are larger than FP16 can hold."""
    half = to_fp16(model)
    maker = {name: node for node in half.graph.node for name in node.output}
    for node in half.graph.node:
        if node.op_type == "Slice":
            assert maker[node.input[0]].op_type == "Conv"


def test_weights_stored_as_float16_are_read(model: onnx.ModelProto) -> None:
    for tensor in list(model.graph.initializer):
        if tensor.name == "wide.weight":
            packed = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(packed, "packed"))
    model.graph.node.insert(0, helper.make_node("Cast", ["packed"], ["wide.weight"], to=FLOAT))
    half = to_fp16(model)
    assert type_of(half, "Conv") == {HALF, FLOAT}
    assert not [n for n in half.graph.node if n.op_type == "Cast" and n.input[0] == "packed"]


def test_weights_beyond_fp16_are_refused_by_name(model: onnx.ModelProto) -> None:
    weight = next(t for t in model.graph.initializer if t.name == "wide.weight")
    values = numpy_helper.to_array(weight).copy()
    values[0, 0] = 1e6
    weight.CopyFrom(numpy_helper.from_array(values, "wide.weight"))
    with pytest.raises(BadModel, match=r"wide\.weight has values beyond the reach of FP16"):
        to_fp16(model)


def test_a_product_left_in_fp32_is_found(model: onnx.ModelProto) -> None:
    with pytest.raises(ValueError, match="stem is not in FP16"):
        check_fp16(model)


def test_rounding_really_happens_in_the_measurement() -> None:
    """ONNX Runtime computes (2**-12 + 1) - 1 of float16 numbers in float32 and finds 2**-12."""
    half = tiny_value()
    exact = ort.InferenceSession(half.SerializeToString()).run(["ab"], {"L": np.float32([2**-12])})
    rounded = ort.InferenceSession(with_roundings(half).SerializeToString()).run(
        ["ab"], {"L": np.float32([2**-12])}
    )
    assert exact[0][0] == 2**-12
    assert rounded[0][0] == 0


def test_an_overflow_shows_as_an_error(model: onnx.ModelProto) -> None:
    """Features beyond 65504 become infinite in FP16; the mean must not hide them."""
    half = to_fp16(model)
    for tensor in half.graph.initializer:
        if tensor.name == "stem.weight_fp16":
            values = numpy_helper.to_array(tensor) * np.float16(2000)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    assert color_error(model, half, sample_pictures(64, 64)).mean > 10 * MEAN_LIMIT


def test_sample_pictures_are_photographs_of_the_size_asked_for() -> None:
    pictures = sample_pictures(96, 160)
    assert [p.shape for p in pictures] == [(96, 160)] * 4
    assert all(p.std() > 10 and p.min() >= 0 and p.max() <= 100 for p in pictures)


PACKAGED = sorted(MODELS.glob("*.onnx"))


@pytest.mark.parametrize("path", PACKAGED, ids=lambda path: path.stem)
def test_packaged_models_keep_their_colours_in_fp16(path: Path) -> None:
    model = onnx.load(str(path))
    error = color_error(model, to_fp16(model), sample_pictures(256, 256))
    assert error.mean < MEAN_LIMIT, str(error)
