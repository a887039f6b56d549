"""The command: its words, its status, and the sample that ships with the source."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from kinemacolor.engine.spec import DEFAULT_MODEL, MODELS
from kinemacolor.stream.command import main as cli
from kinemacolor.stream.command.doctor import Finding
from kinemacolor.stream.options import parse_seconds

from tests import media
from tests.command import ROOT, command_line, environment, kinemacolor
from tests.models import write_model
from tests.test_export_data import make_folder

SAMPLE = ROOT / "samples" / "film.mp4"


def call(*arguments: str | Path) -> int:
    """Runs the command in this process; returns its status."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as caught:
            cli.main([str(argument) for argument in arguments])
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_model(tmp_path / "tiny.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


COLORIZE = ("--model", "tiny.onnx", "--backend", "onnxruntime", "--steady", "off")


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--help") == 0
    said = capsys.readouterr().out
    assert all(command in said for command in ("colorize", "verify", "models", "doctor"))
    assert call("--version") == 0
    assert capsys.readouterr().out == f"kinemacolor {version('kinemacolor')}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "--data", "pictures", "--pictures", "1", "--network", "resnet18", "--out"),
        ("evaluate", "--data", "pictures", "--model", "tiny.onnx", "--json"),
    ],
)
def test_a_place_that_cannot_be_written_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    make_folder(folder / "pictures", 2)
    (folder / "file").write_text("no folder")
    assert call(*arguments, "file/result.json") == 1
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert line.startswith("kinemacolor: ")
    assert "file" in line
    assert "directory" in line


def test_colorize_may_be_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    media.write_clip(folder / "film.mkv", frames=3)
    assert call("film.mkv", *COLORIZE, "-o", "one.mkv") == 0
    assert call("colorize", "film.mkv", *COLORIZE, "-o", "two.mkv") == 0
    for ours, theirs in zip(
        media.read_planes(folder / "one.mkv"), media.read_planes(folder / "two.mkv"), strict=True
    ):
        np.testing.assert_array_equal(ours[1], theirs[1])
    assert capsys.readouterr().out == ""  # standard output is for frames


def test_the_result_lies_beside_the_film(folder: Path) -> None:
    media.write_clip(folder / "film.mkv", frames=2)
    media.write_clip(folder / "old.avi", codec="mpeg4", frames=2)
    assert call("film.mkv", *COLORIZE, "--quiet") == 0
    assert call("old.avi", *COLORIZE, "--quiet") == 0
    assert (folder / "film-color.mkv").is_file()
    assert (folder / "old-color.mkv").is_file()  # AVI keeps no times


def test_what_was_chosen_is_printed(folder: Path) -> None:
    media.write_clip(folder / "film.mkv", frames=3)
    done = kinemacolor("film.mkv", *COLORIZE, "-o", "out.mkv", cwd=folder)
    assert done.returncode == 0
    assert done.stdout == ""
    said = done.stderr
    assert "film.mkv: 64x48 yuv420p, 25 fps, ffv1" in said
    assert "tiny" in said
    assert "ONNX Runtime" in said
    assert "libx264 crf 18 preset veryfast" in said
    assert "3 frames in" in said
    assert "\x1b" not in said  # no colours and no cursor in a log


