"""How far hints go: to the edges of the things that they lie on, as lightness and features say.

Each hint is a source of heat in a plate that leaks a little everywhere and conducts badly across
edges (a screened Poisson equation); how warm a point gets, and from which hint, says whose colour
it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from kinemacolor.engine.color import rgb_to_lab
from kinemacolor.stream.anchor.hints import Hint
from kinemacolor.stream.anchor.known import Colors, Known, Plane
from kinemacolor.stream.anchor.match import Cells, Match
from kinemacolor.stream.anchor.spread import to_points

ROWS = 160  # of the grid on which heat spreads
SMOOTH = 1.0  # grid points: texture finer than that is no edge
EDGE = 1.3  # L from one grid point to the next, at which heat is held back
UNLIKE, UNLIKE_STEP = 5.5, 0.8  # distance of descriptions at which a cell shows another thing
SHADING = 16.0  # L, by which one thing's light and shade may differ from the hint's place
LEAK, LEAK_ELSEWHERE = 6e-5, 2.5e-3  # on things like the hint's own, and on others
STRONG = 10.0
STEPS = 400
WARM = (0.12, 0.4)  # heat at which a point begins to take the colour, and takes all of it
SPOT = 0.04  # of the picture's height: the radius of a spot


def hinted(
    hints: Sequence[Hint], L: Plane, ab: Colors, cells: Cells, told: Colors | None = None
) -> tuple[Known, list[float]]:
    """Gives a frame the colours of its hints.

    Args:
        L: (h, w), 0..100.
        ab: (2, h, w), what it has without them.
        cells: of the frame.
        told: (2, h, w), what a network says that was told the hints; None: each hint's own colour
            stands for all of its reach.

    Returns:
        the frame, sure where hints reach, and each hint's share of the picture.
    """
    heat = _heat(hints, L, cells)
    total = np.maximum(heat.sum(0), 1e-4)
    colors = [_color(hint, L, ab) for hint in hints]
    said = sum((h / total) * c for h, c in zip(heat, colors, strict=True))
    if told is not None:
        said = told
    reach = np.clip((total - WARM[0]) / (WARM[1] - WARM[0]), 0, 1)
    reach = (reach * reach * (3 - 2 * reach)).astype(np.float32)
    shares = [float((h / total * reach).mean()) for h in heat]
    return Known(L, np.ascontiguousarray(said, np.float32), reach), shares


def _color(hint: Hint, L: Plane, ab: Colors) -> Colors:
    """The colour that a hint means at each point: the same dye in light and in shade.

    Light of s times the strength makes L + 16, a and b s^(1/3) times as large (CIE 15).
    """
    if hint.rgb is None:
        return ab
    lightness, a, b = rgb_to_lab(np.array(hint.rgb))
    if hint.color == "grey":
        a = b = 0.0
    shade = np.clip((L + 16) / (lightness + 16), 0.3, 1.5)
    return np.stack([shade * np.float32(a), shade * np.float32(b)])


def _point(hint: Hint, shape: tuple[int, int]) -> tuple[int, int]:
    height, width = shape
    return min(int(hint.y * height), height - 1), min(int(hint.x * width), width - 1)


def _heat(hints: Sequence[Hint], L: Plane, cells: Cells) -> Plane:
    """Returns (k, h, w), 0..1: how warm each hint makes each point."""
    height, width = L.shape
    rows = min(ROWS, height)
    size = (rows, max(1, round(width * rows / height)))
    small = cv2.resize(L, size[::-1], interpolation=cv2.INTER_AREA)
    leak = LEAK + LEAK_ELSEWHERE * np.stack([_unlike(hint, cells, small) for hint in hints])
    down, right = _conductance(small)
    seeds = np.zeros((len(hints), *size), np.float32)
    for seed, hint in zip(seeds, hints, strict=True):
        row, column = _point(hint, size)
        seed[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = 1
    heat = _warmed(seeds, down, right, leak)
    y, x = np.mgrid[: size[0], : size[1]]
    for plane, hint in zip(heat, hints, strict=True):
        if hint.reach == "spot":
            row, column = _point(hint, size)
            far = np.hypot(y - row, x - column) / (SPOT * size[0])
            plane *= np.clip(2 - far, 0, 1)
    big = [cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR) for plane in heat]
    return np.clip(np.stack(big), 0, 1)


def _conductance(L: Plane) -> tuple[Plane, Plane]:
    """How well heat goes to the point below (h - 1, w), and to the one on the right (h, w - 1)."""
    smooth = cv2.GaussianBlur(L, (0, 0), SMOOTH)
    return tuple(  # type: ignore[return-value]
        np.exp(-np.square(np.diff(smooth, axis=axis) / EDGE)) + np.float32(1e-5) for axis in (0, 1)
    )


def _unlike(hint: Hint, cells: Cells, L: Plane) -> Plane:
    """Returns (h, w), 0..1: whether each point shows another thing than a hint's own place."""
    rows = cells.described(cells.normal())
    shape = cells.L.shape
    row, column = _point(hint, shape)
    far = np.square(rows - rows[row * shape[1] + column]).sum(1).reshape(shape)
    other = 1 / (1 + np.exp(-(far - UNLIKE) / UNLIKE_STEP))
    nothing = np.zeros((*shape, 4), np.float32)
    unlike = to_points(Match(nothing, other.astype(np.float32), ()), cells.L, L)[1]
    # A small thing has no cell of its own; its lightness tells it from what it lies on.
    smooth = cv2.GaussianBlur(L, (0, 0), SMOOTH)
    gap = np.abs(smooth - smooth[_point(hint, L.shape)])
    return 1 - (1 - unlike) * np.exp(-np.square(np.maximum(gap - SHADING, 0) / SHADING))


def _warmed(seeds: Plane, down: Plane, right: Plane, leak: Plane) -> Plane:
    """Solves for the heat of each seed plane, by conjugate gradients. Planes are (k, h, w)."""
    diagonal = seeds.sum(0) * np.float32(STRONG) + leak.astype(np.float32)
    diagonal[:, :-1] += down
    diagonal[:, 1:] += down
    diagonal[..., :-1] += right
    diagonal[..., 1:] += right

    def apply(u: Plane) -> Plane:
        out = diagonal * u
        out[:, :-1] -= down * u[:, 1:]
        out[:, 1:] -= down * u[:, :-1]
        out[..., :-1] -= right * u[..., 1:]
        out[..., 1:] -= right * u[..., :-1]
        return out

    return _solve(apply, seeds * STRONG, diagonal)


def _solve(apply: Callable[[Plane], Plane], wanted: Plane, diagonal: Plane) -> Plane:
    """Conjugate gradients with the diagonal as preconditioner, for k planes at once."""

    def dot(one: Plane, other: Plane) -> Plane:
        return np.einsum("kij,kij->k", one, other)[:, None, None]

    found = np.zeros_like(wanted)
    left = wanted.copy()
    scaled = left / diagonal
    way = scaled.copy()
    size = dot(left, scaled)
    for _ in range(STEPS):
        image = apply(way)
        step = size / (dot(way, image) + 1e-20)
        found += step * way
        left -= step * image
        scaled = left / diagonal
        new = dot(left, scaled)
        if float(new.max()) < 1e-7:
            break
        way = scaled + (new / (size + 1e-20)) * way
        size = new
    return found
