"""What stands beside a picture comes along, or is said to be left out."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type
from kinemacolor.stream.color.carrier import notes_of
from kinemacolor.stream.sinks.matroska import set_aspect

from tests import media
from tests.command import colorize

MASTER = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"


@pytest.fixture(scope="module")
def hdr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    params = f"log-level=error:master-display={MASTER}:max-cll=1000,400"
    return media.write_clip(
        tmp_path_factory.mktemp("hdr") / "hdr.mp4",
        codec="libx265",
        pix_fmt="yuv420p10le",
        colorspace="bt2020nc",
        options={"x265-params": params},
        frames=5,
    )


def notes(path: Path) -> dict[Type, bytes]:
    return {note.type: bytes(note) for note in notes_of(media.read_frames(path)[0])}


@pytest.mark.parametrize(
    ("sink", "codec"), [("o.mkv", "hevc"), ("o.mp4", "h264"), ("o.mkv", "av1")]
)
def test_hdr_comes_along(hdr: Path, tmp_path: Path, sink: str, codec: str) -> None:
    """The mastering display and the light level were lost without a word."""
    report = colorize(hdr, tmp_path / sink, codec=codec)
    assert report["streams_left_out"] == []
    before, after = notes(hdr), notes(tmp_path / sink)
    assert after[Type.CONTENT_LIGHT_LEVEL] == before[Type.CONTENT_LIGHT_LEVEL]

    def fractions(data: bytes) -> Any:
        pairs = np.frombuffer(data[:80], np.int32).reshape(-1, 2)
        return pairs[:, 0] / pairs[:, 1]

    kind = Type.MASTERING_DISPLAY_METADATA
    assert fractions(after[kind]) == pytest.approx(fractions(before[kind]), rel=1e-3, abs=1e-4)


def test_hdr_that_a_codec_does_not_take_is_named(hdr: Path, tmp_path: Path) -> None:
    report = colorize(hdr, tmp_path / "o.mkv")
    assert "HDR mastering data: ffv1" in report["streams_left_out"][0]


@pytest.mark.parametrize("codec", ["h264", "hevc", "mpeg2video"])
def test_captions_come_along(tmp_path: Path, codec: str) -> None:
    clip = media.with_captions(tmp_path / "c.ts")
    assert notes(clip)[Type.A53_CC] == b"\xfc\x94\x20"
    report = colorize(clip, tmp_path / "o.mkv", codec=codec)
    assert report["streams_left_out"] == []
    assert notes(tmp_path / "o.mkv")[Type.A53_CC] == b"\xfc\x94\x20"


def test_captions_that_a_codec_does_not_take_are_named(tmp_path: Path) -> None:
    report = colorize(media.with_captions(tmp_path / "c.ts"), tmp_path / "o.mkv")
    assert "closed captions: ffv1" in report["streams_left_out"][0]


@pytest.mark.parametrize(
    ("sink", "codec", "kept"),
    [
        ("o.mkv", "ffv1", True),
        ("o.mov", "prores", True),
        ("o.mkv", "vp9", True),
        ("o.mp4", "h264", False),
    ],
)
def test_alpha_is_kept_or_named(tmp_path: Path, sink: str, codec: str, kept: bool) -> None:
    clip = media.write_clip(tmp_path / "c.mkv", pix_fmt="yuva444p", frames=3)
    report = colorize(clip, tmp_path / sink, codec=codec, crf=1)
    lost = [words for words in report["streams_left_out"] if words.startswith("alpha")]
    assert bool(lost) is not kept
    if kept and codec != "vp9":  # of which FFmpeg's own decoder leaves it out
        first = media.read_frames(tmp_path / sink)[0]
        assert "yuva" in first.format.name
        bits = first.format.components[3].bits
        alpha = media.planes_of(first)[3] / (2**bits - 1)
        assert alpha == pytest.approx(np.full_like(alpha, 128 / 255), abs=0.01)


@pytest.mark.parametrize(
    ("sink", "codec"),
    [("o.mkv", "ffv1"), ("o.mkv", "av1"), ("o.webm", "vp9"), ("o.mp4", "av1"), ("o.mkv", "h264")],
)
def test_pixels_keep_their_shape(tmp_path: Path, sink: str, codec: str) -> None:
    """Where the codec has no word for it, it was lost in Matroska."""
    clip = media.write_clip(
        tmp_path / "c.mp4", codec="libx264", sample_aspect_ratio=Fraction(16, 11), audio="aac"
    )
    sound = {"audio": "aac"} if sink != "o.webm" else {}
    report = colorize(clip, tmp_path / sink, codec=codec)
    assert not [words for words in report["streams_left_out"] if "shape" in words]
    (stream,) = media.ffprobe(tmp_path / sink, "-select_streams", "v", "-show_streams")["streams"]
    assert stream["sample_aspect_ratio"] == "16:11"
    assert len(media.frame_times(tmp_path / sink)) == 10
    if sound:
        assert media.packet_hashes(tmp_path / sink, "audio") == media.packet_hashes(clip, "audio")
    with av.open(str(tmp_path / sink)) as container:  # the index is where the head says
        container.seek(round(0.3 * av.time_base))


def test_a_file_without_room_for_the_shape_stays_as_it_is(tmp_path: Path) -> None:
    clip = media.write_clip(tmp_path / "c.mp4", codec="libx264")
    before = clip.read_bytes()
    assert not set_aspect(clip, Fraction(16, 11))
    assert clip.read_bytes() == before


@pytest.mark.parametrize("sink", ["o.avi", "o.mov"])
def test_full_range_that_cannot_be_said_becomes_limited(
    tmp_path: Path, sink: str, caplog: pytest.LogCaptureFixture
) -> None:
    """MPEG-4 and ProRes have no word for it: black and white came out clipped."""
    clip = media.write_clip(
        tmp_path / "c.mkv", pix_fmt="yuvj420p", codec="mjpeg", options={"q": "1"}
    )
    codec = {"o.avi": "mpeg4", "o.mov": "prores"}[sink]
    colorize(clip, tmp_path / sink, codec=codec)
    assert "brought to limited range" in caplog.text
    ours, theirs = media.read_luma(clip).astype(float), media.read_luma(tmp_path / sink)
    theirs = theirs / 2 ** (media.read_frames(tmp_path / sink)[0].format.components[0].bits - 8)
    assert np.abs(ours * 219 / 255 + 16 - theirs).mean() < 2


def test_rgb_is_no_matrix_of_what_comes_out(tmp_path: Path) -> None:
    clip = media.write_clip(tmp_path / "c.mov", pix_fmt="gray", codec="png", frames=2)
    colorize(clip, tmp_path / "o.mov", codec="h264")
    (stream,) = media.ffprobe(tmp_path / "o.mov", "-show_streams")["streams"]
    assert stream.get("color_space") != "gbr"


def test_the_default_picture_stays_the_default(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Matroska's muxer made the first picture the default one."""
    with av.open(str(tmp_path / "c.mkv"), "w", options={"default_mode": "passthrough"}) as out:
        streams = []
        for number, width in enumerate((32, 64)):
            stream: Any = out.add_stream("ffv1", rate=25, width=width, height=48)
            stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, 25)
            stream.disposition = av.stream.Disposition.default if number else 0
            streams.append(stream)
        for number, stream in enumerate(streams):
            luma = media.moving_picture(stream.width, 48, number)
            frame = media.frame_from_planes(media.neutral_planes(luma, "yuv420p"), "yuv420p")
            frame.pts, frame.time_base = 0, Fraction(1, 25)
            out.mux(stream.encode(frame))
        for stream in streams:
            out.mux(stream.encode(None))
    report = colorize(tmp_path / "c.mkv", tmp_path / "o.mkv")
    assert report["width"] == 32
    assert "the default one, stream 1, is copied" in caplog.text
    found = media.ffprobe(tmp_path / "o.mkv", "-show_streams")["streams"]
    assert [(s["width"], s["disposition"]["default"]) for s in found] == [(32, 0), (64, 1)]