def test_quiet_prints_nothing(folder: Path) -> None:
    media.write_clip(folder / "film.mkv", frames=2)
    done = kinemacolor("film.mkv", *COLORIZE, "-o", "out.mkv", "--quiet", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("module", ["kinemacolor.stream", "numpy", "kinemacolor.export.command"])
def test_an_interrupt_while_the_command_loads_is_one_line(
    tmp_path: Path, number: signal.Signals, module: str
) -> None:
    """An import's traceback filled a page."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r} and hasattr(sys.modules['__main__'], '_stop'):\n"
        f"            os.kill(os.getpid(), {int(number)})\n"
        "sys.meta_path.insert(0, Interrupting())\n"
    )
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    done = subprocess.run(
        command_line("doctor"),
        env={**environment(), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (128 + number, "stopped\n")


def test_the_report_is_json(folder: Path) -> None:
    media.write_clip(folder / "film.mkv", frames=3)
    options = ("-o", "out.mkv", "--report", "report.json", "--quiet")
    assert call("film.mkv", *COLORIZE, *options) == 0
    report = json.loads((folder / "report.json").read_text())
    assert report["frames_out"] == 3
    assert report["ended"] == "whole"
    assert report["model"]["name"] == "tiny"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_live_run_that_is_stopped_leaves_its_report_and_a_whole_file(
    folder: Path, number: signal.Signals
) -> None:
    """A live run without --duration ends in no other way."""
    media.write_clip(folder / "film.mkv", frames=10)
    process = subprocess.Popen(
        command_line(
            *("film.mkv", "--loop", *COLORIZE, "-o", "out.mkv", "--report", "report.json"),
            *("--quiet", "--preset", "ultrafast"),
        ),
        cwd=folder,
        env=environment(),
        stderr=subprocess.PIPE,
    )
    partial = folder / "out.partial.mkv"
    while process.poll() is None and not (partial.exists() and partial.stat().st_size > 2000):
        time.sleep(0.02)
    process.send_signal(number)
    said = process.communicate(timeout=30)[1].decode()
    assert (process.returncode, said) == (128 + number, "stopped\n")
    assert not partial.exists()
    report = json.loads((folder / "report.json").read_text())
    assert report["ended"] == "stopped"
    assert report["frames_out"] == len(media.read_frames(folder / "out.mkv")) > 0


def still(width: int, height: int, index: int, bit_depth: int) -> media.Plane:
    return media.moving_picture(width, height, 0, bit_depth)


def test_key_frames_and_known_cuts_are_in_the_report(folder: Path) -> None:
    media.write_clip(folder / "film.mkv", frames=13, picture=still)
    scenes = "Scene Number,Start Frame\n1,1\n2,8\n"  # PySceneDetect counts from 1
    (folder / "cuts.csv").write_text(scenes)
    options = ("--every", "5", "--cuts", "cuts.csv", "-o", "out.mkv", "--report", "report.json")
    assert call("film.mkv", *COLORIZE[:4], "--steady", "film", *options, "--quiet") == 0
    report = json.loads((folder / "report.json").read_text())
    assert report["cuts"] == [7]
    assert report["frames_inferred"] == 4  # 0, 5, 7, 12


def test_the_strength_of_steadying_is_that_of_the_command_line(folder: Path) -> None:
    def flickering(width: int, height: int, index: int, bit_depth: int) -> media.Plane:
        return still(width, height, index, bit_depth) // (1 + index % 2)

    media.write_clip(folder / "film.mkv", frames=16, picture=flickering)
    changes = []
    for strength in ("0.1", "4"):
        options = ("-o", f"{strength}.mkv", "--codec", "ffv1", "--quiet")
        steady = ("--steady", "live", "--steady-strength", strength)
        assert call("film.mkv", *COLORIZE[:4], *steady, *options) == 0
        cb = [float(planes[1].mean()) for planes in media.read_planes(folder / f"{strength}.mkv")]
        changes.append(np.abs(np.diff(cb[6:])).mean())
    assert changes[1] < 0.5 * changes[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--steady", "off", "--every", "auto"), "--every auto carries colours"),
        (("--steady", "off", "--every", "5"), "--every 5 carries colours"),
        (("--steady-strength", "0", "--every", "auto"), "--steady-strength 0 carries none"),
        (("--steady", "off", "--cuts", "cuts.csv"), "--steady off there is none"),
    ],
)
def test_what_needs_steady_colour_is_not_ignored_without_it(
    folder: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], said: str
) -> None:
    media.write_clip(folder / "film.mkv", frames=2)
    assert call("film.mkv", "-o", "out.mkv", *options) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert line.endswith("leave one of them out")


@pytest.mark.parametrize("sources", [("films",), ("films/a.mkv", "films/b.mkv")])
def test_one_list_of_cuts_is_not_for_several_films(
    folder: Path, capsys: pytest.CaptureFixture[str], sources: tuple[str, ...]
) -> None:
    (folder / "films").mkdir()
    media.write_clip(folder / "films" / "a.mkv", frames=2)
    media.write_clip(folder / "films" / "b.mkv", frames=2)
    assert call(*sources, "-o", "colored", "--cuts", "cuts.csv") == 1
    said = "kinemacolor: cuts.csv lists the cuts of one film, and there are 2 sources"
    assert capsys.readouterr().err.splitlines() == [said]
    assert not (folder / "colored").exists()


def test_a_folder_of_films(folder: Path) -> None:
    (folder / "films").mkdir()
    media.write_clip(folder / "films" / "a.mkv", frames=2)
    media.write_clip(folder / "films" / "b.mp4", codec="libx264", frames=3)
    (folder / "films" / "notes.txt").write_text("no film")
    assert call("films", *COLORIZE, "-o", "colored", "--quiet") == 0
    assert len(media.read_frames(folder / "colored" / "a.mkv")) == 2
    assert len(media.read_frames(folder / "colored" / "b.mp4")) == 3
    assert len(list((folder / "colored").iterdir())) == 2


def test_start_and_duration(folder: Path) -> None:
    media.write_clip(folder / "film.mkv", frames=50)
    options = ("--start", "00:00:00.8", "--duration", "0.4", "-o", "part.mkv", "--quiet")
    assert call("film.mkv", *COLORIZE, "--codec", "ffv1", *options) == 0
    part, whole = media.read_luma(folder / "part.mkv"), media.read_luma(folder / "film.mkv")
    np.testing.assert_array_equal(part, whole[20:30])


def test_the_short_names_of_ffmpeg(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    media.write_clip(folder / "film.mkv", frames=50)
    (folder / "part.mkv").write_text("old")
    options = ("-ss", "0.8", "-i", "film.mkv", "-t", "0.4", "-y", "-o", "part.mkv", "--quiet")
    assert call(*options, *COLORIZE, "--codec", "ffv1") == 0
    part, whole = media.read_luma(folder / "part.mkv"), media.read_luma(folder / "film.mkv")
    np.testing.assert_array_equal(part, whole[20:30])
    assert call("-h") == 0
    assert "doctor" in capsys.readouterr().out
    assert call("colorize", "-h") == 0
    assert "--saturation" in capsys.readouterr().out


def test_bench_says_nothing_of_how_test_pictures_are_read(folder: Path) -> None:
    done = kinemacolor("bench", *COLORIZE, "--frames", "1", cwd=folder)
    assert done.returncode == 0
    assert "read as" not in done.stderr
    assert "1920x1080" in done.stdout


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("90", 90), ("1:30", 90), ("01:01:30.5", 3690.5)]
)
def test_times_as_ffmpeg_reads_them(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


def test_models_info_of_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_model(folder / "mine.onnx", version="3", license="CC0-1.0")
    assert call("models", "info", "mine.onnx") == 0
    said = capsys.readouterr().out
    assert "mine" in said
    assert "CC0-1.0" in said


def test_doctor_finds_the_backends(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("doctor") == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("processor", "onnxruntime", "encoders", "libx264"))


def test_brackets_are_printed_as_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "kinemacolor.stream.command.doctor.examine",
        lambda: [Finding("torch", False, "say [train]")],
    )
    assert call("doctor") == 0
    assert "say [train]" in capsys.readouterr().out


@pytest.mark.skipif(
    not (MODELS / f"{DEFAULT_MODEL}.onnx").is_file(), reason="no packaged model in this tree yet"
)
def test_the_sample_becomes_coloured_end_to_end(tmp_path: Path) -> None:
    """The README's promise: the packaged model, the default backend, the film that ships."""
    result = tmp_path / "film-color.mp4"
    options = ("--duration", "2", "--report", tmp_path / "report.json", "--quiet")
    done = kinemacolor(SAMPLE, "-o", result, *options)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads((tmp_path / "report.json").read_text())
    source = media.read_frames(SAMPLE)
    inside = [frame for frame in source if frame.time is not None and frame.time < 2]
    assert report["frames_in"] == report["frames_out"] == len(inside)
    frames = media.read_frames(result)
    assert [f.time for f in frames] == pytest.approx([f.time for f in inside], abs=1e-6)
    chroma = np.stack([np.stack(media.planes_of(frame)[1:3]) for frame in frames]).astype(int)
    # A network that answers grey would leave 128 everywhere; colour departs from it by codes.
    assert np.abs(chroma - 128).mean() > 2
    assert len(np.unique(chroma)) > 20


@pytest.mark.skipif(
    not (MODELS / f"{DEFAULT_MODEL}.onnx").is_file(), reason="no packaged model in this tree yet"
)
def test_the_packaged_model_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("models", "list") == 0
    assert DEFAULT_MODEL in capsys.readouterr().out


@pytest.mark.skipif(os.name == "nt", reason="no terminals of this kind")
def test_a_terminal_that_is_gone_costs_no_film(folder: Path) -> None:
    """With SIGHUP ignored, a whole film stayed .partial: a line could not be printed."""
    media.write_clip(folder / "film.mkv", frames=40)
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        ["nohup", *command_line("film.mkv", *COLORIZE, "-o", "out.mkv")],
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        stdin=subprocess.DEVNULL,
    )
    os.close(theirs)
    os.close(ours)  # what is printed from here on is an I/O error
    assert process.wait(timeout=60) == 0
    assert len(media.read_frames(folder / "out.mkv")) == 40


