"""Bad input: one line on stderr, a status that is not zero, nothing left behind or overwritten."""

from __future__ import annotations

import json
import resource
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from kinemacolor.stream.address import STILLS
from kinemacolor.stream.errors import StreamError

from tests import media
from tests.command import TIMEOUT_SECONDS, colorize, command_line, environment, kinemacolor
from tests.models import write_model

COLORIZE = ("colorize", "--quiet", "--backend", "onnxruntime", "--steady", "off")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A clip, an output that is there already, and a model."""
    media.write_clip(tmp_path / "film.mkv", frames=3)
    (tmp_path / "there.mkv").write_text("precious")
    write_model(tmp_path / "tiny.onnx")
    return tmp_path


def run(folder: Path, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return kinemacolor(*COLORIZE, "--model", "tiny.onnx", *arguments, cwd=folder, **options)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def assert_refused(folder: Path, said: str, *arguments: str | Path, **options: Any) -> None:
    before = contents(folder)
    done = run(folder, *arguments, **options)
    lines = done.stderr.splitlines()
    assert done.returncode not in (0, 130), done
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("kinemacolor: ")
    assert said in lines[0]
    assert done.stdout == ""
    assert contents(folder) == before


def no_video(folder: Path) -> str:
    path = folder / "sound.mka"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("flac", rate=48000)
        chunk = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.int16), "s16", "mono")
        chunk.sample_rate, chunk.pts = 48000, 0
        container.mux(stream.encode(chunk))
        container.mux(stream.encode(None))
    return path.name


def zero_bytes(folder: Path) -> str:
    (folder / "zero.mp4").touch()
    return "zero.mp4"


def no_film(folder: Path) -> str:
    (folder / "text.mp4").write_text("this is no film " * 100)
    return "text.mp4"


def without_index(folder: Path) -> str:
    """An MP4 that broke off before its index, which FFmpeg writes last."""
    clip = media.write_clip(folder / "whole.mp4", codec="libx264", frames=25)
    return media.truncated(clip).name


def empty_folder(folder: Path) -> str:
    (folder / "empty").mkdir()
    return "empty"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: "gone.mkv", "no such file: gone.mkv"),
        (empty_folder, "in the folder empty"),
        (no_video, "sound.mka has no video stream (it holds audio)"),
        (zero_bytes, "zero.mp4 is empty (0 bytes)"),
        (no_film, "cannot open text.mp4: Invalid data"),
        (without_index, "cannot open whole-truncated.mp4"),
        (lambda folder: "rtmp://nowhere/x", ""),
        (lambda folder: "test:wide", "expected test:WIDTHxHEIGHT@RATE#SECONDS"),
    ],
)
def test_a_bad_source(folder: Path, make: Any, said: str) -> None:
    assert_refused(folder, said, make(folder), "-o", "out.mkv")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "out.xyz"], "no container for out.xyz: use .mkv, .mp4"),
        (["-o", "out"], "has no suffix to name its container"),
        (["-o", "out.mkv", "--codec", "nonesuch"], "no encoder 'nonesuch': try one of av1, dnxhr"),
        (["-o", "out.mkv", "--codec", "aac"], "aac is no video encoder"),
        (["-o", "out.mp4", "--codec", "prores"], "prores_ks does not fit into mp4"),
        (["-o", "out.webm", "--codec", "h264"], "libx264 does not fit into webm"),
        (["-o", "out.mkv", "--codec", "gif"], "takes no planar Y'CbCr"),
        (["-o", "there.mkv"], "there.mkv exists: --overwrite replaces it"),
        (["-o", "film.mkv", "--overwrite"], "output and source are the same file"),
        (["-o", "nowhere/out.mkv"], "no such folder: nowhere"),
        (["-o", "srt://host:9000"], "srt: sinks are not part of this version yet"),
        (["-o", "ftp://host/film.mkv"], "there is no sink ftp://; a file, "),
        (["-o", "rtsp:///live"], "rtsp:///live: expected rtsp://HOST[:PORT]/PATH"),
        (["-o", "rtmp:///live/key"], "expected rtmp://HOST[:PORT]/APPLICATION/KEY"),
        (["-o", "udp://host"], "udp://host: expected udp://HOST:PORT"),
        (["-o", "/proc/out.mkv"], "cannot write /proc/out.mkv"),
        (["-o", "."], "is a folder"),
        (["-o", "out.mkv", "--report", "nowhere/report.json"], "report.json: its folder does not"),
        (["-o", "out.mkv", "--report", "."], ".: it is a folder, and a file"),
        (["-o", "out.mkv", "--start", "100"], "film.mkv ends at 0.1 s: --start 100"),
        (["-o", "out.mkv", "--duration", "0"], "--duration 0 leaves nothing of the film"),
    ],
)
def test_a_bad_output(folder: Path, arguments: list[str], said: str) -> None:
    assert_refused(folder, said, "film.mkv", *arguments)


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_names_with_a_colon_are_names_from_end_to_end(folder: Path, suffix: str) -> None:
    media.write_clip(folder / "12:30:05.mkv", frames=3)
    done = run(folder, "12:30:05.mkv", "-o", f"12:31.{suffix}")
    assert done.returncode == 0, done.stderr
    checked = kinemacolor("verify", "12:30:05.mkv", f"12:31.{suffix}", cwd=folder)
    failed = [line for line in checked.stdout.splitlines() if line.startswith("FAIL")]
    assert all("luma" in line for line in failed), checked.stdout  # x264 is not lossless
    assert "frames" in checked.stdout
    assert sorted(path.name for path in folder.glob("12*")) == ["12:30:05.mkv", f"12:31.{suffix}"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "out.mkv", "--report", "film.mkv"], "film.mkv is a source of this run"),
        (["-o", "out.mkv", "--report", "link.mkv"], "link.mkv is a source of this run"),
        (["-o", "out.mkv", "--report", "./out.mkv"], "out.mkv is an output of this run"),
        (["-o", "null:", "-o", "out.mkv", "--report", "out.mkv"], "is an output of this run"),
        (["-o", "out.mkv", "--report", "tiny.onnx"], "tiny.onnx is an input of this run"),
    ],
)
@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_a_report_never_replaces_what_the_run_reads_or_writes(
    folder: Path, arguments: list[str], said: str, overwrite: tuple[str, ...]
) -> None:
    """The film itself was turned into JSON."""
    (folder / "link.mkv").symlink_to("film.mkv")
    assert_refused(folder, said, "film.mkv", *arguments, *overwrite)


def test_a_report_replaces_reports_and_nothing_else_unasked(folder: Path) -> None:
    options = ("film.mkv", "-o", "null:", "--report")
    assert_refused(folder, "there.mkv exists and is no JSON: --overwrite", *options, "there.mkv")
    assert run(folder, *options, "there.mkv", "--overwrite").returncode == 0
    for there in ("", '{"old": 1}', " [\n]"):
        (folder / "report.json").write_text(there)
        assert run(folder, *options, "report.json").returncode == 0
        assert json.loads((folder / "report.json").read_text())["frames_out"] == 3


@pytest.mark.parametrize("outputs", [("rtsp://@:0/x",), ("rtsp://@:0/x", "null:")])
def test_an_error_after_a_server_was_opened_ends_the_process(
    folder: Path, outputs: tuple[str, ...]
) -> None:
    """The server's thread kept it alive for ever."""
    sinks = [word for output in outputs for word in ("-o", output)]
    options = ("--steady", "live", "--cuts", "nosuch.csv")
    assert_refused(folder, "nosuch.csv", "film.mkv", *sinks, *options)


