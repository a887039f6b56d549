"""The optional output `features`: computed where it is asked for, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from kinemacolor.engine.errors import BadModel
from kinemacolor.engine.graphs.features import (
    FeatureSpec,
    add_features,
    read_features,
    without_features,
)
from kinemacolor.engine.inputs import Inputs
from kinemacolor.engine.load import load
from kinemacolor.engine.spec import find_model, read_spec
from kinemacolor.engine.tensorrt.build import graph_for

from tests.models import write_model


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_the_packaged_network_gives_features_where_they_are_asked_for(backend: str) -> None:
    L = np.random.default_rng(0).uniform(0, 100, (2, 1, 64, 96)).astype(np.float32)
    network = load(backend=backend)  # type: ignore[arg-type]
    try:
        assert network.gives_features
        with_them, without = network.submit(Inputs(L, features=True)), network.submit(Inputs(L))
        one, other = with_them.result(), without.result()
        assert np.abs(one - other).max() < 2  # bfloat16 rounds elsewhere in another graph
        assert without.features is None
        assert with_them.features is not None
        assert with_them.features.shape == (2, 216, 8, 12)
        assert with_them.features.dtype == np.float16
    finally:
        network.close()


def test_the_packaged_file_says_what_its_features_are_and_stays_small() -> None:
    path = find_model("kinema")
    assert read_spec(path).features == FeatureSpec(version=1, scale=8, parts=(40, 112, 64))
    assert path.stat().st_size < 10e6


def test_features_are_added_and_taken_away_without_a_trace() -> None:
    model = onnx.load(str(find_model("kinema")))
    plain = without_features(model)
    assert [value.name for value in plain.graph.output] == ["ab"]
    again = add_features(plain)
    assert [value.name for value in again.graph.output] == ["ab", "features"]
    assert without_features(again).SerializeToString() == plain.SerializeToString()


def test_tensorrt_is_given_a_graph_without_them() -> None:
    spec = read_spec(find_model("kinema"))
    for precision in ("fp32", "fp16"):
        assert [value.name for value in graph_for(spec, precision).graph.output] == ["ab"]


def test_a_foreign_network_has_none(tmp_path: Path) -> None:
    path = write_model(tmp_path / "tiny.onnx")
    assert read_spec(path).features is None
    with pytest.raises(BadModel, match="no tensor"):
        add_features(onnx.load(str(path)))
    network = load(path, "onnxruntime")
    assert not network.gives_features
    network.close()


def test_an_entry_that_cannot_be_read_is_said() -> None:
    assert read_features({}) is None
    with pytest.raises(ValueError, match="version, scale and parts"):
        read_features({"features": '{"version": 1}'})
