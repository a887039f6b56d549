"""A run as a value: started, watched and stopped from any thread; it prints nothing."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kinemacolor.engine.backend import Backend
from kinemacolor.engine.load import load
from kinemacolor.stream.errors import BadSource, SinkExists, SourceError, SourceNotFound
from kinemacolor.stream.handoff import Stopped
from kinemacolor.stream.media import Sink, Source
from kinemacolor.stream.options import Options
from kinemacolor.stream.run.job import Job
from kinemacolor.stream.run.run import Run, Watcher

import kinemacolor
from tests import media
from tests.models import write_model

LONGEST_SECONDS = 60.0  # a test that waits longer has failed
PLAIN = {"steady": "off", "codec": "ffv1"}
LIVE = {**PLAIN, "realtime": True}
NOBODY = "rtsp://127.0.0.1:9/x"  # the port of "discard", which refuses


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Backend]:
    with closing(load(write_model(tmp_path / "tiny.onnx"), "onnxruntime", threads=1)) as backend:
        yield backend


@pytest.fixture
def other_network(network: Backend) -> Iterator[Backend]:
    """One more: a backend belongs to one run at a time."""
    with closing(load(network.spec.path, "onnxruntime", threads=1)) as backend:
        yield backend


def make(network: Backend, source: Any, sink: Any, **options: Any) -> Run:
    return Run(Job.of(source, sink), Options.of(**{**PLAIN, **options}), network)


def wait_until(ready: Callable[[], object]) -> None:
    end = time.monotonic() + LONGEST_SECONDS
    while not ready():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)


def frames_of(run: Run) -> int:
    return 0 if run.progress is None else run.progress.frames


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".onnx")


def test_a_run_prints_nothing(
    tmp_path: Path, network: Backend, capfd: pytest.CaptureFixture[str]
) -> None:
    # What is logged is for whoever listens; with nobody there, Python prints warnings itself.
    logging.getLogger("kinemacolor").addHandler(nobody := logging.NullHandler())
    try:
        report = make(network, "test:64x48@25#0.2", tmp_path / "out.mkv").run()
    finally:
        logging.getLogger("kinemacolor").removeHandler(nobody)
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")
    assert (report["ended"], report["frames_out"]) == ("whole", 5)
    assert len(media.read_frames(tmp_path / "out.mkv")) == 5


def test_progress_rises_on_the_way_and_stays_at_the_end(tmp_path: Path, network: Backend) -> None:
    run = make(network, "test:64x48@25#1", tmp_path / "out.mkv", realtime=True)
    assert (run.progress, run.report) == (None, None)
    run.start()
    seen = []
    while not seen or seen[-1] < 25:
        wait_until(lambda: frames_of(run) > (seen[-1] if seen else 0))
        seen.append(frames_of(run))
    report = run.join(LONGEST_SECONDS)
    assert len(seen) > 2
    assert seen == sorted(seen)
    assert report is run.report
    assert report["frames_out"] == 25
    last = run.progress
    assert last is not None
    assert last.frames == 25
    time.sleep(0.05)
    assert run.progress == last  # its seconds stand still, and its rate does not fall


def test_the_clock_starts_with_the_run_and_not_with_the_object(
    tmp_path: Path, network: Backend
) -> None:
    """A run that waited for its turn used to count the wait, and was slow in its report."""
    run = make(network, "test:64x48@25#0.2", "null:")
    run.stats.started -= 1000.0
    assert run.run()["seconds"] < 1000.0


def test_a_live_run_is_stopped_from_another_thread(tmp_path: Path, network: Backend) -> None:
    run = make(network, "test:64x48@25#600", tmp_path / "out.mkv", realtime=True)
    run.start()
    wait_until(lambda: frames_of(run) > 5)
    with pytest.raises(TimeoutError):
        run.join(0.05)
    run.stop()
    report = run.join(LONGEST_SECONDS)
    assert (report["ended"], report["sink"]) == ("stopped", str(tmp_path / "out.mkv"))
    assert files(tmp_path) == ["out.mkv"]  # whole, and under its own name
    assert len(media.read_frames(tmp_path / "out.mkv")) == report["frames_out"] > 5


class StopsAfter(Watcher):
    """Stops a run once so many frames are in its sink."""

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self.whole: bool | None = None

    def frame(self, run: Run) -> None:
        if run.stats.frames_out == self.frames:
            run.stop()

    def ended(self, run: Run, *, whole: bool) -> None:
        self.whole = whole


def test_a_film_that_is_stopped_keeps_its_part_and_says_where(
    tmp_path: Path, network: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    watcher = StopsAfter(10)
    job = Job.of("test:64x48@25#600", tmp_path / "out.mkv")
    report = Run(job, Options.of(**PLAIN), network, watcher=watcher).run()
    part = tmp_path / "out.partial.mkv"
    assert (report["ended"], report["sink"]) == ("stopped", str(part))
    assert files(tmp_path) == [part.name]
    assert len(media.read_frames(part)) == report["frames_out"] >= 10
    assert f"what was done until then is in {part}" in caplog.text
    assert watcher.whole is False


def test_stopped_before_it_starts_it_ends_at_once(tmp_path: Path, network: Backend) -> None:
    """It used to open its source first, and wait for a server that does not answer."""
    run = make(network, NOBODY, tmp_path / "out.mkv")
    run.stop()
    run.start()
    report = run.join(LONGEST_SECONDS)
    assert report["ended"] == "stopped"
    assert (report["source"], report["sink"]) == (NOBODY, str(tmp_path / "out.mkv"))
    assert run.progress is None
    assert files(tmp_path) == []


def test_stopped_while_it_waits_for_a_source(
    tmp_path: Path, network: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    run = make(network, NOBODY, tmp_path / "out.mkv", wait=True)
    run.start()
    wait_until(lambda: "waiting for it" in caplog.text)
    run.stop()
    assert run.join(LONGEST_SECONDS)["ended"] == "stopped"
    assert files(tmp_path) == []


def test_stopped_twice_and_after_its_end(tmp_path: Path, network: Backend) -> None:
    run = make(network, "test:64x48@25#0.2", tmp_path / "out.mkv")
    run.start()
    report = run.join(LONGEST_SECONDS)
    run.stop()
    run.stop()
    assert run.join() is report
    assert report["ended"] == "whole"


def test_two_runs_at_once(tmp_path: Path, network: Backend, other_network: Backend) -> None:
    runs = [
        make(backend, f"test:64x48@25#{seconds}", tmp_path / f"{seconds}.mkv", steady="live")
        for backend, seconds in ((network, 2), (other_network, 4))
    ]
    for run in runs:
        run.start()
    reports = [run.join(LONGEST_SECONDS) for run in runs]
    assert [report["frames_out"] for report in reports] == [50, 100]
    assert [len(media.read_frames(tmp_path / f"{n}.mkv")) for n in (2, 4)] == [50, 100]


def test_of_two_runs_one_is_stopped_and_the_other_goes_on(
    tmp_path: Path, network: Backend, other_network: Backend
) -> None:
    endless = make(network, "test:64x48@25#600", "null:", realtime=True)
    short = make(other_network, "test:64x48@25#1", tmp_path / "out.mkv", realtime=True)
    endless.start()
    short.start()
    wait_until(lambda: frames_of(endless) and frames_of(short))
    endless.stop()
    assert endless.join(LONGEST_SECONDS)["ended"] == "stopped"
    assert short.join(LONGEST_SECONDS)["ended"] == "whole"


@pytest.mark.parametrize(
    ("source", "error"),
    [("none.mkv", SourceNotFound), ("empty.mkv", BadSource), (NOBODY, SourceError)],
)
def test_errors_are_raised_by_join(
    tmp_path: Path, network: Backend, source: str, error: type[Exception]
) -> None:
    (tmp_path / "empty.mkv").touch()
    address = source if "://" in source else str(tmp_path / source)
    run = make(network, address, tmp_path / "out.mkv")
    run.start()
    with pytest.raises(error):
        run.join(LONGEST_SECONDS)
    assert run.report is None
    assert files(tmp_path) == ["empty.mkv"]


def test_a_sink_that_does_not_open_closes_the_source(tmp_path: Path, network: Backend) -> None:
    (tmp_path / "out.mkv").write_text("precious")
    run = make(network, "test:64x48@25#1", tmp_path / "out.mkv")
    run.start()
    with pytest.raises(SinkExists):
        run.join(LONGEST_SECONDS)
    assert (tmp_path / "out.mkv").read_text() == "precious"


class Fails(Watcher):
    def began(self, run: Run, source: Source, sink: Sink) -> None:
        raise RuntimeError("a bug of the watcher's")


def test_an_error_of_the_watcher_leaves_nothing_behind(tmp_path: Path, network: Backend) -> None:
    job = Job.of("test:64x48@25#1", tmp_path / "out.mkv")
    with pytest.raises(RuntimeError, match="a bug"):
        Run(job, Options.of(**PLAIN), network, watcher=Fails()).run()
    assert files(tmp_path) == []


class Closed(Watcher):
    """As a window does when it is closed, on the thread that writes."""

    def frame(self, run: Run) -> None:
        raise Stopped


def test_a_window_that_is_closed_ends_a_run_on_any_thread_as_stopped(
    tmp_path: Path, network: Backend
) -> None:
    """It used to be a KeyboardInterrupt, which is for the main thread alone."""
    job = Job.of("test:64x48@25#600", "null:")
    run = Run(job, Options.of(**LIVE), network, watcher=Closed())
    run.start()
    assert run.join(LONGEST_SECONDS)["ended"] == "stopped"


def test_it_is_started_once(network: Backend) -> None:
    run = make(network, "test:64x48@25#0.2", "null:")
    with pytest.raises(RuntimeError, match="was not started"):
        run.join()
    run.start()
    with pytest.raises(RuntimeError, match="was started before"):
        run.start()
    run.join(LONGEST_SECONDS)


def test_progress_is_asked_by_many_threads(network: Backend) -> None:
    run = make(network, "test:64x48@25#2", "null:")
    errors: list[BaseException] = []
    ended = threading.Event()

    def ask() -> None:
        try:
            while not ended.is_set():
                frames_of(run)
        except BaseException as error:
            errors.append(error)

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    run.start()
    report = run.join(LONGEST_SECONDS)
    ended.set()
    for asker in askers:
        asker.join()
    assert (report["frames_out"], errors) == (50, [])


def test_colorize_is_a_run_of_one_call(tmp_path: Path) -> None:
    model = write_model(tmp_path / "tiny.onnx")
    report = kinemacolor.colorize(
        "test:64x48@25#0.2",
        tmp_path / "out.mkv",
        **PLAIN,
        model=str(model),
        backend="onnxruntime",
    )
    assert report["ended"] == "whole"
    with pytest.raises(TypeError, match="did you mean saturation"):
        kinemacolor.colorize("test:", "null:", saturatoin=1)
    with pytest.raises(kinemacolor.BadOption, match="--crf 99 is too large"):
        kinemacolor.colorize("test:", "null:", crf=99)
