"""How a film was scanned, by its flags and by its pictures; what filters make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from kinemacolor.stream.color.fields import is_combed
from kinemacolor.stream.media import is_frame
from kinemacolor.stream.options import FilmOptions
from kinemacolor.stream.sources.open import open_source
from kinemacolor.stream.sources.scan import is_cadence, judge, order_of

from tests import media
from tests.command import colorize

SIZE = (192, 144)


def clip(path: Path, picture: Any, frames: int = 30, **more: Any) -> Path:
    return media.write_clip(path, size=SIZE, frames=frames, picture=picture, **more)


def frames_of(path: Path, **options: bool) -> tuple[Any, list[av.VideoFrame]]:
    source = open_source(path, film=FilmOptions(**options))
    frames = [item for item in source if is_frame(item)]
    source.close()
    return source, frames


@pytest.mark.parametrize("order", ["tff", "bff"])
def test_fields_are_seen_where_flags_are_silent(tmp_path: Path, order: Any) -> None:
    path = clip(tmp_path / "c.mkv", media.woven(order))
    scan = judge(media.read_frames(path))
    assert (scan.order, scan.telecined, scan.lies) == (order, False, True)
    _, frames = frames_of(path)
    assert {order_of(frame) for frame in frames} == {order}


def test_whole_pictures_are_left_alone(tmp_path: Path) -> None:
    path = clip(tmp_path / "c.mkv", media.moving_picture)
    assert judge(media.read_frames(path)).order == "progressive"
    _, frames = frames_of(path, deinterlace=True)
    assert np.array_equal([media.planes_of(f)[0] for f in frames], media.read_luma(path))


def test_whole_pictures_in_an_interlaced_stream_are_no_fields(tmp_path: Path) -> None:
    path = clip(tmp_path / "c.mkv", media.moving_picture, codec="libx264", interlaced=True)
    _, frames = frames_of(path)
    assert all(frame.interlaced_frame for frame in frames)
    assert not any(is_combed(media.planes_of(frame)[0]) for frame in frames)


@pytest.mark.parametrize(
    ("sink", "codec"),
    [
        ("out.mkv", "ffv1"),
        ("out.mkv", "h264"),
        ("out.mp4", "h264"),
        ("out.mov", "prores"),
        ("out.mkv", "mpeg2video"),
        ("out.avi", "mpeg4"),
    ],
)
@pytest.mark.parametrize("order", ["tff", "bff"])
def test_fields_stay_fields(tmp_path: Path, sink: str, codec: str, order: Any) -> None:
    """They came out flagged progressive."""
    path = clip(tmp_path / "c.avi", media.woven(order), frames=14, rate=25)
    report = colorize(path, tmp_path / sink, codec=codec, crf=1)
    assert report["streams_left_out"] == []
    found = media.ffprobe(tmp_path / sink, "-select_streams", "v", "-show_frames")["frames"]
    assert {f["interlaced_frame"] for f in found} == {1}
    assert {f["top_field_first"] for f in found} == {int(order == "tff")}
    if codec == "ffv1":
        assert media.ffmpeg_luma_hashes(path) == media.ffmpeg_luma_hashes(tmp_path / sink)


def test_a_codec_without_fields_says_so(tmp_path: Path) -> None:
    path = clip(tmp_path / "c.mkv", media.woven("tff"), frames=14)
    report = colorize(path, tmp_path / "out.ts", codec="hevc")
    assert report["streams_left_out"] == ["field order (tff): libx265 in mpegts cannot say it"]


def test_chroma_is_written_field_by_field(tmp_path: Path) -> None:
    """Colours of a moment stood on the lines of the other one as well."""
    path = clip(tmp_path / "c.mkv", media.woven("tff"), frames=14)
    colorize(path, tmp_path / "out.mkv")
    one = clip(
        tmp_path / "one.mkv", lambda w, h, i, b=8: media.woven("tff")(w, h, i, b)[0::2].repeat(2, 0)
    )
    colorize(one, tmp_path / "out-one.mkv")
    upper = [planes[1][0::2] for planes in media.read_planes(tmp_path / "out.mkv")]
    alone = [planes[1][0::2] for planes in media.read_planes(tmp_path / "out-one.mkv")[:14]]
    mean = np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(upper, alone, strict=True)])
    assert mean < 2


def test_deinterlaced(tmp_path: Path) -> None:
    path = clip(tmp_path / "c.mkv", media.woven("tff"))
    source, frames = frames_of(path, deinterlace=True)
    assert source.info.field_order == "progressive"
    assert [f.time for f in frames] == pytest.approx([float(t) for t in media.frame_times(path)])
    assert not any(f.interlaced_frame or is_combed(media.planes_of(f)[0]) for f in frames)


def test_telecine_is_named_and_undone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = clip(tmp_path / "c.mkv", media.telecined, frames=40, rate=30)
    source, frames = frames_of(path, inverse_telecine=True)
    assert "telecine, 2:3" in caplog.text
    assert source.info.rate == 24
    assert len(frames) == 32
    film = [media.moving_picture(*SIZE, 2 * n) for n in range(32)]
    found = [media.planes_of(frame)[0] for frame in frames]
    same = [np.array_equal(a, b) for a, b in zip(found, film, strict=True)]
    assert sum(same) >= 30


@pytest.mark.parametrize(
    ("combed", "wanted"),
    [([False, True, True, False, False] * 5, True), ([True] * 25, False), ([False] * 25, False)],
)
def test_the_cadence_of_telecine(combed: list[bool], wanted: bool) -> None:
    assert is_cadence(combed) is wanted
