"""Still pictures for the tests, and what is expected of them."""

from __future__ import annotations

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
