"""What a proof says, and how near two pictures are."""

from __future__ import annotations

import math
from dataclasses import dataclass

# Under this a lossy encoder was set so low that the picture is no longer the source's.
LOWEST_PSNR = 30.0


@dataclass(frozen=True)
class Check:
    """One property of the result, and whether it is the source's."""

    name: str
    passed: bool
    detail: str


def is_shifted(mean: float, squared: float) -> bool:
    """Whether a picture became brighter or darker, by more than a lossy encoder makes it.

    x264 moves the mean by up to 0.11 of the mean squared difference (at crf 20 to 48, ultrafast),
    and at crf 18, veryfast, by up to 0.6 of a code whatever the difference is.

    Args:
        mean, squared: of the differences, in codes of 8 bits.
    """
    return abs(mean) >= 0.8 and abs(mean) > 0.13 * squared


def psnr_of(squared: float, samples: int, bits: int) -> float:
    """dB over a sum of squared differences; infinite where there is none."""
    return 10 * math.log10((2**bits - 1) ** 2 * samples / squared) if squared else math.inf
