"""Queues what one viewer is sent; a slow viewer skips to a key frame and delays nobody."""

from __future__ import annotations

from collections import deque

from kinemacolor.stream.rtsp.tracks import VIDEO, Unit


class UnitQueue:
    """A bounded queue of units that always restarts at a key frame.

    After `restart` and after an overflow nothing is taken until a key frame arrives: a decoder
    can do nothing with what lies between.

    Args:
        needs_key: False where the viewer takes no video, so that there is nothing to wait for.
    """

    def __init__(self, *, max_units: int, max_bytes: int, needs_key: bool = True) -> None:
        self._max_units = max_units
        self._max_bytes = max_bytes
        self._needs_key = needs_key
        self._units: deque[Unit] = deque()
        self._bytes = 0
        self._overflowed = False
        self.is_waiting = needs_key
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._units)

    @property
    def bytes(self) -> int:
        return self._bytes

    def restart(self) -> None:
        """Forgets everything and begins at the next key frame."""
        self._clear()
        self.is_waiting = self._needs_key
        self._overflowed = False

    def put(self, unit: Unit) -> None:
        if self.is_waiting:
            if not (unit.is_key and unit.track == VIDEO):
                self.dropped += self._overflowed
                return
            self.is_waiting = self._overflowed = False
        self._units.append(unit)
        self._bytes += unit.size
        if self._is_over():
            self._overflow()

    def get(self) -> Unit | None:
        if not self._units:
            return None
        unit = self._units.popleft()
        self._bytes -= unit.size
        return unit

    def _is_over(self) -> bool:
        # One unit alone is never too much: a key frame above the limit still has to be seen.
        too_much = len(self._units) > self._max_units or self._bytes > self._max_bytes
        return too_much and len(self._units) > 1

    def _overflow(self) -> None:
        """Skips to the newest key frame in the queue, or empties it and waits for the next one."""
        keys = [i for i, unit in enumerate(self._units) if unit.is_key and unit.track == VIDEO]
        skip = keys[-1] if keys and keys[-1] > 0 else len(self._units)
        for _ in range(skip):
            self.get()
        if self._is_over():
            skip += len(self._units)
            self._clear()
        self.dropped += skip
        if not self._units:
            self.is_waiting = self._overflowed = self._needs_key

    def _clear(self) -> None:
        self._units.clear()
        self._bytes = 0
