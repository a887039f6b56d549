"""What comes out of a source: every frame at its own time, and the other streams' packets."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest
from kinemacolor.stream.errors import BadSource, SourceNotFound
from kinemacolor.stream.media import is_frame
from kinemacolor.stream.options import LiveOptions
from kinemacolor.stream.sources.film import ContainerSource
from kinemacolor.stream.sources.open import open_source

from tests import media
from tests.command import colorize


def read(source: ContainerSource) -> tuple[list[Fraction], list[av.Packet]]:
    """Times of all frames in seconds, and the packets between them."""
    try:
        items = list(source)
    finally:
        source.close()
    frames = [item for item in items if isinstance(item, av.VideoFrame)]
    return [f.pts * f.time_base for f in frames], [i for i in items if isinstance(i, av.Packet)]


def opened(path: Path | str, **options: float) -> ContainerSource:
    source = open_source(path, **options)
    assert isinstance(source, ContainerSource)
    return source


@pytest.mark.parametrize(
    ("name", "codec"),
    [("c.mkv", "ffv1"), ("c.mp4", "libx264"), ("c.mov", "libx264"), ("c.ts", "libx264")],
)
def test_a_variable_rate_is_kept(tmp_path: Path, name: str, codec: str) -> None:
    pts = [0, 1, 5, 6, 20, 21, 22, 40, 77, 80]
    clip = media.write_clip(
        tmp_path / name, codec=codec, frames=10, pts=pts, time_base=Fraction(1, 90), audio="aac"
    )
    times, packets = read(opened(clip))
    assert times == media.frame_times(clip)
    steps = [float(b - a) for a, b in itertools.pairwise(times)]
    wanted = [(b - a) / 90 for a, b in itertools.pairwise(pts)]
    assert steps == pytest.approx(wanted, abs=0.0011)
    assert sum(len(p) for p in media.packet_hashes(clip, "audio")) == len(packets)


def test_ntsc_times_from_a_start_that_is_not_zero(tmp_path: Path) -> None:
    clip = media.write_clip(
        tmp_path / "c.mp4",
        codec="libx264",
        pts=[30030 + 1001 * n for n in range(10)],
        time_base=Fraction(1, 30000),
        rate=Fraction(30000, 1001),
    )
    source = opened(clip)
    assert source.info.rate == Fraction(30000, 1001)
    times, _ = read(source)
    assert [b - a for a, b in itertools.pairwise(times)] == [Fraction(1001, 30000)] * 9
    assert float(times[0]) == pytest.approx(1.001, abs=0.001)


@pytest.mark.parametrize(("name", "codec"), [("c.h264", "libx264"), ("c.avi", "mpeg4")])
def test_missing_times_are_made_from_the_rate(tmp_path: Path, name: str, codec: str) -> None:
    clip = media.write_clip(tmp_path / name, codec=codec, frames=12, rate=25)
    source = opened(clip)
    times, _ = read(source)
    steps = [b - a for a, b in itertools.pairwise(times)]
    assert len(times) == 12
    assert steps == [Fraction(1, 25)] * 11
    if name == "c.h264":
        assert source.repaired == 12


def test_the_rate_of_raw_dv_is_that_of_its_frames(tmp_path: Path) -> None:
    """FFmpeg 8 gives DV's clock, 60000, as its average rate; MP4 refuses that."""
    encoder: Any = av.CodecContext.create("dvvideo", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 720, 576, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
    clip = tmp_path / "tape.dv"
    with clip.open("wb") as file:
        for index in range(4):
            luma = media.moving_picture(720, 576, index)
            frame = media.frame_from_planes(media.neutral_planes(luma, "yuv420p"), "yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            file.writelines(bytes(packet) for packet in encoder.encode(frame))
        file.writelines(bytes(packet) for packet in encoder.encode(None))
    assert colorize(clip, tmp_path / "out.mp4", codec="h264")["frames_in"] == 4
    source = opened(clip)
    times, _ = read(source)
    assert source.info.rate == 25
    assert times == [Fraction(n, 25) for n in range(4)]


def test_times_that_run_backwards_are_repaired_and_counted(tmp_path: Path) -> None:
    clip = media.write_clip(tmp_path / "c.mkv", frames=6)
    source = opened(clip)
    frames = [item for item in source if isinstance(item, av.VideoFrame)]
    source.repaired, source._last_pts = 0, None
    given = [0, 40, 20, 20, 90, None]
    for frame, pts in zip(frames, given, strict=True):
        frame.pts = pts
        source._give_time(frame)
        source._last_pts = frame.pts
    source.close()
    assert [frame.pts for frame in frames] == [0, 40, 41, 42, 90, 130]
    assert source.repaired == 3


@pytest.mark.parametrize(
    ("start", "duration", "first", "count"),
    [
        (0.0, None, 0, 50),
        (0.8, None, 20, 30),
        (0.0, 0.4, 0, 10),
        (0.8, 0.4, 20, 10),
        (1.9, 9, 48, 2),
    ],
)
def test_a_part_of_a_film(
    tmp_path: Path, start: float, duration: float | None, first: int, count: int
) -> None:
    clip = media.write_clip(
        tmp_path / "c.mp4", codec="libx264", frames=50, audio="aac", options={"g": "12"}
    )
    whole = media.frame_times(clip)
    times, packets = read(opened(clip, start_seconds=start, duration_seconds=duration))
    zero = Fraction(str(start))
    assert times == [time - zero for time in whole[first : first + count]]
    first_sound = 0 if start else -0.03  # AAC is primed before zero
    assert all(first_sound <= float(p.pts * p.time_base) < (duration or 99) for p in packets)
    assert packets


def test_a_part_may_keep_its_times(tmp_path: Path) -> None:
    clip = media.write_clip(tmp_path / "c.mkv", frames=30)
    times, _ = read(opened(clip, start_seconds=0.8, copy_times=True))
    assert times == media.frame_times(clip)[20:]


def test_a_part_counts_from_the_films_own_start(tmp_path: Path) -> None:
    """A transport stream begins at 1.4 s: of `-t 1` nothing was decoded."""
    clip = media.write_clip(tmp_path / "c.ts", codec="libx264", frames=50, audio="aac")
    whole = media.frame_times(clip)
    times, packets = read(opened(clip, duration_seconds=1))
    assert times == whole[: len(times)]
    assert len(times) in (24, 25)  # sound may begin a little earlier
    assert packets
    later, _ = read(opened(clip, start_seconds=1))
    assert len(later) in (25, 26)
    assert 0 <= later[0] < 0.04


def start_of(clip: Path) -> float:
    """Seconds at which a container's first stream starts."""
    with av.open(str(clip)) as container:
        return (container.start_time or 0) / av.time_base


def joined(path: Path, *parts: Path) -> Path:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


@pytest.mark.parametrize("sound", [True, False])
@pytest.mark.parametrize("name", ["c.ts", "c.mpg"])
def test_a_clock_that_restarts_goes_on(tmp_path: Path, name: str, sound: bool) -> None:
    """The second half of joined captures came out within a few ticks, or not at all."""
    codec, kind = ("libx264", "aac") if name == "c.ts" else ("mpeg2video", "mp2")
    clip = media.write_clip(tmp_path / name, codec=codec, frames=30, audio=kind if sound else ())
    times, packets = read(opened(joined(tmp_path / f"joined-{name}", clip, clip)))
    steps = [float(b - a) for a, b in pairwise(times)]
    assert len(times) == 60
    assert min(steps) > 0.039
    assert max(steps) < 0.15  # sound may be longer than the picture
    moments = [float(p.pts * p.time_base) for p in packets]
    assert all(a < b for a, b in pairwise(moments))
    assert len(moments) % 2 == 0
    half = len(moments) // 2
    if sound:  # it is as far from its picture as in the first half
        first, second = moments[1] - float(times[0]), moments[half + 1] - float(times[30])
        assert second == pytest.approx(first, abs=0.001)


def test_a_clock_that_goes_back_a_little_restarts_too(tmp_path: Path) -> None:
    """Two captures that overlap by less than a tenth of a second were squeezed at the seam."""
    clip = media.write_clip(tmp_path / "c.ts", codec="libx264", frames=30)
    after = tmp_path / "after.ts"
    media.copy_moved(clip, after, seconds=1.12)
    times, _ = read(opened(joined(tmp_path / "joined.ts", clip, after)))
    assert [round(float(b - a), 3) for a, b in pairwise(times)] == [0.04] * 59


def test_first_frames_without_a_time_are_counted_back(tmp_path: Path) -> None:
    """They were put at zero, however late the first time was."""
    clip = media.write_clip(tmp_path / "c.mkv", frames=10, pts=range(50, 60))
    source = opened(clip)
    decode = source._decode

    def without_times(packet: Any) -> list[av.VideoFrame]:
        frames = decode(packet)
        for frame in frames:
            frame.pts = None if frame.pts < 2120 else frame.pts
        return frames

    source._decode = without_times
    times, _ = read(source)
    assert times == [Fraction(n, 25) for n in range(50, 60)]


def test_what_is_known_of_a_film(tmp_path: Path) -> None:
    clip = media.write_clip(tmp_path / "c.mp4", codec="libx264", frames=50, size=(96, 64))
    info = opened(clip).info
    assert (info.width, info.height, info.pix_fmt, info.codec) == (96, 64, "yuv420p", "h264")
    assert (info.frames, info.rate) == (50, 25)
    assert info.duration_seconds == pytest.approx(2.0, abs=0.05)


def test_a_rotated_film_has_its_matrix(tmp_path: Path) -> None:
    clip = media.write_clip(tmp_path / "c.mp4", codec="libx264", rotate=90, frames=2)
    source = opened(clip)
    read(source)
    assert source.display_matrix is not None
    assert len(source.display_matrix) == 9


def test_the_test_picture() -> None:
    source = opened("test:96x64@10#0.5")
    assert (source.info.width, source.info.height, source.info.pix_fmt) == (96, 64, "gray")
    times, packets = read(source)
    assert times == [Fraction(n, 10) for n in range(5)]
    assert packets == []


@pytest.mark.parametrize("uri", ["test:x", "test:96", "test:96x64@fast", "test:96x64@25#long"])
def test_a_test_picture_that_makes_no_sense(uri: str) -> None:
    with pytest.raises(BadSource, match="expected test:WIDTHxHEIGHT@RATE#SECONDS"):
        open_source(uri)


@pytest.mark.parametrize("uri", ["test:0x0", "test:-5x20", "test:96x64@0"])
def test_a_test_picture_of_nothing(uri: str) -> None:
    with pytest.raises(BadSource):
        open_source(uri)


def test_y4m_from_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = media.write_clip(tmp_path / "c.y4m", codec="rawvideo", frames=5)

    class Input:
        buffer = io.BytesIO(clip.read_bytes())

    monkeypatch.setattr("sys.stdin", Input())
    times, _ = read(opened("-"))
    assert times == [Fraction(n, 25) for n in range(5)]


@pytest.mark.parametrize(("name", "codec"), [("c.y4m", "rawvideo"), ("c.ts", "libx264")])
def test_a_part_of_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, codec: str
) -> None:
    """--start was ignored there."""
    clip = media.write_clip(tmp_path / name, codec=codec, frames=20)
    whole = media.frame_times(clip)

    class Input:
        buffer = io.BytesIO(clip.read_bytes())

    monkeypatch.setattr("sys.stdin", Input())
    times, _ = read(opened("-", start_seconds=0.4, duration_seconds=0.2))
    assert times == [time - whole[10] for time in whole[10:15]]


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("c.ts", "libx264"),
        ("c.mpg", "mpeg2video"),
        ("c.m2v", "mpeg2video"),
        ("c.h264", "libx264"),
        ("c.avi", "mpeg4"),
    ],
)
@pytest.mark.parametrize("group", ["25", "1000"])
def test_a_part_of_what_has_no_index(tmp_path: Path, name: str, codec: str, group: str) -> None:
    """FFmpeg lands amid a group of pictures: frames up to the next key frame were missing."""
    options = {"g": group if codec != "mpeg2video" else "25"}
    clip = media.write_clip(tmp_path / name, codec=codec, frames=150, options=options)
    whole, _ = read(opened(clip))
    for index in (20, 70, 120):
        start = float(whole[index]) - start_of(clip)
        times, _ = read(opened(clip, start_seconds=start, copy_times=True))
        assert times == whole[index:]


