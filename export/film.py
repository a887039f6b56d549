"""Makes a photograph's lightness look like old film's.

Response, exposure, uneven light, blur, grain, and what a projector does to a print: vertical
scratches and dust.
"""

from __future__ import annotations

import cv2
import numpy as np
from kinemacolor.engine.color import lab_curve
from numpy.typing import NDArray


def age(
    bgr: NDArray[np.uint8], L: NDArray[np.float32], random: np.random.Generator
) -> NDArray[np.float32]:
    """Returns an aged L (H, W) float32, 0..100, of an 8-bit BGR picture and its L."""
    if random.random() < 0.4:
        L = _orthochromatic(bgr, random)
    shade = L / 100
    if random.random() < 0.7:
        shade = np.clip(shade, 0, 1) ** np.exp(random.normal(0, 0.25))
    if random.random() < 0.7:
        black, white = random.uniform(-0.12, 0.15), random.uniform(0.82, 1.15)
        shade = black + (white - black) * shade
    if random.random() < 0.3:
        shade = shade * _uneven_light(shade.shape, random)
    if random.random() < 0.35:
        shade = np.asarray(cv2.GaussianBlur(shade, (0, 0), random.uniform(0.4, 1.4)))
    if random.random() < 0.5:
        shade = shade + _grain(shade.shape, random)
    if random.random() < 0.3:
        shade = shade + _wear(shade.shape, random)
    return np.clip(shade * 100, 0, 100).astype(np.float32)


def _orthochromatic(bgr: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.float32]:
    """L as film without red sensitivity saw it: red lips and skin dark, blue sky white."""
    red = random.uniform(0.0, 0.15)
    blue = random.uniform(0.2, 0.55)
    linear = (bgr.astype(np.float32) / 255) ** 2.2
    weights = np.array([blue, 1 - red - blue, red], np.float32)
    luminance = np.clip(linear @ weights, 0, 1)
    return (116 * lab_curve(luminance) - 16).astype(np.float32)


def _grain(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.float32]:
    """Grain of one to two pixels, 1 % to 5 % of the range."""
    noise = random.standard_normal(shape, np.float32)
    if random.random() < 0.5:
        noise = np.asarray(2 * cv2.GaussianBlur(noise, (0, 0), 0.8), np.float32)
    return np.asarray(noise * random.uniform(0.01, 0.05), np.float32)


def _uneven_light(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.float32]:
    """One moment of flicker and vignetting: a smooth field of factors, 0.75 to 1.25."""
    coarse = random.uniform(0.75, 1.25, (3, 3)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def _wear(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.float32]:
    """Up to three vertical scratches and twelve specks, black or white, to add to the shade."""
    height, width = shape
    wear = np.zeros(shape, np.float32)
    for _ in range(random.integers(4)):
        x, lean = int(random.integers(width)), int(random.integers(-2, 3))
        first, last = np.sort(random.integers(0, height, 2))
        ends = (x, int(first)), (x + lean, int(last))
        cv2.line(wear, *ends, float(random.choice((-1, 1)) * random.uniform(0.1, 0.5)), 1)
    for _ in range(random.integers(13)):
        at = int(random.integers(width)), int(random.integers(height))
        axes = int(random.integers(1, 3)), int(random.integers(1, 4))
        shade = float(random.choice((-1, 1)) * random.uniform(0.2, 0.8))
        cv2.ellipse(wear, at, axes, float(random.uniform(0, 180)), 0, 360, shade, -1)
    return wear