@pytest.mark.parametrize(
    "sink",
    [
        *(
            "-",
            "hls:pieces",
            "mpegts:-",
            "rtsp://@:0/x.jpg",
            "rtmp://host/live/key",
            "udp://host:1",
        ),
        *("virtualcam:", "out.mkv"),
    ],
)
def test_a_still_becomes_a_picture_and_nothing_else(folder: Path, sink: str) -> None:
    (folder / "photo.jpg").touch()  # it is not even opened
    said = f"use {', '.join(STILLS)}, null: or window:"
    assert_refused(folder, said, "photo.jpg", "-o", sink)
    assert_refused(folder, said, "photo.jpg", "-o", "null:", "-o", sink)


@pytest.mark.parametrize("option", ["--realtime", "--loop"])
@pytest.mark.parametrize("sink", ["out.jpg", "null:"])
def test_a_still_is_not_played(folder: Path, option: str, sink: str) -> None:
    (folder / "photo.jpg").touch()
    assert_refused(folder, "photo.jpg is a still picture", "photo.jpg", "-o", sink, option)


def test_the_source_under_another_name_is_not_overwritten(folder: Path) -> None:
    (folder / "link.mkv").symlink_to("film.mkv")
    assert_refused(folder, "the same file", "film.mkv", "-o", "link.mkv", "--overwrite")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"names": ("input", "output")}, "broken.onnx breaks the model contract: input must be"),
        ({"channels": (3, 2)}, "broken.onnx breaks the model contract: input must be"),
        ({"channels": (1, 3)}, "broken.onnx breaks the model contract: output must be"),
        (None, "broken.onnx is not a readable ONNX model"),
    ],
)
def test_a_bad_model(folder: Path, options: dict | None, said: str) -> None:
    if options is None:
        (folder / "broken.onnx").write_text("no model")
    else:
        write_model(folder / "broken.onnx", **options)
    assert_refused(folder, said, "film.mkv", "-o", "out.mkv", "--model", "broken.onnx")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "nonesuch"], "no model 'nonesuch': packaged are"),
        (["--backend", "ncnn"], "unknown --backend 'ncnn': one of auto, tensorrt, openvino, onnx"),
        (["--precision", "int8"], "unknown --precision 'int8': one of auto, fp32"),
        (["--steady", "very"], "unknown --steady 'very': one of auto, off, live, film"),
        (["--upsample", "cubic"], "unknown --upsample 'cubic': one of guided, bilinear"),
        (["--preset", "warp"], "unknown --preset 'warp': one of ultrafast"),
        (["--encoder", "magic"], "unknown --encoder 'magic': one of auto, x264"),
        (["--crf", "good"], "'--crf'"),
        (["--crf", "99"], "'--crf'"),
        (["--start", "soon"], "'soon' is no time: use seconds or HH:MM:SS"),
        (["--start=-5"], "'-5' is no time"),
        (["--start", "inf"], "'inf' is no time"),
        (["--start", "nan"], "'nan' is no time"),
        (["--start", "0:nan"], "'0:nan' is no time"),
        (["--start", "1e300"], "'1e300' is no time"),
        (["--duration", "nan"], "'nan' is no time"),
        (["--duration", "inf"], "'inf' is no time"),
        (["--every", "²"], "'²' is no distance: use auto, or a number from 1"),
        (["--every", "1" * 5000], "is no distance"),
        (["--fps", "inf"], "'--fps'"),
        (["--fps", "nan"], "'--fps'"),
        (["--give-up", "-1"], "'--give-up'"),
        (["--give-up", "nan"], "'--give-up'"),
        (["--crf", "nan"], "'--crf'"),
        (["--saturation", "nan"], "'--saturation'"),
        (["--steady-strength", "inf"], "--steady-strength inf is not a finite number"),
        (["--max-latency", "nan"], "'--max-latency'"),
        (["--nonesuch"], "--nonesuch"),
    ],
)
def test_an_unknown_option_value(folder: Path, arguments: list[str], said: str) -> None:
    assert_refused(folder, said, "film.mkv", "-o", "out.mkv", *arguments)


