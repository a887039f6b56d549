"""The window: what its keys do, and the real one on a virtual screen."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from kinemacolor.stream.errors import BadSink
from kinemacolor.stream.handoff import Stopped
from kinemacolor.stream.sinks.open import open_sink
from kinemacolor.stream.sinks.window import WindowSink
from kinemacolor.stream.sinks.window_view import HEAD, View, read_picture
from kinemacolor.stream.sources.open import open_source

from tests import media
from tests.command import TIMEOUT_SECONDS, command_line, environment
from tests.media import frame_from_planes
from tests.models import write_model


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A virtual screen; skips where there is no Xvfb."""
    if shutil.which("Xvfb") is None or shutil.which("xdotool") is None:
        pytest.skip("no Xvfb or no xdotool here")
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", "1", "-screen", "0", "800x600x24", "-nolisten", "tcp"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdout is not None
    name = f":{server.stdout.readline().strip()}"
    monkeypatch.setenv("DISPLAY", name)
    yield name
    server.terminate()
    server.communicate()


def red(number: int) -> av.VideoFrame:
    """A red frame, in limited BT.601."""
    planes = [np.full(s, v, np.uint8) for s, v in (((48, 64), 81), ((24, 32), 90), ((24, 32), 240))]
    frame = frame_from_planes(planes, "yuv420p")
    frame.pts, frame.time_base = number, Fraction(1, 25)
    return frame


def test_a_key_closes_the_window_and_ends_the_run(
    screen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = open_source("test:64x48@25#1")
    sink = open_sink("window:", source)
    source.close()
    assert isinstance(sink, WindowSink)
    script = "search --sync --name kinemacolor key c sleep 1 key s sleep 1 key q"
    typist = subprocess.Popen(["xdotool", *script.split()], stdout=subprocess.DEVNULL)
    with pytest.raises(Stopped):
        show_for(sink, 30)
    sink.finish()
    assert typist.wait() == 0
    (snapshot,) = tmp_path.glob("kinemacolor-*.png")
    picture = cv2.imread(str(snapshot))
    assert picture is not None
    left, right = picture[24, 8].astype(int), picture[24, 56].astype(int)
    assert np.ptp(left) == 0  # grey to the left, compared
    assert right[2] - right[0] > 200  # and red to the right


def show_for(sink: WindowSink, seconds: float) -> None:
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        sink.write(red(number))
        time.sleep(0.04)
        number += 1


def test_the_command_ends_as_stopped_when_its_window_is_closed(screen: str, tmp_path: Path) -> None:
    model = write_model(tmp_path / "tiny.onnx")
    arguments = ("test:64x48@25#600", "-o", "window:", "-o", "out.mkv", "--realtime")
    options = ("--model", model, "--backend", "onnxruntime", "--report", "report.json")
    command = subprocess.Popen(
        command_line(*arguments, *options),
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    script = "search --sync --name kinemacolor sleep 1 key q"
    subprocess.run(["xdotool", *script.split()], stdout=subprocess.DEVNULL, check=True)
    _, said = command.communicate(timeout=TIMEOUT_SECONDS)
    assert command.returncode == 130, said
    assert said.splitlines()[-1] == "stopped"
    assert json.loads((tmp_path / "report.json").read_text())["ended"] == "stopped"
    assert media.read_frames(tmp_path / "out.mkv")


def test_a_window_of_a_film_closes_with_it(screen: str) -> None:
    sink = WindowSink()
    for number in range(5):
        sink.write(red(number))
    sink.finish()


def test_without_a_screen_it_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(BadSink, match="DISPLAY is not set"):
        WindowSink()


def test_a_screen_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("DISPLAY", ":4711")
    sink = WindowSink()
    with pytest.raises(BadSink, match="cannot be shown"):
        show_for(sink, 30)
    sink.finish()


def test_keys() -> None:
    view = View(Path())
    picture = np.zeros((4, 8, 3), np.uint8)
    picture[..., 2] = 200
    view.take(picture)
    assert view.shown() is picture
    view.press(" ")
    view.take(np.zeros((4, 8, 3), np.uint8))
    assert view.picture is picture  # paused
    view.press("-")
    less = view.shown()
    assert 0 < int(less[0, 0, 0]) < int(less[0, 0, 2]) < 200
    for _ in range(99):
        view.press("-")
    assert np.ptp(view.shown()) == 0  # grey
    for _ in range(99):
        view.press("+")
    assert view.saturation == 3.0
    view.press("0")
    view.press("x")
    assert view.shown() is picture
    view.press("q")
    assert view.ended


def test_a_pipe_that_breaks_off_ends_the_pictures() -> None:
    whole = HEAD.pack(2, 1) + bytes(range(6))
    pipe = io.BytesIO(whole + HEAD.pack(2, 1) + b"half")
    picture = read_picture(pipe)
    assert picture is not None
    assert picture.tolist() == [[[0, 1, 2], [3, 4, 5]]]
    assert read_picture(pipe) is None
