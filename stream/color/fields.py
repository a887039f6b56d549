"""Tells pictures of two moments, a line each in turn, from whole ones."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_BLOCK = 16  # samples: the size of what moves, at the least
# Lines of combed blocks differ so much more from their neighbours than from those of their field.
_COMBED = 1.5
_NOISE = 3.0  # of 255: flat blocks with grain are not combed
_SHARE = 0.01  # of a picture's blocks


def is_combed(luma: NDArray[Any], bit_depth: int = 8) -> bool:
    """Whether the two fields of a picture show different moments.

    Args:
        luma: (H, W) uint8 or uint16.
    """
    height, width = (side - side % _BLOCK for side in luma.shape)
    if height < 2 * _BLOCK or width < _BLOCK:
        return False
    plane: NDArray[Any] = luma[:height, :width].astype(np.int16 if bit_depth < 15 else np.int32)
    near = np.abs(2 * plane[2:-2] - plane[1:-3] - plane[3:-1])
    far = np.abs(2 * plane[2:-2] - plane[:-4] - plane[4:])
    blocks = (width // _BLOCK, height // _BLOCK)
    close, wide = (
        cv2.resize(rows.astype(np.float32), blocks, interpolation=cv2.INTER_AREA)
        for rows in (near, far)
    )
    noise = _NOISE * 2 ** (bit_depth - 8)
    return bool(np.mean((close > _COMBED * wide) & (close > noise)) > _SHARE)


def first_field(rows: NDArray[Any]) -> NDArray[Any]:
    """The upper of the two fields' lines."""
    return rows[0::2]
