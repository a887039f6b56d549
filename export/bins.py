"""The 313 ab bins, soft encoding of a colour over them, and the weights that favour rare colours.

After Zhang, Isola and Efros, "Colorful Image Colorization", ECCV 2016, section 2.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

COUNT = 313
STEP = 10  # ab units between neighbouring bins
SIGMA = 5.0  # of the soft encoding and of the prior's smoothing, ab units
NEIGHBOURS = 5
TEMPERATURE = 0.38
LIMIT = 110  # no colour that sRGB can show lies further out in a or b

# The published bins, in the published order: for each a from -90 to 100 the first and last b.
_B_RANGE = (
    (50, 90), (20, 90), (0, 90), (-20, 90), (-30, 100), (-40, 100), (-50, 100), (-50, 100),
    (-60, 100), (-70, 100), (-80, 90), (-80, 90), (-90, 90), (-100, 90), (-100, 80), (-110, 80),
    (-110, 80), (-110, 70), (-110, 70), (-90, 0),
)  # fmt: skip
_PRIOR = Path(__file__).parent / "ab_prior.npy"


def centers() -> NDArray[np.float32]:
    """Returns (313, 2) float32, the bins' ab in CIELAB units."""
    rows = [
        (a, b)
        for a, (first, last) in zip(range(-90, 101, STEP), _B_RANGE, strict=True)
        for b in range(first, last + 1, STEP)
    ]
    return np.array(rows, np.float32)


def prior() -> NDArray[np.float32]:
    """Returns (313,) float32, how often each bin occurs in photographs; sums to 1.

    Measured by `measure_prior` over the training pictures, not smoothed. One prior for every
    model, so that rebalanced scores can be compared.
    """
    return np.load(_PRIOR)


def smooth(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the probabilities blurred over neighbouring bins with a Gaussian of SIGMA."""
    points = centers()
    square = ((points[:, None] - points[None]) ** 2).sum(-1)
    kernel = np.exp(-square / (2 * SIGMA**2))
    kernel /= kernel.sum(0, keepdims=True)
    return (kernel @ probabilities).astype(np.float32)


def rebalancing_weights(
    probabilities: NDArray[np.float32], *, uniform: float = 0.5, power: float = 1.0
) -> NDArray[np.float32]:
    """Returns (313,) float32 weights of mean 1 under the prior, larger for rarer colours.

    Args:
        probabilities: (313,) of the bins; smoothed here.
        uniform: share of the uniform distribution mixed in (the paper's lambda).
        power: 1 is the paper's rebalancing, 0 is none.
    """
    smoothed = smooth(probabilities)
    weights = ((1 - uniform) * smoothed + uniform / COUNT) ** -power
    return (weights / (weights * smoothed).sum()).astype(np.float32)


@cache
def _table() -> tuple[Tensor, Tensor]:
    """Neighbours (221 * 221, 5) int64 and their weights float32 for every whole ab."""
    side = torch.arange(-LIMIT, LIMIT + 1, dtype=torch.float32)
    ab = torch.cartesian_prod(side, side)  # (221 * 221, 2)
    square = ((ab[:, None] - torch.from_numpy(centers())) ** 2).sum(-1)  # (221 * 221, 313)
    nearest, index = square.topk(NEIGHBOURS, dim=1, largest=False)
    # Relative to the nearest: a colour outside the hull must not underflow to no weight at all.
    weight = torch.exp(-(nearest - nearest[:, :1]) / (2 * SIGMA**2))
    return index, weight / weight.sum(1, keepdim=True)


def soft_encode(ab: Tensor) -> tuple[Tensor, Tensor]:
    """Spreads colours over their five nearest bins with a Gaussian of SIGMA.

    Args:
        ab: (..., 2) float32, CIELAB units; read to the nearest whole unit.

    Returns:
        index (..., 5) int64, nearest bin first, and weight (..., 5) float32 that sums to 1.
    """
    index, weight = _table()
    place = _place(ab)
    return index.to(ab.device)[place], weight.to(ab.device)[place]


def nearest(ab: Tensor) -> Tensor:
    """Returns (...) int64, the bin nearest to each ab (..., 2), read to the nearest unit."""
    return _table()[0][:, 0].to(ab.device)[_place(ab)]


def _place(ab: Tensor) -> Tensor:
    """Returns (...) int64, where each ab (..., 2) stands in the table."""
    whole = ab.round().clamp(-LIMIT, LIMIT).long() + LIMIT
    return whole[..., 0] * (2 * LIMIT + 1) + whole[..., 1]


def measure_prior(ab: Tensor) -> NDArray[np.float32]:
    """Returns (313,) float32, the share of each bin among the colours ab (..., 2)."""
    index, weight = soft_encode(ab.reshape(-1, 2))
    counts = torch.zeros(COUNT, dtype=torch.float64)
    counts.index_add_(0, index.flatten(), weight.flatten().double())
    return (counts / counts.sum()).numpy().astype(np.float32)


def annealed_mean(logits: Tensor, *, temperature: float = TEMPERATURE) -> Tensor:
    """Reads ab (N, 2, h, w) from logits (N, 313, h, w); temperature 1 is the mean, 0 the mode."""
    share = torch.softmax(logits.float() / temperature, dim=1)
    points = torch.from_numpy(centers()).to(logits.device)
    return torch.einsum("nqhw,qc->nchw", share, points)
