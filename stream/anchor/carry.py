"""Known colours along the motion: where each point of a frame lies in a known picture.

Coordinates are composed from frame to frame and anchored in the known picture again at every
frame, so they do not drift; colours are sampled once, from the known picture itself, so they do
not blur.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from kinemacolor.stream.anchor.known import Colors, Known, Plane, contrast_of, fit_lightness
from kinemacolor.stream.steady.cuts import Link
from kinemacolor.stream.steady.motion import View, follow

LOST = 0.003  # mean confidence below which nothing is worth carrying on
ANCHORS = 0.02  # mean confidence above which the known picture is looked at again
FARTHEST = 36.0  # points squared that an anchoring may move a coordinate by
BETTER = 0.05  # L, by which it has to fit better
TOLERANCE, TEXTURE_SHARE = 3.0, 0.5  # L, and share of the local contrast: no mismatch yet


@dataclass(frozen=True, eq=False)
class Sight:
    """One frame as carrying sees it.

    Attributes:
        L: (h, w), 0..100.
        points: (h, w, 2), where each point was in the frame before (`link.parent`); None at the
            start of a shot.
        seen: (h, w), 0..1: whether it could be seen there.
    """

    L: Plane
    pixels: Plane
    tolerance: Plane
    link: Link
    points: Plane | None
    seen: Plane | None


@dataclass(frozen=True, eq=False)
class Trail:
    """Where the points of a frame lie in a known picture.

    Attributes:
        points: (h, w, 2): x, y in the known picture.
        sure: (h, w), 0..1.
        age: frames from the known picture's own.
    """

    points: Plane
    sure: Plane
    age: int

    def packed(self, grid: Plane) -> PackedTrail:
        """The same in a ninth of the memory, a little coarser."""
        size = tuple((side + 1) // 2 for side in self.sure.shape[::-1])
        way = cv2.resize(self.points - grid, size, interpolation=cv2.INTER_AREA)
        sure = cv2.resize(self.sure, size, interpolation=cv2.INTER_AREA)
        return PackedTrail(way.astype(np.float16), np.rint(sure * 255).astype(np.uint8), self.age)

    def colors(self, known: Known) -> tuple[Colors, Plane]:
        """Returns ab (2, h, w) and its confidence (h, w)."""
        layers = follow(known.layers, self.points)
        return np.ascontiguousarray(layers[..., 1:3].transpose(2, 0, 1)), self.sure * layers[..., 3]


@dataclass(frozen=True, eq=False)
class PackedTrail:
    """A trail that waits for its frame.

    Attributes:
        way: (h / 2, w / 2, 2) float16, from each point to the known picture's.
        sure: (h / 2, w / 2) uint8, 255 times as much.
    """

    way: Plane
    sure: Plane
    age: int

    def unpacked(self, grid: Plane) -> Trail:
        size = grid.shape[1::-1]
        way = cv2.resize(self.way.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
        sure = cv2.resize(self.sure.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
        return Trail(grid + way, sure / np.float32(255), self.age)


class Tracker:
    """Looks at frames of one size, and carries trails from one to the next.

    Use it from one thread.
    """

    def __init__(self, height: int, width: int) -> None:
        x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        self.grid = np.dstack([x, y])  # (h, w, 2)
        self._flow: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def see(self, L: Plane, view: View, link: Link) -> Sight:
        """Prepares a frame."""
        points = seen = None
        if link.motion is not None:
            back = link.motion.back
            height, width = L.shape
            scale = np.float32([width / view.L.shape[1], height / view.L.shape[0]])
            way = (back.points - self._small_grid(view.L.shape)) * scale
            points = self.grid + cv2.resize(way, (width, height), interpolation=cv2.INTER_LINEAR)
            seen = cv2.resize(back.seen, (width, height), interpolation=cv2.INTER_LINEAR)
        tolerance = TOLERANCE + TEXTURE_SHARE * contrast_of(L)
        return Sight(L, cv2.convertScaleAbs(L, alpha=2.55), tolerance, link, points, seen)

    def start(self) -> Trail:
        """The trail at the known picture's own frame."""
        return Trail(self.grid, np.ones(self.grid.shape[:2], np.float32), 0)

    def step(self, known: Known, trail: Trail, sight: Sight) -> Trail | None:
        """Carries a trail to the next frame of its shot; None where nothing is left of it."""
        assert sight.points is not None
        assert sight.seen is not None
        state = follow(np.dstack([trail.points, trail.sure]), sight.points)
        points, sure = np.ascontiguousarray(state[..., :2]), state[..., 2] * sight.seen
        if float(sure.mean()) > ANCHORS:
            points = self._anchored(known, points, sight)
        L = follow(known.L, points)
        gain, offset = fit_lightness(L, sight.L, sure + 1e-3)
        mismatch = cv2.blur(np.abs(gain * L + offset - sight.L) / sight.tolerance, (3, 3))
        sure = sure * np.exp(-np.square(np.maximum(mismatch - 0.3, 0)))
        return None if float(sure.mean()) < LOST else Trail(points, sure, trail.age + 1)

    def _anchored(self, known: Known, points: Plane, sight: Sight) -> Plane:
        """Moves coordinates to where the known picture explains the frame better."""
        flow = self._flow.calc(sight.pixels, known.pixels, points - self.grid)
        found = self.grid + flow
        gap = _misfit(known.L, found, sight.L) - _misfit(known.L, points, sight.L)
        moved = np.square(found - points).sum(-1)
        better = ((gap < -BETTER) & (moved < FARTHEST)).astype(np.float32)
        return points + (found - points) * cv2.GaussianBlur(better, (0, 0), 2)[..., None]

    def _small_grid(self, shape: tuple[int, int]) -> Plane:
        return self.grid[: shape[0], : shape[1]]


def _misfit(L: Plane, points: Plane, target: Plane) -> Plane:
    """How badly L, followed along points, explains the target, around each point."""
    return cv2.GaussianBlur(np.minimum(cv2.absdiff(follow(L, points), target), 20), (0, 0), 2)
