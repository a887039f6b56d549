"""Scores are those that can be worked out by hand."""

import numpy as np
import pytest
from kinemacolor.export import metrics


def test_auc_of_a_constant_error() -> None:
    truth = np.zeros((4, 4, 2), np.float32)
    # All pixels 30 away: within t for t = 30..150, 121 of 151 thresholds.
    assert metrics.auc(truth + np.float32([30, 0]), truth) == pytest.approx(100 * 121 / 151)
    assert metrics.auc(truth, truth) == pytest.approx(100)
    assert metrics.auc(truth + 150, truth) == pytest.approx(0)


def test_rebalanced_auc_counts_rare_colors_more() -> None:
    truth = np.zeros((1, 2, 2), np.float32)
    truth[0, 1] = (80, 60)  # one common grey pixel, one rare red one
    weights = metrics.rare_color_weights(truth)
    assert weights[0, 1] > 20 * weights[0, 0]
    grey = np.zeros_like(truth)
    assert metrics.auc(grey, truth, weights) < metrics.auc(grey, truth) - 20


def test_colorfulness_of_grey_is_zero_and_of_two_colors_as_computed_by_hand() -> None:
    assert metrics.colorfulness(np.full((8, 8, 3), 77, np.uint8)) == 0
    picture = np.zeros((1, 2, 3), np.uint8)
    picture[0, 0] = (0, 0, 200)  # red, in BGR: rg = 200, yb = 100; black: 0, 0
    expected = np.hypot(100, 50) + 0.3 * np.hypot(100, 50)
    assert metrics.colorfulness(picture) == pytest.approx(expected, rel=1e-5)


def test_keras_accuracy_and_mse() -> None:
    truth = np.array([[[10, 5], [5, 10]]], np.float32)
    assert metrics.keras_accuracy(truth[:, ::-1], truth) == 0
    assert metrics.keras_accuracy(truth * 3, truth) == 100
    assert metrics.ab_mse(truth + 64, truth) == pytest.approx(0.25)


def test_psnr() -> None:
    black = np.zeros((2, 2, 3), np.uint8)
    assert metrics.psnr(black, black) == 100
    assert metrics.psnr(black + np.uint8(255), black) == pytest.approx(0)
