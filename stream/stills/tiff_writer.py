"""Writes TIFF, page by page and strip by strip, each page with its own tags.

TIFF 6.0; BigTIFF where 4 GB may not be enough.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np
from kinemacolor.stream.stills.ifd import (
    LONG,
    LONG8,
    RATIONAL,
    RESOLUTION_UNIT,
    SHORT,
    UNDEFINED,
    X_RESOLUTION,
    Y_RESOLUTION,
    Directory,
    Tag,
    directory_bytes,
)
from kinemacolor.stream.stills.info import StillInfo
from kinemacolor.stream.stills.tags import PHOTOSHOP
from numpy.typing import NDArray

_DEFLATE_LEVEL = 3  # on grainy differences as small as level 6, in a quarter of the time
_CLASSIC_BYTES = 4 * 10**9  # what 32-bit places reach, and room for the tags
_EXTRA_SAMPLES = {"unspecified": 0, "premultiplied": 1, "straight": 2}
_DEFLATE, _DIFFERENCES, _RGB, _CONTIGUOUS = 8, 2, 2, 1


class TiffPages:
    """A TIFF that grows by pages.

    Args:
        most_bytes: that all pages may take, not compressed.
    """

    def __init__(self, file: BinaryIO, *, most_bytes: int) -> None:
        self._file = file
        self._big = most_bytes > _CLASSIC_BYTES
        self._word = 8 if self._big else 4
        file.write(b"II+\0\x08\0\0\0" if self._big else b"II*\0")
        self._link = file.tell()  # where the next directory's place belongs
        file.write(b"\0" * self._word)

    def add(self, bands: Iterable[NDArray[Any]], shape: tuple[int, ...], info: StillInfo) -> None:
        """Writes a page: RGB or RGBA codes, deflate with horizontal differencing.

        Args:
            bands: rows as many each, but for the last, (rows, W, n) uint8 or uint16.
            shape: of all of them, (H, W, n).
        """
        file = self._file
        places, sizes, rows = [], [], 0
        for band in bands:
            rows = rows or len(band)
            # TIFF 6.0 section 14: each sample less its left neighbour, modulo the sample's size.
            differences = np.concatenate([band[:, :1], band[:, 1:] - band[:, :-1]], axis=1)
            data = differences.astype(band.dtype.newbyteorder("<")).tobytes()
            places.append(file.tell())
            sizes.append(file.write(zlib.compress(data, _DEFLATE_LEVEL)))
        start = file.tell() + file.tell() % 2
        directory = _tags(shape, info)
        kind = LONG8 if self._big else LONG
        directory[273], directory[279] = Tag.of(kind, *places), Tag.of(kind, *sizes)
        directory[278] = Tag.of(LONG, rows)
        file.seek(start)
        file.write(directory_bytes(directory, start, big=self._big))
        end = file.tell()
        file.seek(self._link)
        file.write(start.to_bytes(self._word, "little"))
        self._link = start + (8 + 20 * len(directory) if self._big else 2 + 12 * len(directory))
        file.seek(end)


def _tags(shape: tuple[int, ...], info: StillInfo) -> Directory:
    height, width, channels = shape
    tags: Directory = dict(info.exif)
    tags[256], tags[257] = Tag.of(LONG, width), Tag.of(LONG, height)
    tags[258] = Tag.of(SHORT, *[info.bit_depth] * channels)
    tags[259], tags[317] = Tag.of(SHORT, _DEFLATE), Tag.of(SHORT, _DIFFERENCES)
    tags[262], tags[277] = Tag.of(SHORT, _RGB), Tag.of(SHORT, channels)
    tags[284] = Tag.of(SHORT, _CONTIGUOUS)
    if channels == 4:
        tags[338] = Tag.of(SHORT, _EXTRA_SAMPLES[info.alpha_kind])
    if info.dpi and not (info.format == "TIFF" and X_RESOLUTION in tags):  # it keeps its own unit
        for tag, value in zip((X_RESOLUTION, Y_RESOLUTION), info.dpi, strict=True):
            tags[tag] = Tag.of(RATIONAL, round(value * 1000), 1000)
        tags[RESOLUTION_UNIT] = Tag.of(SHORT, 2)  # inch
    if info.iptc and info.iptc.startswith(b"Photoshop 3.0\0"):
        tags[PHOTOSHOP] = Tag(UNDEFINED, info.iptc.removeprefix(b"Photoshop 3.0\0"))
    if info.xmp:
        tags[700] = Tag(1, info.xmp)
    if info.icc:
        tags[34675] = Tag(UNDEFINED, info.icc)
    return tags
