"""Brings a colour still onto the frame that it shows: place, lightness and edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from kinemacolor.stream.anchor.known import Known, Plane
from kinemacolor.stream.color.chroma import linear_model
from kinemacolor.stream.steady.motion import follow

SAME = 1.0  # L, mean difference below which the still is the frame itself
SHOWS = 0.5  # correlation of lightness below which it shows something else
SMOOTH = 4.0  # points: a still is shifted and scaled as a whole, not thing by thing
BETTER = 0.93  # of the misfit: what a shift has to come below to be believed
SNAP_RADIUS, SNAP_EPSILON = 4, 2e-4


@dataclass(frozen=True, eq=False)
class Aligned:
    """A still on the frame that it shows, with the frame's L.

    Attributes:
        as_it_is: whether its colours lay on the frame's things from the start.
    """

    known: Known
    as_it_is: bool


def aligned(still: Known, L: Plane) -> Aligned | None:
    """Returns the still on the frame; None where it shows something else.

    Args:
        still: at the frame's size.
        L: (h, w), the frame.
    """
    # Blurred: samples of a still and of a film's chroma lie a quarter of a point apart.
    if float(np.abs(cv2.blur(still.L - L, (3, 3))).mean()) < SAME:
        return Aligned(Known(L, still.ab, still.sure), as_it_is=True)
    toned = with_tones_of(still.L, L)
    points = _place(toned, L)
    before, after = np.abs(toned - L).mean(), np.abs(follow(toned, points) - L).mean()
    if after < BETTER * before:
        layers = follow(still.layers, points)
        toned = follow(toned, points)
        still = Known(
            toned, np.ascontiguousarray(layers[..., 1:3].transpose(2, 0, 1)), layers[..., 3]
        )
    if _correlation(toned, L) < SHOWS:
        return None
    return Aligned(Known(L, snapped(still, L), still.sure), as_it_is=False)


def with_tones_of(L: Plane, target: Plane) -> Plane:
    """Gives L the distribution of the target's: gamma, contrast and brightness at once."""
    shares = np.linspace(0, 100, 33)
    own, wanted = np.percentile(L, shares), np.percentile(target, shares)
    own += np.arange(33) * 1e-4  # rising, as `interp` wants it
    return np.interp(L, own, wanted).astype(np.float32)


def snapped(still: Known, L: Plane) -> Plane:
    """Returns ab with its edges where the frame's L has them (He, Sun and Tang 2013)."""
    guide = L / np.float32(100)
    slope, offset = linear_model(guide, cv2.merge([*still.ab]), SNAP_EPSILON, SNAP_RADIUS)
    found = slope * guide[..., None] + offset
    return np.ascontiguousarray(found.transpose(2, 0, 1))


def _place(still: Plane, L: Plane) -> Plane:
    """Returns (h, w, 2): where each point of the frame lies in the still."""
    height, width = L.shape
    flow: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    now, there = (cv2.convertScaleAbs(plane, alpha=2.55) for plane in (L, still))
    way = cv2.GaussianBlur(flow.calc(now, there, None), (0, 0), SMOOTH)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.dstack([x, y]) + way


def _correlation(one: Plane, other: Plane) -> float:
    x, y = (one - one.mean()).ravel(), (other - other.mean()).ravel()
    return float(np.dot(x, y)) / (float(np.linalg.norm(x) * np.linalg.norm(y)) + 1e-6)
