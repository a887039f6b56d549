"""How good colours are: the scores of the published systems, and what the eye notices.

Every function takes ab or RGB of whole pictures as NumPy arrays and returns a plain number.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from engine.color import ciede2000
from export import bins, video_metrics

AUC_LIMIT = 150
__all__ = [
    "ab_mse",
    "auc",
    "chroma",
    "ciede2000",
    "colorfulness",
    "keras_accuracy",
    "psnr",
    "rare_color_weights",
]
Array = NDArray[np.float32]


def auc(predicted: Array, truth: Array, weights: Array | None = None) -> float:
    """Area under the curve of pixels within ab distance t, t = 0..150, in percent.

    Zhang, Isola and Efros 2016, section 3.1; with `weights` the rebalanced variant.

    Args:
        predicted, truth: (H, W, 2) float32, CIELAB units.
        weights: (H, W) float32 of each pixel, or none for equal ones.
    """
    distance = np.linalg.norm(predicted - truth, axis=-1).ravel()
    flat = None if weights is None else weights.ravel()
    edges = np.arange(-0.5, AUC_LIMIT + 1)  # bin t counts distances that round to t
    counts, _ = np.histogram(np.rint(distance), edges, weights=flat)
    total = distance.size if flat is None else float(flat.sum())
    return float(100 * np.cumsum(counts / total).mean())


def rare_color_weights(truth: Array) -> Array:
    """Returns (H, W) float32: 1 / prior of the true colour's bin, as rebalanced AuC weighs it."""
    return _rarity()[bins.nearest(torch.from_numpy(truth)).numpy()]


@cache
def _rarity() -> Array:
    smoothed = bins.smooth(bins.prior())
    return (1 / np.maximum(smoothed, 1e-6)).astype(np.float32)


def ab_mse(predicted: Array, truth: Array) -> float:
    """Mean squared error of ab / 128, as the regression networks report it."""
    return float(np.mean(np.square((predicted - truth) / 128)))


def keras_accuracy(predicted: Array, truth: Array) -> float:
    """Share of pixels, in percent, where the larger of a and b is the right one.

    What Keras prints as accuracy for a two-channel output, as Wast and Kanwar quote it.
    """
    return float(100 * np.mean(predicted.argmax(-1) == truth.argmax(-1)))


def psnr(predicted: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of 8-bit pictures, dB; 100 where they are equal."""
    error = np.mean(np.square(predicted.astype(np.float32) - truth))
    return float(10 * np.log10(255**2 / error)) if error else 100.0


def colorfulness(bgr: NDArray[np.uint8]) -> float:
    """Hasler and Suesstrunk, "Measuring colourfulness in natural images", 2003, equation 2."""
    return video_metrics.colorfulness(bgr[..., ::-1])


def chroma(ab: Array) -> float:
    """Mean distance from grey, CIELAB units."""
    return float(np.linalg.norm(ab, axis=-1).mean())
