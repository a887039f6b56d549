"""Where every point of a small picture was one frame ago, and whether it could be seen there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[Any]  # (h, w) float32, unless said otherwise

SHRINK = 4  # h, w of all that follows are a quarter of the network's H, W, like its ab
SMALLEST = 32  # pixels a side: below that DIS has no room for its 8-pixel patches


@dataclass(frozen=True)
class View:
    """One frame as motion and memory see it."""

    pixels: Plane  # (2h, 2w) uint8, L times 2.55: what optical flow is measured on
    L: Plane  # (h, w), 0..100
    contrast: Plane  # (h, w), the local range of L: how much a small shift changes it


@dataclass(frozen=True)
class Path:
    """The way from each point of one frame to the same point in another."""

    points: Plane  # (h, w, 2): x, y of the counterpart, in pixels of (h, w)
    seen: Plane  # (h, w), 0..1: 0 where the counterpart is covered or outside the picture


def view_of(L: Plane) -> View:
    """Reduces L: (H, W) float32, 0..100, to what is measured."""
    height, width = (max(1, side // SHRINK) for side in L.shape)
    flow_size = (max(2 * width, SMALLEST), max(2 * height, SMALLEST))
    middle = cv2.resize(L, flow_size, interpolation=cv2.INTER_AREA)
    small = cv2.resize(middle, (width, height), interpolation=cv2.INTER_AREA)
    pixels = cv2.convertScaleAbs(middle, alpha=2.55)
    window = np.ones((3, 3), np.uint8)
    return View(pixels, small, cv2.subtract(cv2.dilate(small, window), cv2.erode(small, window)))


def follow(picture: Plane, points: Plane) -> Plane:
    """Returns picture (h, w) or (h, w, n) at `points`; past its edges the edge goes on."""
    return cv2.remap(  # type: ignore[call-overload]  # OpenCV's stubs forbid the None they mean
        picture, points, None, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE
    )


class Motion:
    """What moved between two views: the paths back and ahead, each computed when asked for."""

    def __init__(self, grid: Plane, back: Plane, ahead: Plane) -> None:
        """All (h, w, 2) float32 in pixels of (h, w): the points themselves, and both flows."""
        self._grid, self._back, self._ahead = grid, back, ahead

    @cached_property
    def back(self) -> Path:
        """From the later view to the earlier one."""
        return _path(self._grid, self._back, self._ahead)

    @cached_property
    def ahead(self) -> Path:
        """From the earlier view to the later one."""
        return _path(self._grid, self._ahead, self._back)


class MotionMeter:
    """Measures motion between views of one size. Use it from one thread."""

    def __init__(self, width: int, height: int) -> None:
        x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        self._grid = np.dstack([x, y])  # (h, w, 2)
        self._dis: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._dis.setFinestScale(1)  # the flow is then computed on just the grid of (h, w)
        self._dis.setPatchStride(6)  # of 8-pixel patches; 4, the preset's, costs half as much again

    def measure(self, before: View, now: View) -> Motion:
        past = _match_brightness(before.pixels, now.pixels)
        return Motion(self._grid, self._flow(now.pixels, past), self._flow(past, now.pixels))

    def _flow(self, start: Plane, end: Plane) -> Plane:
        """Returns (h, w, 2) float32, in pixels of (h, w)."""
        height, width = self._grid.shape[:2]
        flow = cv2.resize(
            self._dis.calc(start, end, None), (width, height), interpolation=cv2.INTER_AREA
        )
        scale = np.array([width / start.shape[1], height / start.shape[0]], np.float32)
        return flow * scale


def _path(grid: Plane, there: Plane, home: Plane) -> Path:
    """Follows a flow there and the other one home: who does not come home was covered.

    The tolerance, a share of the way and a constant, is that of Ruder, Dosovitskiy and Brox,
    "Artistic style transfer for videos" (2016), as a soft weight.
    """
    points = grid + there
    outside = points - follow(grid, points)  # 0 within the picture
    returned = follow(home, points)
    gap = _squared_length(there + returned) + _squared_length(outside)
    way = _squared_length(there) + _squared_length(returned)
    return Path(points, np.exp(-gap / (0.01 * way + 0.25)))


def _squared_length(vectors: Plane) -> Plane:
    return np.square(vectors[..., 0]) + np.square(vectors[..., 1])


def _match_brightness(pixels: Plane, target: Plane) -> Plane:
    """Returns `pixels` with the mean and spread of `target`: an exposure pulse is no motion."""
    mean, spread = (float(value[0, 0]) for value in cv2.meanStdDev(pixels))
    wanted_mean, wanted_spread = (float(value[0, 0]) for value in cv2.meanStdDev(target))
    gain = min(max((wanted_spread + 1) / (spread + 1), 0.5), 2.0)
    offset = wanted_mean - gain * mean
    if abs(gain - 1) < 0.02 and abs(offset) < 1:
        return pixels
    return cv2.LUT(pixels, np.clip(np.arange(256) * gain + offset, 0, 255).astype(np.uint8))