@pytest.mark.skipif(os.name == "nt", reason="no such signal")
def test_a_hang_up_finishes_the_file(folder: Path) -> None:
    """SIGHUP was a kill."""
    media.write_clip(folder / "film.mkv", frames=10)
    process = subprocess.Popen(
        command_line("film.mkv", "--loop", *COLORIZE, "-o", "out.mkv", "--quiet"),
        cwd=folder,
        env=environment(),
        stderr=subprocess.PIPE,
    )
    partial = folder / "out.partial.mkv"
    while process.poll() is None and not (partial.exists() and partial.stat().st_size > 2000):
        time.sleep(0.02)
    process.send_signal(signal.SIGHUP)
    said = process.communicate(timeout=30)[1].decode()
    assert (process.returncode, said) == (128 + signal.SIGHUP, "stopped\n")
    assert len(media.read_frames(folder / "out.mkv")) > 0


def test_a_source_that_breaks_off_is_an_exit_code(folder: Path) -> None:
    """Of 960 frames 225 came: exit 0."""
    media.truncated(media.write_clip(folder / "film.mkv", frames=50)).rename(folder / "part.mkv")
    assert call("part.mkv", *COLORIZE, "-o", "out.mkv", "--report", "r.json", "--quiet") == 7
    report = json.loads((folder / "r.json").read_text())
    assert report["broken_off"]["promised_seconds"] == 2.0
    assert report["frames_out"] == len(media.read_frames(folder / "out.mkv")) < 50
    assert report["outputs"] == [
        {"output": "out.mkv", "state": "whole", "cause": None, "files": []}
    ]
