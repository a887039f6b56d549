"""Scores for video: what they are for clips whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from kinemacolor.export.video_metrics import (
    Passage,
    color_distribution_change,
    colorfulness,
    jensen_shannon,
    measure_motion,
    score_video,
    to_rgb,
    warp_error,
)

from benchmarks.steady_cuts import frames_to_recover
from tests.shots import H, W, pan, picture

STEP = 3  # pixels that the picture moves a frame


@pytest.fixture(scope="module")
def clip():
    """L, ab and passages of a pan in which the colours move with the picture."""
    frames = 8
    L = np.array(pan(1, frames, STEP))
    wide = 20 * np.array([picture(seed, H, W + STEP * frames) / 50 - 1 for seed in (2, 3)])
    ab = np.array([wide[:, :, STEP * t : STEP * t + W] for t in range(frames)], np.float32)
    return L, ab, measure_motion(L)


def test_motion_of_a_pan_is_found(clip):
    _, _, passages = clip
    x, y = np.meshgrid(np.arange(W), np.arange(H))
    for passage in passages:
        inner = np.s_[8:-8, 12:-12]
        assert np.abs(passage.points[..., 0] - (x - STEP))[inner].mean() < 0.2
        assert np.abs(passage.points[..., 1] - y)[inner].mean() < 0.2
        assert not passage.visible[:, : STEP - 1].any()  # leaves the picture on the left
        assert passage.visible[inner].mean() > 0.95


def test_the_edge_that_a_pan_uncovers_is_uncovered_for_three_frames(clip):
    _, _, passages = clip
    last = passages[-1].uncovered
    assert last[:, -STEP + 1 :].mean() > 0.9
    assert last[8:-8, -3 * STEP + 1 :].mean() > 0.8
    assert last[8:-8, 12 : -4 * STEP].mean() < 0.05


def test_colors_that_move_with_the_picture_are_steady(clip):
    L, ab, passages = clip
    truth = score_video(L, ab, ab, passages)
    rng = np.random.default_rng(0)
    flicker = ab + rng.normal(0, 5, (len(ab), 2, 1, 1)).astype(np.float32)
    scores = score_video(L, flicker, ab, passages)
    assert truth.warp_error < 0.2
    # Independent jumps of standard deviation 5 in each of a and b: 2 * (25 + 25) on average.
    jumps = np.square(np.diff(flicker - ab, axis=0)).sum(1).mean()
    assert scores.warp_error == pytest.approx(jumps, rel=0.1)
    assert truth.ciede2000 == truth.uncovered_error == 0
    assert scores.ciede2000 > 1
    assert scores.cdc > 1.5 * truth.cdc


def test_grey_is_the_steadiest_color_and_no_color(clip):
    L, ab, passages = clip
    grey = score_video(L, np.zeros_like(ab), ab, passages)
    assert grey.warp_error == 0
    assert grey.colorfulness < 1.5  # the rounding of R, G and B
    assert grey.ciede2000 > 5


def test_ghosts_show_where_motion_uncovers(clip):
    L, ab, passages = clip
    late = np.concatenate([ab[:1], ab[:-1]])  # the colours of the frame before, where they were
    ghosts = ab.copy()
    ghosts[:, :, :, -2 * STEP :] = late[:, :, :, -4 * STEP : -2 * STEP]
    scores = score_video(L, ghosts, ab, passages)
    assert scores.uncovered_error > 3 * scores.ciede2000


def test_nothing_is_compared_across_a_cut(clip):
    L, ab, _ = clip
    L, colors = np.concatenate([L[:4], 100 - L[4:]]), np.concatenate([ab[:4], -ab[4:]])
    passages = measure_motion(L, cuts=[4])
    assert [passage is None for passage in passages] == [False] * 3 + [True] + [False] * 3
    assert score_video(L, colors, colors, passages).warp_error < 0.2


def test_a_still_of_one_color_changes_nothing():
    L, ab = np.full((6, H, W), 50, np.float32), np.full((6, 2, H, W), 20, np.float32)
    passages = measure_motion(L)
    assert warp_error(ab[0], ab[1], passages[0]) == 0
    assert color_distribution_change(L, ab) == 0


def test_distribution_change_is_the_mean_over_1_2_and_4_frames():
    """Greys of no common value: ln 2 where two frames differ, 0 where they are equal."""
    for pattern, expected in (("ABABAB", (1, 0, 0)), ("AABBAABB", (3 / 7, 1, 0))):
        L = np.array([np.full((8, 8), 20 if frame == "A" else 80) for frame in pattern], np.float32)
        change = color_distribution_change(L, np.zeros((len(L), 2, 8, 8), np.float32))
        assert change == pytest.approx(math.log(2) * sum(expected) / 3)


def test_warp_error_leaves_out_what_was_hidden():
    x, y = np.meshgrid(np.arange(8), np.arange(8))
    visible = x < 4
    still = Passage(np.dstack([x, y]).astype(np.float32), visible, ~visible)
    before = np.zeros((2, 8, 8), np.float32)
    after = before + np.float32([3, 4])[:, None, None]
    after[:, ~visible] = 90
    assert warp_error(before, after, still) == pytest.approx(3**2 + 4**2)


def rows(size: int = 8):
    counts = hnp.arrays(np.float64, (3, size), elements=st.integers(0, 50))
    return counts.map(lambda c: (c + np.eye(3, size)) / (c + np.eye(3, size)).sum(-1)[:, None])


@settings(max_examples=50, deadline=None)
@given(rows(), rows())
def test_divergence_is_symmetric_and_between_0_and_ln_2(p, q):
    assert jensen_shannon(p, q) == pytest.approx(jensen_shannon(q, p))
    assert 0 <= jensen_shannon(p, q) + 1e-12 <= math.log(2) + 1e-9
    assert jensen_shannon(p, p) == 0


def test_divergence_of_what_has_nothing_in_common():
    p, q = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    assert jensen_shannon(p, q) == pytest.approx(math.log(2))


def test_colorfulness_of_two_halves():
    """Worked by hand: rg = 200 or 0, yb = 100 or -100; std 100 and 100, means 100 and 0."""
    rgb = np.zeros((2, 2, 3), np.uint8)
    rgb[0] = (200, 0, 0)
    rgb[1] = (0, 0, 100)
    assert colorfulness(rgb) == pytest.approx(math.hypot(100, 100) + 0.3 * 100)


@pytest.mark.parametrize(
    ("errors", "frames"),
    [([9, 9, 1, 1], 0), ([9, 9, 1.2, 1.05], 1), ([9, 9, 2, 2], 2)],
)
def test_recovery_counts_frames_after_the_cut(errors, frames):
    assert frames_to_recover(errors, [1, 1, 1, 1], cut=2) == frames


def test_lab_to_rgb_keeps_grey_grey():
    grey = to_rgb(np.full((2, 2), 50, np.float32), np.zeros((2, 2, 2), np.float32))
    assert np.abs(grey.astype(int) - 119).max() <= 1  # L 50 is R'G'B' 119
