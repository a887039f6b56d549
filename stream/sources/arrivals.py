"""The hand-off inside a live source, whose reader never waits for ever."""

from __future__ import annotations

import time
from collections.abc import Callable

from kinemacolor.stream.handoff import Channel, T


class Arrivals(Channel[T]):
    """A channel that drops the oldest, and whose reader may give up waiting."""

    def __init__(self, capacity: int, *, counted: Callable[[T], bool]) -> None:
        super().__init__(capacity, drop_oldest=True, counted=counted)

    def take(self, timeout_seconds: float) -> T | None:
        """The next item, or None when none came in time. Raises EOFError at the end."""
        with self._changed:
            self._wait_for(lambda: self._items or self._closed, timeout_seconds)
            if self._items:
                return self._items.popleft()
            if self._closed:
                raise EOFError
            return None

    def closed_within(self, timeout_seconds: float) -> bool:
        """Waits that long for the channel to be closed: a sleep that ends with the run."""
        with self._changed:
            self._wait_for(lambda: self._closed, timeout_seconds)
            return self._closed

    def _wait_for(self, ready: Callable[[], object], timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        while not ready():
            left = deadline - time.monotonic()
            if left <= 0:
                return
            self._changed.wait(timeout=min(left, 0.5))
