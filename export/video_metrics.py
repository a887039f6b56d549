"""How steady the colours of a video are, and whether that was bought with colour.

Every way of colorizing a clip is judged by the same motion, measured on the true L. Grey is the
steadiest colour of all: read steadiness only beside colorfulness and error, and beside the truth.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from kinemacolor.engine.color import ciede2000
from numpy.typing import NDArray

Planes = NDArray[Any]  # float32

UNCOVERED_AGE = 3  # frames for which a region counts as just uncovered
CDC_STEPS = (1, 2, 4)  # frames apart


@dataclass(frozen=True)
class Passage:
    """The true way from one frame to its successor."""

    points: Planes  # (H, W, 2): where each point of the frame is in its successor, in pixels
    visible: NDArray[np.bool_]  # (H, W): it can be seen there
    uncovered: NDArray[np.bool_]  # (H, W), on the successor: it came to sight at most 3 frames ago


@dataclass(frozen=True)
class VideoScores:
    """Means over the frames of one clip; weigh clips by `frames` or not, but say which."""

    frames: int
    warp_error: float  # mean squared change of ab along the motion, CIELAB units squared
    cdc: float  # colour distribution consistency, lower is steadier
    colorfulness: float
    ciede2000: float
    uncovered_error: float  # CIEDE2000 where motion has just uncovered something: ghosts


def measure_motion(L: Planes, cuts: Collection[int] = ()) -> list[Passage | None]:
    """Measures the motion from each frame to its successor, None across a cut.

    Args:
        L: (T, H, W) float32, 0..100.
        cuts: numbers of the frames that start a shot.

    Returns:
        T - 1 passages. Dense inverse search at full size, refined; a point counts as hidden if
        the way there and back differ by more than 0.01 of their squared lengths plus 0.5 pixels
        squared (Ruder, Dosovitskiy and Brox 2016), or if it leaves the picture.
    """
    dis: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    height, width = L.shape[1:]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    grid = np.dstack([x, y])
    pixels = [cv2.convertScaleAbs(frame, alpha=2.55) for frame in L]
    passages: list[Passage | None] = []
    age = np.full((height, width), np.inf, np.float32)  # frames since a point came to sight
    for t in range(len(L) - 1):
        if t + 1 in cuts:
            passages.append(None)
            age[:] = np.inf
            continue
        ahead = dis.calc(pixels[t], pixels[t + 1], None)
        back = dis.calc(pixels[t + 1], pixels[t], None)
        visible = _comes_home(grid, ahead, back)
        known = _comes_home(grid, back, ahead)
        age = _follow(age, grid + back, cv2.INTER_NEAREST) + 1
        age[~known] = 1
        passages.append(Passage(grid + ahead, visible, age <= UNCOVERED_AGE))
    return passages


def _comes_home(grid: Planes, there: Planes, home: Planes) -> NDArray[np.bool_]:
    points = grid + there
    height, width = grid.shape[:2]
    inside = (points >= 0).all(-1) & (points <= (width - 1, height - 1)).all(-1)
    returned = _follow(home, points)
    gap = np.square(there + returned).sum(-1)
    way = np.square(there).sum(-1) + np.square(returned).sum(-1)
    return inside & (gap <= 0.01 * way + 0.5)


def _follow(picture: Planes, points: Planes, interpolation: int = cv2.INTER_LINEAR) -> Planes:
    return cv2.remap(  # type: ignore[call-overload]  # OpenCV's stubs forbid the None they mean
        picture, points, None, interpolation, None, cv2.BORDER_REPLICATE
    )


def score_video(
    L: Planes, ab: Planes, truth: Planes, passages: Sequence[Passage | None]
) -> VideoScores:
    """Scores one way of colorizing a clip.

    Args:
        L: (T, H, W) float32, 0..100.
        ab: (T, 2, H, W) float32, CIELAB units: the colours to score.
        truth: the same of the original.
        passages: from `measure_motion(L)`.
    """
    warp, uncovered = [], []
    for t, passage in enumerate(passages):
        if passage is None:
            continue
        warp.append(warp_error(ab[t], ab[t + 1], passage))
        # Every other line of every other column: a quarter of the work, the same mean.
        if passage.uncovered[::2, ::2].any():
            uncovered.append(
                _difference(L[t + 1], ab[t + 1], truth[t + 1])[passage.uncovered[::2, ::2]]
            )
    return VideoScores(
        frames=len(L),
        warp_error=_mean(warp),
        cdc=color_distribution_change(L, ab),
        colorfulness=_mean([colorfulness(to_rgb(*frame)) for frame in zip(L, ab, strict=True)]),
        ciede2000=_mean([e.mean() for e in color_errors(L, ab, truth)]),
        uncovered_error=float(np.concatenate(uncovered).mean()) if uncovered else float("nan"),
    )


def warp_error(ab: Planes, after: Planes, passage: Passage) -> float:
    """Mean squared difference of ab and its successor's, brought back along the motion.

    Args:
        ab, after: (2, H, W) float32 of a frame and of its successor.
    """
    moved = _follow(cv2.merge(list(after)), passage.points)
    change = np.square(moved.transpose(2, 0, 1) - ab).sum(0)
    return float(change[passage.visible].mean()) if passage.visible.any() else 0.0


def color_distribution_change(L: Planes, ab: Planes) -> float:
    """CDC (Liu et al. 2021): how much the histograms of R, G and B change over 1, 2 and 4 frames.

    The mean Jensen-Shannon divergence, in nats, over the three channels and distances.
    """
    histograms = []
    for frame in zip(L, ab, strict=True):
        rgb = to_rgb(*frame)
        counts = [np.bincount(rgb[..., i].ravel(), minlength=256) for i in range(3)]
        histograms.append(np.array(counts) / rgb[..., 0].size)
    means = [
        _mean([jensen_shannon(p, q) for p, q in zip(histograms, histograms[step:], strict=False)])
        for step in CDC_STEPS
        if step < len(histograms)
    ]
    return _mean(means)


def jensen_shannon(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """Mean divergence of rows of probabilities: 0 (equal) to ln 2 (nothing in common)."""
    middle = (p + q) / 2

    def entropy(part: NDArray[np.float64]) -> float:
        ratio = np.divide(part, middle, out=np.ones_like(part), where=part > 0)
        return float((part * np.log(ratio)).sum(-1).mean())

    return (entropy(p) + entropy(q)) / 2


def colorfulness(rgb: NDArray[np.uint8]) -> float:
    """Hasler and Suesstrunk, "Measuring colourfulness in natural images" (2003), M(3): on sRGB.

    Args:
        rgb: (H, W, 3) R'G'B'.
    """
    red, green, blue = (rgb[..., i].astype(np.float32) for i in range(3))
    one, two = red - green, (red + green) / 2 - blue
    spread = np.hypot(one.std(), two.std())
    return float(spread + 0.3 * np.hypot(one.mean(), two.mean()))


def color_errors(L: Planes, ab: Planes, truth: Planes) -> list[Planes]:
    """CIEDE2000 of each frame on every second line and column, lightness being equal."""
    return [_difference(*frame) for frame in zip(L, ab, truth, strict=True)]


def to_rgb(L: Planes, ab: Planes) -> NDArray[np.uint8]:
    """L: (H, W), ab: (2, H, W). Returns (H, W, 3) R'G'B', clipped to the gamut."""
    rgb = cv2.cvtColor(cv2.merge([L, ab[0], ab[1]]), cv2.COLOR_Lab2RGB)
    return np.rint(rgb * 255).astype(np.uint8)


def _difference(L: Planes, ab: Planes, truth: Planes) -> Planes:
    part = (slice(None, None, 2), slice(None, None, 2))
    lab, other = (
        np.dstack([L[part], *(plane[part] for plane in planes)]) for planes in (ab, truth)
    )
    return ciede2000(lab, other)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
