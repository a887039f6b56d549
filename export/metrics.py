"""How good colours are: the scores of the published systems, and what the eye notices.

Each takes ab or RGB of a whole picture and returns a number, but for `rare_color_weights`.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from kinemacolor.export import bins, video_metrics
from numpy.typing import NDArray

AUC_LIMIT = 150
Array = NDArray[np.float32]
Weights = NDArray[np.float64]


def auc(predicted: Array, truth: Array, weights: Weights | None = None) -> float:
    """Area under the curve of pixels within ab distance t, t = 0, 1 .. 150, in percent.

    Zhang, Isola and Efros 2016, section 3.1.

    Args:
        predicted, truth: (H, W, 2) float32, CIELAB units.
        weights: (H, W) of each pixel, or none for equal ones; `rare_color_weights` makes this the
            rebalanced AuC.
    """
    distance = np.linalg.norm(predicted - truth, axis=-1)
    within = np.clip(AUC_LIMIT + 1 - np.ceil(distance), 0, None)  # so many of the thresholds
    return float(100 * np.average(within, weights=weights) / (AUC_LIMIT + 1))


def rare_color_weights(truth: Array) -> Weights:
    """Returns (H, W) float64: 1 / prior of the bin of each true colour.

    The paper weighs its 10,000 pictures as one; here a picture's pixels are weighed against each
    other and each picture counts the same. Over all pixels of 300 pictures, five of them would
    hold 61 % of the weight. So scores compare between models here, not with the paper's.

    Args:
        truth: (H, W, 2) float32, CIELAB units.
    """
    return _rarity()[bins.nearest(torch.from_numpy(truth)).numpy()]


@cache
def _rarity() -> Weights:
    return 1 / np.maximum(bins.smooth(bins.prior()).astype(np.float64), 1e-6)


def ab_mse(predicted: Array, truth: Array) -> float:
    """Mean squared error of ab / 128, as the regression networks report it; both (H, W, 2)."""
    return float(np.mean(np.square((predicted - truth) / 128)))


def keras_accuracy(predicted: Array, truth: Array) -> float:
    """Share of pixels, in percent, where the larger of a and b is the right one; (H, W, 2) each.

    What Keras prints as accuracy for a two-channel output, as Wast and Kanwar quote it.
    """
    return float(100 * np.mean(predicted.argmax(-1) == truth.argmax(-1)))


def psnr(predicted: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of 8-bit pictures (H, W, 3), dB; 100 where they are equal."""
    error = np.mean(np.square(predicted.astype(np.float32) - truth))
    return float(10 * np.log10(255**2 / error)) if error else 100.0


def colorfulness(bgr: NDArray[np.uint8]) -> float:
    """Hasler and Suesstrunk's measure of an 8-bit picture (H, W, 3), see `video_metrics`."""
    return video_metrics.colorfulness(bgr[..., ::-1])


def chroma(ab: Array) -> float:
    """Mean distance of ab (H, W, 2) from grey, CIELAB units."""
    return float(np.linalg.norm(ab, axis=-1).mean())
