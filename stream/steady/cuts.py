"""Which frames belong to one shot: hard cuts are found, flashes are bridged."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from kinemacolor.stream.steady.motion import Motion, MotionMeter, Path, Plane, View, follow

# Share of the picture that is seen in both of two frames. Within shots 0.6 and more, in twelve
# frames' dissolves 0.68 and more, across cuts 0.17 and less (clips and panned stills).
SAME_SHOT = 0.35
# Correlation of the lightness along the motion: tells a picture from a flat one, where motion
# finds nothing to contradict it. Within shots 0.87 and more.
SAME_PICTURE = 0.5
FLAT = 1.5  # L, standard deviation: black, white and fog, which correlate with nothing

FLASH_FRAMES = 4  # a shot that comes back after no more than so many frames was never left


@dataclass(frozen=True)
class Link:
    """One frame and the frame that its colours come from."""

    index: int
    view: View
    parent: int | None = None  # index of an earlier frame; None at the start of a shot
    motion: Motion | None = None  # from its parent to this frame
    is_cut: bool = False  # a shot starts here; a flash may turn out later to be none

    @property
    def resumes(self) -> bool:
        """Whether it continues a shot from before a flash: the cut there was none."""
        return self.parent is not None and self.parent < self.index - 1


class ShotLinker:
    """Links each frame to the one before, or to the one before a flash. From the past alone."""

    def __init__(self, cuts: Collection[int] | None = None) -> None:
        """cuts: numbers of the frames that start shots, if known; then none is looked for."""
        self._known_cuts = None if cuts is None else frozenset(cuts)
        self._index = -1
        self._before: View | None = None
        self._recent: deque[tuple[int, View]] = deque(maxlen=FLASH_FRAMES + 1)
        self._left: tuple[int, View] | None = None  # the last frame of the shot that a cut left
        self._meter = MotionMeter(1, 1)

    def start_over(self) -> None:
        """The next frame starts a new stream; numbering goes on."""
        self._before = self._left = None
        self._recent.clear()

    def link(self, view: View) -> Link:
        """Takes the next frame."""
        self._index += 1
        index, before = self._index, self._before
        recent = list(self._recent)
        self._before = view
        self._recent.append((index, view))
        if before is None or before.L.shape != view.L.shape:
            self._meter = MotionMeter(view.L.shape[1], view.L.shape[0])
            self._left = None
            self._recent = deque([(index, view)], FLASH_FRAMES + 1)
            return Link(index, view, is_cut=before is not None)
        if self._known_cuts is not None and index in self._known_cuts:
            return Link(index, view, is_cut=True)
        motion = self._meter.measure(before, view)
        if self._known_cuts is not None:
            return Link(index, view, index - 1, motion)

        cut = not _same_shot(before, view, motion.back)
        # After a cut the shot before it may come back: then it was a flash. And what looks like a
        # cut may be the end of a brighter or darker spell whose beginning did not look like one.
        earlier = [self._left] if self._left is not None else recent[:1] if cut else []
        for parent, picture in earlier:
            across = self._meter.measure(picture, view)
            if _same_shot(picture, view, across.back):
                self._left = None
                return Link(index, view, parent, across)
        if self._left is not None and index - self._left[0] > FLASH_FRAMES:
            self._left = None
        if not cut:
            return Link(index, view, index - 1, motion)
        self._left = self._left or (index - 1, before)
        return Link(index, view, is_cut=True)


def _same_shot(before: View, now: View, back: Path) -> bool:
    if float(back.seen.mean()) < SAME_SHOT:
        return False
    return _correlation(follow(before.L, back.points), now.L) >= SAME_PICTURE


def _correlation(one: Plane, other: Plane) -> float:
    """Returns -1..1; 1 where both are flat."""
    x, y = (one - one.mean()).ravel(), (other - other.mean()).ravel()
    spread = np.sqrt(float(np.dot(x, x)) / x.size), np.sqrt(float(np.dot(y, y)) / y.size)
    if max(spread) < FLAT:
        return 1.0
    return float(np.dot(x, y)) / x.size / (max(spread[0], FLAT) * max(spread[1], FLAT))
