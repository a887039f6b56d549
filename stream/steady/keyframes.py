"""Which frames go through the network, when it is too slow, or too dear, for all of them."""

from __future__ import annotations

from stream.steady.cuts import Link
from stream.steady.memory import Memory

OLD_SHARE = 0.1  # of the picture: that much without a trusted colour asks for a new one


class KeyFrames:
    """Chooses the first frame of each shot, and those at which carried colours have grown old."""

    def __init__(self, every: int) -> None:
        if every < 1:
            raise ValueError(f"every must be 1 or more, got {every}")
        self.every = every  # the longest way between key frames; may be changed while it runs
        self._since = 0
        self._trust: Memory | None = None

    def wants(self, link: Link) -> bool:
        """Whether the next frame is a key frame. Call it once for each frame, in order."""
        if self._trust is not None and link.motion is not None and not link.resumes:
            self._since += 1
            if self._since < self.every:
                self._trust = self._trust.carry(link.motion.back, link.view)
                unknown = float((self._trust.count < 0.5).mean())
                # Within a shot the distance is at least half of the longest, however fast it
                # moves: who sets `every` to keep up with a live source can rely on that.
                if unknown < OLD_SHARE or 2 * self._since < self.every:
                    return False
        self._since = 0
        self._trust = Memory.start(link.view, Memory.nothing(link.view).ab)
        return True

    def start_over(self) -> None:
        """The next frame starts a new stream."""
        self._trust = None
