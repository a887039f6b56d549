"""What a frame's work is: what was timed as such, or in a film all but waiting for the source."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from kinemacolor.stream.color.costs import Costs, Stopwatch
from kinemacolor.stream.measure.stats import Stats


def test_live_a_frames_work_is_what_was_timed() -> None:
    stats = Stats()
    watch = Stopwatch(stats, live=True)
    for stage in ("extract", "infer", "infer", "chroma"):
        with watch.time(stage):
            time.sleep(0.001)
    time.sleep(0.001)  # an encoder that holds it up
    work, network = watch.lap()
    assert work == pytest.approx(sum(stats.seconds.values()))
    assert network == pytest.approx(stats.seconds["infer"])
    assert watch.lap() == (0.0, None)


def test_in_a_film_all_is_work_but_waiting_for_the_source() -> None:
    def slow_source() -> Iterator[int]:
        for item in range(3):
            time.sleep(0.05)
            yield item

    stats = Stats()
    watch = Stopwatch(stats, live=False)
    begin = time.perf_counter()
    for _ in watch.watch(slow_source()):
        with watch.time("chroma"):
            pass
    work, network = watch.lap()
    assert stats.seconds["chroma"] < work < time.perf_counter() - begin - 3 * 0.05
    assert network is None


def test_a_stall_is_no_load() -> None:
    costs = Costs()
    costs.start(4)
    for work in (9.0, 1.0, 2.0, 1.0, 8.0):
        costs.add(work, None)
    assert costs.count == 5
    assert costs.is_full
    assert costs.total() == 1 + 1 + 2 * 1
    assert costs.steady_work(8.0) == 1.0


def test_an_inference_in_the_background_counts_for_half() -> None:
    costs = Costs()
    for seconds in (0.2, 0.4, 0.6):
        costs.background.append(seconds)
    assert costs.inference() == 0.2
    assert costs.beside(every=4) == 0.1
