"""Known colours end to end: a grey film and a still in, the still's colours out."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
from kinemacolor.stream.anchor.hints import Hint
from kinemacolor.stream.anchor.reference import Reference
from kinemacolor.stream.errors import BadHint, BadReference
from kinemacolor.stream.proof.verify import verify
from kinemacolor.stream.run.run import colorize
from kinemacolor.stream.run.stills import write_stills

from tests.anchors import chroma_of, panned, picture, read_chroma, write_grey_film
from tests.models import write_model

CUT = 8  # the number of the second shot's first frame


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[np.ndarray]]:
    pictures = [
        *panned(CUT, height=192, width=288),
        *panned(10, height=192, width=288, seed=5),
    ]
    return write_grey_film(tmp_path_factory.mktemp("film") / "grey.mkv", pictures), pictures


def error(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.abs(found - truth).mean())


def test_a_referenced_frame_has_the_stills_chroma_and_its_shot_follows(
    film: tuple[Path, list[np.ndarray]], tmp_path: Path
) -> None:
    grey, pictures = film
    still = tmp_path / "frame-000012.png"
    cv2.imwrite(str(still), pictures[12][..., ::-1])
    report = colorize(grey, tmp_path / "out.mkv", references=[still], codec="ffv1")
    colorize(grey, tmp_path / "alone.mkv", codec="ffv1")
    assert all(check.passed for check in verify(grey, tmp_path / "out.mkv"))
    truth = chroma_of(pictures)
    found, alone = read_chroma(tmp_path / "out.mkv"), read_chroma(tmp_path / "alone.mkv")
    assert error(found[12], truth[12]) <= 1
    for number in (9, 10, 15, 17):  # before and after it
        assert error(found[number], truth[number]) < 0.4 * error(alone[number], truth[number])
    (used,) = report["references"]
    assert used["name"] == str(still)
    assert used["first_frame"] <= CUT + 1
    assert used["largest_share"] > 0.9
    json.dumps(report)


def test_a_network_without_features_and_key_frames_have_them_too(
    film: tuple[Path, list[np.ndarray]], tmp_path: Path
) -> None:
    grey, pictures = film
    model = write_model(tmp_path / "tiny.onnx")
    reference = Reference(pictures[0], frame=0)
    colorize(
        grey, tmp_path / "o.mkv", references=[reference], codec="ffv1", model=str(model), every=4
    )
    found, truth = read_chroma(tmp_path / "o.mkv"), chroma_of(pictures)
    assert error(found[0], truth[0]) <= 1
    assert error(found[6], truth[6]) < 6


def test_where_it_is_transparent_a_still_has_no_opinion(
    film: tuple[Path, list[np.ndarray]], tmp_path: Path
) -> None:
    grey, pictures = film
    alpha = np.zeros((*pictures[0].shape[:2], 1), np.uint8)
    alpha[:, :144] = 255
    still = np.dstack([pictures[0], alpha])
    colorize(
        grey, tmp_path / "o.mkv", references=[Reference(still, frame=0)],
        codec="ffv1", steady="off", reference_strength=1.0,
    )  # fmt: skip
    colorize(grey, tmp_path / "alone.mkv", codec="ffv1", steady="off")
    truth = chroma_of(pictures)[0].reshape(2, 96, 144)
    found = read_chroma(tmp_path / "o.mkv")[0].reshape(2, 96, 144)
    alone = read_chroma(tmp_path / "alone.mkv")[0].reshape(2, 96, 144)
    assert error(found[..., :70], truth[..., :70]) <= 1
    assert error(found[..., 80:], alone[..., 80:]) < 3


def test_a_picture_that_fits_nothing_is_said(
    film: tuple[Path, list[np.ndarray]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    grey, _ = film
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    with caplog.at_level(logging.WARNING):
        report = colorize(grey, "null:", references=[Reference(noise)])
    assert report["references"][0]["largest_share"] < 0.02
    assert "was not used" in caplog.text


def test_a_still_of_another_frame_than_it_says_is_said(
    film: tuple[Path, list[np.ndarray]], caplog: pytest.LogCaptureFixture
) -> None:
    grey, _ = film
    other = np.random.default_rng(0).integers(0, 255, (192, 288, 3), np.uint8)
    with caplog.at_level(logging.WARNING):
        report = colorize(grey, "null:", references=[Reference(other, frame=3)])
    assert "does not look like frame 3" in caplog.text
    assert "note" in report["references"][0]


def test_hints_colour_their_things_and_are_reported(
    film: tuple[Path, list[np.ndarray]], tmp_path: Path
) -> None:
    grey, _ = film
    hint = Hint(0.5, 0.5, "#2040c0", frame=0)
    report = colorize(grey, tmp_path / "o.mkv", hints=[hint], codec="ffv1")
    found = read_chroma(tmp_path / "o.mkv")[0].reshape(2, 96, 144)
    assert found[0, 48, 72] > 140  # Cb: blue
    assert report["hints"][0]["name"] == hint.name
    assert report["hints"][0]["frames"] > 0


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"references": [Reference(picture(192, 288), frame=40)]}, BadReference, "film's end"),
        ({"references": [Reference(picture(192, 288), time=9.0)]}, BadReference, "film's end"),
        ({"references": [Reference(picture(100, 288), frame=1)]}, BadReference, "same shape"),
        ({"hints": [Hint(0.5, 0.5, "keep", frame=99)]}, BadHint, "film's end"),
    ],
)
def test_what_cannot_be_used_is_said_before_the_work(
    film: tuple[Path, list[np.ndarray]],
    tmp_path: Path,
    options: dict[str, object],
    kind: type[Exception],
    said: str,
) -> None:
    with pytest.raises(kind, match=said):
        colorize(film[0], tmp_path / "o.mkv", **options)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_stills_are_one_of_each_shot_and_are_taken_back(
    film: tuple[Path, list[np.ndarray]], tmp_path: Path
) -> None:
    grey, _ = film
    written = write_stills(grey, tmp_path / "stills", colored=True, contact_sheet=True)
    assert [path.name for path in written] == [
        "frame-000003.png",
        "frame-000011.png",
        "contact-sheet.jpg",
    ]
    report = colorize(grey, "null:", references=[tmp_path / "stills"])
    assert [used["largest_share"] for used in report["references"]] == pytest.approx([1, 1])
