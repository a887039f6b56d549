"""How alike the frames of two films are: bit for bit, or as near as a lossy encoder comes."""

from __future__ import annotations

from typing import Any

import av
import cv2
import numpy as np
from kinemacolor.stream.proof.check import LOWEST_PSNR, Check, is_shifted, psnr_of
from kinemacolor.stream.proof.luma import (
    Picture,
    alpha_of,
    expected_luma,
    luma_codes,
    picture_of,
)
from numpy.typing import NDArray

_LOWEST_FRAME_PSNR = 20.0  # of the worst frame: under this it is another picture
# A frame that is so much nearer to its neighbour's picture than to its own is in a wrong place.
_NEARER = 4.0


class Likeness:
    """Compares frames one after the other.

    Args:
        says_full: the result's codec can say that its range is full.
        alpha: of transparency, not of luma.
    """

    def __init__(self, *, says_full: bool, alpha: bool = False) -> None:
        self._says_full, self._alpha = says_full, alpha
        self._misfit = ""
        self._bits = 8
        self._compared = self._different = self._samples = 0
        self._squared = 0.0
        self._foreign: list[int] = []  # frames that are another picture
        self._brighter: list[int] = []
        self._displaced: list[int] = []
        self._last: tuple[NDArray[Any], NDArray[Any], float] | None = None

    def add(self, source: av.VideoFrame, result: av.VideoFrame) -> None:
        """Compares a frame with its result."""
        codes = self._codes(source, result)
        number, self._compared = self._compared, self._compared + 1
        if codes is None:
            sizes = [f"{f.width}x{f.height} {f.format.name}" for f in (source, result)]
            self._misfit = " against ".join(sizes)
            return
        ours, theirs, tolerance = codes
        self._samples += ours.size
        error = _error(ours, theirs, tolerance)
        if error > 0:
            self._different += 1
            self._squared += error * ours.size
            self._judge(number, ours, theirs, error)
        if self._last is not None and self._last[2] > 0:
            before = self._last
            if before[2] > _NEARER * _squared(ours, before[1]) + 1:
                self._displaced.append(number - 1)
        self._last = ours, theirs, error

    def _judge(self, number: int, ours: NDArray[Any], theirs: NDArray[Any], error: float) -> None:
        unit = 2.0 ** (self._bits - 8)
        if psnr_of(error, 1, self._bits) < _LOWEST_FRAME_PSNR:
            self._foreign.append(number)
        shift = abs(float(np.mean(theirs, dtype=np.float64) - np.mean(ours, dtype=np.float64)))
        if is_shifted(shift / unit, error / unit**2):
            self._brighter.append(number)
        if self._last is not None and error > _NEARER * _squared(self._last[0], theirs) + unit:
            self._displaced.append(number)

    def check(self, name: str, codec: str, *, lossless: bool) -> Check:
        """The verdict over all frames."""
        if self._misfit:
            return Check(name, False, f"pictures cannot be compared: {self._misfit}")
        if self._different == 0:
            return Check(name, self._samples > 0, "identical in every frame")
        psnr = psnr_of(self._squared, self._samples, self._bits)
        detail = f"{self._different} frames differ, PSNR {psnr:.2f} dB ({codec})"
        wrong = [
            f"{what}: {_listed(numbers)}"
            for what, numbers in (
                ("another picture", self._foreign),
                ("brighter or darker", self._brighter),
                ("at another frame's place", self._displaced),
            )
            if numbers
        ]
        detail += "".join(f"; {problem}" for problem in wrong)
        return Check(name, not lossless and psnr >= LOWEST_PSNR and not wrong, detail)

    def _codes(
        self, source: av.VideoFrame, result: av.VideoFrame
    ) -> tuple[NDArray[Any], NDArray[Any], float] | None:
        """What is expected, what is there, and by how much they may differ; None if not alike."""
        if self._alpha:
            return self._alpha_codes(source, result)
        ours, theirs = picture_of(source), picture_of(result)
        theirs = _colored_half(ours, theirs)
        if ours.codes.shape[:2] != theirs.codes.shape[:2]:
            return None
        self._bits = theirs.bits
        if theirs.is_rgb:
            like = Picture(ours.codes, ours.bits, ours.full, ours.weights)
            found = luma_codes(theirs, like)
            target = Picture(
                found, theirs.bits, True, theirs.weights if ours.is_rgb else ours.weights
            )
            wanted, _ = expected_luma(ours, target, says_full=True)
            if not ours.full and not ours.is_rgb:  # limited codes stretched to RGB
                wanted = (wanted / 2 ** (theirs.bits - 8) - 16) * ((2**theirs.bits - 1) / 219)
            return wanted, found, 1.51 * 2 ** (theirs.bits - 8)
        wanted, tolerance = expected_luma(ours, theirs, says_full=self._says_full)
        return wanted, theirs.codes, tolerance

    def _alpha_codes(
        self, source: av.VideoFrame, result: av.VideoFrame
    ) -> tuple[NDArray[Any], NDArray[Any], float] | None:
        ours, theirs = alpha_of(source), alpha_of(result)
        if ours is None or theirs is None:
            return None
        wanted, found = ours[0], theirs[0]
        if found.shape[1] == 2 * wanted.shape[1]:
            found = found[:, wanted.shape[1] :]
        if wanted.shape != found.shape:
            return None
        self._bits = theirs[1]
        if ours[1] == theirs[1]:
            return wanted, found, 0.0
        return wanted * np.float32((2 ** theirs[1] - 1) / (2 ** ours[1] - 1)), found, 1.01


def _colored_half(ours: Picture, theirs: Picture) -> Picture:
    """Of a side-by-side result, its right half."""
    height, width = ours.codes.shape[:2]
    if theirs.codes.shape[:2] != (height, 2 * width):
        return theirs
    return Picture(theirs.codes[:, width:], theirs.bits, theirs.full, theirs.weights)


def _error(ours: NDArray[Any], theirs: NDArray[Any], tolerance: float) -> float:
    """The mean squared difference; 0 where no sample differs by more than may be."""
    if tolerance == 0 and ours.dtype == theirs.dtype:
        return 0.0 if np.array_equal(ours, theirs) else _squared(ours, theirs)
    difference = np.abs(ours.astype(np.float32) - theirs)
    return 0.0 if float(difference.max()) <= tolerance else _squared(ours, theirs)


def _squared(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """The mean squared difference; infinite between sizes."""
    if ours.shape != theirs.shape:
        return float("inf")
    a, b = (np.ascontiguousarray(codes) for codes in (ours, theirs))
    if a.dtype != b.dtype:
        a, b = a.astype(np.float32), b.astype(np.float32)
    return cv2.norm(a, b, cv2.NORM_L2SQR) / a.size


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:5]))
    return f"frames {shown}{', ...' if len(numbers) > 5 else ''}"
