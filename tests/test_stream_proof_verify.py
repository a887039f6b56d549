"""`kinemacolor verify` holds for good results, and fails for each thing that was tampered with."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from kinemacolor.stream.proof.verify import verify

from tests import media
from tests.command import colorize, kinemacolor


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    clip = media.write_clip(
        tmp_path / "clip.mkv", frames=10, audio=["aac", "flac"], subtitles="srt", colorspace="bt709"
    )
    colorize(clip, tmp_path / "result.mkv")
    return clip, tmp_path / "result.mkv"


def rewrite(
    path: Path,
    *,
    frame: Callable[[int, av.VideoFrame], av.VideoFrame | None] = lambda index, frame: frame,
    packet: Callable[[str, int, Any], Any] = lambda kind, index, packet: packet,
    colorspace: int | None = None,
) -> Path:
    """A copy with its frames, its packets or its tags tampered with; everything else as it was."""
    copy = path.with_name("tampered.mkv")
    with av.open(str(path)) as source, av.open(str(copy), "w") as target:
        ours = source.streams.video[0]
        video: Any = target.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = ours.width, ours.height, ours.pix_fmt
        video.codec_context.time_base = ours.time_base
        context = video.codec_context
        context.colorspace = colorspace if colorspace is not None else 1
        others = {
            s.index: target.add_stream_from_template(s) for s in source.streams if s is not ours
        }
        counts = dict.fromkeys([ours.index, *others], 0)
        for item in source.demux():
            if item.stream is ours:
                for decoded in item.decode():
                    changed = frame(counts[ours.index], decoded)
                    counts[ours.index] += 1
                    if changed is not None:
                        target.mux(video.encode(changed))
            elif item.size:
                index = item.stream.index
                changed = packet(item.stream.type, counts[index], item)
                counts[index] += 1
                if changed is not None:
                    changed.stream = others[index]
                    target.mux(changed)
        target.mux(video.encode(None))
    return copy


def failed(clip: Path, result: Path) -> list[str]:
    return [check.name for check in verify(clip, result) if not check.passed]


def test_a_good_result_passes(pair: tuple[Path, Path]) -> None:
    checks = verify(*pair)
    assert [check.name for check in checks] == [
        "frames",
        "times",
        "luma",
        "tags",
        "audio",
        "subtitle",
    ]
    assert failed(*pair) == []
    assert {c.name: c.detail for c in checks}["luma"] == "identical in every frame"


def test_rewriting_alone_changes_nothing(pair: tuple[Path, Path]) -> None:
    assert failed(pair[0], rewrite(pair[1])) == []


def test_one_changed_luma_sample_fails(pair: tuple[Path, Path]) -> None:
    def touch(index: int, frame: av.VideoFrame) -> av.VideoFrame:
        if index != 7:
            return frame
        planes = media.planes_of(frame)
        planes[0][20, 30] ^= 1
        changed = media.frame_from_planes(planes, frame.format.name)
        changed.pts, changed.time_base = frame.pts, frame.time_base
        return changed

    tampered = rewrite(pair[1], frame=touch)
    assert failed(pair[0], tampered) == ["luma"]
    said = {c.name: c.detail for c in verify(pair[0], tampered)}["luma"]
    assert "1 frames differ" in said


def test_a_changed_chroma_sample_is_no_matter(pair: tuple[Path, Path]) -> None:
    def touch(index: int, frame: av.VideoFrame) -> av.VideoFrame:
        planes = media.planes_of(frame)
        planes[1][5, 5] ^= 1
        changed = media.frame_from_planes(planes, frame.format.name)
        changed.pts, changed.time_base = frame.pts, frame.time_base
        return changed

    assert failed(pair[0], rewrite(pair[1], frame=touch)) == []


@pytest.mark.parametrize("missing", [0, 5, 9])
def test_a_missing_frame_fails(pair: tuple[Path, Path], missing: int) -> None:
    tampered = rewrite(pair[1], frame=lambda index, frame: None if index == missing else frame)
    assert "frames" in failed(pair[0], tampered)


@pytest.mark.parametrize("moved", [0, 4, 9])
def test_a_moved_frame_fails(pair: tuple[Path, Path], moved: int) -> None:
    def move(index: int, frame: av.VideoFrame) -> av.VideoFrame:
        if index == moved:
            frame.pts += 10  # ms
        return frame

    assert failed(pair[0], rewrite(pair[1], frame=move)) == ["times"]


def test_a_film_moved_against_its_sound_fails(pair: tuple[Path, Path]) -> None:
    def move(index: int, frame: av.VideoFrame) -> av.VideoFrame:
        frame.pts += 80
        return frame

    assert failed(pair[0], rewrite(pair[1], frame=move)) == ["times"]


@pytest.mark.parametrize("kind", ["audio", "subtitle"])
def test_a_changed_packet_fails(pair: tuple[Path, Path], kind: str) -> None:
    def touch(of: str, index: int, packet: Any) -> Any:
        if of != kind or index != 1:
            return packet
        data = bytearray(bytes(packet))
        data[-1] ^= 1
        changed = av.Packet(bytes(data))
        changed.pts, changed.dts = packet.pts, packet.dts
        changed.duration, changed.time_base = packet.duration, packet.time_base
        return changed

    assert failed(pair[0], rewrite(pair[1], packet=touch)) == [kind]


def test_a_missing_packet_fails(pair: tuple[Path, Path]) -> None:
    tampered = rewrite(
        pair[1],
        packet=lambda kind, index, packet: None if (kind, index) == ("audio", 2) else packet,
    )
    assert "audio" in failed(pair[0], tampered)


def test_a_changed_tag_fails(pair: tuple[Path, Path]) -> None:
    assert failed(pair[0], rewrite(pair[1], colorspace=9)) == ["tags"]


def test_a_lost_rotation_fails(tmp_path: Path) -> None:
    turned = media.write_clip(tmp_path / "turned.mp4", codec="libx264", rotate=90, frames=3)
    plain = media.write_clip(tmp_path / "plain.mp4", codec="libx264", frames=3)
    assert failed(turned, plain) == ["tags"]


def test_another_size_fails(tmp_path: Path) -> None:
    one = media.write_clip(tmp_path / "one.mkv", frames=2)
    other = media.write_clip(tmp_path / "other.mkv", frames=2, size=(32, 48))
    assert failed(one, other) == ["luma"]


def test_a_lossy_result_passes_with_its_psnr_and_fails_below_reason(tmp_path: Path) -> None:
    clip = media.write_clip(tmp_path / "clip.mkv", frames=5)
    colorize(clip, tmp_path / "good.mp4", codec="h264", crf=12.0)
    assert failed(clip, tmp_path / "good.mp4") == []
    said = {c.name: c.detail for c in verify(clip, tmp_path / "good.mp4")}["luma"]
    assert "PSNR" in said
    assert "h264" in said
    colorize(clip, tmp_path / "poor.mp4", codec="h264", crf=51.0)
    assert failed(clip, tmp_path / "poor.mp4") == ["luma"]


@pytest.mark.parametrize("sink", ["result.mkv", "result.mp4", "result.mov", "result.ts"])
@pytest.mark.parametrize("name", ["clip.mkv", "clip.mp4", "clip.ts"])
def test_good_results_pass_in_every_container(tmp_path: Path, name: str, sink: str) -> None:
    clip = media.write_clip(
        tmp_path / name,
        codec="libx264",
        frames=12,
        pts=[0, 1, 5, 6, 20, 21, 22, 40, 77, 80, 81, 95],
        time_base=Fraction(1, 90),
        audio=["aac", "libmp3lame"],
    )
    colorize(clip, tmp_path / sink, codec="h264", crf=10.0)
    assert failed(clip, tmp_path / sink) == []


def test_a_result_of_more_bits_is_compared_at_its_depth(tmp_path: Path) -> None:
    clip = media.write_clip(tmp_path / "clip.mkv", frames=3)
    colorize(clip, tmp_path / "result.mov", codec="prores")
    assert failed(clip, tmp_path / "result.mov") == []


def test_a_side_by_side_result_passes(tmp_path: Path) -> None:
    clip = media.write_clip(tmp_path / "clip.mkv", frames=3)
    colorize(clip, tmp_path / "result.mkv", compare=True)
    assert failed(clip, tmp_path / "result.mkv") == []


def test_the_command_says_so_and_exits_with_one(pair: tuple[Path, Path]) -> None:
    good = kinemacolor("verify", *pair)
    assert good.returncode == 0
    assert [line.split()[0] for line in good.stdout.splitlines()] == ["ok"] * 6
    bad = kinemacolor(
        "verify", pair[0], rewrite(pair[1], frame=lambda i, frame: None if i == 3 else frame)
    )
    assert bad.returncode == 1
    assert any(line.startswith("FAIL  frames") for line in bad.stdout.splitlines())
