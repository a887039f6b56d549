"""One suite over the sinks, and the pipe that other programs read."""

from __future__ import annotations

import errno
import io
import itertools
import os
import shutil
import subprocess
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from kinemacolor.stream.errors import BadSink, SinkError, SinkExists
from kinemacolor.stream.media import Sink
from kinemacolor.stream.options import LiveOptions
from kinemacolor.stream.sinks import film as film_module
from kinemacolor.stream.sinks.encode import EncodeOptions
from kinemacolor.stream.sinks.film import FilmSink, check_target
from kinemacolor.stream.sinks.open import open_sink
from kinemacolor.stream.sinks.y4m import Y4MSink
from kinemacolor.stream.sources.open import open_source

from tests import media
from tests.command import TIMEOUT_SECONDS, colorize, command_line, environment, kinemacolor
from tests.models import write_model

CONTAINERS = ["out.mkv", "out.mp4", "out.mov", "out.m4v", "out.ts", "out.webm", "out.nut"]


@pytest.mark.parametrize("sink", CONTAINERS)
@pytest.mark.parametrize("name", ["clip.mkv", "clip.mp4"])
def test_every_frame_keeps_its_time_in_every_container(
    tmp_path: Path, name: str, sink: str
) -> None:
    clip = media.write_clip(
        tmp_path / name,
        codec="libx264",
        frames=10,
        pts=[3, 4, 8, 9, 23, 24, 25, 43, 80, 83],
        time_base=Fraction(1, 90),
    )
    codec = "vp9" if sink.endswith("webm") else "h264"
    report = colorize(clip, tmp_path / sink, codec=codec)
    assert report["frames_in"] == report["frames_out"] == 10
    ours, theirs = media.frame_times(clip), media.frame_times(tmp_path / sink)
    steps = [[float(b - a) for a, b in itertools.pairwise(times)] for times in (ours, theirs)]
    # Matroska counts in milliseconds; each end of a step may be rounded.
    assert steps[1] == pytest.approx(steps[0], abs=0.0011)
    if not sink.endswith(("ts", "nut")):  # they cannot start at a negative time: all is moved
        assert float(theirs[0]) == pytest.approx(float(ours[0]), abs=0.0006)


def test_mp4_times_are_exact_where_the_source_counts_in_them(tmp_path: Path) -> None:
    """An edit list that counts in milliseconds moved films that start between two."""
    clip = media.write_clip(
        tmp_path / "clip.ts",
        codec="libx264",
        pts=[1000 + 1001 * n for n in range(10)],
        time_base=Fraction(1, 30000),
        rate=Fraction(30000, 1001),
        audio="aac",
    )
    for sink in ("out.mp4", "out.mov"):
        colorize(clip, tmp_path / sink, codec="h264")
        assert media.frame_times(tmp_path / sink) == media.frame_times(clip)


def test_the_last_frame_lasts_as_long_as_it_did(tmp_path: Path) -> None:
    clip = media.write_clip(
        tmp_path / "clip.mp4",
        codec="libx264",
        pts=[0, 1, 5, 6, 20, 21, 22, 40, 77, 80],
        time_base=Fraction(1, 90),
    )
    colorize(clip, tmp_path / "out.mp4", codec="h264")
    lasts = []
    for path in (clip, tmp_path / "out.mp4"):
        frame = media.read_frames(path)[-1]
        lasts.append(frame.duration * frame.time_base)
    assert lasts[0] == lasts[1]


@pytest.mark.parametrize(("name", "codec"), [("clip.h264", "libx264"), ("clip.avi", "mpeg4")])
@pytest.mark.parametrize("sink", ["out.mkv", "out.mp4"])
def test_a_film_without_times_gets_the_rates(
    tmp_path: Path, name: str, codec: str, sink: str
) -> None:
    clip = media.write_clip(tmp_path / name, codec=codec, frames=8)
    colorize(clip, tmp_path / sink, codec="h264")
    assert media.frame_times(tmp_path / sink) == [Fraction(n, 25) for n in range(8)]


def test_avi_is_written_at_its_constant_rate_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = media.write_clip(tmp_path / "clip.y4m", codec="rawvideo", frames=8)
    colorize(clip, tmp_path / "out.avi", codec=None)
    assert media.frame_times(tmp_path / "out.avi") == [Fraction(n, 25) for n in range(8)]
    assert any("AVI lays frames at one constant rate" in message for message in caplog.messages)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le", "gray", "yuv444p", "gray10le"])
