"""Where each millisecond went: counts and times per stage."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

STAGES = ("decode", "extract", "infer", "steady", "chroma", "encode")


@dataclass
class Stats:
    """Filled while a pipeline runs. Each stage's figures are written by one thread only."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    frames_in: int = 0
    frames_out: int = 0
    packets_copied: int = 0
    dropped: int = 0
    position_seconds: float = 0.0  # of the last frame that the sink took
    started: float = field(default_factory=time.perf_counter)
    first_frame_seconds: float | None = None  # from `started` to the first frame in the sink

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - begin

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
