"""Colorizers exported elsewhere run as their authors meant, or are refused with what to say."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from kinemacolor.engine.load import load
from kinemacolor.engine.spec import read_spec
from kinemacolor.export.convention import PICTURES, Picture, Told
from kinemacolor.export.errors import BadWeights
from kinemacolor.export.import_weights import import_model
from numpy.typing import NDArray
from skimage import color

from tests.foreign_onnx import POWERS, ab_of, coloring, conv, tinting
from tests.models import write_model

EXACT = 0.05  # ab; two ways of computing sRGB and CIELAB in float32


def run(file: Path, L: NDArray[np.float32]) -> NDArray[np.float32]:
    return load(file, backend="onnxruntime", precision="fp32")(L)


def lightness(side: int = 32) -> NDArray[np.float32]:
    return np.linspace(0, 100, side * side, dtype=np.float32).reshape(1, 1, side, side)


def grey_rgb(L: NDArray[np.float32]) -> NDArray[np.float64]:
    """(1, 1, H, W) lightness to (1, 3, H, W) RGB 0..1 of that grey, by scikit-image."""
    lab = np.zeros((*L.shape[2:], 3))
    lab[..., 0] = L[0, 0]
    return np.asarray(color.lab2rgb(lab).transpose(2, 0, 1)[None])


def tinted_ab(L: NDArray[np.float32]) -> NDArray[np.float64]:
    tinted = np.clip(grey_rgb(L)[0].transpose(1, 2, 0), 0, 1) ** POWERS
    return color.rgb2lab(tinted)[..., 1:].transpose(2, 0, 1)[None]


@pytest.mark.parametrize(("takes", "gives"), list(product(PICTURES, PICTURES)))
def test_what_an_rgb_network_takes_and_gives_is_found_by_trying(
    tmp_path: Path, takes: Picture, gives: Picture
) -> None:
    """Nine of eleven conventions were accepted as another one, and coloured nothing."""
    source = tinting(tmp_path / "net.onnx", takes, gives)
    made = import_model(source, tmp_path / "wrapped.onnx")
    assert f"takes {takes}, gives RGB {gives}" in " ".join(made.facts)
    L = lightness()
    assert np.abs(run(made.path, L) - tinted_ab(L)).max() < 0.2


@pytest.mark.parametrize("takes", ["0..255", "imagenet", "-1..1", "0..1"])
def test_what_an_ab_network_takes_is_found_or_asked_for(tmp_path: Path, takes: Picture) -> None:
    """Its answer has no lightness to follow: where two ways look alike, the user has to say."""
    source = coloring(tmp_path / "net.onnx", takes)
    L = lightness()
    expected = ab_of(grey_rgb(L)[:, :1])
    try:
        made = import_model(source, tmp_path / "wrapped.onnx")
    except BadWeights as refusal:
        assert "--input" in str(refusal)  # noqa: PT017
        assert not (tmp_path / "wrapped.onnx").exists()
        made = import_model(source, tmp_path / "wrapped.onnx", told=Told(takes))
    assert np.abs(run(made.path, L) - expected).max() < EXACT


def test_a_graph_that_normalises_by_itself_takes_0_to_1(tmp_path: Path) -> None:
    source = coloring(tmp_path / "net.onnx", "0..1")
    model = onnx.load(str(source))
    mean = np.float32([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)
    model.graph.initializer.append(onnx.numpy_helper.from_array(mean, "mean"))
    model.graph.node.insert(0, onnx.helper.make_node("Sub", ["input", "mean"], ["less"]))
    model.graph.node.insert(1, onnx.helper.make_node("Add", ["less", "mean"], ["again"]))
    model.graph.node[2].input[0] = "again"
    onnx.save(model, str(source))
    made = import_model(source, tmp_path / "wrapped.onnx")
    assert "ImageNet's mean" in made.facts[0]
    L = lightness()
    assert np.abs(run(made.path, L) - ab_of(grey_rgb(L)[:, :1])).max() < EXACT


def test_one_plane_of_L_is_found(tmp_path: Path) -> None:
    source = coloring(tmp_path / "net.onnx", "L", channels=1)
    made = import_model(source, tmp_path / "wrapped.onnx", told=Told("L"))
    L = lightness()
    assert np.abs(run(made.path, L) - ab_of(L.astype(np.float64) / 100)).max() < EXACT


def test_ab_within_one_needs_its_scale(tmp_path: Path) -> None:
    source = coloring(tmp_path / "net.onnx", "0..1", factor=1 / 110)
    with pytest.raises(BadWeights, match="--scale 110 or --scale 128"):
        import_model(source, tmp_path / "wrapped.onnx", told=Told("0..1"))
    made = import_model(source, tmp_path / "wrapped.onnx", told=Told("0..1", "ab", 110.0))
    L = lightness()
    assert np.abs(run(made.path, L) - ab_of(grey_rgb(L)[:, :1])).max() < EXACT


def test_lab_is_told_from_rgb(tmp_path: Path) -> None:
    """A network that gives L, a and b: its first plane is the lightness that was asked about."""
    source = coloring(tmp_path / "net.onnx", "L")
    model = onnx.load(str(source))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 3
    (last,) = (node for node in model.graph.node if node.op_type == "Conv")
    last.output[0] = "ab_only"
    ends = [np.int64([n]) for n in (0, 1, 1)]
    for i, value in enumerate(ends):
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, f"end{i}"))
    model.graph.node.append(
        onnx.helper.make_node("Slice", ["input", "end0", "end1", "end2"], ["first"])
    )
    model.graph.node.append(
        onnx.helper.make_node("Concat", ["first", "ab_only"], ["output"], axis=1)
    )
    onnx.save(model, str(source))
    made = import_model(source, tmp_path / "wrapped.onnx")
    assert "takes L, gives lab" in " ".join(made.facts)
    L = lightness()
    assert np.abs(run(made.path, L) - ab_of(L.astype(np.float64) / 100)).max() < EXACT


def test_a_network_of_no_plausible_answer_is_refused(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    source = conv(tmp_path / "net.onnx", random.normal(0, 9, (3, 3, 3, 3)), side=32)
    with pytest.raises(BadWeights, match=r"no way of using it gives colours; say .* --input"):
        import_model(source, tmp_path / "wrapped.onnx")


def test_licence_and_author_are_unknown_unless_the_file_states_them(tmp_path: Path) -> None:
    """Every file was stamped with an author's name and licence that nobody had shown."""
    source = tinting(tmp_path / "net.onnx", "0..1", "0..1")
    made = import_model(source, tmp_path / "wrapped.onnx")
    assert read_spec(made.path).license == "unknown"
    model = onnx.load(str(source))
    onnx.helper.set_model_props(model, {"license": "CC0"})
    onnx.save(model, str(source))
    assert read_spec(import_model(source, made.path).path).license == "CC0"


