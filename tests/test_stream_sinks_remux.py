"""Sound, titles, chapters and tags arrive as they were, or are named as left out."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from kinemacolor.stream.sinks.remux import has_adts_header

from tests import media
from tests.command import colorize

META = {"title": "The Film", "artist": "Someone", "comment": "a comment", "date": "1921"}


@pytest.fixture
def full_mkv(tmp_path: Path) -> Path:
    return media.write_clip(
        tmp_path / "clip.mkv",
        frames=25,
        audio=["aac", "flac", "libmp3lame"],
        subtitles="srt",
        chapters=True,
        attachment=True,
        metadata=META,
    )


@pytest.fixture
def full_mp4(tmp_path: Path) -> Path:
    return media.write_clip(
        tmp_path / "clip.mp4",
        codec="libx264",
        frames=25,
        audio=["aac", "libmp3lame"],
        subtitles="mov_text",
        chapters=True,
        timecode="01:00:00:00",
        metadata=META,
    )


def streams(path: Path) -> list[tuple[str, str]]:
    found = media.ffprobe(path, "-show_streams")["streams"]
    return [(s["codec_type"], s.get("codec_name", "")) for s in found]


def stream_tags(path: Path, name: str) -> list[str]:
    found = media.ffprobe(path, "-show_streams")["streams"]
    return [s.get("tags", {}).get(name, "") for s in found if s["codec_type"] != "data"]


def dispositions(path: Path) -> list[list[str]]:
    found = media.ffprobe(path, "-show_streams")["streams"]
    return [sorted(key for key, on in s["disposition"].items() if on) for s in found]


def chapters(path: Path) -> list[tuple[float, float, str]]:
    found = media.ffprobe(path, "-show_chapters")["chapters"]
    return [(float(c["start_time"]), float(c["end_time"]), c["tags"]["title"]) for c in found]


def format_tags(path: Path) -> dict[str, str]:
    found = media.ffprobe(path, "-show_format")["format"]["tags"]
    return {k.lower(): v for k, v in found.items() if k.lower() in META}


def copied_bytes(path: Path, kind: str) -> list[str]:
    """The witness: SHA-256 of every stream of a kind, as ffmpeg copies it out."""
    count = sum(1 for codec_type, _ in streams(path) if codec_type == kind)
    hashes = []
    for index in range(count):
        done = subprocess.run(
            [
                *(media._program("ffmpeg"), "-v", "error", "-i", str(path)),
                *("-map", f"0:{kind[0]}:{index}", "-c", "copy", "-f", "data", "-"),
            ],
            check=True,
            capture_output=True,
        )
        hashes.append(hashlib.sha256(done.stdout).hexdigest())
    return hashes


def test_mkv_to_mkv_carries_everything(full_mkv: Path, tmp_path: Path) -> None:
    result = tmp_path / "result.mkv"
    report = colorize(full_mkv, result)
    assert report["streams_left_out"] == []
    assert streams(result) == streams(full_mkv)
    assert media.packet_hashes(result, "audio") == media.packet_hashes(full_mkv, "audio")
    assert media.packet_times(result, "audio") == media.packet_times(full_mkv, "audio")
    assert media.packet_hashes(result, "subtitle") == media.packet_hashes(full_mkv, "subtitle")
    assert media.packet_times(result, "subtitle") == media.packet_times(full_mkv, "subtitle")
    assert copied_bytes(result, "audio") == copied_bytes(full_mkv, "audio")
    assert stream_tags(result, "language")[1:5] == ["eng", "fra", "deu", "eng"]
    assert stream_tags(result, "filename") == stream_tags(full_mkv, "filename")
    assert chapters(result) == chapters(full_mkv)
    assert format_tags(result) == {**META, **format_tags(full_mkv)} == format_tags(full_mkv)


def test_mp4_to_mp4_carries_everything(full_mp4: Path, tmp_path: Path) -> None:
    result = tmp_path / "result.mp4"
    report = colorize(full_mp4, result, codec="h264")
    assert report["streams_left_out"] == []
    assert streams(result) == streams(full_mp4)  # chapter and timecode tracks are made anew
    assert media.packet_hashes(result, "audio") == media.packet_hashes(full_mp4, "audio")
    assert media.packet_times(result, "audio") == media.packet_times(full_mp4, "audio")
    assert copied_bytes(result, "audio") == copied_bytes(full_mp4, "audio")
    assert stream_tags(result, "language")[1:] == stream_tags(full_mp4, "language")[1:]
    assert stream_tags(result, "timecode")[0] == "01:00:00:00"
    assert chapters(result) == chapters(full_mp4)
    assert format_tags(result) == format_tags(full_mp4) == META
    ours, theirs = titles(full_mp4), titles(result)
    assert ours == theirs == [(Fraction(40, 1000), b"one"), (Fraction(160, 1000), b"two")]


def titles(path: Path) -> list[tuple[Fraction, bytes]]:
    """Time and text of every mov_text packet that has one."""
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.subtitles[0])
        return [(p.pts * p.time_base, bytes(p)[2:]) for p in packets if len(bytes(p)) > 2]


def test_mov_with_timecode(tmp_path: Path) -> None:
    """Every camera writes such a track; copying it as it is fails in the muxer."""
    clip = media.write_clip(
        tmp_path / "clip.mov", codec="libx264", timecode="10:20:30:05", audio="pcm_s16le"
    )
    for sink in ("result.mov", "result.mp4", "result.mkv"):
        report = colorize(clip, tmp_path / sink, codec="h264")
        assert report["streams_left_out"] == []
        found = media.ffprobe(tmp_path / sink, "-show_streams")["streams"][0]["tags"]
        assert {k.lower(): v for k, v in found.items()}["timecode"] == "10:20:30:05"
        if sink != "result.mkv":
            assert copied_bytes(tmp_path / sink, "audio") == copied_bytes(clip, "audio")


@pytest.mark.parametrize(
    ("sink", "codec", "left_out"),
    [
        ("result.mp4", "h264", ["mp4 takes no subrip", "mp4 takes no attachment"]),
        ("result.mov", "h264", ["mov takes no flac", "mov takes no subrip", "attachment"]),
        ("result.ts", "h264", ["mpegts takes no flac", "no subrip", "no attachment"]),
        ("result.webm", "vp9", ["no aac", "no flac", "no mp3", "no subrip", "no attachment"]),
    ],
)
def test_what_a_container_does_not_take_is_named(
    full_mkv: Path,
    tmp_path: Path,
    sink: str,
    codec: str,
    left_out: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    report = colorize(full_mkv, tmp_path / sink, codec=codec)
    for reason, said in zip(left_out, report["streams_left_out"], strict=True):
        assert reason in said
        assert any(said.split(":")[0] in m and "is left out" in m for m in caplog.messages)
    kept = media.packet_hashes(tmp_path / sink, "audio")
    assert len(kept) == 3 - sum(
        "takes no" in r and "audio" in r for r in report["streams_left_out"]
    )
    assert len(media.read_frames(tmp_path / sink)) == 25


def test_mov_text_into_matroska_is_named_as_left_out(full_mp4: Path, tmp_path: Path) -> None:
    report = colorize(full_mp4, tmp_path / "result.mkv")
    assert [said.split(": ")[1] for said in report["streams_left_out"]] == [
        "matroska takes no mov_text"
    ]
    assert chapters(tmp_path / "result.mkv") == chapters(full_mp4)


@pytest.mark.parametrize("sink", ["result.mp4", "result.mov", "result.mkv", "result.ts"])
def test_aac_of_a_transport_stream_goes_everywhere(tmp_path: Path, sink: str) -> None:
    """Its packets bring headers that MP4 does not take, and fragments switch off the mending."""
    clip = media.write_clip(tmp_path / "clip.ts", codec="libx264", audio=["aac", "aac"])
    report = colorize(clip, tmp_path / sink, codec="h264")
    assert report["streams_left_out"] == []
    for ours, theirs in zip(payloads(clip), payloads(tmp_path / sink), strict=True):
        assert ours == theirs
        assert len(ours) > 10


def payloads(path: Path) -> Iterator[list[bytes]]:
    """The AAC packets of each track, without the header of 7 bytes that MPEG-TS adds."""
    with av.open(str(path)) as container:
        found: dict[int, list[bytes]] = {s.index: [] for s in container.streams.audio}
        for packet in container.demux(container.streams.audio):
            if packet.size:
                skip = 7 if has_adts_header(packet.stream, packet) else 0
                found[packet.stream.index].append(bytes(packet)[skip:])
        yield from found.values()


def with_cover(clip: Path, name: str, *how: str) -> Path:
    """`clip` with a cover picture, as other programs put it into MP4 and Matroska."""
    ffmpeg = [media._program("ffmpeg"), "-v", "error", "-y"]
    cover, result = clip.with_name("cover.jpg"), clip.with_name(name)
    picture = ["-f", "lavfi", "-i", "testsrc2=size=32x32", "-frames:v", "1"]
    subprocess.run([*ffmpeg, *picture, str(cover)], check=True)
    options = [str(cover) if word == "COVER" else word for word in how]
    subprocess.run([*ffmpeg, "-i", str(clip), *options, "-c", "copy", str(result)], check=True)
    return result


def as_mp4_cover(clip: Path) -> Path:
    return with_cover(
        clip,
        "cover.mp4",
        *("-i", "COVER", "-map", "0", "-map", "1", "-disposition:v:1", "attached_pic"),
    )


def as_mkv_cover(clip: Path) -> Path:
    return with_cover(clip, "cover.mkv", "-attach", "COVER", "-metadata:s:t", "mimetype=image/jpeg")


@pytest.mark.parametrize("dress", [as_mp4_cover, as_mkv_cover])
def test_a_cover_is_kept_in_matroska_and_named_as_left_out_of_mp4(
    tmp_path: Path, dress: Any
) -> None:
    clip = dress(media.write_clip(tmp_path / "clip.mp4", codec="libx264", audio="aac"))
    report = colorize(clip, tmp_path / "result.mkv")
    assert report["frames_out"] == 10
    assert report["streams_left_out"] == []
    assert dispositions(tmp_path / "result.mkv")[2] == ["attached_pic"]
    with av.open(str(clip)) as ours, av.open(str(tmp_path / "result.mkv")) as theirs:
        pictures = [bytes(next(c.demux(c.streams[2]))) for c in (ours, theirs)]
    assert pictures[0] == pictures[1] == (tmp_path / "cover.jpg").read_bytes()

    report = colorize(clip, tmp_path / "result.mp4", codec="h264")
    assert [said.split(": ")[1] for said in report["streams_left_out"]] == [
        "mp4 takes no cover picture"
    ]
    assert [kind for kind, _ in streams(tmp_path / "result.mp4")] == ["video", "audio"]


def test_dispositions_and_titles_of_tracks_are_kept(tmp_path: Path) -> None:
    plain = media.write_clip(tmp_path / "plain.mkv", audio=["aac", "aac"])
    clip = tmp_path / "clip.mkv"
    subprocess.run(
        [
            *(media._program("ffmpeg"), "-v", "error", "-i", str(plain), "-map", "0", "-c", "copy"),
            *("-disposition:a:0", "default", "-disposition:a:1", "comment+forced"),
            *("-metadata:s:a:1", "title=Commentary", str(clip)),
        ],
        check=True,
    )
    colorize(clip, tmp_path / "result.mkv")
    assert dispositions(tmp_path / "result.mkv") == dispositions(clip)
    assert dispositions(clip)[2] == ["comment", "forced"]
    assert stream_tags(tmp_path / "result.mkv", "title") == ["", "", "Commentary"]


def test_a_second_video_track_is_copied(tmp_path: Path) -> None:
    one = media.write_clip(tmp_path / "one.mp4", codec="libx264", audio="aac")
    clip, result = tmp_path / "clip.mkv", tmp_path / "result.mkv"
    subprocess.run(
        [
            *(media._program("ffmpeg"), "-v", "error", "-i", str(one), "-i", str(one)),
            *("-map", "0", "-map", "1:v", "-c", "copy", str(clip)),
        ],
        check=True,
    )
    colorize(clip, result)
    assert media.packet_hashes(result, "video")[1] == media.packet_hashes(clip, "video")[1]


def test_chapters_of_a_part_are_not_those_of_the_whole(full_mkv: Path, tmp_path: Path) -> None:
    colorize(full_mkv, tmp_path / "result.mkv", start_seconds=0.5)
    assert chapters(tmp_path / "result.mkv") == []


@pytest.mark.parametrize("name", ["clip.mkv", "clip.mxf"])
@pytest.mark.parametrize("sink", ["out.mp4", "out.mov"])
@pytest.mark.parametrize("channels", [2, 6])
def test_pcm_of_several_channels_goes_into_mp4(
    tmp_path: Path, name: str, sink: str, channels: int
) -> None:
    """Matroska and MXF do not say where channels stand; MP4 refused that behind the last frame."""
    clip = with_pcm(tmp_path / name, channels)
    report = colorize(clip, tmp_path / sink, codec="h264")
    assert report["streams_left_out"] == []
    assert copied_bytes(tmp_path / sink, "audio") == copied_bytes(clip, "audio")


def test_pcm_that_mp4_has_no_places_for_is_left_out_before_the_work(tmp_path: Path) -> None:
    clip = with_pcm(tmp_path / "clip.mkv", 9)
    report = colorize(clip, tmp_path / "out.mp4", codec="h264")
    assert report["streams_left_out"] == ["audio stream 1: mp4 takes no pcm_s16le"]
    assert len(media.read_frames(tmp_path / "out.mp4")) == 25
    report = colorize(clip, tmp_path / "out.mkv")
    assert report["streams_left_out"] == []


def with_pcm(path: Path, channels: int) -> Path:
    """A second of film with 16-bit PCM of so many channels, whose places are not known."""
    subprocess.run(
        [
            *(media._program("ffmpeg"), "-v", "error", "-f", "lavfi"),
            *("-i", "testsrc=size=64x48:rate=25:duration=1", "-f", "lavfi"),
            *("-i", f"aevalsrc={'|'.join(['sin(999*t)'] * channels)}:duration=1:sample_rate=48000"),
            *("-c:v", "mpeg2video" if path.suffix == ".mxf" else "ffv1", "-pix_fmt", "yuv420p"),
            *("-c:a", "pcm_s16le", str(path)),
        ],
        check=True,
    )
    return path