def test_a_part_of_the_test_picture() -> None:
    times, _ = read(opened("test:96x64@10#2", start_seconds=0.5, duration_seconds=0.4))
    assert times == [Fraction(n, 10) for n in range(4)]


def test_a_start_behind_the_end_says_how_long_the_film_is(tmp_path: Path) -> None:
    clip = media.write_clip(tmp_path / "c.mkv", frames=25)
    with pytest.raises(BadSource, match=r"c.mkv ends at 1\.0 s: --start 100 lies behind it"):
        read(opened(clip, start_seconds=100))


def test_mp4_with_its_index_at_the_end_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = media.write_clip(
        tmp_path / "c.mp4", codec="libx264", frames=20, size=(320, 240), options={"qp": "0"}
    )

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *where: int) -> int:
            raise io.UnsupportedOperation

    class Input:
        buffer = Pipe(clip.read_bytes())

    monkeypatch.setattr("sys.stdin", Input())
    with pytest.raises(BadSource, match=r"the index of this MP4 lies behind .* \+faststart"):
        open_source("-")


def test_patched_pictures_are_no_skipped_packets(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Their time was "nan s", and they were reported as packets that are missing."""
    clip = media.write_clip(tmp_path / "c.m1v", codec="mpeg1video", frames=60, size=(160, 96))
    source = opened(media.bit_flipped(clip, flips=40))
    times, _ = read(source)
    assert source.patched > 0
    assert source.damaged + len(times) <= 60
    assert f"{source.patched} pictures were damaged and are patched" in caplog.text
    assert "nan" not in caplog.text


def test_options_without_effect_are_said_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = media.write_clip(tmp_path / "c.mkv", frames=1)
    live = LiveOptions(size=(640, 480), fps=Fraction(30), input_format="mjpeg", wait=True)
    open_source(clip, live=live).close()
    assert [message.split()[0] for message in caplog.messages] == [
        *("--size", "--fps", "--input-format", "--wait")
    ]
    caplog.clear()
    open_source(clip, live=LiveOptions(give_up_seconds=5)).close()
    assert caplog.messages == ["--give-up says something of sources that come back: no effect here"]
    caplog.clear()
    open_source(clip, live=LiveOptions()).close()
    assert caplog.messages == []


def test_nothing_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    class Input:
        buffer = io.BytesIO(b"")

    monkeypatch.setattr("sys.stdin", Input())
    with pytest.raises(BadSource, match="standard input"):
        open_source("-")


@pytest.mark.parametrize("name", ["12:30:05.mkv", "tape: one.mp4", "http:x.mkv"])
def test_a_colon_in_a_name_is_no_protocol(tmp_path: Path, name: str) -> None:
    clip = media.write_clip(tmp_path / "c.mkv", frames=3)
    clip.rename(tmp_path / name)
    with contextlib.chdir(tmp_path):
        source = opened(name)
    assert source.info.name == name
    assert len(read(source)[0]) == 3


def test_a_file_url_is_the_file(tmp_path: Path) -> None:
    clip = media.write_clip(tmp_path / "a film.mkv", frames=3)
    assert len(read(opened(clip.as_uri()))[0]) == 3
    assert len(read(opened(f"file:{clip}"))[0]) == 3
    with pytest.raises(SourceNotFound):
        open_source("file:///nowhere/film.mkv")
    with pytest.raises(BadSource, match="on another machine"):
        open_source("file://server/film.mkv")


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes of POSIX")
@pytest.mark.parametrize("suffix", [".y4m", ".ts", ".mkv"])
def test_a_named_pipe_is_not_empty(tmp_path: Path, suffix: str) -> None:
    codec = {".y4m": "rawvideo", ".ts": "libx264", ".mkv": "ffv1"}[suffix]
    clip = media.write_clip(tmp_path / f"c{suffix}", codec=codec, frames=5)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as writer:
        written = writer.submit(pipe.write_bytes, clip.read_bytes())
        times, _ = read(opened(pipe))
        written.result()
    assert len(times) == 5


def test_errors_are_of_the_package_and_of_the_builtin(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        open_source(tmp_path / "gone.mkv")
    assert isinstance(caught.value, SourceNotFound)
    with pytest.raises(BadSource, match="is a folder"):
        open_source(tmp_path)


@pytest.mark.parametrize("suffix", [".mkv", ".avi"])
def test_a_film_that_breaks_off_says_how_much_was_promised(tmp_path: Path, suffix: str) -> None:
    """Of 960 frames 225 came, and the run called it a success."""
    codec = "ffv1" if suffix == ".mkv" else "mpeg4"
    film = media.write_clip(tmp_path / f"film{suffix}", codec=codec, frames=60)
    whole = open_source(film)
    assert sum(map(is_frame, whole)) == 60
    assert whole.broken_off is None
    whole.close()
    part = open_source(media.truncated(film))
    came = sum(map(is_frame, part))
    assert part.broken_off is not None
    assert part.broken_off.promised_seconds > part.broken_off.seconds
    assert part.broken_off.seconds == pytest.approx(came / 25, abs=0.1)
    part.close()


def test_a_film_that_is_overwritten_while_it_is_read_breaks_off(tmp_path: Path) -> None:
    film = media.write_clip(tmp_path / "film.mp4", codec="mpeg4", frames=100, size=(640, 480))
    source = open_source(film)
    items = iter(source)
    next(items)
    os.truncate(film, film.stat().st_size // 2)
    for _ in items:
        pass
    assert source.broken_off is not None
    source.close()


@pytest.mark.parametrize("audio", [(), "aac"])
@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.mov", "a.ts", "a.avi"])
def test_a_whole_film_is_not_broken_off(tmp_path: Path, name: str, audio: str) -> None:
    codec = "mpeg4" if name == "a.avi" else "libx264"
    film = media.write_clip(tmp_path / name, codec=codec, frames=50, audio=audio)
    source = open_source(film)
    for _ in source:
        pass
    assert source.broken_off is None
    source.close()
