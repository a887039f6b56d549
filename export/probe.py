"""Finds out how a foreign colorizer wants its picture: tries every way, and looks at the answers.

A right answer has the lightness that was asked about; colours follow the picture, and are of a
size that colours have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from kinemacolor.engine.graphs.color_error import sample_pictures
from kinemacolor.export.convention import (
    INPUTS,
    PICTURES,
    Array,
    Convention,
    Input,
    Told,
    read_rgb,
    to_lab,
    written,
)

Run = Callable[[Array], Array]  # (1, channels, H, W) to (1, out, h, w)

FOLLOWS = 12.0  # mean distance in L up to which an answer may be the picture that was asked about
BEHIND = 1.5  # how many times as far the second best must be
SAME = 1.0  # mean distance in ab below which two readings are one
CHROMA = (2.0, 150.0)  # of the 99th percentile of |a| and |b| on a photograph, CIELAB units
VARIES = 0.05  # least deviation of ab over a photograph, as a share of that percentile


@dataclass(frozen=True)
class Reading:
    """One way to use the network, and what it gave."""

    convention: Convention
    ab: Array  # of all pictures, one after another, CIELAB units
    distance: float  # from the lightness that was asked about, mean, L; 0 where ab alone came out
    unscaled: bool = False  # ab within -1..1: what makes CIELAB units of it is not to be seen


def pictures(height: int, width: int) -> list[Array]:
    """A ramp of greys and two photographs, L (height, width), 0..100."""
    ramp = np.linspace(0, 100, width, dtype=np.float32) * np.ones((height, 1), np.float32)
    return [ramp, *sample_pictures(height, width)[:2]]


def readings(
    run: Run, size: tuple[int, int], *, channels: int, out: int, told: Told
) -> list[Reading]:
    """Every plausible way to use a network.

    Args:
        run: the network.
        size: (H, W) at which to try.
        channels, out: of its input and of its output.
    """
    asked = pictures(*size)
    found: list[Reading] = []
    for kind in [told.input] if told.input else INPUTS:
        if channels == 1 and kind == "imagenet":
            continue
        answers = [run(written(L, kind, channels))[0] for L in asked]
        if all(np.isfinite(answer).all() for answer in answers):
            found += _read(asked, answers, kind, out=out, told=told)
    if out == 2 and channels == 3 and not told.input:
        # Three planes of L are rare: they are thought of where nothing else fits.
        found = [r for r in found if r.convention.input != "L"] or found
    return sorted(found, key=lambda reading: reading.distance)


def clear(found: list[Reading]) -> Reading | None:
    """The one reading that stands out, or all of whose rivals say the same."""
    if not found:
        return None
    best, *others = found
    for other in others:
        same = bool(np.abs(other.ab - best.ab).mean() < SAME)
        if not same and other.distance < BEHIND * best.distance + 0.5:
            return None
    return best


def _read(
    asked: list[Array], answers: list[Array], kind: Input, *, out: int, told: Told
) -> Iterator[Reading]:
    if out == 2:
        yield from _as_ab(answers, Convention(kind, "ab", 1.0), told, distance=0.0)
        return
    if told.output != "rgb":
        yield from _as_lab(asked, answers, kind, told)
    if told.output != "lab":
        scales: tuple[Any, ...] = PICTURES if told.scale is None else (told.scale,)
        for scale in scales:
            yield from _as_rgb(asked, answers, Convention(kind, "rgb", scale))


def _as_rgb(asked: list[Array], answers: list[Array], convention: Convention) -> Iterator[Reading]:
    scale = convention.scale
    assert isinstance(scale, str)
    rgbs = [read_rgb(answer, scale) for answer in answers]
    labs = [to_lab(rgb) for rgb in rgbs]
    # What lies outside 0..1 was not meant to be read so.
    outside = float(np.mean([np.abs(rgb - rgb.clip(0, 1)).mean() for rgb in rgbs]))
    distance = _distance(asked, [lab[..., 0] for lab in labs]) + 100 * outside
    ab = _joined([lab[..., 1:].transpose(2, 0, 1) for lab in labs])
    if distance < FOLLOWS and float(np.percentile(np.abs(ab), 99)) < CHROMA[1]:
        yield Reading(convention, ab, distance)


def _as_lab(asked: list[Array], answers: list[Array], kind: Input, told: Told) -> Iterator[Reading]:
    for factor in (1.0, 100.0):
        distance = _distance(asked, [answer[0] * factor for answer in answers])
        if distance < FOLLOWS:
            ab = [answer[1:] for answer in answers]
            yield from _as_ab(ab, Convention(kind, "lab", 1.0), told, distance=distance)


def _as_ab(
    answers: list[Array], convention: Convention, told: Told, *, distance: float
) -> Iterator[Reading]:
    """ab (2, h, w) each, where it is of a size that colours have and not one colour."""
    factor = float(told.scale or 1)
    ab = _joined(answers) * np.float32(factor)
    photographs = _joined(answers[1:]) * np.float32(factor)
    large = float(np.percentile(np.abs(photographs), 99))
    unscaled = told.scale is None and large < 1.3
    if not unscaled and not CHROMA[0] <= large <= CHROMA[1]:
        return
    if photographs.reshape(2, -1).std(1).max() < VARIES * large or large == 0:
        return
    chosen = Convention(convention.input, convention.output, factor)
    yield Reading(chosen, ab, distance, unscaled)


def _distance(asked: list[Array], answered: list[Array]) -> float:
    """The mean distance in L; an answer may be smaller than the picture by a whole number."""
    each = []
    for L, answer in zip(asked, answered, strict=True):
        rows, columns = L.shape[0] // answer.shape[0], L.shape[1] // answer.shape[1]
        small = L.reshape(answer.shape[0], rows, answer.shape[1], columns).mean((1, 3))
        each.append(float(np.abs(small - answer).mean()))
    return float(np.mean(each))


def _joined(answers: list[Array]) -> Array:
    return np.concatenate([answer.reshape(2, -1) for answer in answers], 1)
