"""Which encoder makes the output, with which settings."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from stream.encode import (
    EncodeOptions,
    choose_encoder,
    encoder_settings,
    supported_pix_fmts,
)
from stream.errors import BadSink
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
        (EncodeOptions(encoder="magic"), "unknown encoder 'magic': one of auto"),
    ],
)
def test_an_encoder_that_is_not_there(options: EncodeOptions, said: str) -> None:
    with pytest.raises(BadSink, match=said):
        choose_encoder(options, ".mkv")


def test_an_unknown_preset() -> None:
    with pytest.raises(BadSink, match="unknown preset 'warp': one of ultrafast"):
        encoder_settings("libx264", EncodeOptions(preset="warp"))


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