@pytest.mark.parametrize("codec", ["pcm_alaw", "pcm_mulaw", "adpcm_ms", "adpcm_ima_wav"])
def test_sound_that_matroska_knows_by_its_windows_name(tmp_path: Path, codec: str) -> None:
    """`ffmpeg -c copy` takes it; here it was left out, as if Matroska did not."""
    clip = media.write_clip(tmp_path / "c.avi", codec="mpeg4", audio=codec)
    report = colorize(clip, tmp_path / "o.mkv")
    assert report["streams_left_out"] == []
    assert media.packet_hashes(tmp_path / "o.mkv", "audio") == media.packet_hashes(clip, "audio")
    assert media.ffmpeg_luma_hashes(tmp_path / "o.mkv") == media.ffmpeg_luma_hashes(clip)


@pytest.mark.parametrize("sink", ["o.mkv", "o.mov"])
def test_pcm_of_discs_is_rewritten_without_loss(tmp_path: Path, sink: str) -> None:
    clip = media.write_clip(tmp_path / "c.m2ts", codec="libx264", audio="pcm_bluray")
    report = colorize(clip, tmp_path / sink, codec="h264")
    assert report["streams_left_out"] == []

    def samples(path: Path) -> Any:
        with av.open(str(path)) as container:
            return np.concatenate([f.to_ndarray().ravel() for f in container.decode(audio=0)])

    assert np.array_equal(samples(clip), samples(tmp_path / sink))


@pytest.mark.parametrize(("sink", "codec"), [("o.mp4", "h264"), ("o.mov", "prores")])
def test_the_last_title_is_as_long_as_it_was(tmp_path: Path, sink: str, codec: str) -> None:
    """MP4's muxer took the end of a text track to be as long as the title before it."""
    clip = media.write_clip(tmp_path / "c.mp4", codec="libx264", subtitles="mov_text")
    colorize(clip, tmp_path / sink, codec=codec)
    lengths = []
    for path in (clip, tmp_path / sink):
        (stream,) = media.ffprobe(path, "-select_streams", "s", "-show_streams")["streams"]
        lengths.append(float(stream["duration"]))
    assert lengths[1] == pytest.approx(lengths[0], abs=0.002)
    assert len(media.frame_times(tmp_path / sink)) == 10
    found, wanted = (media.packet_times(path, "subtitle")[0] for path in (tmp_path / sink, clip))
    assert found[: len(wanted)] == wanted
