"""A clock inside the picture: bars that survive coding, to measure latency from glass to glass."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

BITS = 32  # of milliseconds
_CHECK = 8
_ROWS = 24  # height of the bars
_DARK, _LIGHT = 48, 208


def draw(luma: NDArray[np.uint8], milliseconds: int) -> None:
    """Writes a number into the top rows of a luma plane."""
    width = luma.shape[1] // (BITS + _CHECK)
    for place, bit in enumerate(_bits(milliseconds)):
        luma[:_ROWS, place * width : (place + 1) * width] = _LIGHT if bit else _DARK


def read(luma: NDArray[np.uint8]) -> int | None:
    """The number, or None when the bars are damaged or not there."""
    width = luma.shape[1] // (BITS + _CHECK)
    bars = luma[4 : _ROWS - 4, : width * (BITS + _CHECK)].reshape(-1, BITS + _CHECK, width)
    middle = bars[:, :, width // 4 : -(width // 4)].mean(axis=(0, 2))
    found = [bool(value > (_DARK + _LIGHT) / 2) for value in middle]
    number = sum(bit << place for place, bit in enumerate(found[:BITS]))
    return number if _bits(number) == found else None


def _bits(number: int) -> list[bool]:
    check = sum(number >> shift & 0xFF for shift in (0, 8, 16, 24)) ^ 0xA5
    whole = number & 0xFFFFFFFF | (check & 0xFF) << BITS
    return [bool(whole >> place & 1) for place in range(BITS + _CHECK)]


def picture(width: int, height: int, index: int, milliseconds: int) -> av.VideoFrame:
    """A moving grey picture with the clock in it."""
    rows, columns = np.mgrid[0:height, 0:width]
    frame = av.VideoFrame(width, height, "yuv420p")
    luma = plane(frame, 0)
    luma[:] = 128 + 60 * np.sin((columns + 3 * index) / 37) * np.cos((rows - index) / 23)
    plane(frame, 1)[:] = plane(frame, 2)[:] = 128
    draw(luma, milliseconds)
    frame.time_base = Fraction(1, 90_000)
    return frame


def plane(frame: av.VideoFrame, index: int) -> Any:
    """A plane's samples, without a copy."""
    one = frame.planes[index]
    rows = np.frombuffer(memoryview(one), np.uint8).reshape(one.height, one.line_size)
    return rows[:, : one.width]
