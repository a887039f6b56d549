"""Steady colour: what is kept, what is averaged and what is forgotten."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.steady import Steady, make_steady

H, W = 96, 160
MODES = ["live", "film"]


def texture(seed: int, height: int = H, width: int = W) -> np.ndarray:
    """Returns L (height, width) float32 with detail at several sizes."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width))
    for cells in (4, 8, 16):
        noise = rng.uniform(-1, 1, (cells, cells))
        rows, columns = np.linspace(0, cells - 1, height), np.linspace(0, cells - 1, width)
        rows = np.array([np.interp(columns, range(cells), row) for row in noise])
        total += np.array(
            [np.interp(np.linspace(0, cells - 1, height), range(cells), c) for c in rows.T]
        ).T
    return (50 + 15 * total).clip(0, 100).astype(np.float32)


def flat_ab(a: float, b: float, height: int = H, width: int = W) -> np.ndarray:
    planes = np.empty((2, height // 4, width // 4), np.float32)
    planes[0], planes[1] = a, b
    return planes


def run(steady: Steady, frames: list[tuple[np.ndarray, np.ndarray | None]]) -> list[np.ndarray]:
    ready = []
    for L, ab in frames:
        ready += steady.push(L, ab)
    return ready + steady.flush()


@pytest.mark.parametrize("mode", ["off", *MODES])
@settings(max_examples=20, deadline=None)
@given(count=st.integers(0, 45))
def test_every_frame_comes_out_once(mode, count):
    steady = make_steady(mode)
    L, ab = texture(1), flat_ab(10, 20)
    held = 0
    for _ in range(count):
        held += 1 - len(steady.push(L, ab))
        assert held <= steady.delay
    assert len(steady.flush()) == held


@pytest.mark.parametrize("mode", MODES)
def test_flicker_on_a_still_picture_is_averaged(mode):
    rng = np.random.default_rng(0)
    L = texture(1)
    frames = [(L, flat_ab(*rng.normal(20, 5, 2))) for _ in range(60)]
    before = np.array([ab.mean((1, 2)) for _, ab in frames])
    after = np.array([ab.mean((1, 2)) for ab in run(make_steady(mode), frames)])
    assert np.abs(np.diff(after, axis=0)).mean() < 0.3 * np.abs(np.diff(before, axis=0)).mean()
    assert np.allclose(after.mean(0), 20, atol=2)


@pytest.mark.parametrize("mode", MODES)
def test_nothing_of_the_old_shot_is_left_at_a_cut(mode):
    steady = make_steady(mode)
    red, blue = (texture(1), flat_ab(60, 30)), (texture(2), flat_ab(10, -60))
    out = run(steady, [red] * 20 + [blue] * 20)
    assert steady.cuts == [20]
    for frame, (_, wanted) in zip(out, [red] * 20 + [blue] * 20, strict=True):
        assert np.allclose(frame, wanted, atol=0.5)


def test_off_returns_the_planes_themselves():
    ab = flat_ab(1, 2)
    assert make_steady("off").push(texture(1), ab)[0] is ab
    assert make_steady("film", strength=0).push(texture(1), ab)[0] is ab


@pytest.mark.parametrize("mode", MODES)
def test_colors_are_carried_between_key_frames(mode):
    steady = make_steady(mode, every=10)
    big = texture(3, H, 2 * W)
    frames, asked = [], []
    for t in range(30):
        L = np.ascontiguousarray(big[:, 2 * t : 2 * t + W])
        asked.append(steady.wants(L))
        frames.append((L, flat_ab(30, 10) if asked[-1] else None))
    assert asked[0]
    assert 3 <= sum(asked) <= 8
    assert all(any(asked[t : t + 10]) for t in range(21))
    for ab in run(steady, frames):
        assert np.allclose(ab.mean((1, 2)), (30, 10), atol=1)
