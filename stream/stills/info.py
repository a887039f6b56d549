"""What a still picture's file holds beside its grey."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from kinemacolor.stream.stills.ifd import Directory
from numpy.typing import NDArray

AlphaKind = Literal["straight", "premultiplied", "unspecified"]

# EXIF orientation, TIFF 6.0 tag 274: how the stored rows and columns become what is seen.
_TO_UPRIGHT: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}
_INVERSE = {6: 8, 8: 6}  # the other turns and flips undo themselves
ORIENTATIONS = frozenset(_TO_UPRIGHT)


@dataclass(frozen=True, eq=False)
class StillInfo:
    """What a still holds beside its grey, and what it takes to write its like."""

    path: Path
    format: str  # a value of address.STILLS
    width: int  # of the upright picture
    height: int
    page: int = 0
    pages: int = 1  # in the file, which only TIFF has several of
    bit_depth: int = 8  # 8 or 16
    orientation: int = 1  # EXIF 1..8, kept: the output is stored as the source was
    dpi: tuple[float, float] | None = None
    exif: Directory = field(default_factory=dict)  # without a thumbnail, which is grey
    icc: bytes | None = None  # an RGB profile; one for grey does not fit a coloured picture
    xmp: bytes | None = None
    iptc: bytes | None = None  # a JPEG's APP13 segment, or the like of a TIFF
    texts: dict[str, str] = field(default_factory=dict)  # of a PNG, or a JPEG's comment
    png_chunks: tuple[tuple[bytes, bytes], ...] = ()  # its texts and what its codes mean
    lossless: bool = True
    quantization: dict[int, Any] | None = None  # a JPEG's tables, so that its luma survives
    alpha: NDArray[Any] | None = None  # (H, W) as stored, uint8 or uint16
    alpha_kind: AlphaKind = "straight"


def turn(samples: NDArray[Any], orientation: int, *, back: bool = False) -> NDArray[Any]:
    """Rows and columns as stored to those that are seen, or back: a view."""
    if back:
        orientation = _INVERSE.get(orientation, orientation)
    return _TO_UPRIGHT[orientation](samples)
