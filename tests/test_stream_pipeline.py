"""A run ends whole, or is stopped: what was written until then plays, and no thread is left."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import pytest
from kinemacolor.engine.load import load
from kinemacolor.engine.spec import ModelSpec
from kinemacolor.stream.color.colorizer import Colorizer
from kinemacolor.stream.color.host_painter import HostCanvas, HostPainter
from kinemacolor.stream.errors import SourceError, StreamError
from kinemacolor.stream.media import Item
from kinemacolor.stream.pipeline import run
from kinemacolor.stream.sinks.open import open_sink
from kinemacolor.stream.sources.film import ContainerSource

from tests import media
from tests.command import TIMEOUT_SECONDS, colorize, command_line, environment
from tests.models import write_model

# The film is big enough that a run takes seconds, and is stopped when this much is written.
BYTES_WRITTEN = 200_000


class Trouble(Exception):
    """What a stage raises in these tests."""


class FailingSource(ContainerSource):
    """A film whose disk fails in the middle."""

    def __iter__(self) -> Iterator[Item]:
        for number, item in enumerate(super().__iter__()):
            if number == 5:
                raise Trouble("source")
            yield item


class FailingSink:
    """Full after five frames."""

    description = "failing"

    def __init__(self) -> None:
        self.pix_fmts: set[str] = set()
        self.written = 0

    def write(self, item: Item) -> None:
        self.written += 1
        if self.written == 5:
            raise Trouble("sink")

    def finish(self) -> None:
        raise AssertionError("a run that failed is not finished")

    def abandon(self, *, keep: bool) -> None:
        return None


class FailingPainter(HostPainter):
    """Out of memory at the fifth frame."""

    begun = 0

    def look(self, frame: av.VideoFrame, spec: ModelSpec) -> HostCanvas:
        self.begun += 1
        if self.begun == 5:
            raise Trouble("colorizer")
        return super().look(frame, spec)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return media.write_clip(tmp_path / "clip.mkv", frames=60, audio="aac")


@pytest.mark.parametrize("stage", ["source", "colorizer", "sink"])
def test_a_stage_that_fails_stops_all_and_is_raised_once(
    tmp_path: Path, clip: Path, stage: str
) -> None:
    network = load(write_model(tmp_path / "tiny.onnx"), "onnxruntime")
    kind = FailingSource if stage == "source" else ContainerSource
    source = kind(str(clip), av.open(str(clip)))
    sink: Any = FailingSink() if stage == "sink" else open_sink("null:", source)
    colorizer = Colorizer(network, painter=FailingPainter() if stage == "colorizer" else None)
    try:
        with pytest.raises(Trouble, match=stage) as caught:
            run(source, colorizer, sink)
        assert caught.value.__context__ is None or not isinstance(caught.value.__context__, Trouble)
        assert [t.name for t in threading.enumerate() if t.name in ("decode", "encode")] == []
    finally:
        source.close()
        network.close()


def test_a_run_can_follow_a_failed_one(tmp_path: Path, clip: Path) -> None:
    network = load(write_model(tmp_path / "tiny.onnx"), "onnxruntime")
    try:
        for kind in (FailingSource, ContainerSource):
            source = kind(str(clip), av.open(str(clip)))
            try:
                stats = run(source, Colorizer(network), open_sink("null:", source))
            except Trouble:
                assert kind is FailingSource
            finally:
                source.close()
        assert stats.frames_in == stats.frames_out == 60
    finally:
        network.close()


def test_a_failed_short_run_leaves_nothing(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: ContainerSource) -> Iterator[Item]:
        for number, item in enumerate(whole(self)):
            if number == 40:
                raise SourceError("cannot read clip.mkv: Input/output error")
            yield item

    whole = ContainerSource.__iter__
    monkeypatch.setattr(ContainerSource, "__iter__", broken)
    (tmp_path / "out.mkv").write_text("precious")
    with pytest.raises(StreamError, match="Input/output error"):
        colorize(clip, tmp_path / "out.mkv", overwrite=True)
    assert (tmp_path / "out.mkv").read_text() == "precious"
    assert not list(tmp_path.glob("*.partial.*"))


def test_frames_leave_in_order_each_once(tmp_path: Path, clip: Path) -> None:
    report = colorize(clip, tmp_path / "out.mkv")
    assert report["frames_in"] == report["frames_out"] == 60
    assert media.frame_times(tmp_path / "out.mkv") == media.frame_times(clip)


@pytest.fixture(scope="module")
def long_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen seconds of film, a key frame each second."""
    folder = tmp_path_factory.mktemp("long")
    row = np.random.default_rng(1).integers(16, 235, (240, 320), np.uint8)
    write_model(folder / "tiny.onnx")
    return media.write_clip(
        folder / "film.mkv",
        codec="libx264",
        size=(320, 240),
        frames=2000,
        rate=Fraction(25),
        audio="aac",
        picture=lambda width, height, index, depth: np.roll(row, index, axis=1),
        options={"preset": "ultrafast", "g": "25", "crf": "35"},
    )


def start(film: Path, sink: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        command_line(
            *("colorize", "--quiet", "--model", film.with_name("tiny.onnx")),
            *("--backend", "onnxruntime", "--steady", "off", "--preset", "ultrafast"),
            *(film, "-o", sink, "--overwrite", "--report", sink.with_name("report.json")),
        ),
        env=environment(),
        stderr=subprocess.PIPE,
    )
    partial = sink.with_name(f"{sink.stem}.partial{sink.suffix}")
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if partial.exists() and partial.stat().st_size > BYTES_WRITTEN:
            return process
        time.sleep(0.01)
    process.kill()
    raise AssertionError(f"no output: {process.communicate()[1].decode()}")


def plays(path: Path) -> int:
    """How many frames decode, in rising time; the last packet may be cut in two by a kill."""
    times = []
    with av.open(str(path)) as container, suppress(av.error.InvalidDataError):
        for frame in container.decode(video=0):
            times.append(frame.pts)
    assert times == sorted(times)
    return len(times)


@pytest.mark.parametrize("sink", ["out.mp4", "out.mkv"])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupted_run_keeps_a_file_that_plays(
    tmp_path: Path, long_film: Path, name: str, sink: str
) -> None:
    (tmp_path / sink).write_text("precious")
    process = start(long_film, tmp_path / sink)
    process.send_signal(getattr(signal, name))
    said = process.communicate(timeout=TIMEOUT_SECONDS)[1].decode()
    assert process.returncode == 128 + getattr(signal, name), said
    assert said.splitlines()[-1] == "stopped"
    assert "Traceback" not in said
    assert (tmp_path / sink).read_text() == "precious"
    partial = tmp_path / sink.replace(".", ".partial.")
    assert 10 < plays(partial) == len(media.frame_times(partial)) < 2000
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["ended"], report["sink"]) == ("stopped", str(partial))


@pytest.mark.parametrize("sink", ["out.mp4", "out.mkv"])
def test_a_killed_run_leaves_a_file_that_plays(tmp_path: Path, long_film: Path, sink: str) -> None:
    (tmp_path / sink).write_text("precious")
    process = start(long_film, tmp_path / sink)
    process.kill()
    process.communicate(timeout=TIMEOUT_SECONDS)
    assert (tmp_path / sink).read_text() == "precious"
    assert 10 < plays(tmp_path / sink.replace(".", ".partial.")) < 2000