def test_several_sources_need_a_folder(folder: Path) -> None:
    media.write_clip(folder / "other.mkv", frames=2)
    assert_refused(
        folder, "2 sources need an output folder", "film.mkv", "other.mkv", "-o", "out.mkv"
    )


def test_no_space_left(folder: Path) -> None:
    media.write_clip(folder / "big.mkv", size=(320, 240), frames=30)

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    assert_refused(
        folder,
        "no space left for out.mkv",
        *("big.mkv", "-o", "out.mkv", "--codec", "rawvideo"),
        preexec_fn=little_room,
    )


def test_one_bad_film_in_a_folder_does_not_stop_the_others(folder: Path) -> None:
    films = folder / "films"
    films.mkdir()
    media.write_clip(films / "a.mkv", frames=2)
    (films / "b.mkv").write_text("no film")
    media.write_clip(films / "c.mp4", codec="libx264", frames=2)
    (films / "notes.txt").write_text("not a film")
    done = run(folder, "films", "-o", "colored", "--report", "report.json")
    assert done.returncode == 1
    why = "cannot open films/b.mkv: Invalid data found when processing input"
    assert done.stderr.splitlines()[0].startswith(f"failed: {why}")  # its name once
    assert f"1 of 3 failed; first: {why}" in done.stderr.splitlines()[-1]
    assert sorted(p.name for p in (folder / "colored").iterdir()) == ["a.mkv", "c.mp4"]
    reports = json.loads((folder / "report.json").read_text())
    assert [report.get("frames_out") for report in reports] == [2, None, 2]
    assert [report["ended"] for report in reports] == ["whole", "failed", "whole"]
    assert reports[1]["source"] == "films/b.mkv"
    assert why in reports[1]["error"]


