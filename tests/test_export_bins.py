"""Bins, soft encoding and rebalancing follow Zhang, Isola and Efros 2016."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kinemacolor.export import bins

ab_values = st.floats(-110, 110, allow_nan=False, width=32)


def test_the_bins_are_the_published_ones_in_the_published_order() -> None:
    points = bins.centers()
    assert points.shape == (313, 2)
    # SHA-256 of the published pts_in_hull.npy's content as little-endian int64.
    digest = hashlib.sha256(points.astype("<i8").tobytes()).hexdigest()
    assert digest == "2a39983ed60d5b52b717842d56d5f766982289e6d5a609582155f437cecc1045"


@given(st.lists(st.tuples(ab_values, ab_values), min_size=1, max_size=8))
@settings(max_examples=30, deadline=None)
def test_soft_encoding_is_a_distribution_over_the_five_nearest_bins(
    colors: list[tuple[float, float]],
) -> None:
    ab = torch.tensor(colors)
    index, weight = bins.soft_encode(ab)
    assert torch.allclose(weight.sum(-1), torch.ones(len(ab)))
    points = torch.from_numpy(bins.centers())
    distance = (ab.round()[:, None] - points).norm(dim=-1)
    chosen = distance.gather(1, index)
    assert torch.allclose(chosen, distance.topk(5, largest=False).values, atol=1e-4)
    assert bool((weight[:, 0] >= weight.max(1).values - 1e-6).all())


def test_the_nearest_bin() -> None:
    points = torch.from_numpy(bins.centers())
    assert torch.equal(bins.nearest(points + torch.tensor([2.0, -3.0])), torch.arange(313))
    assert bins.nearest(torch.full((2, 3, 2), 500.0)).shape == (2, 3)


def test_soft_weights_are_gaussian_with_sigma_5() -> None:
    # 3 units from the bin (20, 30), so 7, 10.44.. from its neighbours.
    index, weight = bins.soft_encode(torch.tensor([[23.0, 30.0]]))
    square = ((torch.from_numpy(bins.centers())[index[0]] - torch.tensor([23.0, 30.0])) ** 2).sum(1)
    expected = torch.exp(-square / 50)
    assert torch.allclose(weight[0], expected / expected.sum(), atol=1e-6)


def test_a_color_outside_every_bin_still_has_weights() -> None:
    """Gaussians of far bins underflow in float32; the encoding must not become 0 / 0."""
    _, weight = bins.soft_encode(torch.tensor([[-110.0, -110.0]]))
    assert bool(torch.isfinite(weight).all())


def test_rebalancing_weights_have_mean_one_and_favour_rare_bins() -> None:
    prior = bins.prior()
    assert prior.sum() == pytest.approx(1, abs=1e-5)
    for power in (0.0, 0.5, 1.0):
        weights = bins.rebalancing_weights(prior, power=power)
        assert (weights * bins.smooth(prior)).sum() == pytest.approx(1, abs=1e-4)
    assert weights[prior.argmax()] == weights.min()
    assert np.allclose(bins.rebalancing_weights(prior, power=0.0), 1)


def test_smoothing_is_gaussian_with_sigma_5() -> None:
    points = bins.centers()
    alone = np.zeros(313, np.float32)
    middle = int(np.flatnonzero((points == (0, 0)).all(1))[0])
    alone[middle] = 1
    smoothed = bins.smooth(alone)
    distance = np.hypot(*(points - points[middle]).T)
    assert smoothed[distance == 10] / smoothed[middle] == pytest.approx(np.exp(-100 / 50))
    assert smoothed[distance == 20] / smoothed[middle] == pytest.approx(np.exp(-400 / 50))
    assert smoothed.sum() == pytest.approx(1)


def test_rebalancing_weights_are_the_papers() -> None:
    """Zhang, Isola and Efros 2016, section 2.2: lambda 1/2, sigma 5, mean weight 1."""
    a, b = bins.centers().astype(np.float64).T
    square = (a[:, None] - a) ** 2 + (b[:, None] - b) ** 2
    gaussian = np.exp(-square / (2 * 5**2))
    smoothed = (gaussian / gaussian.sum(0)) @ bins.prior().astype(np.float64)
    expected = 1 / ((1 - 0.5) * smoothed + 0.5 / 313)
    expected /= (expected * smoothed).sum()
    assert bins.rebalancing_weights(bins.prior()) == pytest.approx(expected, rel=1e-4)


def test_the_prior_of_one_color_is_that_color() -> None:
    prior = bins.measure_prior(torch.full((100, 2), 20.0))
    assert tuple(bins.centers()[prior.argmax()]) == (20, 20)
    assert prior.sum() == pytest.approx(1, abs=1e-5)


def test_annealed_mean_goes_from_mean_to_mode() -> None:
    red, blue = (np.flatnonzero((bins.centers() == c).all(1))[0] for c in ((60, 40), (20, -60)))
    logits = torch.full((1, 313, 1, 1), -50.0)
    logits[0, red], logits[0, blue] = np.log(0.6), np.log(0.4)
    mean = bins.annealed_mean(logits, temperature=1.0).flatten()
    assert torch.allclose(mean, torch.tensor([0.6 * 60 + 0.4 * 20, 0.6 * 40 - 0.4 * 60]), atol=1e-3)
    mode = bins.annealed_mean(logits, temperature=0.01).flatten()
    assert torch.allclose(mode, torch.tensor([60.0, 40.0]), atol=1e-3)
    between = bins.annealed_mean(logits).flatten()
    assert mean[1] < between[1] < mode[1]
