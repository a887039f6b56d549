"""Stills that users give: whose frame they are, and what is wrong with them in one line."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from kinemacolor.stream.anchor.align import aligned
from kinemacolor.stream.anchor.reference import (
    MOST,
    Reference,
    check_shape,
    find_references,
    shown,
)
from kinemacolor.stream.errors import BadReference
from PIL import Image

from tests.anchors import picture


def written(path: Path, samples: np.ndarray) -> Path:
    cv2.imwrite(str(path), samples[..., ::-1])
    return path


@pytest.mark.parametrize(
    ("name", "frame", "time"),
    [
        ("frame-000120.png", 120, None),
        ("frame_7.jpg", 7, None),
        ("Frame-000012-painted.png", 12, None),
        ("00h01m20.500s.jpg", None, 80.5),
        ("12s.png", None, 12.0),
        ("1m05s.png", None, 65.0),
        ("portrait.png", None, None),
        ("frames.png", None, None),
        ("3stooges.png", None, None),
    ],
)
def test_a_name_says_which_frame_it_is(name: str, frame: int | None, time: float | None) -> None:
    found = Reference.of_file(Path(name))
    assert (found.frame, found.time) == (frame, time)


def test_a_folder_is_read_without_its_contact_sheet(tmp_path: Path) -> None:
    for name in ("frame-000001.png", "a.jpg", "contact-sheet.jpg"):
        written(tmp_path / name, picture())
    (tmp_path / "notes.txt").write_text("x")
    assert {Path(r.name).name for r in find_references([tmp_path])} == {
        "frame-000001.png",
        "a.jpg",
    }


def test_two_of_one_frame_are_one_line(tmp_path: Path) -> None:
    for name in ("frame-1.png", "frame-000001.jpg"):
        written(tmp_path / name, picture())
    with pytest.raises(BadReference, match="of one frame"):
        find_references([tmp_path])


def test_nothing_and_too_many_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadReference, match="no picture"):
        find_references([tmp_path])
    with pytest.raises(BadReference, match="no such reference"):
        find_references([tmp_path / "missing.png"])
    for number in range(MOST + 1):
        (tmp_path / f"{number}.png").touch()
    with pytest.raises(BadReference, match="too many"):
        find_references([tmp_path])


def test_what_is_no_picture_in_colour_is_one_line(tmp_path: Path) -> None:
    grey = np.full((48, 64, 3), 90, np.uint8)
    grey[:20] = 200
    Image.fromarray(grey).convert("CMYK").save(tmp_path / "cmyk.jpg")
    Image.fromarray(grey).convert("L").save(tmp_path / "l.png")
    written(tmp_path / "grey.png", grey)
    written(tmp_path / "dot.png", picture(1, 1))
    (tmp_path / "text.png").write_text("no picture")
    for name, said in (
        ("cmyk.jpg", "CMYK"),
        ("l.png", "grey"),
        ("grey.png", "grey"),
        ("dot.png", "1x1"),
        ("text.png", "cannot be read"),
    ):
        with pytest.raises(BadReference, match=said) as caught:
            Reference(tmp_path / name).read()
        assert "\n" not in str(caught.value)


def test_another_shape_than_the_films_is_one_line() -> None:
    size = Reference(picture(), frame=0).check()
    check_shape("x", size, 1920, 1280)
    with pytest.raises(BadReference, match="same shape"):
        check_shape("x", size, 1920, 800)


@pytest.mark.parametrize(("frame", "time"), [(1, 2.0), (-1, None), (None, float("nan"))])
def test_a_place_that_is_none_is_refused(frame: int | None, time: float | None) -> None:
    with pytest.raises(BadReference):
        Reference(picture(), frame=frame, time=time)


def test_sixteen_bits_and_transparency_are_kept(tmp_path: Path) -> None:
    deep = picture().astype(np.uint16) * 257
    alpha = np.zeros((*deep.shape[:2], 1), np.uint16)
    alpha[:, :30] = 65535
    stored = np.dstack([deep[..., ::-1], alpha])
    cv2.imwrite(str(tmp_path / "deep.png"), stored)
    samples = Reference(tmp_path / "deep.png").read()
    assert np.abs(samples[..., :3] - picture() / 255).max() < 1e-5
    known = shown(samples, (32, 48), "bt601")
    assert known.sure[:, :10].min() == 1
    assert known.sure[:, -10:].max() == 0


def test_a_still_is_brought_onto_its_frame() -> None:
    """JPEG, another size, another gamma, some pixels beside: as users make them."""
    truth = cv2.GaussianBlur(picture(240, 360), (0, 0), 3)
    frame = shown(Reference(truth, frame=0).read(), (120, 180), "bt601")
    moved = np.roll(truth, (2, 6), (0, 1))
    moved = (np.power(moved / 255, 0.85) * 255).astype(np.uint8)
    still = shown(Reference(cv2.resize(moved, (200, 133)), frame=0).read(), (120, 180), "bt601")
    found = aligned(still, frame.L)
    assert found is not None
    assert not found.as_it_is
    inner = np.s_[:, 12:-12, 12:-12]
    before = np.abs(still.ab - frame.ab)[inner].mean()
    after = np.abs(found.known.ab - frame.ab)[inner].mean()
    assert after < 0.8 * before
    same = aligned(frame, frame.L)
    assert same is not None
    assert same.as_it_is


def test_a_still_of_something_else_is_not_forced_onto_a_frame() -> None:
    one, other = picture(240, 360, seed=1), picture(240, 360, seed=2)
    frame = shown(Reference(one, frame=0).read(), (120, 180), "bt601")
    still = shown(Reference(other, frame=0).read(), (120, 180), "bt601")
    assert aligned(still, frame.L) is None