def test_y4m_on_standard_output_is_read_by_ffmpeg_with_the_same_luma(
    tmp_path: Path, pix_fmt: str
) -> None:
    clip = media.write_clip(tmp_path / "clip.mkv", pix_fmt=pix_fmt, frames=4, size=(66, 50))
    model = write_model(tmp_path / "tiny.onnx")
    ours = subprocess.Popen(
        command_line(
            *("colorize", "--quiet", "--backend", "onnxruntime", "--steady", "off"),
            *("--model", model, clip, "-o", "-"),
        ),
        env=environment(),
        stdout=subprocess.PIPE,
    )
    ffmpeg = [media._program("ffmpeg"), "-v", "error", "-i", "-", "-c:v", "ffv1"]
    result = tmp_path / "result.mkv"
    subprocess.run([*ffmpeg, str(result)], stdin=ours.stdout, check=True, timeout=TIMEOUT_SECONDS)
    assert ours.stdout
    ours.stdout.close()
    assert ours.wait(TIMEOUT_SECONDS) == 0
    np.testing.assert_array_equal(media.read_luma(clip), media.read_luma(result))
    assert media.frame_times(result) == media.frame_times(clip)


@pytest.mark.parametrize(
    ("pts", "moved"), [([0, 1, 5, 6, 20, 21], "frames come at other times"), (range(7, 13), None)]
)
def test_y4m_says_that_it_cannot_keep_times(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, pts: Sequence[int], moved: str | None
) -> None:
    clip = media.write_clip(tmp_path / "c.mkv", frames=6, pts=pts, time_base=Fraction(1, 25))
    source = open_source(str(clip))
    sink = Y4MSink(io.BytesIO(), source)
    for item in source:
        sink.write(item)
    sink.finish()
    source.close()
    assert [moved in message for message in caplog.messages if moved] == [True] * bool(moved)
    assert bool(caplog.messages) == bool(moved)


def test_a_film_that_is_sent_faster_than_it_plays_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = media.write_clip(tmp_path / "clip.mkv", frames=3)
    colorize(clip, "rtsp://@:0/live", codec=None)
    assert any("--realtime plays it at its own speed" in message for message in caplog.messages)
    caplog.clear()
    colorize(clip, tmp_path / "out.mkv", codec=None)
    assert not any("--realtime" in message for message in caplog.messages)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
def test_y4m_on_standard_input_and_a_file_out(tmp_path: Path, pix_fmt: str) -> None:
    clip = media.write_clip(tmp_path / "clip.mkv", pix_fmt=pix_fmt, frames=4)
    model = write_model(tmp_path / "tiny.onnx")
    decoder = subprocess.Popen(
        [
            *(media._program("ffmpeg"), "-v", "error", "-i", str(clip)),
            *("-f", "yuv4mpegpipe", "-strict", "-1", "-"),
        ],
        stdout=subprocess.PIPE,
    )
    assert decoder.stdout
    done = kinemacolor(
        *("colorize", "--quiet", "--backend", "onnxruntime", "--steady", "off", "--codec", "ffv1"),
        *("--model", model, "-", "-o", tmp_path / "result.mkv"),
        stdin=decoder.stdout,
    )
    decoder.stdout.close()
    assert decoder.wait(TIMEOUT_SECONDS) == 0
    assert (done.returncode, done.stderr) == (0, "")
    np.testing.assert_array_equal(media.read_luma(clip), media.read_luma(tmp_path / "result.mkv"))
    assert media.frame_times(tmp_path / "result.mkv") == media.frame_times(clip)


def test_any_container_on_standard_input(tmp_path: Path) -> None:
    clip = media.write_clip(tmp_path / "clip.mkv", frames=4, audio="aac")
    model = write_model(tmp_path / "tiny.onnx")
    with clip.open("rb") as pipe:
        done = kinemacolor(
            *("colorize", "--quiet", "--backend", "onnxruntime", "--codec", "ffv1"),
            *("--model", model, "-", "-o", tmp_path / "result.mkv"),
            stdin=pipe,
        )
    assert (done.returncode, done.stderr) == (0, "")
    np.testing.assert_array_equal(media.read_luma(clip), media.read_luma(tmp_path / "result.mkv"))
    ours, theirs = (media.packet_hashes(p, "audio") for p in (clip, tmp_path / "result.mkv"))
    assert ours == theirs


