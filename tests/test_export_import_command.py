"""`models import` and its neighbours: a file given to the wrong one is sent to the right one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from kinemacolor.engine.errors import BadModel
from kinemacolor.engine.spec import read_spec
from kinemacolor.export import checkpoint
from kinemacolor.export.errors import BadWeights, CheckpointError
from kinemacolor.export.import_weights import import_model
from safetensors.torch import save_file

from tests.command import kinemacolor
from tests.foreign_onnx import tinting

WEIGHTS = {"fc.weight": torch.zeros(2, 2)}


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".caffemodel"])
def test_weights_are_sent_to_import(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"net{suffix}"
    torch.save(WEIGHTS, path)
    with pytest.raises(BadModel, match=rf"kinemacolor models import .*net\{suffix} -o net\.onnx"):
        read_spec(path)
    with pytest.raises(CheckpointError, match=rf"kinemacolor models import .*net\{suffix} -o"):
        checkpoint.read(path)


def test_a_checkpoint_of_ours_is_sent_to_export(tmp_path: Path) -> None:
    save_file({"average.x": torch.zeros(1)}, tmp_path / "checkpoint.safetensors")
    with pytest.raises(BadWeights, match=r"kinemacolor models export .* makes a model of it"):
        import_model(tmp_path / "checkpoint.safetensors", tmp_path / "x.onnx")


def test_a_name_without_suffix_gets_one_and_what_was_found_is_printed(tmp_path: Path) -> None:
    source = tinting(tmp_path / "net.onnx", "0..255", "-1..1")
    done = kinemacolor("models", "import", source, "-o", tmp_path / "colors.v2")
    assert done.returncode == 0, done.stderr
    assert read_spec(tmp_path / "colors.v2.onnx").license == "unknown"
    assert "it takes 0..255, gives RGB -1..1" in done.stderr
    told = kinemacolor("models", "import", source, "-o", "x.onnx", "--output", "hsv")
    assert told.returncode == 1
    assert "--output hsv: one of rgb, ab, lab" in told.stderr
