"""A model file keeps the contract, or is refused with the reason."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from kinemacolor.engine.errors import BadModel, ModelNotFound
from kinemacolor.engine.spec import ModelSpec, find_model, read_spec

from tests.models import write_model


def test_what_the_metadata_says_is_read(tmp_path: Path) -> None:
    path = write_model(
        tmp_path / "tiny.onnx",
        version="1.2",
        architecture="curve",
        height="192",
        width="320",
        multiple="16",
        license="Apache-2.0",
        training_data="none",
        scores='{"auc": 91.5}',
    )
    spec = read_spec(path)
    assert (spec.path, spec.name, spec.version) == (path, "tiny", "1.2")
    assert (spec.height, spec.width, spec.multiple, spec.fixed_size) == (192, 320, 16, False)
    assert (spec.architecture, spec.license, spec.training_data) == ("curve", "Apache-2.0", "none")
    assert spec.scores == {"auc": 91.5}


def test_without_metadata_the_defaults_hold(tmp_path: Path) -> None:
    spec = read_spec(write_model(tmp_path / "bare.onnx"))
    assert (spec.height, spec.width, spec.multiple, spec.fixed_size) == (256, 256, 32, False)


def test_a_size_fixed_in_the_graph_wins(tmp_path: Path) -> None:
    spec = read_spec(write_model(tmp_path / "fixed.onnx", size=(64, 96), height="256"))
    assert (spec.height, spec.width, spec.fixed_size) == (64, 96, True)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"names": ("input", "ab")}, "input must be float32 'L'"),
        ({"names": ("L", "output")}, "output must be float32 'ab'"),
        ({"channels": (3, 2)}, r"found float \('N', 3, 'H', 'W'\)"),
        ({"channels": (1, 3)}, r"found float \('N', 3, 'H_4', 'W_4'\)"),
        ({"height": "tall"}, "unreadable metadata"),
        ({"height": "0"}, "unreadable metadata: height"),
        ({"multiple": "-8"}, "unreadable metadata: multiple"),
        ({"scores": "{"}, "unreadable metadata"),
        ({"scores": "[1]"}, "unreadable metadata: scores"),
    ],
)
def test_a_broken_contract_is_named(tmp_path: Path, options: dict, reason: str) -> None:
    path = write_model(tmp_path / "broken.onnx", **options)
    with pytest.raises(BadModel, match=reason) as caught:
        read_spec(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"this is no model", b"\x08\x09" * 500])
def test_a_file_that_is_not_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "text.onnx"
    path.write_bytes(content)
    with pytest.raises(BadModel, match=r"not a readable ONNX model") as caught:
        read_spec(path)
    assert "\n" not in str(caught.value)


def test_a_truncated_model_is_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path / "tiny.onnx")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(BadModel):
        read_spec(path)


def test_models_are_found_by_path_and_the_known_are_named(tmp_path: Path) -> None:
    path = write_model(tmp_path / "tiny.onnx")
    assert find_model(path) == find_model(str(path)) == path
    with pytest.raises(ModelNotFound, match=r"no model file .*gone\.onnx"):
        find_model(tmp_path / "gone.onnx")
    with pytest.raises(ModelNotFound, match="no model 'nonesuch': packaged are"):
        find_model("nonesuch")
    with pytest.raises(ModelNotFound):
        find_model(tmp_path)  # a folder


def test_a_folder_of_a_models_name_does_not_hide_the_packaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinemacolor.engine.spec.MODELS", tmp_path)
    packaged = write_model(tmp_path / "tiny.onnx")
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_model("tiny") == packaged


def test_reading_a_spec_warns_of_nothing(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_spec(write_model(tmp_path / "tiny.onnx"))


def preferring(height: int = 256, width: int = 256, *, fixed: bool = False) -> ModelSpec:
    return ModelSpec(Path("m.onnx"), "m", height=height, width=width, fixed_size=fixed)


@pytest.mark.parametrize(
    "size", [(640, 480), (1920, 1080), (1080, 1920), (1, 1), (8192, 8192), (4000, 10), (10, 4000)]
)
def test_the_networks_size_has_the_pictures_shape_and_the_models_area(
    size: tuple[int, int],
) -> None:
    width, height = size
    h, w = preferring().input_size(width, height)
    assert h % 32 == w % 32 == 0
    assert 0.8 * 256 * 256 <= h * w <= 256 * 256
    aspect = min(max(width / height, 1 / 4), 4.0)
    assert 0.7 < (w / h) / aspect < 1.4


def test_a_quarter_turn_turns_the_networks_size() -> None:
    assert preferring().input_size(1920, 1080, turns=1) == preferring().input_size(1080, 1920)
    assert preferring().input_size(1920, 1080, turns=2) == preferring().input_size(1920, 1080)


def test_a_fixed_model_keeps_its_size() -> None:
    assert preferring(64, 96, fixed=True).input_size(1920, 1080) == (64, 96)
