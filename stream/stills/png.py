"""Writes PNG, band by band: Pillow has no colour of 16 bits, and others drop the tags.

PNG specification, third edition.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np
from kinemacolor.stream.stills.ifd import exif_block
from kinemacolor.stream.stills.info import StillInfo
from numpy.typing import NDArray

TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
COLOR_CHUNKS = (b"gAMA", b"cHRM", b"sRGB", b"cICP")  # which light a code is
_DEFLATE_LEVEL = 3  # on grainy differences as small as level 6, in a quarter of the time
_DATA_BYTES = 1 << 20
_SUB = 1  # the filter that keeps each byte's difference to the pixel on its left
_COLOR_TYPE = {3: 2, 4: 6}  # RGB and RGBA


def write_png(
    file: BinaryIO, bands: Iterable[NDArray[Any]], shape: tuple[int, ...], info: StillInfo
) -> None:
    """Writes RGB or RGBA codes.

    Args:
        bands: some rows each, (rows, W, n) uint8 or uint16.
        shape: of all of them, (H, W, n).
    """
    height, width, channels = shape
    header = struct.pack(">IIBBBBB", width, height, info.bit_depth, _COLOR_TYPE[channels], 0, 0, 0)
    file.write(b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header))
    for name, data in _held_chunks(info):
        file.write(_chunk(name, data))
    packer = zlib.compressobj(_DEFLATE_LEVEL)
    packed = b""
    for band in bands:
        packed += packer.compress(_filtered(band))
        if len(packed) >= _DATA_BYTES:
            file.write(_chunk(b"IDAT", packed))
            packed = b""
    file.write(_chunk(b"IDAT", packed + packer.flush()) + _chunk(b"IEND", b""))


def _filtered(band: NDArray[Any]) -> bytes:
    """Rows with their filter's number before them."""
    rows, _, channels = band.shape
    codes = band.astype(band.dtype.newbyteorder(">")).view(np.uint8).reshape(rows, -1)
    pixel = channels * band.itemsize
    filtered = np.empty((rows, 1 + codes.shape[1]), np.uint8)
    filtered[:, 0] = _SUB
    filtered[:, 1 : 1 + pixel] = codes[:, :pixel]
    np.subtract(codes[:, pixel:], codes[:, :-pixel], out=filtered[:, 1 + pixel :])
    return filtered.tobytes()


def _held_chunks(info: StillInfo) -> Iterator[tuple[bytes, bytes]]:
    if info.icc:
        yield b"iCCP", b"ICC profile\0\0" + zlib.compress(info.icc)
    if info.dpi:
        x, y = (round(dpi / 0.0254) for dpi in info.dpi)  # PNG counts pixels per metre
        yield b"pHYs", struct.pack(">IIB", x, y, 1)
    if info.exif:
        yield b"eXIf", exif_block(info.exif)
    if info.xmp:
        yield b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + info.xmp
    yield from info.png_chunks
    if any(kind in TEXT_CHUNKS for kind, _ in info.png_chunks):
        return  # the texts are among them
    for key, text in info.texts.items():
        keyword = key.encode("latin-1", "replace")[:79]
        yield b"iTXt", keyword + b"\0\0\0\0\0" + text.encode()


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
