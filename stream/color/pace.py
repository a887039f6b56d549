"""`--every auto`: as few inferences as it takes to keep a film's own rate, and no fewer."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TypeVar

from kinemacolor.stream.steady.keyframes import KeyFrames

log = logging.getLogger(__name__)

T = TypeVar("T")

WINDOW_FRAMES = 12
LONGEST = 12  # frames from one inference to the next: colours carried further grow stale
TARGET_LOAD = 0.85  # of real time; what is left absorbs slower frames
RELAXED_LOAD = 0.7  # under the target, so that the distance does not swing


class Pace:
    """Adapts the distance of key frames to how much of real time the work takes.

    The load of a window of frames is the time spent on it, less the time spent waiting for the
    source, over the time that it plays. So it is right for a live source, which keeps us
    waiting, and for a file, which does not.
    """

    def __init__(self, key_frames: KeyFrames, rate: Fraction) -> None:
        self._key_frames = key_frames
        self._window_seconds = float(WINDOW_FRAMES / rate)
        self._frames = 0
        self._began = time.perf_counter()
        self._waited = 0.0

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

    def frame_done(self) -> None:
        """Counts a frame; at the end of a window the distance of key frames may change."""
        self._frames += 1
        if self._frames < WINDOW_FRAMES:
            return
        now = time.perf_counter()
        self.adapt((now - self._began - self._waited) / self._window_seconds)
        self._frames, self._began, self._waited = 0, now, 0.0

    def adapt(self, load: float) -> None:
        """Moves the distance to where this load would be the target."""
        wanted = distance(self._key_frames.every, load)
        if wanted != self._key_frames.every:
            log.info(
                "key frames at most %d apart (the work took %.0f %% of real time)",
                wanted,
                100 * load,
            )
            self._key_frames.every = wanted


def distance(every: int, load: float) -> int:
    """The distance of key frames at which a load, measured at `every`, would be the target."""
    if load > TARGET_LOAD:
        return min(LONGEST, max(every + 1, math.ceil(every * load / TARGET_LOAD)))
    if every > 1 and load * every / (every - 1) < RELAXED_LOAD:
        return every - 1  # which would still leave room
    return every
