"""Lightness pictures that move: shots for the tests of motion, cuts and steady colour."""

from __future__ import annotations

import cv2
import numpy as np

H, W = 96, 160


def picture(seed: int, height: int = H, width: int = W) -> np.ndarray:
    """Returns L (height, width) float32, 0..100, with detail at several sizes."""
    rng = np.random.default_rng(seed)
    total = np.full((height, width), 50.0, np.float32)
    for cells, strength in ((3, 20), (6, 15), (12, 10), (24, 6)):
        noise = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
        total += strength * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return total.clip(0, 100)


def pan(seed: int, frames: int, step: int = 2) -> list[np.ndarray]:
    """Returns a shot: a camera that turns over a wide picture, `step` pixels a frame."""
    wide = picture(seed, H, W + step * frames)
    return [np.ascontiguousarray(wide[:, step * t : step * t + W]) for t in range(frames)]


def grain(frames: list[np.ndarray], strength: float, seed: int = 0) -> list[np.ndarray]:
    """Adds noise of that standard deviation in L, new in every frame."""
    rng = np.random.default_rng(seed)
    noisy = (f + rng.normal(0, strength, f.shape).astype(np.float32) for f in frames)
    return [frame.clip(0, 100) for frame in noisy]


def dissolve(one: list[np.ndarray], other: list[np.ndarray], length: int) -> list[np.ndarray]:
    """Joins two shots by letting the last frames of one fade into the first of the other."""
    shares = (np.arange(length, dtype=np.float32) + 1) / (length + 1)
    both = zip(shares, one[-length:], other[:length], strict=True)
    return one[:-length] + [(1 - s) * a + s * b for s, a, b in both] + other[length:]


def flat_ab(a: float, b: float, height: int = H, width: int = W) -> np.ndarray:
    """Returns ab (2, height / 4, width / 4) float32 of one colour."""
    planes = np.empty((2, height // 4, width // 4), np.float32)
    planes[0], planes[1] = a, b
    return planes
