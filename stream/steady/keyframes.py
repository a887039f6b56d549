"""Which frames go through the network, when it is too slow, or too dear, for all of them."""

from __future__ import annotations

from enum import IntEnum

from kinemacolor.stream.steady.cuts import Link
from kinemacolor.stream.steady.memory import Memory

OLD_SHARE = 0.1  # of the picture: that much without a trusted colour asks for a new one


class Want(IntEnum):
    """Whether a frame should go through the network; true unless it is NOTHING."""

    NOTHING = 0
    SOON = 1  # for a while it can do with colours that are carried to it
    NOW = 2  # there are none


class KeyFrames:
    """Chooses the first frame of each shot, and those at which carried colours have grown old."""

    def __init__(self, every: int) -> None:
        if every < 1:
            raise ValueError(f"every must be 1 or more, got {every}")
        self.every = every  # the longest way between key frames; may be changed while it runs
        self._since = 0
        self._trust: Memory | None = None

    def wants(self, link: Link, *, busy: bool = False) -> Want:
        """Whether the next frame is a key frame. Call it once for each frame, in order.

        Args:
            busy: the network is at an earlier key frame: no other is wanted SOON.
        """
        carried = self._trust is not None and link.motion is not None
        if carried and not link.resumes and not self._grown_old(link):
            return Want.NOTHING
        if carried and busy:
            if link.resumes:  # what was trusted belongs to the flash
                self._trust = _trust_in(link)
            return Want.NOTHING
        self._since = 0
        self._trust = _trust_in(link)
        return Want.SOON if carried else Want.NOW

    def ask_again(self) -> None:
        """The next frame is wanted SOON: what the last was given was only a first guess."""
        self._since = self.every

    def start_over(self) -> None:
        """The next frame starts a new stream."""
        self._trust = None

    def _grown_old(self, link: Link) -> bool:
        assert self._trust is not None
        assert link.motion is not None
        self._since += 1
        if self._since >= self.every:
            return True
        self._trust = self._trust.carry(link.motion.back, link.view)
        unknown = float((self._trust.count < 0.5).mean())
        # Within a shot the distance is at least half of the longest, however fast it
        # moves: who sets `every` to keep up with a live source can rely on that.
        return unknown >= OLD_SHARE and 2 * self._since >= self.every


def _trust_in(link: Link) -> Memory:
    return Memory.start(link.view, Memory.nothing(link.view).ab)
