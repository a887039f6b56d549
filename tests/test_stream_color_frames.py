"""The decoded luma reaches the output bit for bit, with the tags that say what it means."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from kinemacolor.stream.color.frames import (
    colored_pix_fmt,
    copy_luma,
    frame_encoding,
    has_luma_plane,
    luma_at_depth,
    new_frame,
    plane_view,
    to_luma_format,
)
from kinemacolor.stream.errors import BadSink

from tests import media
from tests.command import colorize

PIX_FMTS = [
    "yuv420p",
    "yuv422p",
    "yuv444p",
    "gray",
    "gray10le",
    "yuv420p10le",
    "yuv422p10le",
    "yuv444p10le",
    "yuv411p",
    "yuv420p12le",
    "gray16le",
    "yuva420p",
]
NEUTRAL = {8: 128, 9: 256, 10: 512, 12: 2048, 14: 8192, 16: 32768}


def tags(path: Path) -> dict[str, Any]:
    """Colour tags as ffprobe reads them; an absent one is "unknown"."""
    names = ("color_range", "color_space", "color_primaries", "color_transfer")
    stream = media.ffprobe(path, "-select_streams", "v:0", "-show_streams")["streams"][0]
    return {name: stream.get(name, "unknown") for name in names}


def ffmpeg(*arguments: str) -> str:
    command = [media._program("ffmpeg"), "-v", "error", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def assert_same_luma(clip: Path, result: Path, *, witness: bool = True) -> None:
    ours, theirs = media.read_luma(clip), media.read_luma(result)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)
    if witness:
        assert media.ffmpeg_luma_hashes(clip) == media.ffmpeg_luma_hashes(result)


@pytest.mark.parametrize("size", [(64, 48), (37, 53), (64, 53), (37, 48)])
@pytest.mark.parametrize("pix_fmt", PIX_FMTS)
def test_luma_is_untouched_in_every_format(
    tmp_path: Path, pix_fmt: str, size: tuple[int, int]
) -> None:
    clip = media.write_clip(tmp_path / "clip.mkv", pix_fmt=pix_fmt, size=size, frames=2)
    result = tmp_path / "result.mkv"
    colorize(clip, result)
    # One size is enough for the second decoder's word: it costs a process.
    assert_same_luma(clip, result, witness=size == (37, 53))
    frame = media.read_frames(result)[0]
    assert frame.format.name.startswith("yuva4" if pix_fmt.startswith("yuva") else "yuv4")
    assert (frame.width, frame.height) == size
    assert frame.format.components[0].bits == av.VideoFormat(pix_fmt).components[0].bits


@pytest.mark.parametrize("color_range", ["limited", "full", None])
@pytest.mark.parametrize("colorspace", ["bt709", "smpte170m", "bt470bg", "bt2020nc", None])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le"])
def test_luma_and_tags_in_every_matrix_and_range(
    tmp_path: Path, pix_fmt: str, colorspace: Any, color_range: Any
) -> None:
    clip = media.write_clip(
        tmp_path / "clip.mkv",
        pix_fmt=pix_fmt,
        frames=2,
        colorspace=colorspace,
        color_range=color_range,
    )
    result = tmp_path / "result.mkv"
    report = colorize(clip, result)
    assert_same_luma(clip, result, witness=False)
    assert tags(result) == tags(clip)
    assert ("guessed" in report["read_as"]) == (colorspace is None or color_range is None)


@pytest.mark.parametrize(
    ("name", "pix_fmt", "codec"),
    [
        ("clip.nut", "nv12", "rawvideo"),
        ("clip.nut", "gray12le", "rawvideo"),
        ("clip.mov", "yuvj420p", "libx264"),
        ("clip.avi", "yuvj420p", "mjpeg"),
        ("clip.mp4", "yuv420p10le", "libx264"),
        ("clip.y4m", "yuv420p", "rawvideo"),
    ],
)
def test_luma_of_other_codecs_and_containers(
    tmp_path: Path, name: str, pix_fmt: str, codec: str
) -> None:
    clip = media.write_clip(tmp_path / name, pix_fmt=pix_fmt, codec=codec, frames=3)
    result = tmp_path / "result.mkv"
    colorize(clip, result)
    assert_same_luma(clip, result)


@pytest.mark.parametrize(
    ("pix_fmt", "planar"),
    [
        ("uyvy422", "yuv422p"),
        ("yuyv422", "yuv422p"),
        ("nv21", "yuv420p"),
        ("gray10be", "gray10le"),
        ("yuv420p10be", "yuv420p10le"),
        ("monow", "gray"),
        ("ya8", "gray"),
        ("yuv440p", "yuv440p"),
        ("yuva444p10le", "yuv444p10le"),
    ],
)
def test_packed_and_big_endian_luma_is_only_rearranged(
    tmp_path: Path, pix_fmt: str, planar: str
) -> None:
    clip, result = tmp_path / "clip.nut", tmp_path / "result.mkv"
    picture = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=5:duration=0.4"]
    ffmpeg(*picture, "-pix_fmt", pix_fmt, "-c:v", "rawvideo", str(clip))
    colorize(clip, result)
    assert media.read_frames(clip)[0].format.name == pix_fmt

    def luma(path: Path, before: str) -> list[str]:
        lines = ffmpeg(
            *("-i", str(path), "-vf", f"{before}extractplanes=y", "-f", "framemd5", "-")
        ).splitlines()
        return [line.split(",")[-1] for line in lines if not line.startswith("#")]

    assert luma(clip, f"format={planar},") == luma(result, "")


@pytest.mark.parametrize("pix_fmt", ["gray", "gray10le"])
def test_full_range_that_only_the_format_told_becomes_a_tag(tmp_path: Path, pix_fmt: str) -> None:
    """Untagged gray is full range; untagged yuv420p would be read as limited, and be stretched."""
    clip = media.write_clip(tmp_path / "clip.mkv", pix_fmt=pix_fmt, frames=2)
    report = colorize(clip, tmp_path / "result.mkv")
    assert "full range (guessed by format)" in report["read_as"]
    assert tags(tmp_path / "result.mkv")["color_range"] == "pc"


def test_yuvj_keeps_its_full_range(tmp_path: Path) -> None:
    clip = media.write_clip(tmp_path / "clip.mov", pix_fmt="yuvj420p", codec="libx264", frames=2)
    colorize(clip, tmp_path / "result.mkv")
    assert tags(tmp_path / "result.mkv")["color_range"] == "pc"


@pytest.mark.parametrize("degrees", [90, 180, 270])
@pytest.mark.parametrize("sink", ["result.mkv", "result.mp4"])
def test_a_rotated_film_keeps_luma_and_rotation(tmp_path: Path, degrees: int, sink: str) -> None:
    clip = media.write_clip(tmp_path / "clip.mp4", codec="libx264", rotate=degrees, frames=2)
    result = tmp_path / sink
    colorize(clip, result, codec="ffv1" if sink.endswith("mkv") else "h264", crf=0.0)
    assert_same_luma(clip, result)
    ours, theirs = (media.read_frames(path)[0].rotation for path in (clip, result))
    assert ours == theirs != 0


def test_lossless_h264_keeps_luma_too(tmp_path: Path) -> None:
    clip = media.write_clip(tmp_path / "clip.mp4", codec="libx264", frames=3)
    colorize(clip, tmp_path / "result.mp4", codec="h264", crf=0.0)
    assert_same_luma(clip, tmp_path / "result.mp4")


def test_sample_aspect_ratio_is_kept(tmp_path: Path) -> None:
    clip = media.write_clip(
        tmp_path / "clip.mp4", codec="libx264", frames=2, sample_aspect_ratio=Fraction(16, 15)
    )
    for sink in ("result.mkv", "result.mp4"):
        colorize(clip, tmp_path / sink, codec="h264")
        with av.open(str(tmp_path / sink)) as container:
            assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 15)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p10le", "nv12"])
def test_the_sources_chroma_is_replaced(tmp_path: Path, pix_fmt: str) -> None:
    name, codec = ("c.nut", "rawvideo") if pix_fmt == "nv12" else ("c.mkv", "ffv1")
    results = []
    for tinted in (False, True):
        clip = media.write_clip(
            tmp_path / name, codec=codec, pix_fmt=pix_fmt, tinted=tinted, frames=2
        )
        colorize(clip, tmp_path / f"{tinted}.mkv")
        results.append(media.read_planes(tmp_path / f"{tinted}.mkv")[1])
    for grey, tinted in zip(*results, strict=True):
        np.testing.assert_array_equal(grey, tinted)
    neutral = NEUTRAL[10 if "10" in pix_fmt else 8]
    assert (results[0][1] != neutral).mean() > 0.5


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "gray"])
def test_saturation_zero_is_neutral_chroma(tmp_path: Path, pix_fmt: str) -> None:
    clip = media.write_clip(tmp_path / "clip.mkv", pix_fmt=pix_fmt, tinted=True, frames=2)
    colorize(clip, tmp_path / "result.mkv", saturation=0.0)
    for planes in media.read_planes(tmp_path / "result.mkv"):
        for plane in planes[1:]:
            assert (plane == NEUTRAL[10 if "10" in pix_fmt else 8]).all()


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "gray"])
@pytest.mark.parametrize("size", [(64, 48), (37, 53)])
def test_compare_puts_grey_beside_colour(
    tmp_path: Path, pix_fmt: str, size: tuple[int, int]
) -> None:
    clip = media.write_clip(tmp_path / "clip.mkv", pix_fmt=pix_fmt, size=size, frames=2)
    colorize(clip, tmp_path / "alone.mkv", compare=False)
    colorize(clip, tmp_path / "beside.mkv", compare=True)
    luma = media.read_luma(clip)
    beside = media.read_planes(tmp_path / "beside.mkv")
    for index, (y, cb, cr) in enumerate(beside):
        np.testing.assert_array_equal(y, np.concatenate([luma[index]] * 2, axis=1))
        half = cb.shape[1] // 2
        neutral = NEUTRAL[10 if "10" in pix_fmt else 8]
        assert (cb[:, :half] == neutral).all()
        assert (cr[:, :half] == neutral).all()
        assert (cb[:, -half:] != neutral).mean() > 0.5
    if size[0] % 2 == 0:
        for ours, theirs in zip(media.read_planes(tmp_path / "alone.mkv"), beside, strict=True):
            for plane, wide in zip(ours[1:], theirs[1:], strict=True):
                np.testing.assert_array_equal(plane, wide[:, -plane.shape[1] :])


@pytest.mark.parametrize("pix_fmt", ["rgb24", "gbrp", "bgr0"])
def test_rgb_is_converted_once(tmp_path: Path, pix_fmt: str) -> None:
    """A grey RGB code v has the full-range luma code v: nothing of 8-bit grey is lost."""
    clip = media.write_clip(tmp_path / "clip.nut", pix_fmt=pix_fmt, codec="rawvideo", frames=2)
    colorize(clip, tmp_path / "result.mkv")
    wanted = np.stack([media.moving_picture(64, 48, index) for index in range(2)])
    np.testing.assert_array_equal(media.read_luma(tmp_path / "result.mkv"), wanted)
    assert tags(tmp_path / "result.mkv")["color_range"] == "pc"
    assert tags(tmp_path / "result.mkv")["color_space"] == "bt709"


def test_coloured_rgb_becomes_the_luma_of_bt709(tmp_path: Path) -> None:
    clip = media.write_clip(
        tmp_path / "clip.nut", pix_fmt="rgb24", codec="rawvideo", frames=1, tinted=True
    )
    colorize(clip, tmp_path / "result.mkv")
    rgb = media.read_planes(clip)[0][0].astype(float)
    wanted = rgb @ [0.2126, 0.7152, 0.0722]
    # swscale's fixed-point arithmetic may round the other way, by one code.
    assert np.abs(media.read_luma(tmp_path / "result.mkv")[0] - wanted).max() <= 1.01


@pytest.mark.parametrize("pix_fmt", ["p010le", "xyz12le", "rgb24", "yuyv422", "pal8", "monow"])
def test_formats_without_a_luma_plane(pix_fmt: str) -> None:
    assert not has_luma_plane(av.VideoFormat(pix_fmt))


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "nv12", "gray10le", "yuvj444p", "yuva420p"])
def test_formats_with_a_luma_plane(pix_fmt: str) -> None:
    assert has_luma_plane(av.VideoFormat(pix_fmt))


def test_p010_becomes_ten_plain_bits() -> None:
    luma = media.moving_picture(64, 48, 0, 10)
    plain = media.frame_from_planes(media.neutral_planes(luma, "yuv420p10le"), "yuv420p10le")
    shifted = plain.reformat(format="p010le")
    shifted.pts, shifted.time_base = 7, Fraction(1, 25)
    back = to_luma_format(shifted)
    assert back.format.name == "yuv420p10le"
    assert (back.pts, back.time_base) == (7, Fraction(1, 25))
    np.testing.assert_array_equal(plane_view(back, 0), luma)


@pytest.mark.parametrize(("height", "colorspace"), [(480, "bt601"), (576, "bt601"), (720, "bt709")])
def test_an_untagged_matrix_is_guessed_by_size(height: int, colorspace: str) -> None:
    read = frame_encoding(av.VideoFrame(64, height, "yuv420p"))
    assert read.encoding.colorspace == colorspace
    assert read.encoding.color_range == "limited"
    assert read.guessed_colorspace
    assert read.guessed_range


def test_a_new_frame_has_the_time_and_tags_of_the_old() -> None:
    old = av.VideoFrame(64, 48, "gray10le")
    old.pts, old.time_base, old.duration = 33, Fraction(1, 90000), 3003
    old.colorspace, old.color_range, old.color_primaries, old.color_trc = 9, 1, 9, 16
    new = new_frame(old, "yuv420p10le")
    assert (new.pts, new.time_base, new.duration) == (33, Fraction(1, 90000), 3003)
    tags = (new.colorspace, new.color_range, new.color_primaries, new.color_trc)
    assert [int(tag) for tag in tags] == [9, 1, 9, 16]


@pytest.mark.parametrize(
    ("pix_fmt", "supported", "size", "chosen"),
    [
        ("gray", set(), (64, 48), "yuv420p"),
        ("nv12", set(), (64, 48), "yuv420p"),
        ("yuv411p", set(), (64, 48), "yuv444p"),
        ("gray10le", {"yuv420p", "yuv420p10le"}, (64, 48), "yuv420p10le"),
        ("yuv420p12le", {"yuv420p", "yuv420p10le"}, (64, 48), "yuv420p10le"),
        ("yuv420p", {"yuv422p10le"}, (64, 48), "yuv422p10le"),
        ("yuv420p", {"yuvj420p", "yuvj444p"}, (64, 48), "yuvj420p"),
        ("yuv420p", {"yuv420p", "yuv422p", "yuv444p"}, (37, 48), "yuv444p"),
        ("yuv420p", {"yuv420p", "yuv422p", "yuv444p"}, (64, 53), "yuv422p"),
        ("yuv422p", {"yuv420p", "yuv422p", "yuv444p"}, (37, 48), "yuv444p"),
    ],
)
def test_the_format_for_the_encoder(
    pix_fmt: str, supported: set[str], size: tuple[int, int], chosen: str
) -> None:
    assert colored_pix_fmt(av.VideoFormat(pix_fmt), supported, *size) == chosen


def test_an_encoder_of_rgb_alone_is_refused() -> None:
    with pytest.raises(BadSink, match="only bgr24, rgb24"):
        colored_pix_fmt(av.VideoFormat("yuv420p"), {"rgb24", "bgr24"}, 64, 48)


@pytest.mark.parametrize("color_range", [1, 2])
def test_more_bits_and_back_is_the_same_luma(color_range: int) -> None:
    """Limited range is shifted and full range scaled: black stays black, white stays white."""
    luma = np.arange(256, dtype=np.uint8).reshape(16, 16)
    frame = media.frame_from_planes([luma, *[np.full((8, 8), 128, np.uint8)] * 2], "yuv420p")
    frame.color_range, frame.time_base = color_range, Fraction(1, 25)
    wide = new_frame(frame, "yuv420p10le")
    copy_luma(frame, wide)
    codes = plane_view(wide, 0).ravel()
    assert codes[255] == (1023 if color_range == 2 else 1020)
    assert codes[16] == 64 or color_range == 2
    np.testing.assert_array_equal(luma_at_depth(wide, 8), luma)
