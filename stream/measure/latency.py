"""How old frames are when they leave; too old ones are dropped before they cost more time."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator

import av
from kinemacolor.stream.measure.stats import Histogram
from kinemacolor.stream.media import Item, Source

LIVE_SECONDS = 0.2  # the most that a frame may be late before the network sees it
_RECENT = 1500  # a minute at 25 fps


class Latency:
    """Ages of a live source's frames, and the frames dropped, by cause.

    `fresh` is used on one thread and `left` on another.

    Args:
        now: the time on the frames' own timeline (`Source.now`).
        max_seconds: older frames are dropped before inference, oldest first.
    """

    def __init__(
        self, now: Callable[[], float], *, max_seconds: float | None = LIVE_SECONDS
    ) -> None:
        self._now = now
        self._max = math.inf if max_seconds is None else max_seconds
        self._ages_ms: Counter[int] = Counter()  # milliseconds to frames, of the whole run
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self.histogram = Histogram()
        self._late = 0
        self._counters: dict[str, Callable[[], int]] = {}

    @classmethod
    def of(cls, source: Source, *, max_seconds: float | None = LIVE_SECONDS) -> Latency:
        """The accounts of a live source, by its own clock."""
        latency = cls(source.now, max_seconds=max_seconds)
        latency.count("source", lambda: source.dropped)
        return latency

    def count(self, cause: str, counter: Callable[[], int]) -> None:
        """Takes in the frames that were dropped elsewhere."""
        self._counters[cause] = counter

    @property
    def dropped(self) -> Counter[str]:
        """Frames dropped so far, by cause.

        late: older than the limit before inference; queue: they came while too many were waiting;
        source: they came before anybody took them.
        """
        dropped = Counter({cause: counter() for cause, counter in self._counters.items()})
        dropped["late"] = self._late
        return dropped

    def age(self, frame: av.VideoFrame) -> float:
        """Seconds since a frame should have been here at the earliest."""
        return self._now() - (frame.time or 0.0)

    def fresh(self, items: Iterable[Item]) -> Iterator[Item]:
        """Everything but the frames that are too old."""
        for item in items:
            if isinstance(item, av.VideoFrame) and self.age(item) > self._max:
                self._late += 1
            else:
                yield item

    def left(self, frame: av.VideoFrame) -> None:
        """Notes that a frame has gone into the sink."""
        seconds = self.age(frame)
        self._recent.append(seconds)
        self.histogram.add(seconds)
        self._ages_ms[math.ceil(1000 * seconds)] += 1

    def recent_ms(self) -> dict[str, float]:
        """p50, p95 and p99 over the last minute or so; empty before the first frame."""
        ages = sorted(self._recent.copy())  # the other thread may add meanwhile
        return {f"p{p}": 1000 * _quantile(ages, p / 100) for p in (50, 95, 99)} if ages else {}

    def report(self) -> dict[str, object]:
        """Over the whole run, for `--report`; to the next whole millisecond."""
        ages = sorted(self._ages_ms.elements())
        return {
            "latency_ms": {f"p{p}": _quantile(ages, p / 100) for p in (50, 95, 99)} if ages else {},
            "dropped": dict(self.dropped),
        }


def _quantile(ordered: list[float] | list[int], share: float) -> float:
    """The smallest value that so large a share does not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
