"""Scores agree with published values and with independent implementations."""

import numpy as np
import pytest
import torch
from skimage import color

from export import bins, metrics

# Sharma, Wu and Dalal 2005, table 1: pairs 1, 4, 7, 13, 17, 19, 25 and 34.
SHARMA = [
    ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
    ((50.0, -1.3802, -84.2814), (50.0, 0.0, -82.7485), 1.0000),
    ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
    ((50.0, -0.0010, 2.4900), (50.0, 0.0011, -2.4900), 4.7461),
    ((50.0, 2.5000, 0.0), (73.0, 25.0, -18.0), 27.1492),
    ((50.0, 2.5000, 0.0), (56.0, -27.0, -3.0), 31.9030),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]


@pytest.mark.parametrize(("first", "second", "expected"), SHARMA)
def test_ciede2000_gives_the_published_values(
    first: tuple[float, ...], second: tuple[float, ...], expected: float
) -> None:
    ours = metrics.ciede2000(np.array(first), np.array(second))
    assert float(ours) == pytest.approx(expected, abs=1e-4)


def test_ciede2000_agrees_with_scikit_image() -> None:
    random = np.random.default_rng(0)
    low, high = np.array([0, -80, -80]), np.array([100, 80, 80])
    one, two = random.uniform(low, high, (2, 500, 3))
    assert np.allclose(metrics.ciede2000(one, two), color.deltaE_ciede2000(one, two), atol=1e-6)


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


def test_nearest_bin() -> None:
    points = bins.centers()
    ab = (points + np.float32([2, -3]))[None]
    assert np.array_equal(metrics.nearest_bin(ab)[0], np.arange(313))


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


def test_torch_and_numpy_agree_on_the_nearest_bin() -> None:
    ab = torch.tensor([[33.0, 47.0]])
    index, _ = bins.soft_encode(ab)
    assert metrics.nearest_bin(ab.numpy()[None])[0, 0] == index[0, 0]
