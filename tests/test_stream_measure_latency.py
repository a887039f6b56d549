"""Late frames are dropped before inference, oldest first, and counted by cause."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from kinemacolor.engine.backend import Backend
from kinemacolor.engine.load import load
from kinemacolor.stream.color.colorizer import Colorizer
from kinemacolor.stream.command.progress import status
from kinemacolor.stream.measure.latency import Latency
from kinemacolor.stream.measure.stats import Stats
from kinemacolor.stream.media import Item, Source
from kinemacolor.stream.pipeline import run
from kinemacolor.stream.run.progress import Progress
from kinemacolor.stream.sinks.null import NullSink
from kinemacolor.stream.sources.reconnecting import ReconnectingSource
from kinemacolor.stream.steady.smoothing import make_steady

from tests.models import write_model


def frame_at(seconds: float, width: int = 64) -> av.VideoFrame:
    frame = av.VideoFrame(width, 48, "gray")
    frame.pts, frame.time_base = round(90000 * seconds), Fraction(1, 90000)
    return frame


def test_old_frames_are_dropped_and_packets_are_not() -> None:
    latency = Latency(lambda: 10.0, max_seconds=0.2)
    items: list[Item] = [frame_at(9.7), av.Packet(b"sound"), frame_at(9.85), frame_at(9.99)]
    assert list(latency.fresh(items)) == items[1:]
    assert latency.dropped == {"late": 1}


def test_drops_counted_elsewhere_are_part_of_the_account() -> None:
    latency = Latency(lambda: 10.0)
    latency.count("queue", lambda: 4)
    list(latency.fresh([frame_at(1.0)]))
    assert latency.dropped == {"late": 1, "queue": 4}
    assert latency.report()["dropped"] == {"late": 1, "queue": 4}


def test_a_run_in_one_line() -> None:
    latency = Latency(lambda: 10.0)
    latency.left(frame_at(9.95))
    stats = Stats(frames_out=50)
    source = ReconnectingSource("test", lambda: av.open("testsrc2=rate=50", format="lavfi"))
    line = status(Progress.of(stats, source, latency))
    source.close()
    assert line.endswith("fps, latency 50/50/50 ms, dropped 0, reconnects 0")


def test_without_a_limit_nothing_is_too_old() -> None:
    latency = Latency(lambda: 100.0, max_seconds=None)
    assert len(list(latency.fresh([frame_at(0)]))) == 1


def test_percentiles_are_those_of_numpy() -> None:
    ages = np.random.default_rng(1908).permutation(np.arange(1, 1001)) / 1000
    latency = Latency(lambda: 5.0)
    assert latency.recent_ms() == {}
    for age in ages:
        latency.left(frame_at(5.0 - age))
    for name, share in (("p50", 50), ("p95", 95), ("p99", 99)):
        wanted = 1000 * float(np.percentile(ages, share, method="inverted_cdf"))
        assert latency.recent_ms()[name] == pytest.approx(wanted, abs=0.02)
        whole: Any = latency.report()["latency_ms"]
        assert 0 <= whole[name] - wanted <= 1


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Backend]:
    backend = load(write_model(tmp_path / "curve.onnx"), "onnxruntime")
    yield backend
    backend.close()


def test_a_slow_sink_never_leaves_a_backlog(network: Backend) -> None:
    """A sink of 10 fps behind a source of 50 fps: what comes out is old by a few frames only."""

    class SlowSink(NullSink):
        def write(self, item: Item) -> None:
            time.sleep(0.1)

    def connect() -> Any:
        return av.open("testsrc2=size=96x64:rate=50,realtime,format=gray", format="lavfi")

    source = ReconnectingSource("test", connect, duration_seconds=3)
    latency = Latency.of(source)
    stats = run(source, Colorizer(network), SlowSink(), latency=latency)
    source.close()
    assert stats.frames_out < 40
    assert stats.dropped > 60
    assert stats.dropped == latency.dropped.total()
    # Before inference 0.2 s, then two frames in the channel and one in the sink, 0.1 s each.
    assert latency.recent_ms()["p95"] < 1000


class Changing(Source):
    """A live source whose picture changes its size."""

    live = True

    def now(self) -> float:
        return 0.0

    def __iter__(self) -> Iterator[Item]:
        for number in range(40):
            time.sleep(0.02)
            yield frame_at(number / 25, 64 if number < 20 else 96)


class Sizes(NullSink):
    def __init__(self, *, follows_size: bool) -> None:
        super().__init__()
        self.follows_size = follows_size
        self.seen: list[int] = []

    def write(self, item: Item) -> None:
        assert isinstance(item, av.VideoFrame)
        self.seen.append(item.width)


@pytest.mark.parametrize(("follows", "wanted"), [(True, {64, 96}), (False, {64})])
def test_a_change_of_size_starts_the_colours_anew_or_is_fitted(
    network: Backend, follows: bool, wanted: set[int]
) -> None:
    sink = Sizes(follows_size=follows)
    colorizer = Colorizer(network, steady=make_steady("live"))
    stats = run(Changing(), colorizer, sink)  # type: ignore[arg-type]
    assert set(sink.seen) == wanted
    assert len(sink.seen) + stats.dropped == 40
