"""Where each millisecond went: counts and times per stage."""

from __future__ import annotations

import math
import sys
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

_SPACED = 6  # frames that tell how far apart a source's frames are
STAGES = ("decode", "extract", "infer", "steady", "chroma", "encode")
# Upper bounds in seconds, of what a stage may take: from a copy to a network without a chance.
BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class Histogram:
    """How often something took how long. One thread adds, any other may read; no lock."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS) + 1)
        self.sum_seconds = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(BUCKETS, seconds)] += 1
        self.sum_seconds += seconds

    def cumulative(self) -> list[tuple[float, int]]:
        """(upper bound in seconds, how many took that long or less), infinity last."""
        return list(zip((*BUCKETS, math.inf), accumulate(self._counts.copy()), strict=True))


@dataclass(frozen=True)
class Step:
    """One step that a live run took down, or one back.

    Its level is that of all that is given up by then: 1 key frames only, 2 and 3 a smaller input
    of the network as well, 4 frames that are late are dropped.
    """

    level: int
    name: str  # "key frames", "input 0.7", "drop"
    message: str


@dataclass
class Stats:
    """Filled while a pipeline runs. Each stage's figures are written by one thread only."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    histograms: dict[str, Histogram] = field(
        default_factory=lambda: {stage: Histogram() for stage in STAGES}
    )
    frames_in: int = 0
    frames_out: int = 0
    inferred: int = 0  # frames that went through the network
    packets_copied: int = 0
    dropped: int = 0
    started: float = field(default_factory=time.perf_counter)
    first_frame_seconds: float | None = None  # from `started` to the first frame in the sink
    steps: list[tuple[float, Step]] = field(default_factory=list)  # taken, and after how long
    _times: deque[float] = field(default_factory=lambda: deque(maxlen=25))

    def came(self, seconds: float | None) -> None:
        """Counts a frame that the source gave."""
        self.frames_in += 1
        if seconds is not None:
            self._times.append(seconds)

    def left(self, *, frame: bool) -> None:
        """Counts a frame, or a packet, that is in the sink."""
        if not frame:
            self.packets_copied += 1
            return
        self.frames_out += 1
        if self.first_frame_seconds is None:
            self.first_frame_seconds = self.elapsed_seconds

    def took(self, step: Step) -> None:
        """Notes a step, and after how long it was taken."""
        self.steps.append((round(self.elapsed_seconds, 3), step))

    @property
    def period_seconds(self) -> float | None:
        """How far apart the source's frames were of late; None after the first few."""
        if len(self._times) < _SPACED:
            return None
        # The rate that a source names may be wrong, and dropped frames must count.
        period = (self._times[-1] - self._times[0]) / (len(self._times) - 1)
        return period if period > 0 else None

    @contextmanager
    def time(self, stage: str, *, frame: bool = True) -> Iterator[None]:
        """Times a piece of work; `frame` is False for work on a packet."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.spent(stage, time.perf_counter() - begin, frame=frame)

    def spent(self, stage: str, seconds: float, *, frame: bool = True) -> None:
        """Counts a piece of work that was timed elsewhere."""
        self.seconds[stage] += seconds
        if frame:
            self.histograms[stage].add(seconds)

    @property
    def elapsed_seconds(self) -> float:
        return time.perf_counter() - self.started

    @property
    def fps(self) -> float:
        return self.frames_out / max(self.elapsed_seconds, 1e-9)

    def stage_ms(self) -> dict[str, float]:
        """Mean milliseconds a frame in each stage; `infer` is the time waited for the network."""
        frames = max(self.frames_out, 1)
        return {stage: 1000 * seconds / frames for stage, seconds in self.seconds.items()}


def peak_memory_mb() -> float | None:
    """The most memory this process has held, in MB; None where the system does not say."""
    try:
        # Not getrusage on Linux: there a program's peak starts at that of whatever started it.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1e3
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3
