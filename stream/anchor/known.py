"""An anchor: a picture whose colours are known, and how sure they are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[Any]  # (h, w) float32, unless said otherwise
Colors = NDArray[Any]  # (2, h, w) float32, CIELAB units

# Points at which colours are carried: the chroma samples of 854x480. Larger films have more, and
# their colours are enlarged along the edges of the luma, as the network's are.
MOST_POINTS = 427 * 240


def working_size(width: int, height: int) -> tuple[int, int]:
    """Returns the (h, w) at which colours of a picture are carried: its chroma's, or fewer."""
    width, height = max(1, (width + 1) // 2), max(1, (height + 1) // 2)
    shrink = min(1.0, (MOST_POINTS / (width * height)) ** 0.5)
    return max(1, round(height * shrink)), max(1, round(width * shrink))


@dataclass(frozen=True, eq=False)
class Known:
    """A picture with its colours.

    Attributes:
        L: (h, w), 0..100.
        ab: (2, h, w), CIELAB units.
        sure: (h, w), 0..1; 0 where nothing is known.
    """

    L: Plane
    ab: Colors
    sure: Plane

    @cached_property
    def pixels(self) -> Plane:
        """(h, w) uint8, what optical flow is measured on."""
        return cv2.convertScaleAbs(self.L, alpha=2.55)

    @cached_property
    def half(self) -> Plane:
        """L at half of the points."""
        height, width = self.L.shape
        size = ((width + 1) // 2, (height + 1) // 2)
        return cv2.resize(self.L, size, interpolation=cv2.INTER_AREA)

    @cached_property
    def layers(self) -> Plane:
        """(h, w, 4): L, a, b, sure, to be followed at once."""
        return cv2.merge([self.L, *self.ab, self.sure])


def fit_lightness(L: Plane, target: Plane, weight: Plane) -> tuple[float, float]:
    """Returns the gain and offset that bring L closest to `target`, in weighted least squares."""
    step = np.s_[::2, ::2]  # every fourth point is enough
    w, x, y = weight[step].ravel(), L[step].ravel(), target[step].ravel()
    total = float(w.sum()) + 1e-6
    wx = w * x
    mean_x, mean_y = float(wx.sum()) / total, float(np.dot(w, y)) / total
    spread = float(np.dot(wx, x)) / total - mean_x**2
    shared = float(np.dot(wx, y)) / total - mean_x * mean_y
    gain = min(max((shared + 4.0) / (spread + 4.0), 0.5), 2.0)  # a flat picture keeps gain 1
    return gain, mean_y - gain * mean_x


def enlarge(planes: Colors, height: int, width: int) -> Colors:
    """Brings (n, h, w) to another size, bilinear up, area average down."""
    if planes.shape[1:] == (height, width):
        return planes
    way = cv2.INTER_AREA if height < planes.shape[1] else cv2.INTER_LINEAR
    return np.stack([cv2.resize(plane, (width, height), interpolation=way) for plane in planes])
