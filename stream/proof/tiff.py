"""Reads the samples of a TIFF by libtiff, and takes them as its tags mean them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from kinemacolor.stream.errors import BadSource
from kinemacolor.stream.proof.directory import directories, tags_at
from kinemacolor.stream.proof.grey import (
    CHROMA_TOLERANCE,
    Shown,
    ink_luma,
    ink_tolerance,
    is_for,
    lab_luma,
    scaled,
    weighted,
)
from kinemacolor.stream.proof.held import Held
from numpy.typing import NDArray


def read_tiff(path: Path, place: int, held: Held) -> Shown:
    data = path.read_bytes()
    tags = tags_at(data, directories(data)[place])
    height, width = number_of(tags, 257, 0), number_of(tags, 256, 0)
    bits, photometric = number_of(tags, 258, 1), number_of(tags, 262, 0)
    through_profile = photometric == 5 and is_for(held.icc, b"CMYK")
    if through_profile:
        samples = _plain_strips(data, tags, height, width)
    else:
        samples = np.asarray(imagecodecs.tiff_decode(data, index=place))
    if samples.ndim == 3 and samples.shape[1:] == (height, width):
        samples = samples.transpose(1, 2, 0)  # in planes
    samples = samples.reshape(height, width, -1)
    if samples.dtype == bool:
        samples = samples.view(np.uint8)
    count = {0: 1, 1: 1, 3: 1, 5: 4}.get(photometric, 3)
    if photometric == 5 and samples.shape[2] == 3 and not through_profile:
        photometric, count = 2, 3  # libtiff makes RGB of inks
    top = 255 if bits <= 8 else 65535
    factor = top / (2**bits - 1)
    luma, tolerance = _tiff_luma(samples[..., :count], tags, photometric, factor, held)
    alpha = None
    if samples.shape[2] > count:
        alpha = np.rint(samples[..., count] * factor).astype(np.uint8 if top == 255 else np.uint16)
    bits = 8 if top == 255 else 16
    if photometric == 3 and luma.max(initial=0) > 255:
        bits = 16
    return Shown(luma, bits, held, tolerance, alpha, number_of(tags, 338, 0))


def _tiff_luma(
    samples: NDArray[Any], tags: Any, photometric: int, factor: float, held: Held
) -> tuple[NDArray[Any], float]:
    """Luma of samples as a photometric interpretation means them, and its tolerance."""
    deep = samples.dtype == np.uint16
    match photometric:
        case 0:
            top = 65535 if deep else 255
            return top - scaled(samples[..., 0], factor), 0.0
        case 1:
            return scaled(samples[..., 0], factor), 0.0
        case 3:
            colors = np.array(tags[(320,)], np.float64).reshape(3, -1).T
            if colors.max() >= 256 and ((colors % 257 == 0).all() or (colors % 256 == 0).all()):
                colors = np.floor(colors / 256)
            return weighted(colors[samples[..., 0]]), 0.52
        case 5:
            bits = 16 if deep else 8
            return ink_luma(samples, held.icc), ink_tolerance(held.icc, bits)
        case 8 | 9:
            top = 65535 if deep else 255
            unit = 257 if deep else 1
            return lab_luma(samples, photometric) * top, CHROMA_TOLERANCE * unit
        case _:
            inks = number_of(tags, 262, 2) in (5, 6)  # what libtiff made RGB of
            return weighted(samples, factor), (2.6 if inks else 0.52) * (1.2 if deep else 1)


def _plain_strips(data: bytes, tags: Any, height: int, width: int) -> NDArray[Any]:
    """Inks of 8 bits as stored, of strips that are plain, LZW or deflate."""
    unpack: dict[int, Any] = {1: bytes, 5: imagecodecs.lzw_decode, 8: imagecodecs.zlib_decode}
    unpack[32946] = imagecodecs.zlib_decode
    decode = unpack.get(number_of(tags, 259, 1))
    if decode is None or (322,) in tags or number_of(tags, 258, 8) != 8:
        raise BadSource("inks with a profile are compared of plain strips of 8 bits only")
    places = zip(tags[(273,)], tags[(279,)], strict=True)
    raw = b"".join(bytes(decode(data[at : at + size])) for at, size in places)
    samples = np.frombuffer(raw, np.uint8).reshape(height, width, -1)
    if number_of(tags, 317, 1) == 2:
        samples = np.cumsum(samples, axis=1, dtype=np.uint8)
    return samples


def number_of(tags: Any, tag: int, default: int) -> int:
    value = tags.get((tag,))
    return int(value[0]) if value else default
