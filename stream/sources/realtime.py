"""Plays a film as if it were live: `--realtime`, and `--loop` for a film without an end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from time import monotonic

import av
import av.error
from kinemacolor.stream.errors import SourceError
from kinemacolor.stream.media import Item, Source, is_frame
from kinemacolor.stream.sources.clock import TIME_BASE
from kinemacolor.stream.sources.slate import held_frame

log = logging.getLogger(__name__)

# A clock that is further behind has stood still (a laptop that slept): go on from here.
_BEHIND_SECONDS = 2.0
# A film that is away at its next turn is looked for once a second.
HOLD_STEP_SECONDS, HELD_FRAMES = 0.2, 5


class RealtimeSource(Source):
    """Yields frames and sound of a film, each when it is due; with `loop`, again and again.

    Args:
        open_film: opens the film once more for each turn; its times count from where it begins.
        duration_seconds: ends after so much time.
    """

    live = True

    def __init__(
        self,
        open_film: Callable[[], Source],
        *,
        loop: bool = False,
        duration_seconds: float | None = None,
    ) -> None:
        self._open = open_film
        self._film = self._next_film()
        self._loop = loop
        self._end = duration_seconds
        self._first = self._film  # its streams are what the sinks copy from: closed last
        self.info = self._film.info
        self.container, self.video = self._film.container, self._film.video
        self._clock = FilmClock()
        self._was_away = False

    def now(self) -> float:
        return self._clock.now()

    def __iter__(self) -> Iterator[Item]:
        start = 0.0  # of the film in this turn
        last: av.VideoFrame | None = None
        while True:
            end = begin = start
            try:
                for item in self._film:
                    seconds = start + _seconds(item)
                    if is_frame(item):
                        # Sound goes along: a decoder gives a picture later than its packet's turn.
                        if self._is_over(seconds):
                            return
                        self._clock.wait_until(seconds)
                        last = item
                    end = max(end, seconds + self._length(item))
                    yield self._moved(item, start)
            except SourceError as error:
                if not self._loop or last is None:
                    raise
                log.warning("%s; trying again", error)
            self.display_matrix = self._film.display_matrix
            self.broken_off = self._film.broken_off
            if not self._loop or last is None:
                return
            if self._film is not self._first:
                self._film.close()
                self._film = self._first
            if end == begin:  # half copied: what opens and holds nothing
                yield from self._hold(last, end)
            yield from self._open_again(last, end)
            if self._is_over(self.now()):
                return
            start = max(end, self.now()) if self._was_away or end == begin else end

    def _open_again(self, last: av.VideoFrame, end: float) -> Iterator[Item]:
        """Opens the film for its next turn; holds its last frame while that is not to be had."""
        begun, self._was_away = monotonic(), False
        while True:
            try:
                self._film = self._next_film()
                break
            except (SourceError, OSError, av.error.FFmpegError) as error:
                if not self._was_away:
                    log.warning("%s; the last frame is held until it is there", error)
                self._was_away = True
            yield from self._hold(last, end)
            if self._clock.is_stopped or self._is_over(self.now()):
                return
        if self._was_away:
            log.warning("%s: back after %.1f s", self.info.name, monotonic() - begun)

    def _hold(self, last: av.VideoFrame, end: float) -> Iterator[Item]:
        for _ in range(HELD_FRAMES):
            self._clock.wait_until(max(end, self.now() + HOLD_STEP_SECONDS))
            if self._clock.is_stopped or self._is_over(self.now()):
                return
            yield held_frame(last, round(self.now() / TIME_BASE))

    def _is_over(self, seconds: float) -> bool:
        return self._end is not None and seconds >= self._end

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

    @property
    def is_stopped(self) -> bool:
        return self._stopped.is_set()

    def stop(self) -> None:
        self._stopped.set()


def _seconds(item: Item) -> float:
    if item.pts is None or item.time_base is None:
        return 0.0
    return float(item.pts * item.time_base)
