"""Known colours where motion is lost, and in other shots: cells that look alike.

The features of the network's own pass tell what looks alike; lightness tells the rest. A cell
takes over the colour of its likes as a linear model over L, not as one flat colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from kinemacolor.stream.anchor.known import Known, Plane
from numpy.typing import NDArray

LIGHTNESS_WEIGHT = 0.5
NEAREST = 0.1  # softmax temperature over likes
AMONG_PICTURES = 0.2  # softmax temperature over known pictures
TRUST_AT, TRUST_STEP = 3.6, 0.4  # distance at which the network is as good, and how soft that is
ALIKE = 2.0  # distance below which two cells show the same kind of thing
LEAST_ALIKE, ENOUGH_ALIKE = 0.02, 0.08  # share of such cells: below, an unrelated picture
FAR = 9.0
PARTLY = (0.6, 0.95)  # share of a cell that is known: nothing to say, and all of it
FLAT = 1e-3  # variance of L/100 below which a cell's colour has no slope


@dataclass(frozen=True, eq=False)
class Cells:
    """A picture's cells as matching sees them.

    Attributes:
        features: (h, w, C) float32.
        lightness: (h * w, 3) float32: L, blurred L and local deviation, weighted.
        L: (h, w), mean of each cell.
        parts: channels of each tensor in the features.
    """

    features: Plane
    lightness: Plane
    L: Plane
    parts: tuple[int, ...]

    def normal(self) -> tuple[Plane, Plane]:
        """Mean and deviation of each channel."""
        return self.features.mean((0, 1)), self.features.std((0, 1)) + 1e-3

    def described(self, normal: tuple[Plane, Plane]) -> Plane:
        """(h * w, D) float32: two cells are as unlike as the squared distance of their rows."""
        mean, deviation = normal
        rows = ((self.features - mean) / deviation).reshape(-1, self.features.shape[2])
        start = 0
        for size in self.parts:
            part = rows[:, start : start + size]
            part /= np.sqrt(np.einsum("ij,ij->i", part, part))[:, None] + 1e-6
            start += size
        return np.hstack([rows, self.lightness])


def cells_of(features: Plane, parts: tuple[int, ...], L: Plane) -> Cells:
    """Reduces a picture to its cells.

    Args:
        features: (C, h, w), the network's.
        L: (H, W), 0..100, at any larger size.
    """
    height, width = features.shape[1:]
    size = (width, height)
    small = cv2.resize(L, size, interpolation=cv2.INTER_AREA)
    wide = cv2.GaussianBlur(small, (0, 0), 2)
    square = cv2.resize(L * L, size, interpolation=cv2.INTER_AREA)
    deviation = np.sqrt(np.maximum(square - small * small, 0))
    lightness = np.stack([small / 15, wide / 15, deviation / 8], -1).reshape(-1, 3)
    return Cells(
        np.ascontiguousarray(features.transpose(1, 2, 0), np.float32),
        lightness * np.float32(LIGHTNESS_WEIGHT),
        small,
        parts,
    )


@dataclass(frozen=True, eq=False)
class Exemplar:
    """What a known picture offers to cells that look alike.

    Attributes:
        normal: mean and deviation of its features.
        rows: (n, D) float16, its cells.
        models: (n, 4): slope and mean of a and of b over L/100.
        sure: (n,), 0..1.
    """

    normal: tuple[Plane, Plane]
    rows: Plane
    models: Plane
    sure: Plane

    @classmethod
    def of(cls, known: Known, cells: Cells) -> Exemplar:
        """Learns how each cell's colour goes with its lightness."""
        height, width = cells.L.shape
        normal = cells.normal()
        guide, weight = known.L / 100, known.sure
        window = (window_of(known.L, cells.L),) * 2
        total = cv2.blur(weight, window) + 1e-4

        def mean(plane: Plane) -> Plane:
            return cv2.blur(plane * weight, window) / total

        middle = mean(guide)
        spread = np.maximum(mean(guide * guide) - middle * middle, 0) + FLAT
        planes = []
        for color in known.ab:
            average = mean(color)
            planes += [(mean(guide * color) - middle * average) / spread, average]
        planes.append(weight)
        small = [
            cv2.resize(p, (width, height), interpolation=cv2.INTER_AREA).ravel() for p in planes
        ]
        rows = cells.described(normal).astype(np.float16)
        # A cell that is known in part only would colour all that looks like its other part, too.
        sure = np.clip((small[4] - PARTLY[0]) / (PARTLY[1] - PARTLY[0]), 0, 1)
        return cls(normal, rows, np.stack(small[:4], 1), sure)


