"""Keeps a live source on one timeline, whatever its own clock does."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction

TIME_BASE = Fraction(1, 90_000)
# Beyond this a source's clock has jumped, or what it sends was stuck somewhere for so long.
JUMP_SECONDS = 2.0
# The least delay of so much time counts as none: the two clocks drift, and routes change.
WINDOW_SECONDS = 2.0


class LiveClock:
    """Carries a source's times on to a clock of ours that starts at zero and never jumps.

    The result is when a frame would have arrived on the quickest way seen lately, so that
    `now() - time` is its age. Sound is moved along with the picture. Used by one thread, except
    for `now`.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._zero = monotonic()
        self._shift: float | None = None  # ours minus the source's
        self._last = -1  # pts of the last frame
        self._last_sound: dict[int, float] = {}
        self._window_end = 0.0
        self._least_delay = JUMP_SECONDS
        self.jumps = 0

    def now(self) -> float:
        """Seconds since the source was opened."""
        return self._monotonic() - self._zero

    def restart(self) -> None:
        """Forgets the source's time: when a source comes back, its clock may have begun anew."""
        self._shift = None

    def place_frame(self, seconds: float | None) -> int:
        """Returns the pts in TIME_BASE of a frame that just arrived; higher than all before.

        Args:
            seconds: what the source says; None counts as now.
        """
        now = self.now()
        if seconds is None:
            return self.held()
        delay = JUMP_SECONDS if self._shift is None else now - seconds - self._shift
        if delay >= JUMP_SECONDS:
            self.jumps += self._shift is not None
            self._shift, delay = now - seconds, 0.0
            self._start_window(now)
        elif delay < 0:  # it came quicker than any before, or jumped ahead
            self.jumps += delay < -JUMP_SECONDS
            self._shift, delay = now - seconds, 0.0
        assert self._shift is not None
        self._least_delay = min(self._least_delay, delay)
        if now >= self._window_end:
            self._shift += self._least_delay
            self._start_window(now)
        return self._rising(seconds + self._shift)

    def place_sound(self, stream: int, seconds: float) -> float | None:
        """Returns when a packet of another stream plays; None as long as there is no picture."""
        if self._shift is None:
            return None
        placed = max(seconds + self._shift, self._last_sound.get(stream, -1.0) + 0.001)
        self._last_sound[stream] = placed
        return placed

    def held(self) -> int:
        """Returns the pts of a frame that is shown now, because no other came."""
        return self._rising(self.now())

    def _rising(self, seconds: float) -> int:
        self._last = max(self._last + 1, round(seconds / TIME_BASE))
        return self._last

    def _start_window(self, now: float) -> None:
        self._window_end = now + WINDOW_SECONDS
        self._least_delay = JUMP_SECONDS
