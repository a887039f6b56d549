"""From cells to points: sure cells colour their like, and colours stop at the edges of L."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from kinemacolor.stream.anchor.known import Colors, Plane
from kinemacolor.stream.anchor.match import Match, window_of

PASSES = 3
ALIKE = 2.0  # squared distance of descriptions at which a cell counts 1/e
NEAR = 0.15  # of the picture's height
BEGINS = 0.05  # sureness of the best cell below which nothing is spread

LEVELS = 17  # of L, 6.25 apart
LIGHTNESS = 6.0  # L, deviation over which cells count for a point
REACH = 0.6  # cells; the enlargement adds about half a cell


def spread(found: Match, rows: Plane) -> Match:
    """Sure cells colour those of the same frame that look like them.

    Args:
        rows: (n, D), the cells' descriptions.
    """
    if float(found.sure.max()) < BEGINS or float(found.sure.min()) > 0.95:
        return found
    shape = found.sure.shape
    squares = np.einsum("ij,ij->i", rows, rows)
    far = (rows @ rows.T) * 2
    far -= squares
    far -= squares[:, None]
    far *= np.float32(1 / ALIKE)
    far -= _nearness(*shape)
    kernel = cv2.exp(np.clip(far, -60, 0))  # see `match`
    full = kernel.sum(1)
    models, sure = found.models.reshape(-1, 4), found.sure.ravel()
    for _ in range(PASSES):
        total = kernel @ sure
        others = (kernel @ (models * sure[:, None])) / (total + 1e-4)[:, None]
        models = models * sure[:, None] + others * (1 - sure)[:, None]
        sure = np.maximum(sure, total / full)
    return Match(models.reshape(*shape, 4), sure.reshape(shape), found.shares)


@lru_cache(maxsize=2)
def _nearness(height: int, width: int) -> Plane:
    """(n, n): squared distance of cells over twice that of NEAR."""
    y, x = np.mgrid[:height, :width].reshape(2, -1).astype(np.float32) / height
    gap = np.square(y[:, None] - y) + np.square(x[:, None] - x)
    return gap / np.float32(2 * NEAR**2)


def to_points(found: Match, cells_L: Plane, L: Plane) -> tuple[Colors, Plane]:
    """Enlarges what cells say to the points of L, and stops at L's edges.

    A bilateral grid (Chen, Paris and Durand 2007): what cells around each cell say to a point of
    each level of L, read at every point's own place and L.

    Returns:
        ab (2, H, W) and sureness (H, W).
    """
    height, width = cells_L.shape
    levels = np.linspace(0, 100, LEVELS, dtype=np.float32)
    weight = np.exp(-np.square(cells_L[..., None] - levels) / (2 * LIGHTNESS**2)) + 1e-6
    said = np.concatenate(
        [found.models, found.sure[..., None], np.ones_like(cells_L)[..., None]], 2
    )
    volume = (weight[..., None] * said[:, :, None]).reshape(height, width, -1)
    volume = cv2.GaussianBlur(
        volume.astype(np.float32), (3, 3), REACH, borderType=cv2.BORDER_REPLICATE
    ).reshape(height, width, LEVELS, 6)
    volume = volume[..., :5] / volume[..., 5:]
    tall = np.ascontiguousarray(volume.transpose(2, 0, 1, 3)).reshape(LEVELS * height, width, 5)
    column, row = _places(*L.shape, height, width)
    level = L * np.float32((LEVELS - 1) / 100)
    below = np.floor(level)  # the volume's last level is its top: 100 reads no other
    share = level - below
    row = row + below * height
    read = [
        cv2.blendLinear(
            cv2.remap(part, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
            cv2.remap(
                part, column, row + height, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            ),
            1 - share,
            share,
        )
        for part in map(np.ascontiguousarray, (tall[..., :4], tall[..., 4]))
    ]
    slope_a, mean_a, slope_b, mean_b = cv2.split(read[0])
    guide = L * np.float32(0.01)
    deviation = guide - cv2.blur(guide, (window_of(L, cells_L),) * 2)
    ab = np.stack([mean_a + slope_a * deviation, mean_b + slope_b * deviation])
    return ab, np.clip(read[1], 0, 1)


@lru_cache(maxsize=2)
def _places(height: int, width: int, rows: int, columns: int) -> tuple[Plane, Plane]:
    """Where each point lies among the cells: columns and rows, (height, width) float32 each."""
    y = np.clip((np.arange(height) + 0.5) * rows / height - 0.5, 0, rows - 1)
    x = np.clip((np.arange(width) + 0.5) * columns / width - 0.5, 0, columns - 1)
    column, row = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    return column, row
