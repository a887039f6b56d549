"""How far a run is, in numbers that anybody may print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kinemacolor.stream.measure.latency import Latency
from kinemacolor.stream.measure.stats import Stats
from kinemacolor.stream.media import Source


@dataclass(frozen=True)
class Progress:
    """A run as it stands; what follows `live` is of a live run."""

    frames: int
    total: int | None  # an estimate for the whole film; None where nobody knows, as of a camera
    seconds: float
    fps: float
    live: bool = False
    latency_ms: Mapping[str, float] = field(default_factory=dict)  # p50, p95, p99; last minute's
    dropped: int = 0  # frames that were left out to stay in time
    reconnects: int = 0
    given_up: str | None = None  # last, in order to keep the rate

    @property
    def eta_seconds(self) -> float | None:
        """An estimate of the time left; None where there is nothing to estimate from."""
        if self.total is None or not self.frames:
            return None
        return max(0, self.total - self.frames) / max(self.fps, 1e-9)

    @classmethod
    def of(cls, stats: Stats, source: Source, latency: Latency | None) -> Progress:
        """Reads the counters of a run; any thread may."""
        return cls(
            frames=stats.frames_out,
            total=source.info.frames,
            seconds=stats.elapsed_seconds,
            fps=stats.fps,
            live=source.live,
            latency_ms={} if latency is None else latency.recent_ms(),
            dropped=0 if latency is None else latency.dropped.total(),
            reconnects=source.reconnects,
            given_up=stats.steps[-1][1].name if stats.steps else None,
        )
