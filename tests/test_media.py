"""The clips that the other tests stand on are what they say they are."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests import media

PIX_FMTS = [
    "yuv420p",
    "yuv422p",
    "yuv444p",
    "yuv420p10le",
    "yuv422p10le",
    "yuv444p10le",
    "gray",
    "gray10le",
]


@pytest.mark.parametrize("size", [(64, 48), (37, 53), (1, 1)])
@pytest.mark.parametrize("pix_fmt", PIX_FMTS)
def test_ffv1_clip_holds_the_picture_bit_for_bit(
    tmp_path: Path, pix_fmt: str, size: tuple[int, int]
) -> None:
    clip = media.write_clip(tmp_path / "clip.mkv", pix_fmt=pix_fmt, size=size, frames=3)
    frames = media.read_frames(clip)
    assert [frame.format.name for frame in frames] == [pix_fmt] * 3
    depth = frames[0].format.components[0].bits
    for index, frame in enumerate(frames):
        luma, *chroma = media.planes_of(frame)
        np.testing.assert_array_equal(luma, media.moving_picture(*size, index, depth))
        assert all((plane == 2 ** (depth - 1)).all() for plane in chroma)


@pytest.mark.parametrize(
    ("name", "pix_fmt", "codec"),
    [
        ("clip.nut", "nv12", "rawvideo"),
        ("clip.nut", "rgb24", "rawvideo"),
        ("clip.nut", "gbrp", "rawvideo"),
        ("clip.mkv", "bgr0", "ffv1"),
        ("clip.y4m", "yuv420p", "rawvideo"),
    ],
)
def test_raw_and_rgb_clips(tmp_path: Path, name: str, pix_fmt: str, codec: str) -> None:
    clip = media.write_clip(tmp_path / name, pix_fmt=pix_fmt, codec=codec, frames=2, tinted=True)
    frames = media.read_frames(clip)
    assert [frame.format.name for frame in frames] == [pix_fmt] * 2
    luma = media.moving_picture(64, 48, 1)
    expected = media.neutral_planes(luma, pix_fmt, tinted=True)
    for plane, wanted in zip(media.planes_of(frames[1]), expected, strict=True):
        np.testing.assert_array_equal(plane, wanted)


@pytest.mark.parametrize(
    ("name", "pix_fmt", "codec"),
    [
        ("clip.mp4", "yuv420p", "libx264"),
        ("clip.mp4", "yuvj420p", "libx264"),
        ("clip.avi", "yuvj420p", "mjpeg"),
        ("clip.avi", "yuv420p", "mpeg4"),
    ],
)
def test_lossy_clips_look_like_the_picture(
    tmp_path: Path, name: str, pix_fmt: str, codec: str
) -> None:
    clip = media.write_clip(tmp_path / name, pix_fmt=pix_fmt, codec=codec)
    luma = media.read_luma(clip)
    assert len(luma) == 10
    error = luma[3].astype(int) - media.moving_picture(64, 48, 3)
    assert np.abs(error).mean() < 8


def test_the_picture_moves_and_has_edges_and_every_code() -> None:
    first, second = media.moving_picture(256, 64, 0), media.moving_picture(256, 64, 1)
    assert (first[:-1] != second[:-1]).mean() > 0.5
    assert np.abs(np.diff(first.astype(int), axis=1)).max() > 60
    assert set(first[-1]) == set(range(256))
    np.testing.assert_array_equal(first, media.moving_picture(256, 64, 0))


@pytest.mark.parametrize("name", ["clip.mkv", "clip.mp4"])
@pytest.mark.parametrize("color_range", ["limited", "full"])
@pytest.mark.parametrize("colorspace", ["bt709", "bt470bg", "smpte170m", "bt2020nc"])
def test_color_tags(tmp_path: Path, name: str, colorspace: str, color_range: str) -> None:
    clip = media.write_clip(
        tmp_path / name,
        codec="libx264",
        frames=2,
        colorspace=colorspace,
        color_range=color_range,
    )
    (frame, _) = media.read_frames(clip)
    assert frame.colorspace == media.COLORSPACES[colorspace]
    assert frame.color_range == media.COLOR_RANGES[color_range]
    stream = media.ffprobe(clip, "-show_streams", "-select_streams", "v")["streams"][0]
    assert stream["color_space"] == colorspace
    assert stream["color_range"] == {"limited": "tv", "full": "pc"}[color_range]


def test_an_untagged_clip_has_no_tags(tmp_path: Path) -> None:
    clip = media.write_clip(tmp_path / "clip.mp4", codec="libx264", frames=2)
    stream = media.ffprobe(clip, "-show_streams", "-select_streams", "v")["streams"][0]
    assert "color_space" not in stream
    assert "color_range" not in stream


def test_variable_frame_rate(tmp_path: Path) -> None:
    pts = [0, 40, 41, 130, 1000]
    clip = media.write_clip(
        tmp_path / "clip.mkv", frames=5, pts=pts, time_base=Fraction(1, 1000), size=(37, 53)
    )
    assert media.frame_times(clip) == [Fraction(tick, 1000) for tick in pts]


def test_raw_h264_has_no_pts(tmp_path: Path) -> None:
    clip = media.write_clip(tmp_path / "clip.h264", codec="libx264")
    assert media.frame_times(clip) == [None] * 10
    assert media.packet_times(clip, "video") == [[None] * 10]


@pytest.mark.parametrize("name", ["clip.mkv", "clip.mp4"])
@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_rotation(tmp_path: Path, name: str, degrees: int) -> None:
    clip = media.write_clip(tmp_path / name, codec="libx264", frames=2, rotate=degrees)
    frame = media.read_frames(clip)[0]
    assert (frame.rotation - degrees) % 360 == 0
    assert (frame.width, frame.height) == (64, 48)


def test_sample_aspect_ratio(tmp_path: Path) -> None:
    ratio = Fraction(64, 45)
    clip = media.write_clip(
        tmp_path / "clip.mp4", codec="libx264", frames=2, sample_aspect_ratio=ratio
    )
    with av.open(str(clip)) as container:
        assert container.streams.video[0].sample_aspect_ratio == ratio


def test_interlaced(tmp_path: Path) -> None:
    clip = media.write_clip(tmp_path / "clip.mp4", codec="libx264", frames=2, interlaced=True)
    assert media.read_frames(clip)[0].interlaced_frame


def test_everything_but_the_picture(tmp_path: Path) -> None:
    clip = media.write_clip(
        tmp_path / "clip.mkv",
        codec="libx264",
        audio=("aac", "libmp3lame", "flac"),
        subtitles="ass",
        chapters=True,
        metadata={"title": "A trip"},
        attachment=True,
    )
    with av.open(str(clip)) as container:
        kinds = [stream.type for stream in container.streams]
        assert kinds == ["video", "audio", "audio", "audio", "subtitle", "attachment"]
        languages = [stream.metadata.get("language") for stream in container.streams.audio]
        assert languages == ["eng", "fra", "deu"]
        titles = [chapter["metadata"]["title"] for chapter in container.chapters()]
        assert titles == ["first", "second"]
        assert container.metadata["title"] == "A trip"
        assert container.streams.attachments[0].data == b"not a font"
    sounds = media.packet_hashes(clip, "audio")
    assert len(sounds) == 3
    assert all(len(packets) >= 5 for packets in sounds)
    assert [len(packets) for packets in media.packet_hashes(clip, "subtitle")] == [2]
    times = media.packet_times(clip, "subtitle")
    assert times == [[Fraction(40, 1000), Fraction(160, 1000)]]


def test_mp4_carries_subtitles_and_a_timecode_track(tmp_path: Path) -> None:
    clip = media.write_clip(
        tmp_path / "clip.mp4",
        codec="libx264",
        audio="aac",
        subtitles="mov_text",
        timecode="01:00:00:00",
    )
    with av.open(str(clip)) as container:
        kinds = [stream.type for stream in container.streams]
    assert kinds == ["video", "audio", "subtitle", "data"]
    assert len(media.packet_hashes(clip, "data")[0]) == 1


def test_the_same_call_writes_the_same_packets(tmp_path: Path) -> None:
    first = media.write_clip(tmp_path / "a.mkv", audio="flac")
    second = media.write_clip(tmp_path / "b.mkv", audio="flac")
    for kind in ("video", "audio"):
        assert media.packet_hashes(first, kind) == media.packet_hashes(second, kind)


def test_damage(tmp_path: Path) -> None:
    clip = media.write_clip(tmp_path / "clip.mkv")
    data = clip.read_bytes()
    assert media.truncated(clip, 0.5).read_bytes() == data[: len(data) // 2]
    flipped = media.bit_flipped(clip, flips=5, start=0.5).read_bytes()
    assert len(flipped) == len(data)
    assert flipped[: len(data) // 2] == data[: len(data) // 2]
    assert 1 <= sum(a != b for a, b in zip(flipped, data, strict=True)) <= 5


def test_ffmpeg_agrees_about_the_luma(tmp_path: Path) -> None:
    first = media.write_clip(tmp_path / "a.mkv", pix_fmt="yuv420p", size=(37, 53))
    tinted = media.write_clip(tmp_path / "b.mkv", pix_fmt="yuv420p", size=(37, 53), tinted=True)
    other = media.write_clip(tmp_path / "c.mkv", size=(37, 53), picture=_still)
    assert media.ffmpeg_luma_hashes(first) == media.ffmpeg_luma_hashes(tinted)
    assert len(set(media.ffmpeg_luma_hashes(first))) == 10
    assert len(set(media.ffmpeg_luma_hashes(other))) == 1


def _still(width: int, height: int, index: int, bit_depth: int) -> media.Plane:
    return media.moving_picture(width, height, 0, bit_depth)
