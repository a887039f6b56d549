"""INT8 graphs for TensorRT: signed codes around zero that mean what the unsigned ones meant."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from kinemacolor.engine.errors import BadModel
from kinemacolor.engine.graphs.int8 import is_quantized, to_symmetric
from kinemacolor.engine.spec import read_spec
from kinemacolor.engine.tensorrt.build import graph_for, precision_for
from onnx import TensorProto, helper, numpy_helper

from tests.models import write_model

FLOAT = TensorProto.FLOAT


def coded(scale: float, zero: int, *, fixed: bool = True) -> onnx.ModelProto:
    """L rounded to unsigned codes and back, then written twice as ab."""
    weights = [
        numpy_helper.from_array(np.float32(scale), "scale"),
        numpy_helper.from_array(np.uint8(zero), "zero"),
    ]
    inputs = [helper.make_tensor_value_info("L", FLOAT, ["N", 1, "H", "W"])]
    if not fixed:
        inputs.append(helper.make_tensor_value_info("scale", FLOAT, []))
        weights = weights[1:]
    nodes = [
        helper.make_node("QuantizeLinear", ["L", "scale", "zero"], ["codes"], name="in"),
        helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["rounded"], name="out"),
        helper.make_node("Concat", ["rounded", "rounded"], ["ab"], axis=1),
    ]
    outputs = [helper.make_tensor_value_info("ab", FLOAT, ["N", 2, "H", "W"])]
    graph = helper.make_graph(nodes, "coded", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def run(model: onnx.ModelProto, values: Iterable[float]) -> np.ndarray:
    L = np.array([*values], np.float32)[None, None, None]
    session = ort.InferenceSession(model.SerializeToString())
    return session.run(["ab"], {"L": L})[0][0, 0, 0]  # type: ignore[no-any-return]


@pytest.mark.parametrize(("scale", "zero"), [(0.5, 0), (0.5, 100), (0.25, 200)])
def test_signed_codes_reach_as_far_as_the_unsigned_ones(scale: float, zero: int) -> None:
    lowest, highest = -zero * scale, (255 - zero) * scale
    values = np.linspace(lowest, highest, 33)
    model = coded(scale, zero)
    signed = run(to_symmetric(model), values)
    step = max(-lowest, highest) / 127
    assert np.abs(signed - values).max() <= step / 2 + 1e-4
    assert np.abs(run(model, values) - values).max() <= scale / 2 + 1e-4


def test_codes_that_began_at_zero_still_cut_what_is_negative() -> None:
    """Quantisers drop a Relu that the rounding behind it does as well."""
    assert run(to_symmetric(coded(0.5, 0)), [-60, -1, 0, 50]).min() == 0
    assert run(to_symmetric(coded(0.5, 128)), [-60])[0] == pytest.approx(-60, abs=0.3)


def test_no_unsigned_code_is_left_and_the_original_is_left_alone() -> None:
    model = coded(0.5, 7)
    before = model.SerializeToString()
    kinds = {tensor.data_type for tensor in to_symmetric(model).graph.initializer}
    assert kinds == {FLOAT, TensorProto.INT8}
    assert model.SerializeToString() == before


def test_a_scale_that_is_computed_is_refused() -> None:
    with pytest.raises(BadModel, match="must be constant"):
        to_symmetric(coded(0.5, 7, fixed=False))


def test_a_spec_tells_whether_a_model_is_quantised(tmp_path: Path) -> None:
    plain = read_spec(write_model(tmp_path / "plain.onnx"))
    assert plain.quantization == ""
    assert (precision_for(plain, "auto"), precision_for(plain, "fp32")) == ("fp16", "fp32")
    model = coded(0.5, 7)
    assert is_quantized(model)
    onnx.save(model, str(tmp_path / "coded.onnx"))
    spec = read_spec(tmp_path / "coded.onnx")
    assert spec.quantization == "INT8"
    assert precision_for(spec, "fp32") == "int8"
    assert graph_for(spec, "int8").SerializeToString() == to_symmetric(model).SerializeToString()
