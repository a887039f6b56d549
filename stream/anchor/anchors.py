"""The one mechanism of known colours: takes frames in order, and says what is known of each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from kinemacolor.stream.anchor.carry import Sight, Tracker, Trail
from kinemacolor.stream.anchor.known import Colors, Known, Plane
from kinemacolor.stream.anchor.match import Exemplar, cells_of, match
from kinemacolor.stream.anchor.painting import (
    Carried,
    Painted,
    joined,
    network_at_points,
    steadied,
)
from kinemacolor.stream.anchor.spread import spread, to_points
from kinemacolor.stream.steady.cuts import FLASH_FRAMES, ShotLinker
from kinemacolor.stream.steady.motion import View


@dataclass(frozen=True, eq=False)
class Glimpse:
    """A frame that was looked at, until it is painted.

    Attributes:
        carried: what came along the motion, by the number of the known picture.
        own: its colours, where the frame itself is a known picture.
    """

    sight: Sight
    carried: Mapping[int, Carried]
    own: Known | None


class Anchors:
    """Carries known colours through the frames of one film. Use it from one thread.

    Args:
        height, width: of the planes that frames are looked at in (`working_size`).
        cuts: numbers of the frames that start shots, if known; then none is looked for.
    """

    def __init__(self, height: int, width: int, *, cuts: Collection[int] | None = None) -> None:
        self._tracker = Tracker(height, width)
        self._linker = ShotLinker(cuts)
        self._trails: dict[int, list[tuple[int, Known, Trail]]] = {}  # by frame
        self._painted: dict[int, Painted] = {}  # by frame
        self.exemplars: list[Exemplar] = []
        self.shares: list[float] = []

    def look(
        self, L: Plane, known: tuple[int, Known] | None = None, later: Mapping[int, Carried] = {}
    ) -> Glimpse:
        """Takes the next frame.

        Args:
            L: (h, w) float32, 0..100.
            known: the frame's own number among known pictures, and its colours.
            later: what came back from frames that are still to come.
        """
        view = View(cv2.convertScaleAbs(L, alpha=2.55), *_halves(L))
        link = self._linker.link(view)
        sight = self._tracker.see(L, view, link)
        trails = []
        carried = {}
        if link.parent is not None:
            for number, picture, trail in self._trails.get(link.parent, []):
                moved = self._tracker.step(picture, trail, sight)
                if moved is not None:
                    trails.append((number, picture, moved))
                    carried[number] = Carried(*moved.colors(picture), moved.age)
        if known is not None:
            trails = [(*known, self._tracker.start())]
        self._trails[link.index] = trails
        self._trails.pop(link.index - FLASH_FRAMES - 1, None)
        return Glimpse(sight, {**carried, **later}, None if known is None else known[1])

    def paint(self, glimpse: Glimpse, ab: Colors, features: Plane, parts: tuple[int, ...]) -> Colors:
        """Returns the frame's ab (2, h, w)."""
        sight = glimpse.sight
        own = network_at_points(ab, sight.L)
        if self.exemplars:
            cells = cells_of(features, parts, sight.L)
            found, rows = match(self.exemplars, cells)
            likes, sure = to_points(spread(found, rows), cells.L, sight.L)
            self.last = sure
            own = own + (likes - own) * sure
        parent = sight.link.parent
        before = None if parent is None else self._painted.get(parent)
        own, sure = steadied(own, sight, before)
        if glimpse.carried:
            known, certain = joined(list(glimpse.carried.values()))
            own = own + (known - own) * certain
        if glimpse.own is not None:
            own = own + (glimpse.own.ab - own) * glimpse.own.sure
        self._painted[sight.link.index] = Painted(sight.L, own, sure)
        self._painted.pop(sight.link.index - FLASH_FRAMES - 1, None)
        return own


def _halves(L: Plane) -> tuple[Plane, Plane]:
    height, width = L.shape
    small = cv2.resize(L, ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA)
    window = np.ones((3, 3), np.uint8)
    return small, cv2.subtract(cv2.dilate(small, window), cv2.erode(small, window))