def test_null_takes_everything(tmp_path: Path) -> None:
    clip = media.write_clip(tmp_path / "clip.mkv", frames=4)
    before = sorted(tmp_path.iterdir())
    write_model(tmp_path / "tiny.onnx")
    report = colorize(clip, "null:", model=str(tmp_path / "tiny.onnx"))
    assert report["frames_out"] == 4
    assert sorted(p for p in tmp_path.iterdir() if p.suffix != ".onnx") == before


def test_the_test_picture_into_a_file(tmp_path: Path) -> None:
    write_model(tmp_path / "tiny.onnx")
    report = colorize("test:64x48@10#0.5", tmp_path / "out.mkv")
    assert report["frames_out"] == 5
    assert "full range" in report["read_as"]


def test_check_target(tmp_path: Path) -> None:
    (tmp_path / "film.mkv").touch()
    (tmp_path / "there.mkv").touch()
    film = str(tmp_path / "film.mkv")
    check_target(tmp_path / "new.mkv", film, overwrite=False)
    check_target(tmp_path / "there.mkv", film, overwrite=True)
    for path, error, said in (
        (tmp_path / "there.mkv", SinkExists, "--overwrite replaces it"),
        (tmp_path, BadSink, "is a folder"),
        (tmp_path / "x" / "new.mkv", SinkError, "no such folder"),
        (tmp_path / "new", BadSink, "no suffix"),
        (tmp_path / "." / "film.mkv", BadSink, "the same file"),
    ):
        with pytest.raises(error, match=said):
            check_target(path, film, overwrite=False)


