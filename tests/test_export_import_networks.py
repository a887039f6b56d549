"""Public networks give what their authors' own code gives, from the files that they distribute."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from kinemacolor.engine.graphs.color_error import sample_pictures
from kinemacolor.engine.load import load
from kinemacolor.engine.spec import read_spec
from kinemacolor.engine.tensorrt.build import build_plan, graph_for, profile_for
from kinemacolor.export.import_weights import import_model
from safetensors.torch import save_file
from torch import Tensor

from benchmarks import originals
from tests import seeded

GOLDEN = Path(__file__).parent / "golden"
MEAN, LARGEST = 0.01, 0.1  # ab: float32 sums in another order, through a hundred layers
SIDE = 64  # of the golden files' pictures


def golden(name: str) -> tuple[dict[str, Tensor], np.ndarray]:
    """Weights as the authors' code names and shapes them, and the ab that it gave with them."""
    with np.load(GOLDEN / f"{name}.npz") as stored:
        return seeded.state(json.loads(str(stored["shapes"]))), stored["ab"]


def agree(file: Path, ab: np.ndarray) -> None:
    made = import_model(file, file.with_suffix(".onnx"), side=SIDE)
    backend = load(made.path, backend="onnxruntime", precision="fp32")
    ours = np.concatenate([backend(L[None, None]) for L in sample_pictures(SIDE, SIDE)[:2]])
    backend.close()
    assert ab.std() > 0.5  # there are colours to compare
    assert np.abs(ours - ab).mean() < MEAN
    assert np.abs(ours - ab).max() < LARGEST


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("ddcolor-mini", "ddcolor, of another size"),
        ("deoldify-deep-mini", "deoldify, artistic"),
        ("deoldify-wide-mini", "deoldify, stable"),
        ("eccv16", "zhang"),
        ("siggraph17", "siggraph17"),
    ],
)
def test_an_import_gives_what_the_authors_code_gave(
    tmp_path: Path, name: str, architecture: str
) -> None:
    state, ab = golden(name)
    torch.save(state, tmp_path / "weights.pth")
    agree(tmp_path / "weights.pth", ab)
    assert read_spec(tmp_path / "weights.onnx").architecture == architecture


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"params": state},
        lambda state: {"params_ema": state, "iter": 400000},
        lambda state: {"model": state, "opt": {"state": {}, "param_groups": [{"lr": 0.1}]}},
        lambda state: {"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3},
        lambda state: {"generator": {"state_dict": state}},
        lambda state: {"net": {k: v.half() for k, v in state.items()}},
    ],
)
def test_what_programs_put_around_weights_is_taken_off(tmp_path: Path, wrap: object) -> None:
    state, ab = golden("ddcolor-mini")
    wrapped = wrap(state)  # type: ignore[operator]
    torch.save(wrapped, tmp_path / "pytorch_model.bin")
    if "net" in wrapped:  # in float16 it is near, not equal
        import_model(tmp_path / "pytorch_model.bin", tmp_path / "x.onnx", side=SIDE)
        return
    agree(tmp_path / "pytorch_model.bin", ab)


def test_safetensors_and_the_older_pth_are_read(tmp_path: Path) -> None:
    state, ab = golden("deoldify-deep-mini")
    save_file(state, tmp_path / "a.safetensors")
    agree(tmp_path / "a.safetensors", ab)
    torch.save({"model": state}, tmp_path / "b.pth", _use_new_zipfile_serialization=False)
    agree(tmp_path / "b.pth", ab)


def test_weights_are_stored_as_float16_on_request(tmp_path: Path) -> None:
    state, ab = golden("ddcolor-mini")
    torch.save(state, tmp_path / "w.pth")
    whole = import_model(tmp_path / "w.pth", tmp_path / "a.onnx", side=SIDE).path.stat().st_size
    half = import_model(tmp_path / "w.pth", tmp_path / "b.onnx", fp16=True, side=SIDE)
    assert half.path.stat().st_size < 0.8 * whole
    ours = load(half.path, backend="onnxruntime")(sample_pictures(SIDE, SIDE)[0][None, None])
    assert np.abs(ours - ab[:1]).mean() < 1.0  # weights rounded to 11 bits


def test_what_a_network_was_made_for_is_said(tmp_path: Path) -> None:
    state, _ = golden("deoldify-wide-mini")
    torch.save({"model": state}, tmp_path / "ColorizeVideo_gen.pth")
    made = import_model(tmp_path / "ColorizeVideo_gen.pth", tmp_path / "video.onnx")
    assert made.architecture == "deoldify, video"
    assert "authors squeeze pictures to 336x336" in made.facts[0]
    spec = read_spec(made.path)
    assert (spec.height, spec.width, spec.multiple, spec.fixed_size) == (320, 320, 32, True)


def test_eccv16_runs_at_the_size_of_its_authors(tmp_path: Path) -> None:
    """It got the 224x224 of the Caffe release."""
    state, _ = golden("eccv16")
    torch.save(state, tmp_path / "e.pth")
    spec = read_spec(import_model(tmp_path / "e.pth", tmp_path / "e.onnx").path)
    assert (spec.height, spec.width) == (256, 256)


NESTING = {"ddcolor-tiny": "params", "ddcolor": "params", "deoldify-artistic": "model"}


@pytest.mark.nightly
@pytest.mark.parametrize("name", originals.NAMES)
def test_at_full_size_an_import_gives_what_the_authors_code_gives(
    tmp_path: Path, name: str
) -> None:
    folder = os.environ.get("KINEMACOLOR_ORIGINALS")
    if folder is None:
        pytest.skip("KINEMACOLOR_ORIGINALS names no folder that `benchmarks.originals fetch` made")
    pictures = originals.pictures()
    file, ab = originals.answers(Path(folder), name, pictures, tmp_path, NESTING.get(name, ""))
    mean, largest = originals.difference(file, pictures, ab)
    assert ab.std() > 0.5
    assert mean < MEAN
    assert largest < LARGEST


@pytest.mark.nightly
@pytest.mark.parametrize("name", originals.TINY)
def test_the_fp16_plan_of_every_import_is_built(tmp_path: Path, name: str) -> None:
    """By TensorRT for RTX, which compiles without a GPU."""
    trt = pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx builds real plans")
    torch.save(golden(name)[0], tmp_path / "w.pth")
    spec = read_spec(import_model(tmp_path / "w.pth", tmp_path / "w.onnx").path)
    # Eight pictures of four times the area would need more than the builder's 2 GB of workspace.
    built = build_plan(trt, graph_for(spec, "fp16"), profile_for(spec, batch=1))
    kind, shape = built.tensors["ab"]
    assert (kind, len(shape), shape[1]) == ("float", 4, 2)