def test_what_is_told_is_not_tried(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(0, 20, (2, 3, 3, 3)).astype(np.float32)
    source = conv(tmp_path / "ddcolor_paper_tiny.onnx", weight, side=32)
    made = import_model(source, tmp_path / "wrapped.onnx", told=Told("0..1", "ab", 1.0))
    spec = read_spec(made.path)
    assert (spec.fixed_size, spec.height, spec.width) == (True, 32, 32)
    L = lightness()
    expected = F.conv2d(
        torch.from_numpy(grey_rgb(L)), torch.from_numpy(weight).double(), padding=1
    ).numpy()
    assert np.abs(run(made.path, L) - expected).max() < EXACT


@pytest.mark.parametrize("half", [False, True])
def test_of_rgb_only_ab_is_taken(tmp_path: Path, half: bool) -> None:
    weight = np.zeros((3, 3, 3, 3), np.float32)
    weight[:, :, 1, 1] = np.diag([0.9, 0.6, 0.3])  # a warm tint of the grey picture
    source = conv(tmp_path / "deoldify.onnx", weight, side=32, half=half)
    told = Told("0..255", "rgb", "0..255")
    made = import_model(source, tmp_path / "wrapped.onnx", told=told)
    L = lightness()
    tinted = grey_rgb(L)[0].transpose(1, 2, 0) * [0.9, 0.6, 0.3]
    expected = color.rgb2lab(tinted)[..., 1:].transpose(2, 0, 1)[None]
    assert expected.max() > 30
    # float16 pictures of 0..255 have steps of 1/8 at white, larger still in Lab near black
    assert np.abs(run(made.path, L) - expected).max() < (1.0 if half else EXACT)


def test_foreign_models_of_another_kind_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.onnx"
    text.write_bytes(b"Not found")
    classifier = conv(tmp_path / "c.onnx", np.zeros((5, 3, 3, 3), np.float32), side=8)
    for file in (text, classifier, tmp_path / "missing.onnx"):
        with pytest.raises(BadWeights):
            import_model(file, tmp_path / "out.onnx")
    (tmp_path / "weights.h5").write_bytes(b"x")
    with pytest.raises(BadWeights, match=r"known: \.caffemodel, \.pth, .*\.onnx"):
        import_model(tmp_path / "weights.h5", tmp_path / "out.onnx")


def test_a_model_of_ours_needs_no_import(tmp_path: Path) -> None:
    ours = write_model(tmp_path / "tiny.onnx")
    with pytest.raises(BadWeights, match=r"is a model of this program already: kinemacolor FILM"):
        import_model(ours, tmp_path / "out.onnx")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("0..2", None, None), r"--input 0\.\.2: one of 0\.\.1"),
        ((None, "hsv", None), "--output hsv: one of rgb"),
        ((None, None, "big"), "--scale big: one of"),
    ],
)
def test_words_that_say_nothing_are_refused(
    words: tuple[str | None, str | None, str | None], reason: str
) -> None:
    with pytest.raises(BadWeights, match=reason):
        Told.of(*words)
