"""Which encoder makes the output, with which settings."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from kinemacolor.stream.errors import BadSink
from kinemacolor.stream.sinks.encode import (
    EncodeOptions,
    choose_encoder,
    encoder_pix_fmt,
    encoder_settings,
    supported_pix_fmts,
)

from kinemacolor.errors import BadOption
from tests import media
from tests.command import colorize


@pytest.mark.parametrize(
    ("options", "suffix", "encoder"),
    [
        (EncodeOptions(), ".mkv", "libx264"),
        (EncodeOptions(), ".MP4", "libx264"),
        (EncodeOptions(), ".webm", "libvpx-vp9"),
        (EncodeOptions(), ".avi", "mpeg4"),
        (EncodeOptions(codec="HEVC"), ".mkv", "libx265"),
        (EncodeOptions(codec="av1"), ".mkv", "libsvtav1"),
        (EncodeOptions(codec="ffv1"), ".mkv", "ffv1"),
        (EncodeOptions(codec="libx264"), ".mkv", "libx264"),
        (EncodeOptions(encoder="x264"), ".mkv", "libx264"),
    ],
)
def test_the_encoder_for_the_options(options: EncodeOptions, suffix: str, encoder: str) -> None:
    assert choose_encoder(options, suffix) == encoder


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (EncodeOptions(codec="nonesuch"), "no encoder 'nonesuch': try one of"),
        (EncodeOptions(codec="aac"), "no video encoder"),
        (EncodeOptions(encoder="x264", codec="vp9"), "x264 makes h264, not vp9"),
    ],
)
def test_an_encoder_that_is_not_there(options: EncodeOptions, said: str) -> None:
    with pytest.raises(BadSink, match=said):
        choose_encoder(options, ".mkv")


@pytest.mark.parametrize("kind", ["nvenc", "qsv", "amf"])
def test_a_codec_that_hardware_has_not(kind: str) -> None:
    with pytest.raises(BadSink, match=f"{kind} has no theora: --codec |FFmpeg has no {kind}"):
        choose_encoder(EncodeOptions(encoder=kind, codec="theora"), ".mkv")


def test_a_gif_is_refused_and_not_tried() -> None:
    for options in (EncodeOptions(), EncodeOptions(codec="gif"), EncodeOptions(codec="h264")):
        with pytest.raises(BadSink, match=r"use \.mp4"):
            choose_encoder(options, ".GIF")


@pytest.mark.skipif("hevc_qsv" not in av.codecs_available, reason="built without QSV")
def test_hardware_that_takes_interleaved_chroma_takes_planar_frames() -> None:
    """QSV takes no planar format at all, and was refused for every film."""
    assert "yuv420p" in supported_pix_fmts("h264_qsv")
    assert encoder_pix_fmt("h264_qsv", "yuv420p") == "nv12"
    assert encoder_pix_fmt("hevc_qsv", "yuv420p10le") == "p010le"
    assert encoder_pix_fmt("libx264", "yuv420p") == "yuv420p"  # which takes nv12 as well


@pytest.mark.parametrize(("planar", "other"), [("yuv420p", "nv12"), ("yuv420p10le", "p010le")])
def test_planar_frames_are_interleaved_bit_for_bit(planar: str, other: str) -> None:
    depth = av.VideoFormat(planar).components[0].bits
    luma = media.moving_picture(66, 50, 0, depth)
    planes = media.neutral_planes(luma, planar, tinted=True)
    frame = media.frame_from_planes(planes, planar)
    frame.pts, frame.time_base = 0, Fraction(1, 25)
    encoder: Any = av.CodecContext.create("rawvideo", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 66, 50, other
    encoder.time_base = frame.time_base
    (packet,) = encoder.encode(frame)
    codes = np.frombuffer(bytes(packet), np.uint8 if depth == 8 else "<u2")
    codes = codes >> (16 - depth if depth > 8 else 0)  # P010 has its codes in the upper bits
    y, uv = codes[: 66 * 50].reshape(50, 66), codes[66 * 50 :].reshape(25, 33, 2)
    for ours, theirs in zip(planes, (y, uv[..., 0], uv[..., 1]), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", ["c.mkv", "c.mp4", "c.mpg"])
def test_mpeg_2_of_a_film_that_counts_in_milliseconds(tmp_path: Path, name: str) -> None:
    clip = media.write_clip(tmp_path / "in.mkv", frames=12)
    colorize(clip, tmp_path / name, codec="mpeg2video")
    times = media.frame_times(tmp_path / name)
    assert [round((time - times[0]) * 1000) for time in times] == [40 * n for n in range(12)]


def test_mpeg_2_of_a_rate_that_it_does_not_know(tmp_path: Path) -> None:
    clip = media.write_clip(tmp_path / "in.mkv", frames=12, rate=17)
    with pytest.raises(BadSink, match="knows no 17 frames a second: use --codec h264"):
        colorize(clip, tmp_path / "c.mkv", codec="mpeg2video")


def test_an_unknown_preset() -> None:
    with pytest.raises(BadOption, match="unknown --preset 'warp': one of ultrafast"):
        EncodeOptions(preset="warp")  # type: ignore[arg-type]


def test_an_unknown_kind_of_encoder() -> None:
    with pytest.raises(BadOption, match="unknown --encoder 'magic': one of auto"):
        EncodeOptions(encoder="magic")  # type: ignore[arg-type]


@pytest.mark.parametrize("encoder", ["libx264", "libx265", "libvpx-vp9", "libsvtav1"])
def test_faster_presets_are_faster_for_every_encoder(encoder: str) -> None:
    """Each counts speed its own way; every x264 name is a setting that the encoder knows."""
    for preset in ("ultrafast", "medium", "placebo"):
        settings = encoder_settings(encoder, EncodeOptions(preset=preset))
        assert settings["crf"]


@pytest.mark.parametrize(
    ("codec", "sink"),
    [
        ("h264", "out.mp4"),
        ("hevc", "out.mp4"),
        ("av1", "out.mp4"),
        ("vp9", "out.webm"),
        ("vp8", "out.webm"),
        ("ffv1", "out.mkv"),
        ("prores", "out.mov"),
        ("mjpeg", "out.mkv"),
        ("rawvideo", "out.nut"),
        ("mpeg4", "out.avi"),
    ],
)
def test_every_codec_makes_a_film_of_the_right_length(
    tmp_path: Path, codec: str, sink: str
) -> None:
    clip = media.write_clip(tmp_path / "clip.mkv", frames=6, size=(96, 64))
    colorize(clip, tmp_path / sink, codec=codec)
    frames = media.read_frames(tmp_path / sink)
    assert len(frames) == 6
    assert (frames[0].width, frames[0].height) == (96, 64)


@pytest.mark.parametrize("size", [(37, 53), (37, 48), (64, 53)])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "gray10le"])
@pytest.mark.parametrize("codec", ["h264", "ffv1"])
def test_odd_pictures_keep_their_size(
    tmp_path: Path, codec: str, pix_fmt: str, size: tuple[int, int]
) -> None:
    clip = media.write_clip(tmp_path / "clip.mkv", pix_fmt=pix_fmt, frames=2, size=size)
    colorize(clip, tmp_path / "out.mkv", codec=codec)
    frame = media.read_frames(tmp_path / "out.mkv")[0]
    assert (frame.width, frame.height) == size


def test_hevc_of_odd_size_is_refused(tmp_path: Path) -> None:
    """x265 corrupts the heap there, and takes the whole process with it."""
    clip = media.write_clip(tmp_path / "clip.mkv", frames=2, size=(37, 53))
    with pytest.raises(BadSink, match="libx265 takes no picture of odd size"):
        colorize(clip, tmp_path / "out.mkv", codec="hevc")
    assert not list(tmp_path.glob("out*"))


def test_what_an_encoder_takes() -> None:
    assert {"yuv420p", "yuv420p10le", "yuv444p"} <= supported_pix_fmts("libx264")
    assert supported_pix_fmts("rawvideo") == set()


def test_av1_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    clip = media.write_clip(tmp_path / "clip.mkv", frames=2)
    colorize(clip, tmp_path / "out.mkv", codec="av1")
    colorize(clip, tmp_path / "out2.mkv", codec="hevc")
    assert capfd.readouterr() == ("", "")


def test_the_rate_guides_and_does_not_round(tmp_path: Path) -> None:
    clip = media.write_clip(tmp_path / "clip.mp4", codec="libx264", rate=24, frames=6)
    colorize(clip, tmp_path / "out.mp4", codec="h264")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].average_rate == 24
