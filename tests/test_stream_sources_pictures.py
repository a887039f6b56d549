"""Numbered pictures as a film, in and out."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from kinemacolor.stream.address import ImageSequence, LocalFile, parse_sink, parse_source
from kinemacolor.stream.errors import BadSink, SinkExists, SourceNotFound
from kinemacolor.stream.options import LiveOptions
from kinemacolor.stream.run.job import plan_jobs
from kinemacolor.stream.sources.open import open_source

from tests import media
from tests.command import colorize

WEIGHTS = np.array((0.2126, 0.7152, 0.0722))  # BT.709
KINDS = [
    ("%04d.dpx", "dpx", "gbrp10le", 10),
    ("%04d.dpx", "dpx", "gbrp12le", 12),
    ("%04d.tif", "tiff", "rgb48le", 16),
    ("%04d.png", "png", "rgb24", 8),
]


def pictures(folder: Path, name: str, encoder: str, pix_fmt: str, count: int = 4) -> list[Any]:
    """Writes grey pictures of RGB; returns their codes."""
    bits = av.VideoFormat(pix_fmt).components[0].bits
    written = []
    for number in range(1, count + 1):
        grey = media.moving_picture(48, 32, number, bits)
        frame = av.VideoFrame.from_ndarray(np.dstack([grey] * 3), format=pix_fmt)
        context: Any = av.CodecContext.create(encoder, "w")
        context.width, context.height, context.pix_fmt = 48, 32, pix_fmt
        context.time_base = Fraction(1, 25)
        data = b"".join(map(bytes, [*context.encode(frame), *context.encode(None)]))
        (folder / (name % number)).write_bytes(data)
        written.append(grey)
    return written


@pytest.mark.parametrize(("name", "encoder", "pix_fmt", "bits"), KINDS)
def test_numbered_pictures_become_a_film(
    tmp_path: Path, name: str, encoder: str, pix_fmt: str, bits: int
) -> None:
    """A folder of DPX was empty, and one of TIFF was coloured picture by picture."""
    greys = pictures(tmp_path, name, encoder, pix_fmt)
    report = colorize(str(tmp_path / name), tmp_path / "out.mkv", fps=Fraction(18))
    assert (report["frames_in"], report["frames_out"]) == (4, 4)
    assert np.array_equal(media.read_luma(tmp_path / "out.mkv"), greys)
    assert [round(float(t), 3) for t in media.frame_times(tmp_path / "out.mkv")] == [
        round(n / 18, 3) for n in range(4)
    ]


@pytest.mark.parametrize(("name", "encoder", "pix_fmt", "bits"), KINDS)
def test_a_film_becomes_numbered_pictures(
    tmp_path: Path, name: str, encoder: str, pix_fmt: str, bits: int
) -> None:
    greys = pictures(tmp_path, name, encoder, pix_fmt)
    (tmp_path / "out").mkdir()
    colorize(str(tmp_path / name), str(tmp_path / "out" / name), fps=Fraction(18))
    for number, grey in enumerate(greys, 1):
        with av.open(str(tmp_path / "out" / (name % number))) as container:
            frame = next(container.decode(video=0))
        assert frame.format.components[0].bits == bits
        luma = frame.to_ndarray(format=pix_fmt) @ WEIGHTS
        assert np.abs(luma - grey).max() <= 0.51  # half a code of rounding


def test_light_goes_through_unbent(tmp_path: Path) -> None:
    """EXR holds linear light: grey of 0.2 comes out as 0.2."""
    light = np.full((32, 48, 3), 0.2, np.float32)
    frame = av.VideoFrame.from_ndarray(light, format="gbrpf32le")
    context: Any = av.CodecContext.create("exr", "w")
    context.width, context.height, context.pix_fmt = 48, 32, "gbrpf32le"
    context.time_base = Fraction(1, 25)
    (tmp_path / "e1.exr").write_bytes(b"".join(map(bytes, context.encode(frame))))
    (tmp_path / "out").mkdir()
    colorize(str(tmp_path / "e%d.exr"), tmp_path / "out.mkv", fps=Fraction(24))
    code = media.read_luma(tmp_path / "out.mkv").mean() / 65535
    assert code == pytest.approx(1.055 * 0.2 ** (1 / 2.4) - 0.055, abs=0.002)
    colorize(str(tmp_path / "e%d.exr"), str(tmp_path / "out" / "e%d.exr"), fps=Fraction(24))
    with av.open(str(tmp_path / "out" / "e1.exr")) as container:
        assert next(container.decode(video=0)).format.name == "gbrpf32le"


def test_missing_and_broken_pictures_are_gaps_in_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pictures(tmp_path, "%03d.png", "png", "rgb24", 5)
    (tmp_path / "002.png").unlink()
    (tmp_path / "004.png").write_bytes(b"no picture")
    source = open_source(str(tmp_path / "%03d.png"), live=LiveOptions(fps=Fraction(25)))
    assert [frame.pts for frame in source] == [0, 2, 4]
    assert source.damaged == 1
    assert "1 numbers are missing" in caplog.text
    assert "004.png cannot be read" in caplog.text


def test_a_part_of_numbered_pictures(tmp_path: Path) -> None:
    pictures(tmp_path, "%03d.png", "png", "rgb24", 8)
    live = LiveOptions(fps=Fraction(4))
    source = open_source(str(tmp_path / "*.png"), live=live, start_seconds=1, duration_seconds=0.5)
    assert [frame.pts for frame in source] == [0, 1]


def test_what_is_a_pattern(tmp_path: Path) -> None:
    assert isinstance(parse_source(f"{tmp_path}/%06d.dpx"), ImageSequence)
    assert isinstance(parse_source(f"{tmp_path}/scan*.tif"), ImageSequence)
    assert isinstance(parse_sink(f"{tmp_path}/%d.png"), ImageSequence)
    assert isinstance(parse_source("50%done.mkv"), LocalFile)
    (tmp_path / "odd[1].png").touch()
    assert isinstance(parse_source(f"{tmp_path}/odd[1].png"), LocalFile)
    with pytest.raises(SourceNotFound, match="no pictures are named"):
        open_source(f"{tmp_path}/x%d.png")


def test_a_folder_is_one_film_if_told_so(tmp_path: Path) -> None:
    pictures(tmp_path, "b%d.png", "png", "rgb24", 3)
    (job,) = plan_jobs([str(tmp_path)], ["out.mkv"], sequence=True)
    assert isinstance(job.source, ImageSequence)
    assert len(job.source.files()) == 3


def test_pictures_are_not_replaced_unasked(tmp_path: Path) -> None:
    pictures(tmp_path, "%d.png", "png", "rgb24", 2)
    with pytest.raises(SinkExists):
        colorize("test:48x32@25#0.1", str(tmp_path / "%d.png"))
    with pytest.raises(BadSink, match=r"use \.dpx"):
        colorize("test:48x32@25#0.1", str(tmp_path / "%d.webp"))
