"""What frames cost: a stopwatch for each, and the figures of the last ones."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import TypeVar

from kinemacolor.stream.measure.stats import Stats

T = TypeVar("T")

INFERENCES = 3  # that must have been too slow, by their median
SHARED = 2.0  # times as long as alone an inference takes in the background, at the most


class Stopwatch:
    """Times the work on the colorizing thread, for a run's counters and for each frame.

    Args:
        live: a frame's work is what was timed as such. A film's is everything but waiting for
            the source: an encoder that holds it up has the network's processor.
    """

    def __init__(self, stats: Stats, *, live: bool) -> None:
        self._stats, self._live = stats, live
        self._work = self._waited = 0.0
        self._network: float | None = None
        self._began = time.perf_counter()

    def watch(self, items: Iterable[T]) -> Iterator[T]:
        """Passes a source's items on and counts the time spent waiting for them."""
        iterator = iter(items)
        while True:
            begin = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            self._waited += time.perf_counter() - begin
            yield item

    @contextmanager
    def time(self, stage: str, *, frame: bool = True) -> Iterator[None]:
        """Times a stage's piece of work; `frame` is False for one beside the stage's usual."""
        before = self._stats.seconds[stage]
        with self._stats.time(stage, frame=frame):
            yield
        seconds = self._stats.seconds[stage] - before
        self._work += seconds
        if stage == "infer":
            self._network = seconds + (self._network or 0.0)

    def lap(self) -> tuple[float, float | None]:
        """Returns the seconds since the last lap, and starts the next.

        Returns:
            all the work, and how much of it was waiting for the network; None: no inference.
        """
        now = time.perf_counter()
        work = self._work if self._live else now - self._began - self._waited
        lap = work, self._network
        self._work, self._waited, self._network, self._began = 0.0, 0.0, None, now
        return lap


class Costs:
    """The seconds that each of the last frames took.

    The two slowest of them count as the third: a stall is no overload.
    """

    def __init__(self) -> None:
        self.start(1)
        self.start_background()

    def start(self, frames: int) -> None:
        """Forgets all frames; from now on so many are kept."""
        self.count = 0  # frames since then
        self.work: deque[float] = deque(maxlen=frames)
        self._network: deque[float | None] = deque(maxlen=frames)  # of the same frames

    def start_background(self) -> None:
        """Forgets the inferences in the background."""
        self.background: deque[float] = deque(maxlen=INFERENCES)

    def add(self, work: float, network: float | None, *, times: int = 1) -> None:
        """Counts a frame, or several alike."""
        self.work.extend([work] * times)
        self._network.extend([network] * times)
        self.count += times

    @property
    def is_full(self) -> bool:
        """Whether as many frames were counted as are kept."""
        return len(self.work) == self.work.maxlen

    def steady_work(self, work: float) -> float:
        """A frame's work where it was among the slowest: no more than the third of them took."""
        slowest = sorted(self.work)[-3:]
        return min(work, slowest[0]) if len(slowest) == 3 else 0.0

    def total(self) -> float:
        """Seconds of all the work."""
        slowest = sorted(self.work)
        return sum(slowest[:-2]) + 2 * slowest[-3] if len(slowest) > 2 else 0.0

    def mean(self) -> float:
        """Seconds of work on a frame."""
        return self.total() / len(self.work)

    def inferences(self) -> list[float]:
        """Seconds of each inference that a frame waited for."""
        return [seconds for seconds in self._network if seconds is not None]

    def inference(self, at_least: int = INFERENCES) -> float:
        """Seconds that a frame has to wait for one; 0 as long as there were too few to say.

        One in the background holds no frame up: it counts for half of the time that it takes
        beside everything else.
        """
        waited, beside = self.inferences(), self.background
        return max(
            median(waited) if len(waited) >= at_least else 0.0,
            median(beside) / SHARED if len(beside) >= at_least else 0.0,
        )

    def beside(self, every: int) -> float:
        """Seconds a frame that the network is at work in the background, every so many frames."""
        return median(self.background) / every if self.background else 0.0

    def network_share(self, every: int) -> float:
        """The network's share of the work, 0..1."""
        beside = len(self.work) * self.beside(every)
        return (sum(self.inferences()) + beside) / max(sum(self.work) + beside, 1e-9)
