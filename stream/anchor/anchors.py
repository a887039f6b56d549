"""The one mechanism of known colours: takes frames in order, and says what is known of each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from kinemacolor.stream.anchor.carry import Sight, Tracker, Trail, view_for_motion
from kinemacolor.stream.anchor.known import Colors, Known, Plane
from kinemacolor.stream.anchor.match import Cells, Exemplar, match
from kinemacolor.stream.anchor.painting import (
    Carried,
    Painted,
    joined,
    network_at_points,
    steadied,
)
from kinemacolor.stream.anchor.spread import spread, to_points
from kinemacolor.stream.steady.cuts import FLASH_FRAMES, ShotLinker

WHOLE = 0.9  # mean sureness above which a known picture takes the place of those before it
MOST_TRAILS = 4  # known pictures that are carried at once; the oldest gives way


@dataclass(frozen=True, eq=False)
class Source:
    """A known picture and its number in the account."""

    number: int
    known: Known


@dataclass(frozen=True, eq=False)
class Glimpse:
    """A frame that was looked at, until it is painted.

    Attributes:
        carried: what came along the motion, by the number of the known picture.
        own: its colours, where the frame itself is a known picture.
    """

    sight: Sight
    carried: Mapping[int, Carried]
    own: Source | None


class Anchors:
    """Carries known colours through the frames of one size. Use it from one thread.

    Args:
        height, width: of the planes that frames are looked at in (`working_size`).
        cuts: numbers of the frames that start shots, if known; then none is looked for.
        strength: 0..1, how much known colours count.
    """

    def __init__(
        self,
        height: int,
        width: int,
        *,
        cuts: Collection[int] | None = None,
        strength: float = 1.0,
    ) -> None:
        self.size = height, width
        self._tracker = Tracker(height, width)
        self._linker = ShotLinker(cuts)
        self._strength = np.float32(strength)
        self._trails: dict[int, list[tuple[Source, Trail]]] = {}  # by frame
        self._painted: dict[int, Painted] = {}  # by frame

    def look(
        self,
        L: Plane,
        own: Source | None = None,
        later: Sequence[tuple[Source, Trail]] = (),
    ) -> Glimpse:
        """Takes the next frame.

        Args:
            L: (h, w) float32, 0..100.
            own: what is known of the frame itself.
            later: where its points lie in known pictures that are still to come.
        """
        link = self._linker.link(view_for_motion(L))
        sight = self._tracker.see(L, link)
        trails = []
        if link.parent is not None:
            for source, trail in self._trails.get(link.parent, []):
                moved = self._tracker.step(source.known, trail, sight)
                if moved is not None:
                    trails.append((source, moved))
        unpacked = [(source, trail.unpacked()) for source, trail in later]
        carried = {
            source.number: Carried(*self._tracker.colors(source.known, trail), trail.age)
            for source, trail in (*trails, *unpacked)
        }
        if own is not None:
            whole = float(own.known.sure.mean()) > WHOLE
            kept = [] if whole else trails[-(MOST_TRAILS - 1) :]
            trails = [*kept, (own, self._tracker.start())]
        self._trails[link.index] = trails
        self._trails.pop(link.index - FLASH_FRAMES - 1, None)
        return Glimpse(sight, carried, own)

    def paint(
        self,
        glimpse: Glimpse,
        ab: Colors | None,
        cells: Cells | None = None,
        exemplars: Sequence[tuple[int, Exemplar]] = (),
    ) -> tuple[Colors, Plane | None, dict[int, float]]:
        """Gives a frame its colours.

        Args:
            ab: (2, any, any), the network's; None: the frame before says what the network would.
            cells: of the frame; None where likes are not asked.
            exemplars: known pictures that are asked for likes, by their numbers.

        Returns:
            ab (2, h, w); (h, w), 0..1: how firm it is, come along the motion, or None; and by
            number what part of the picture each known one coloured.
        """
        sight, shares, firm = glimpse.sight, {}, None
        parent = sight.link.parent
        before = None if parent is None else self._painted.get(parent)
        own = None if ab is None else network_at_points(ab, sight.whole)
        if own is not None and cells is not None and exemplars:
            found, rows = match([exemplar for _, exemplar in exemplars], cells)
            likes, sure = to_points(spread(found, rows), cells.L, sight.whole)
            own = own + (likes - own) * (sure * self._strength)
            shares = {n: s for (n, _), s in zip(exemplars, found.shares, strict=True)}
        own, sure = steadied(own, sight, before, self._tracker)
        if glimpse.carried:
            known, certain = joined(list(glimpse.carried.values()))
            firm = certain * self._strength
            own = own + (known - own) * firm
            left = 1 - float(certain.mean())
            shares = {number: share * left for number, share in shares.items()}
            for number, each in glimpse.carried.items():
                shares[number] = max(shares.get(number, 0.0), float(each.sure.mean()))
        if glimpse.own is not None:
            colors = glimpse.own.known
            own = own + (colors.ab - own) * (colors.sure * self._strength)
            shares[glimpse.own.number] = float(colors.sure.mean())
        own = np.ascontiguousarray(own, np.float32)
        self._painted[sight.link.index] = Painted(sight.L, own, sure)
        self._painted.pop(sight.link.index - FLASH_FRAMES - 1, None)
        return own, firm, shares

    def start_over(self) -> None:
        """The next frame starts a new stream."""
        self._linker.start_over()
        self._trails.clear()
        self._painted.clear()


def carry_back(source: Source, frames: Sequence[Plane]) -> dict[int, Trail]:
    """Carries a known picture to the frames before it, as far as its shot goes.

    Args:
        frames: (h, w) float32 each, 0..100; the last one is the known picture's own.

    Returns:
        trails by the index of their frame; the known picture's own is left out.
    """
    tracker, linker = Tracker(*frames[-1].shape), ShotLinker()
    trail: Trail | None = tracker.start()
    found: dict[int, Trail] = {}
    for index in range(len(frames) - 1, -1, -1):
        link = linker.link(view_for_motion(frames[index]))
        if index == len(frames) - 1:
            continue
        if link.parent is None or link.resumes:
            break
        assert trail is not None
        trail = tracker.step(source.known, trail, tracker.see(frames[index], link))
        if trail is None:
            break
        found[index] = trail.packed()
    return found