def test_the_report_of_two_sources_is_a_list_though_one_fails(folder: Path) -> None:
    (folder / "a.mkv").write_text("no film")
    done = run(folder, "a.mkv", "film.mkv", "-o", "colored", "--report", "report.json")
    assert done.returncode == 1
    reports = json.loads((folder / "report.json").read_text())
    assert [report["ended"] for report in reports] == ["failed", "whole"]


def test_a_failure_is_one_line_in_a_log(folder: Path) -> None:
    """It was wrapped at 80 columns."""
    name = "a-film-with-a-name-that-takes-most-of-a-line-of-eighty-columns.mkv"
    (folder / name).write_text("no film")
    done = subprocess.run(
        command_line(*COLORIZE, "--model", "tiny.onnx", name, "film.mkv", "-o", "colored"),
        cwd=folder,
        env={**environment(), "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert len(done.stderr.splitlines()) == 2


def test_a_whole_output_replaces_the_old_one_when_asked(folder: Path) -> None:
    assert run(folder, "film.mkv", "-o", "there.mkv", "--overwrite").returncode == 0
    assert len(media.read_frames(folder / "there.mkv")) == 3


def test_a_failed_run_leaves_the_old_output_as_it_was(folder: Path) -> None:
    assert_refused(
        folder,
        "film.mkv ends at 0.1 s",
        *("film.mkv", "-o", "there.mkv", "--overwrite", "--start", "50"),
    )


def test_what_a_killed_run_left_stays(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two hours of a film, perhaps, or a recording: the next run deleted it at once."""
    (folder / "out.partial.mkv").write_text("left by a killed run")
    colorize(folder / "film.mkv", folder / "out.mkv")
    (said,) = (text for text in caplog.messages if "partial" in text)
    assert "out.partial.mkv is another run's, and stays" in said
    assert "out.partial-2.mkv" in said
    assert (folder / "out.partial.mkv").read_text() == "left by a killed run"
    assert not (folder / "out.partial-2.mkv").exists()
    assert len(media.read_frames(folder / "out.mkv")) == 3


# Damage: what decodes is kept, in time, and the rest is counted.


@pytest.mark.parametrize("name", ["film.mkv", "film.ts"])
def test_the_frames_before_a_break_are_kept(tmp_path: Path, name: str) -> None:
    whole = media.write_clip(tmp_path / name, codec="libx264", frames=60, audio="aac")
    clip = media.truncated(whole)
    report = colorize(clip, tmp_path / "out.mkv")
    kept = len(media.read_frames(clip))
    assert 20 < kept < 60
    assert report["frames_out"] == kept
    times = media.frame_times(tmp_path / "out.mkv")
    tick = 0.0006  # Matroska counts in milliseconds
    for ours, theirs in zip(media.frame_times(clip), times, strict=True):
        assert abs(float(theirs - ours)) <= tick


def test_a_film_that_breaks_off_is_said_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = media.write_clip(tmp_path / "film.mkv", codec="libx264", frames=150)
    colorize(media.truncated(whole, 0.4), tmp_path / "out.mkv")
    assert any("breaks off at" in message for message in caplog.messages)


def test_damaged_packets_are_skipped_counted_and_leave_the_times_alone(tmp_path: Path) -> None:
    clip = media.write_clip(
        tmp_path / "film.mkv", codec="mjpeg", pix_fmt="yuvj420p", frames=12, audio="aac"
    )
    times = media.frame_times(clip)
    with av.open(str(clip)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    data = clip.read_bytes()
    for damaged in (4, 5, 9):
        data = data.replace(packets[damaged], bytes(len(packets[damaged])))
    clip.write_bytes(data)
    report = colorize(clip, tmp_path / "out.mkv")
    assert report["packets_damaged"] == 3
    assert report["frames_out"] == 9
    kept = [time for index, time in enumerate(times) if index not in (4, 5, 9)]
    assert media.frame_times(tmp_path / "out.mkv") == kept
    assert media.packet_hashes(tmp_path / "out.mkv", "audio") == media.packet_hashes(clip, "audio")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["film.mkv", "film.ts", "film.mp4", "film.avi"])
def test_bit_flips_never_end_in_a_bug(tmp_path: Path, name: str, seed: int) -> None:
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    audio = "libmp3lame" if name.endswith("avi") else "aac"
    whole = media.write_clip(tmp_path / name, codec=codec, frames=25, audio=audio)
    clip = media.bit_flipped(whole, 30, start=0.05, seed=seed)
    with suppress(StreamError):  # one line of words; anything else is a bug
        report = colorize(clip, tmp_path / "out.mkv")
    if (tmp_path / "out.mkv").exists():
        times = media.frame_times(tmp_path / "out.mkv")
        assert len(times) == report["frames_out"]
        assert times == sorted(times)
    assert not list(tmp_path.glob("*.partial.*"))


# Sizes and lengths


@pytest.mark.parametrize("codec", ["ffv1", "h264"])
def test_a_picture_of_one_pixel(tmp_path: Path, codec: str) -> None:
    clip = media.write_clip(tmp_path / "film.mkv", size=(1, 1), frames=2)
    colorize(clip, tmp_path / "out.mkv", codec=codec)
    assert media.read_luma(tmp_path / "out.mkv").shape == (2, 1, 1)
    if codec == "ffv1":
        np.testing.assert_array_equal(media.read_luma(clip), media.read_luma(tmp_path / "out.mkv"))


@pytest.mark.parametrize("size", [(4, 300), (300, 4), (3, 1), (16, 16)])
def test_pictures_of_odd_shapes(tmp_path: Path, size: tuple[int, int]) -> None:
    clip = media.write_clip(tmp_path / "film.mkv", size=size, frames=2)
    colorize(clip, tmp_path / "out.mkv")
    np.testing.assert_array_equal(media.read_luma(clip), media.read_luma(tmp_path / "out.mkv"))


def test_a_huge_picture(tmp_path: Path) -> None:
    row = np.tile(np.arange(256, dtype=np.uint8), 32)

    def huge(width: int, height: int, index: int, bit_depth: int) -> Any:
        return np.broadcast_to(row, (height, width))

    clip = media.write_clip(
        tmp_path / "film.mkv", size=(8192, 8192), frames=1, codec="rawvideo", picture=huge
    )
    report = colorize(clip, tmp_path / "out.mkv", codec="rawvideo")
    assert report["frames_out"] == 1
    luma = media.read_luma(tmp_path / "out.mkv")[0]
    assert luma.shape == (8192, 8192)
    assert (luma == row).all()


@pytest.mark.parametrize("sink", ["out.mkv", "out.mp4", "out.mov"])
def test_a_film_of_one_frame(tmp_path: Path, sink: str) -> None:
    clip = media.write_clip(tmp_path / "film.mp4", codec="libx264", frames=1)
    report = colorize(clip, tmp_path / sink, codec="h264")
    assert report["frames_in"] == report["frames_out"] == 1
    assert len(media.read_frames(tmp_path / sink)) == 1


def test_the_report_has_what_was_promised(tmp_path: Path) -> None:
    clip = media.write_clip(tmp_path / "film.mkv", frames=4, audio="aac")
    report = colorize(clip, tmp_path / "out.mkv")
    assert report["frames_in"] == report["frames_out"] == 4
    assert report["packets_copied"] > 0
    assert set(report["stage_ms"]) == {"decode", "extract", "infer", "steady", "chroma", "encode"}
    assert report["fps"] > 0
    assert report["peak_memory_mb"] > 10
    assert report["model"]["name"] == "tiny"
    assert "ffv1" in report["encoder"]
    assert {"kinemacolor", "av", "numpy", "python"} <= set(report["versions"])
    json.dumps(report)


def test_verify_says_which_file_it_cannot_read(tmp_path: Path) -> None:
    clip = media.write_clip(tmp_path / "film.mkv", frames=2)
    done = kinemacolor("verify", clip, tmp_path / "gone.mkv")
    assert done.returncode == 1
    assert done.stderr == f"kinemacolor: no such file: {tmp_path / 'gone.mkv'}\n"


def test_a_reader_that_goes_away_ends_the_run(folder: Path) -> None:
    media.write_clip(folder / "big.mkv", size=(320, 240), frames=60)
    process = subprocess.Popen(
        command_line(*COLORIZE, "--model", "tiny.onnx", "big.mkv", "-o", "-"),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout
    assert process.stderr
    process.stdout.read(1000)
    process.stdout.close()
    said = process.stderr.read().decode()
    assert process.wait(TIMEOUT_SECONDS) == 1
    process.stderr.close()
    assert said.splitlines()[0] == "kinemacolor: the reader of the pipe went away"
