"""The colours seen so far in a shot, carried along its motion and averaged.

Plain NumPy: at a few thousand points a call into OpenCV costs as much as the arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from kinemacolor.stream.steady.motion import Path, Plane, View, follow

TOLERANCE = 2.0  # L: what quantisation and coding noise alone do to an area average
TEXTURE_SHARE = 0.35  # of the local contrast: what an error of a third of a pixel does
GRAIN_SHARE = 3.0  # of the measured grain (the median mismatch of what stays in place)
# Grain is there in every frame; what a dissolve or a fast movement adds is soon gone.
GRAIN_UP, GRAIN_DOWN = 0.03, 0.3
MOST_GRAIN = 2.0  # L, in an area average of the picture
# Share of what was seen before that still looks the same: within shots 0.9 and more (0.86 in the
# fastest pan), in twelve frames' dissolves about 0.85. Where much has changed, what looks the same
# does so by chance.
DISSOLVES, NOTHING_LEFT = 0.9, 0.75

FILL_WINDOW = (11, 11)  # points: an eighth of the picture's width
FLAT_SPREAD = 25.0  # L squared: below that contrast, lightness tells no colours apart


@dataclass(frozen=True)
class Memory:
    """Mean colours, the lightness they were seen with, and how many frames they rest on."""

    ab: Plane  # (2, h, w), CIELAB units
    L: Plane  # (h, w), 0..100: a colour belongs to what looked like this
    count: Plane  # (h, w), frames; 0 where nothing is known
    grain: float = 0.0  # L

    @classmethod
    def nothing(cls, view: View) -> Memory:
        """Knows no colour yet."""
        none = np.zeros_like(view.L)
        return cls(np.stack([none, none]), view.L, none)

    @classmethod
    def start(cls, view: View, ab: Plane) -> Memory:
        """The memory of one frame. ab: (2, h, w) float32, CIELAB units."""
        return cls(ab, view.L, np.ones_like(view.L))

    def carry(self, path: Path, view: View, *, single: bool = False) -> Memory:
        """Moves all to where it is in `view`, and doubts what does not look alike there.

        Args:
            single: the colours of one frame, carried on and on: what has come to look a little
                different stays so, and is doubted for that once, not at every step.
        """
        state = cv2.merge([self.ab[0], self.ab[1], self.L, self.count])
        moved = follow(state, path.points)
        planes = np.ascontiguousarray(moved.transpose(2, 0, 1))  # (4, h, w)
        ab, L, count = planes[:2], planes[2], planes[3]

        gain, offset = _fit_brightness(L, view.L, path.seen)
        L = gain * L + offset
        mismatch = np.abs(L - view.L)
        tolerance = TEXTURE_SHARE * view.contrast + (TOLERANCE + GRAIN_SHARE * self.grain)
        alike = np.exp(-np.square(mismatch / tolerance))
        seen_grain = float(np.median(mismatch[::3, ::3]))  # every ninth point is enough
        rate = GRAIN_DOWN if seen_grain < self.grain else GRAIN_UP
        grain = min(self.grain + rate * (seen_grain - self.grain), MOST_GRAIN)

        expected = count * path.seen
        count = np.minimum(expected, alike) if single else expected * alike
        trust = float(count.sum()) / (float(expected.sum()) + 1e-6)
        doubt = min(max((DISSOLVES - trust) / (DISSOLVES - NOTHING_LEFT), 0.0), 1.0)
        return Memory(ab, L, count * (1 - doubt), grain)

    def blend(
        self, view: View, ab: Plane, *, longest: float, certain: Plane | float = 1.0
    ) -> Memory:
        """Adds one frame to the mean, which then rests on at most `longest` + 1 frames.

        Args:
            ab: (2, h, w), the frame's own colours.
            certain: (h, w), 0..1: what these count for.
        """
        count = np.minimum(self.count, longest) + certain
        weight = certain / (count + 1e-6)
        mean_ab = self.ab + (ab - self.ab) * weight
        mean_L = self.L + (view.L - self.L) * weight
        return replace(self, ab=mean_ab, L=mean_L, count=count)

    def filled(self, view: View, *, count: float) -> Memory:
        """Guesses what is not known: it is coloured like what looks alike around it.

        A local linear model of ab over L, as in the guided filter (He, Sun and Tang 2013), fitted
        to the known points alone.

        Args:
            count: frames that a guess counts for.
        """
        known = np.minimum(self.count, 1)
        L, (a, b) = view.L, self.ab

        def means(*planes: Plane) -> list[Plane]:
            weighted = cv2.merge([known * plane for plane in planes])
            return list(cv2.blur(weighted, FILL_WINDOW).transpose(2, 0, 1) / (near + 1e-4))

        near = cv2.blur(known, FILL_WINDOW)
        mean_L, spread, mean_a, mean_b = means(L, L * L, a, b)
        shared_a, shared_b = means(L * a, L * b)
        away = (L - mean_L) / (np.maximum(spread - mean_L**2, 0) + FLAT_SPREAD)
        guess_a = mean_a + (shared_a - mean_L * mean_a) * away
        guess_b = mean_b + (shared_b - mean_L * mean_b) * away
        share = (1 - known) * (near / (near + 0.02))  # 0 where nothing is known for miles
        ab = self.ab + (np.stack([guess_a, guess_b]) - self.ab) * share
        return replace(self, ab=ab, count=np.maximum(self.count, count))


def _fit_brightness(L: Plane, target: Plane, weight: Plane) -> tuple[float, float]:
    """Returns the gain and offset that bring L closest to `target`, in weighted least squares."""
    w, x, y = weight.ravel(), L.ravel(), target.ravel()
    total = float(w.sum()) + 1e-6
    wx = w * x
    mean_x, mean_y = float(wx.sum()) / total, float(np.dot(w, y)) / total
    spread = float(np.dot(wx, x)) / total - mean_x**2
    shared = float(np.dot(wx, y)) / total - mean_x * mean_y
    gain = min(max((shared + 4.0) / (spread + 4.0), 0.5), 2.0)  # a flat picture keeps gain 1
    return gain, mean_y - gain * mean_x
