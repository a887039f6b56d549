"""Still pictures for the tests, and what is expected of them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
from kinemacolor.engine.color import LUMA_WEIGHTS
from kinemacolor.stream.color.frames import plane_view
from numpy.typing import NDArray
from PIL import Image

from tests.media import moving_picture

SUFFIXES = [".jpg", ".png", ".tif", ".webp"]


LOSSLESS = [".png", ".tif", ".webp"]


# An RGB profile, as far as anyone looks: size, ..., "mntr", "RGB ", "XYZ ", ..., "acsp".
ICC_RGB = (132).to_bytes(4, "big") + b"\0" * 8 + b"mntrRGB XYZ " + b"\0" * 12 + b"acsp" + b"\0" * 92


ICC_GREY = ICC_RGB.replace(b"RGB ", b"GRAY")


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a>Gr\xc3\xbc\xc3\x9fe</a></x:xmpmeta>'


def icc_cmyk() -> bytes:
    """A small profile for inks: ICC.1 8.5 and 10.8, a table of the 16 corners to CIELAB."""
    corners = []
    for corner in range(16):
        cyan, magenta, yellow, black = (corner >> bit & 1 for bit in (3, 2, 1, 0))
        ink = 0.4 * cyan + 0.45 * magenta + 0.1 * yellow
        lightness = 255 * (1 - min(ink, 0.9)) * (1 - 0.9 * black)
        a, b = 40 * magenta - 20 * cyan, 50 * yellow - 30 * cyan
        corners += [round(lightness), 128 + a * (1 - black), 128 + b * (1 - black)]
    ramp = bytes(range(256))
    matrix = b"".join(struct.pack(">i", 65536 * (n % 4 == 0)) for n in range(9))
    table = b"mft1" + bytes((0, 0, 0, 0, 4, 3, 2, 0)) + matrix + 4 * ramp + bytes(corners)
    table += 3 * ramp
    size = 128 + 4 + 12 + len(table)
    header = struct.pack(">I4sI4s4s4s", size, b"\0" * 4, 0x02400000, b"prtr", b"CMYK", b"Lab ")
    header = header.ljust(36, b"\0") + b"acsp" + b"\0" * 28
    header += struct.pack(">iii", 63190, 65536, 54061)  # D50
    return header.ljust(128, b"\0") + struct.pack(">I4sII", 1, b"A2B0", 144, len(table)) + table


def grey(width: int = 60, height: int = 44, bit_depth: int = 8) -> NDArray[Any]:
    return moving_picture(width, height, 0, bit_depth)


def save_grey(path: Path, picture: NDArray[Any] | None = None, **options: Any) -> Path:
    Image.fromarray(grey() if picture is None else picture).save(path, **options)
    return path


def give_color(frame: av.VideoFrame) -> av.VideoFrame:
    """Chroma that is strong where the luma leaves room, with a gradient and an edge."""
    depth = frame.format.components[0].bits
    y, x = np.mgrid[0 : frame.height, 0 : frame.width]
    middle, swing = 2 ** (depth - 1), 2 ** (depth - 2)
    plane_view(frame, 1)[:] = middle - swing * x // frame.width
    plane_view(frame, 2)[:] = middle + np.where(y > frame.height // 2, swing, -swing // 2)
    return frame


def luma_of(rgb: NDArray[Any]) -> NDArray[Any]:
    kr, kb = LUMA_WEIGHTS["bt601"]
    return np.rint(rgb[..., :3].astype(np.float64) @ [kr, 1 - kr - kb, kb])
