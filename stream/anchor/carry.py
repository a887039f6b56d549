"""Known colours along the motion: where each point of a frame lies in a known picture.

Coordinates are composed from frame to frame and anchored in the known picture again at every
frame, so they do not drift; colours are sampled once, from the known picture itself, so they do
not blur.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from kinemacolor.stream.anchor.known import Colors, Known, Plane, fit_lightness
from kinemacolor.stream.steady.cuts import Link
from kinemacolor.stream.steady.motion import View, follow

LOST = 0.003  # mean confidence below which nothing is worth carrying on
ANCHORS = 0.02  # mean confidence above which the known picture is looked at again
FARTHEST = 9.0  # half points squared that an anchoring may move a coordinate by
BETTER = 0.05  # L, by which it has to fit better
SEEN, ALIKE = 0.7, 0.5  # shares below which something is lost on the way
GRAIN_SHARE = 2.0  # of the median mismatch
AROUND = (25, 25)  # half points
FITS = 0.45  # mean mismatch, in tolerances, below which what was covered is there again
FINDS_PER_FRAME = 0.12
TOLERANCE, TEXTURE_SHARE = 3.0, 0.5  # L, and share of the local contrast: no mismatch yet


@dataclass(frozen=True, eq=False)
class Sight:
    """One frame as carrying sees it, at half of its points.

    Attributes:
        whole: (2h, 2w), the frame's L, 0..100.
        L: (h, w), the same at half of the points.
        pixels: (2h, 2w) uint8, what optical flow is measured on.
        tolerance: (h, w), L: no mismatch yet.
        way: (h, w, 2), from each point to where it was in the frame before (`link.parent`), in
            points of (h, w); None at the start of a shot.
        seen: (h, w), 0..1: whether it could be seen there.
    """

    whole: Plane
    L: Plane
    pixels: Plane
    tolerance: Plane
    link: Link
    way: Plane | None
    seen: Plane | None


@dataclass(frozen=True, eq=False)
class Trail:
    """Where the points of a frame lie in a known picture, at half of them.

    Attributes:
        way: (h, w, 2) float32 or float16, from each point to its place in the known picture.
        hold: (h, w) float32, 0..1: what has never been lost on the way.
        sure: (h, w) float32, 0..1, or uint8, 255 times as much: how far that holds in this frame.
        age: frames from the known picture's own.
    """

    way: Plane
    hold: Plane
    sure: Plane
    age: int

    def packed(self) -> Trail:
        """The same in less memory."""
        sure = np.rint(self.sure * 255).astype(np.uint8)
        return Trail(self.way.astype(np.float16), sure, sure, self.age)

    def unpacked(self) -> Trail:
        """The same to reckon with."""
        sure = self.sure.astype(np.float32) * np.float32(1 / 255)
        return Trail(self.way.astype(np.float32), sure, sure, self.age)


class Tracker:
    """Looks at frames of one size, and carries trails from one to the next.

    Use it from one thread.
    """

    def __init__(self, height: int, width: int) -> None:
        """height, width: of frames at all of their points."""
        self.grid = _grid(height, width)
        self.half = _grid((height + 1) // 2, (width + 1) // 2)
        self._flow: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        # Where half of the points lie among all of them.
        self._scale = np.divide([width, height], self.half.shape[1::-1], dtype=np.float32)

    def see(self, L: Plane, link: Link) -> Sight:
        """Prepares a frame, whose link holds `view_for_motion` of it."""
        height, width = self.half.shape[:2]
        size = (width, height)
        way = seen = None
        if link.motion is not None:
            back, view = link.motion.back, link.view.L
            rows, columns = view.shape
            scale = np.divide(size, (columns, rows), dtype=np.float32)
            way = cv2.resize(back.points - _grid(rows, columns), size) * scale
            seen = cv2.resize(back.seen, size)
        half = cv2.resize(L, size, interpolation=cv2.INTER_AREA)
        window = np.ones((3, 3), np.uint8)
        contrast = cv2.subtract(cv2.dilate(half, window), cv2.erode(half, window))
        tolerance = TOLERANCE + TEXTURE_SHARE * contrast
        return Sight(L, half, cv2.convertScaleAbs(L, alpha=2.55), tolerance, link, way, seen)

    def start(self) -> Trail:
        """The trail at the known picture's own frame."""
        shape = self.half.shape
        all_of_it = np.ones(shape[:2], np.float32)
        return Trail(np.zeros(shape, np.float32), all_of_it, all_of_it, 0)

    def step(self, known: Known, trail: Trail, sight: Sight) -> Trail | None:
        """Carries a trail to the next frame of its shot; None where nothing is left of it."""
        assert sight.way is not None
        assert sight.seen is not None
        state = follow(cv2.merge([trail.way, trail.hold, trail.sure]), self.half + sight.way)
        # Grain makes every frame doubt a little: what is seen well enough is not doubted at all.
        hold = state[..., 2] * np.minimum(sight.seen * np.float32(1 / SEEN), 1)
        way = state[..., :2] + sight.way
        if float(hold.mean()) > ANCHORS:
            way = self._anchored(known, way, sight)
        way, hold = self._found_again(known, way, hold, sight)
        L = follow(known.half, self.half + way)
        gain, offset = fit_lightness(L, sight.L, hold + 1e-3)
        gap = np.abs(gain * L + offset - sight.L)
        grain = float(np.median(gap[::3, ::3]))
        mismatch = cv2.blur(gap / (sight.tolerance + np.float32(GRAIN_SHARE * grain)), (3, 3))
        alike = np.exp(-np.square(np.maximum(mismatch - 0.3, 0)))
        hold = hold * np.minimum(alike * np.float32(1 / ALIKE), 1)
        if float(hold.mean()) < LOST:
            return None
        # Half of it is the last frame's, so that grain does not make colours come and go.
        sure = np.minimum(hold, (state[..., 3] + hold * alike) * np.float32(0.5))
        return Trail(way, hold, sure, trail.age + 1)

    def colors(self, known: Known, trail: Trail) -> tuple[Colors, Plane]:
        """Returns ab (2, h, w) and its confidence (h, w), at all points."""
        layers = follow(known.layers, self.grid + self.at_all_points(trail.way))
        height, width = self.grid.shape[:2]
        sure = cv2.resize(trail.sure, (width, height), interpolation=cv2.INTER_LINEAR)
        _, a, b, known_there = cv2.split(layers)
        return np.stack([a, b]), sure * known_there

    def at_all_points(self, way: Plane) -> Plane:
        """Enlarges vectors (h, w, 2) from half of the points to all of them."""
        height, width = self.grid.shape[:2]
        return cv2.resize(way, (width, height), interpolation=cv2.INTER_LINEAR) * self._scale

    def _anchored(self, known: Known, way: Plane, sight: Sight) -> Plane:
        """Moves coordinates to where the known picture explains the frame better."""
        flow = self._flow.calc(sight.pixels, known.pixels, self.at_all_points(way))
        size = self.half.shape[1::-1]
        found = cv2.resize(flow, size, interpolation=cv2.INTER_AREA) / self._scale
        gap = self._misfit(known, found, sight) - self._misfit(known, way, sight)
        change = found - way
        near = np.square(change[..., 0]) + np.square(change[..., 1]) < FARTHEST
        better = ((gap < -BETTER) & near).astype(np.float32)
        return way + change * cv2.GaussianBlur(better, (0, 0), 1)[..., None]

    def _found_again(
        self, known: Known, way: Plane, hold: Plane, sight: Sight
    ) -> tuple[Plane, Plane]:
        """Takes up again what was covered, from its edges inwards, over several frames.

        It is looked for where things around it have gone, and has to look as it did.
        """
        if float(hold.mean()) > 1 - ANCHORS:
            return way, hold
        near = cv2.blur(hold, AROUND)
        around = cv2.blur(way * hold[..., None], AROUND) / (near + 1e-3)[..., None]
        gap = cv2.absdiff(follow(known.half, self.half + around), sight.L)
        misfit = cv2.blur(gap / sight.tolerance, (7, 7))
        # Not up to the edge of what covers it, where flow and L mix both.
        fits = cv2.erode((misfit < FITS).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        found = fits & (near > 0.05) & (hold < 0.95)
        way = np.where((found & (hold < 0.5))[..., None], around, way)
        return way, np.where(found, np.minimum(hold + np.float32(FINDS_PER_FRAME), 1), hold)

    def _misfit(self, known: Known, way: Plane, sight: Sight) -> Plane:
        """How badly a known picture's L, followed, explains the frame, around each point."""
        gap = cv2.absdiff(follow(known.half, self.half + way), sight.L)
        return cv2.GaussianBlur(np.minimum(gap, 20), (0, 0), 1)


def view_for_motion(L: Plane) -> View:
    """A frame as motion from frame to frame sees it, at a quarter of its points."""
    height, width = L.shape
    middle = cv2.resize(
        L, (max(32, (width + 1) // 2), max(32, (height + 1) // 2)), interpolation=cv2.INTER_AREA
    )
    size = (max(1, (width + 3) // 4), max(1, (height + 3) // 4))
    small = cv2.resize(middle, size, interpolation=cv2.INTER_AREA)
    window = np.ones((3, 3), np.uint8)
    contrast = cv2.subtract(cv2.dilate(small, window), cv2.erode(small, window))
    return View(cv2.convertScaleAbs(middle, alpha=2.55), small, contrast)


@lru_cache(maxsize=8)
def _grid(height: int, width: int) -> Plane:
    """(h, w, 2) float32: the x and y of every point."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.dstack([x, y])
