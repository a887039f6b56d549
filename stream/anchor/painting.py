"""A frame's colours from what is known: along the motion, from likes, and else the network's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from kinemacolor.stream.anchor.carry import Sight, Tracker
from kinemacolor.stream.anchor.known import Colors, Plane, enlarge, fit_lightness
from kinemacolor.stream.color.chroma import EPSILON, linear_model
from kinemacolor.stream.steady.motion import follow

FADES = 25  # frames after which a carried colour counts half beside a fresh one
STAYS = 1.6  # how much the last frame's colours count for beside this one's own
KEPT = 0.5  # of the confidence of the last frame's colours


@dataclass(frozen=True, eq=False)
class Carried:
    """Colours that came along the motion from one known picture.

    Attributes:
        sure: (h, w), 0..1.
        age: frames from the known picture's own.
    """

    ab: Colors
    sure: Plane
    age: int


@dataclass(frozen=True, eq=False)
class Painted:
    """A frame with its colours, until the next of its shot is painted.

    Attributes:
        L: at half of the points.
        ab: (2, h, w).
        sure: at half of the points, 0..1: how much the next frame may rest on them.
    """

    L: Plane
    ab: Colors
    sure: Plane


def network_at_points(ab: Colors, L: Plane) -> Colors:
    """Enlarges the network's ab (2, any, any) to the points of L, along L's edges."""
    height, width = ab.shape[1:]
    guide = cv2.resize(L, (width, height), interpolation=cv2.INTER_AREA) / 100
    slope, offset = linear_model(guide, cv2.merge([ab[0], ab[1]]), EPSILON)
    rows, columns = L.shape
    slopes = enlarge(slope.transpose(2, 0, 1), rows, columns)
    return slopes * (L / 100) + enlarge(offset.transpose(2, 0, 1), rows, columns)


def steadied(
    own: Colors | None, sight: Sight, before: Painted | None, tracker: Tracker
) -> tuple[Colors, Plane]:
    """Joins a frame's own colours with those of the frame before it.

    Args:
        own: (2, h, w); None where the frame has none of its own.

    Returns:
        ab (2, h, w), and at half of the points how sure it is.
    """
    if before is None or sight.way is None or sight.seen is None:
        own = np.zeros((2, *sight.whole.shape), np.float32) if own is None else own
        return own, np.full(sight.L.shape, KEPT, np.float32)
    state = follow(cv2.merge([before.L, before.sure]), tracker.half + sight.way)
    L, kept = cv2.split(state)
    gain, offset = fit_lightness(L, sight.L, sight.seen + 1e-3)
    mismatch = (gain * L + offset - sight.L) / sight.tolerance
    sure = sight.seen * np.exp(-np.square(mismatch)) * kept
    there = tracker.grid + tracker.at_all_points(sight.way)
    past = np.stack([follow(plane, there) for plane in before.ab])
    if own is None:
        return past, sure * KEPT
    share = STAYS * sure / (1.1 - np.minimum(sure, 0.9))
    share /= 1 + share
    height, width = sight.whole.shape
    share = cv2.resize(share, (width, height), interpolation=cv2.INTER_LINEAR)
    return own + (past - own) * share, sure * KEPT + (1 - KEPT)


def joined(carried: Sequence[Carried]) -> tuple[Colors, Plane]:
    """Returns the weighted mean of what came along the motion, and its confidence."""
    if len(carried) == 1:
        return carried[0].ab, carried[0].sure
    weights = [np.square(each.sure) / (1 + each.age / FADES) for each in carried]
    total = np.sum(weights, axis=0) + np.float32(1e-6)
    ab = np.sum([each.ab * (w / total) for each, w in zip(carried, weights, strict=True)], axis=0)
    return ab, np.maximum.reduce([each.sure for each in carried])
