"""Plays a film as if it were live: `--realtime`, and `--loop` for a film without an end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from time import monotonic

from kinemacolor.stream.media import Item, Source, is_frame
from kinemacolor.stream.sources.clock import TIME_BASE

# A clock that is further behind has stood still (a laptop that slept): go on from here.
_BEHIND_SECONDS = 2.0


class RealtimeSource(Source):
    """Yields frames and sound of a film, each when it is due; with `loop`, again and again.

    Args:
        open_film: opens the film once more for each turn.
        start_seconds: where in the film each turn begins.
        duration_seconds: ends after so much time.
    """

    live = True

    def __init__(
        self,
        open_film: Callable[[], Source],
        *,
        loop: bool = False,
        start_seconds: float = 0.0,
        duration_seconds: float | None = None,
    ) -> None:
        self._start = start_seconds
        self._open = open_film
        self._film = self._next_film()
        self._loop = loop
        self._end = duration_seconds
        self._first = self._film  # its streams are what the sinks copy from: closed last
        self.info = self._film.info
        self.container, self.video = self._film.container, self._film.video
        self._clock = FilmClock()

    def now(self) -> float:
        return self._clock.now()

    def __iter__(self) -> Iterator[Item]:
        start = -self._start  # of the film in this turn
        while True:
            end = begin = start + self._start
            for item in self._film:
                seconds = start + _seconds(item)
                if is_frame(item):
                    # Sound goes along: a decoder gives a picture later than its packet's turn.
                    if self._end is not None and seconds >= self._end:
                        return
                    self._clock.wait_until(seconds)
                end = max(end, seconds + self._length(item))
                yield self._moved(item, start)
            self.display_matrix = self._film.display_matrix
            self.broken_off = self._film.broken_off
            if not self._loop or end == begin:
                return
            start = end - self._start
            if self._film is not self._first:
                self._film.close()
            self._film = self._next_film()

    def close(self) -> None:
        self._clock.stop()
        for film in {self._film, self._first}:
            film.close()

    def _next_film(self) -> Source:
        film = self._open()
        film.video.thread_type = "SLICE"  # frame threads hold back a frame each
        return film

    def _length(self, item: Item) -> float:
        """Returns how long an item plays: sound may end after the picture."""
        if item.duration and item.time_base:
            return float(item.duration * item.time_base)
        return float(1 / self.info.rate)

    def _moved(self, item: Item, start: float) -> Item:
        if is_frame(item):
            item.pts = round((start + (item.time or 0.0)) / TIME_BASE)
            item.time_base = TIME_BASE
            item.duration = 0
        elif start:
            shift = round(start / item.time_base)
            item.pts = None if item.pts is None else item.pts + shift
            item.dts = None if item.dts is None else item.dts + shift
            item.stream = self.container.streams[item.stream_index]
        return item


class FilmClock:
    """Waits for moments on a clock that starts with the first."""

    def __init__(self) -> None:
        self._zero: float | None = None
        self._stopped = threading.Event()

    def now(self) -> float:
        return 0.0 if self._zero is None else monotonic() - self._zero

    def wait_until(self, seconds: float) -> None:
        """Returns when it is `seconds`, or at once where that has passed."""
        if self._zero is None or self.now() - seconds > _BEHIND_SECONDS:
            self._zero = monotonic() - seconds
        self._stopped.wait(max(0.0, seconds - self.now()))

    def stop(self) -> None:
        self._stopped.set()


def _seconds(item: Item) -> float:
    if item.pts is None or item.time_base is None:
        return 0.0
    return float(item.pts * item.time_base)