@dataclass(frozen=True, eq=False)
class Match:
    """What likes say of each cell.

    Attributes:
        models: (h, w, 4), as of `Exemplar`.
        sure: (h, w), 0..1.
        shares: of each exemplar, its part in what was said, mean over the picture.
    """

    models: Plane
    sure: Plane
    shares: tuple[float, ...]


def match(exemplars: Sequence[Exemplar], cells: Cells) -> tuple[Match, Plane]:
    """Finds the likes of every cell in all exemplars together.

    Returns:
        what they say, and the cells' own description (n, D).
    """
    said = [_ask(exemplar, cells) for exemplar in exemplars]
    distance = np.stack([each[0] for each in said])  # (k, n)
    # Who knows nothing of a cell does not silence who does.
    opinion = np.stack([each[2] for each in said])
    weight = np.exp((distance.min(0) - distance) / AMONG_PICTURES) * (opinion + 1e-3) + 1e-12
    weight /= weight.sum(0)
    models = sum(w[:, None] * each[1] for w, each in zip(weight, said, strict=True))
    known = (weight * opinion).sum(0)
    trust = 1 / (1 + np.exp(((weight * distance).sum(0) - TRUST_AT) / TRUST_STEP))
    sure = (known * trust).astype(np.float32)
    shares = tuple(float((w * sure).mean()) for w in weight)
    shape = cells.L.shape
    return Match(models.reshape(*shape, 4), sure.reshape(shape), shares), said[-1][3]


def _ask(exemplar: Exemplar, cells: Cells) -> tuple[Plane, Plane, Plane, Plane]:
    """Returns distance (n,), models (n, 4) and sureness (n,) of the likes; own rows (n, D)."""
    own = cells.described(exemplar.normal)
    theirs = exemplar.rows.astype(np.float32)
    far = own @ theirs.T
    far *= -2
    far += np.einsum("ij,ij->i", theirs, theirs)
    far += np.einsum("ij,ij->i", own, own)[:, None]
    nearest = np.maximum(far.min(1), 0)
    share = float((nearest < ALIKE).mean())
    gate = min(max((share - LEAST_ALIKE) / (ENOUGH_ALIKE - LEAST_ALIKE), 0.0), 1.0)
    far -= nearest[:, None]
    far *= np.float32(-1 / NEAREST)
    # Numbers below 1e-38, and products with them, take a processor a hundred times as long.
    weight = cv2.exp(np.maximum(far, -60))
    answer: NDArray[Any] = weight @ np.column_stack(
        [exemplar.models, exemplar.sure, np.ones(len(theirs))]
    ).astype(np.float32)
    answer /= answer[:, 5:]
    return nearest + (1 - gate) * FAR, answer[:, :4], answer[:, 4], own


def alikeness(exemplar: Exemplar, cells: Cells) -> float:
    """The share of a frame's cells that have likes in a known picture, from every seventh cell."""
    own = cells.described(exemplar.normal)[::7]
    theirs = exemplar.rows.astype(np.float32)
    far = np.einsum("ij,ij->i", theirs, theirs) - 2 * (own @ theirs.T)
    nearest = far.argmin(1)
    distance = far[np.arange(len(own)), nearest] + np.einsum("ij,ij->i", own, own)
    return float(((distance < ALIKE) * exemplar.sure[nearest]).mean())


def window_of(L: Plane, cells: Plane) -> int:
    """Side of a cell in points of L, odd."""
    return round(L.shape[0] / cells.shape[0]) | 1