def test_a_film_is_no_picture(tmp_path: Path) -> None:
    clip = media.write_clip(tmp_path / "clip.mkv", frames=2)
    with pytest.raises(BadSink, match="cannot become the picture"):
        colorize(clip, tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


def test_chroma_matches_between_file_and_pipe(tmp_path: Path) -> None:
    clip = media.write_clip(tmp_path / "clip.mkv", frames=2)
    colorize(clip, tmp_path / "out.mkv")
    model = tmp_path / "tiny.onnx"
    done = subprocess.run(
        command_line(
            *("colorize", "--quiet", "--backend", "onnxruntime", "--steady", "off"),
            *("--model", model, clip, "-o", "-"),
        ),
        env=environment(),
        capture_output=True,
        check=True,
        timeout=TIMEOUT_SECONDS,
    )
    (tmp_path / "out.y4m").write_bytes(done.stdout)
    for ours, theirs in zip(
        media.read_planes(tmp_path / "out.mkv"),
        media.read_planes(tmp_path / "out.y4m"),
        strict=True,
    ):
        for plane, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(plane, other)
    with av.open(str(tmp_path / "out.y4m")) as container:
        assert container.streams.video[0].average_rate == 25


def test_a_picture_that_changes_its_size_is_scaled_and_said_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = media.write_clip(tmp_path / "one.ts", codec="libx264", frames=5)
    two = media.write_clip(tmp_path / "two.ts", codec="libx264", frames=5, size=(96, 64))
    clip = tmp_path / "clip.ts"
    clip.write_bytes(one.read_bytes() + two.read_bytes())
    report = colorize(clip, tmp_path / "out.mkv")
    assert report["frames_out"] == 10
    assert sum("it is scaled to 64x48" in message for message in caplog.messages) == 1
    done = kinemacolor(
        *("colorize", "--quiet", "--backend", "onnxruntime", "--steady", "off"),
        *("--model", tmp_path / "tiny.onnx", clip, "-o", "-"),
        errors="replace",
    )
    assert done.returncode == 1
    assert done.stderr.startswith("kinemacolor: the picture becomes 96x64")


def two_sinks(path: Path, *, overwrite: bool) -> tuple[Sink, Sink]:
    """Two runs with one output, both after their last frame: of 5 and of 9."""
    sinks = []
    for count in (5, 9):
        clip = media.write_clip(path.with_name(f"clip-{count}.mkv"), frames=count)
        source = open_source(clip)
        options = EncodeOptions(codec="ffv1")
        sink = open_sink(path, source, options=options, overwrite=overwrite)
        for item in source:
            sink.write(item)
        source.close()
        sinks.append(sink)
    return sinks[0], sinks[1]


@pytest.mark.parametrize("overwrite", [False, True])
def test_two_runs_with_one_output_do_not_harm_each_other(tmp_path: Path, overwrite: bool) -> None:
    """Both wrote into one temporary file, and the first gave it the output's name half-written."""
    out = tmp_path / "out.mkv"
    first, second = two_sinks(out, overwrite=overwrite)
    first.finish()
    assert len(media.read_frames(out)) == 5
    if overwrite:
        second.finish()
        assert len(media.read_frames(out)) == 9
    else:
        with pytest.raises(SinkExists, match=r"what this run wrote is .*out\.partial-2\.mkv"):
            second.finish()
        second.abandon(keep=False)
        assert len(media.read_frames(out)) == 5
        assert len(media.read_frames(tmp_path / "out.partial-2.mkv")) == 9
    left = {path.name for path in tmp_path.glob("out*")}
    assert left == ({"out.mkv"} if overwrite else {"out.mkv", "out.partial-2.mkv"})


def test_an_output_that_is_given_up_takes_no_other_with_it(tmp_path: Path) -> None:
    first, second = two_sinks(tmp_path / "out.mkv", overwrite=False)
    kept = first.abandon(keep=True)
    assert kept == tmp_path / "out.partial.mkv"
    assert second.abandon(keep=False) is None
    assert len(media.read_frames(kept)) == 5
    assert not (tmp_path / "out.partial-2.mkv").exists()


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    first, second = two_sinks(tmp_path / "out.mkv", overwrite=False)
    first.finish()
    with pytest.raises(SinkExists, match="what this run wrote is"):
        second.finish()
    assert len(media.read_frames(tmp_path / "out.mkv")) == 5


@pytest.mark.parametrize("sink", ["out.mkv", "out.mp4", "out.ts"])
def test_a_film_that_begins_again_goes_on_in_its_file(tmp_path: Path, sink: str) -> None:
    """Sound begins before zero (an encoder's priming), which at the joint is before its end."""
    clip = media.write_clip(tmp_path / "clip.mp4", codec="libx264", frames=7, audio="aac")
    source = open_source(clip, live=LiveOptions(realtime=True, loop=True), duration_seconds=1.5)
    out = open_sink(tmp_path / sink, source, options=EncodeOptions(preset="ultrafast"))
    for item in source:
        out.write(item)
    out.finish()
    source.close()
    assert len(media.read_frames(tmp_path / sink)) >= 25
    with av.open(str(tmp_path / sink)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
    times = [packet.pts for packet in packets]
    assert times == sorted(set(times))
    seconds = float((times[-1] - times[0]) * packets[0].time_base)
    assert seconds == pytest.approx(1.5, abs=0.3)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system says where files are")
def test_a_folder_that_is_moved_takes_the_film_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It was noticed at the end, when the film could not have its name."""
    monkeypatch.setattr(film_module, "LOOK_SECONDS", -1.0)
    source = open_source(media.write_clip(tmp_path / "source.mkv", frames=4))
    (tmp_path / "out").mkdir()
    sink = open_sink(tmp_path / "out" / "film.mkv", source)
    items = list(source)
    sink.write(items[0])
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    for item in items[1:]:
        sink.write(item)
    sink.finish()
    source.close()
    assert len(media.read_frames(tmp_path / "elsewhere" / "film.mkv")) == 4
    assert f"goes on in {tmp_path / 'elsewhere' / 'film.partial.mkv'}" in caplog.text
    assert f"the whole film is {tmp_path / 'elsewhere' / 'film.mkv'}" in caplog.text


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system says where files are")
def test_a_folder_that_is_removed_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(film_module, "LOOK_SECONDS", -1.0)
    source = open_source(media.write_clip(tmp_path / "source.mkv", frames=4))
    (tmp_path / "out").mkdir()
    sink = open_sink(tmp_path / "out" / "film.mkv", source)
    items = list(source)
    sink.write(items[0])
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(SinkError, match="was removed while it was written"):
        sink.write(items[1])
    assert sink.abandon(keep=True) is None
    source.close()


def test_a_recording_that_goes_on_begins_at_zero(tmp_path: Path) -> None:
    source = open_source(media.write_clip(tmp_path / "source.mkv", frames=60))
    for name in ("a.mkv", "a.mp4"):
        path = tmp_path / name
        sink = FilmSink(
            path, source, options=EncodeOptions(codec="h264"), overwrite=False, from_zero=True
        )
        for number in range(50, 60):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            sink.write(frame)
        sink.finish()
        times = [float(time) for time in media.frame_times(path) if time is not None]
        assert len(times) == 10
        assert times[0] == pytest.approx(0, abs=0.1)
    source.close()
