"""Reads the samples of a still picture by OpenCV, and by libtiff and others inside imagecodecs.

A run reads by Pillow and tifffile, and writes PNG and TIFF by itself.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import imagecodecs
import numpy as np
from kinemacolor.stream.address import file_url
from kinemacolor.stream.errors import BadSource
from kinemacolor.stream.proof.directory import directories, tags_at
from kinemacolor.stream.proof.grey import (
    CHROMA_TOLERANCE,
    Shown,
    ink_luma,
    ink_tolerance,
    scaled,
    weighted,
)
from kinemacolor.stream.proof.held import Held, held_by
from kinemacolor.stream.proof.tiff import number_of, read_tiff
from numpy.typing import NDArray

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # one line says it here


def picture_places(path: Path) -> list[int]:
    """The numbers of a file's pictures: in a TIFF, of directories that are no thumbnail or mask."""
    data = path.read_bytes()
    if data[:2] not in (b"II", b"MM"):
        return [0]
    places = directories(data)
    kinds = [tags_at(data, place) for place in places]
    shown = [
        number
        for number, tags in enumerate(kinds)
        if not (number_of(tags, 254, 0) & 5 or number_of(tags, 255, 0) == 2)
    ]
    return shown or [0]


def shown(path: Path, place: int = 0) -> Shown:
    """Reads a picture. Raises BadSource."""
    try:
        held = held_by(path, place)
        picture = _read(path, place, held)
    except BadSource:
        raise
    except Exception as error:  # of a damaged file, libraries raise nearly anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise BadSource(f"{path} cannot be read as a picture: {reason}") from error
    alpha = None if picture.alpha is None else upright(picture.alpha, held.orientation)
    return replace(picture, luma=upright(picture.luma, held.orientation), alpha=alpha)


def upright(samples: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Rows and columns as stored to those that are seen (TIFF 6.0, tag 274)."""
    if orientation in (5, 6, 7, 8):
        samples = samples.T
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return samples


def _read(path: Path, place: int, held: Held) -> Shown:
    match held.format:
        case "TIFF":
            return read_tiff(path, place, held)
        case "JPEG" if held.components == 4:
            inks = 255 - imagecodecs.jpeg8_decode(path.read_bytes())  # Adobe stores them inverted
            return Shown(ink_luma(inks, held.icc), 8, held, ink_tolerance(held.icc, 8))
        case "JPEG":
            flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION  # libjpeg's Y itself
            return Shown(_opencv(path, flags), 8, held)
        case "HEIF":
            return _heic(path, held)
        case _:
            samples = _opencv(path, cv2.IMREAD_UNCHANGED)
            return _colors(samples, held, _depth(path, held, samples))


def _opencv(path: Path, flags: int) -> NDArray[Any]:
    samples = cv2.imread(str(path), flags)
    if samples is None:
        raise BadSource(f"{path} cannot be read as a picture by OpenCV")
    return samples


def _depth(path: Path, held: Held, samples: NDArray[Any]) -> int:
    """Bits of a sample: of JPEG 2000 and AVIF, OpenCV gives deep ones as they are."""
    if samples.dtype == np.uint8:
        return 8
    data = path.read_bytes()
    if held.format == "JPEG2000":
        return (data[data.find(b"\xff\x4f\xff\x51") + 42] & 0x7F) + 1
    if held.format == "AVIF":
        return 12 if data[data.find(b"av1C") + 6] & 0x20 else 10
    return 16


def _colors(samples: NDArray[Any], held: Held, bits: int) -> Shown:
    """OpenCV's (H, W), or (H, W, n) with n 2: grey, alpha; 3: BGR; 4: BGRA."""
    top = 255 if bits <= 8 else 65535
    factor = top / (2**bits - 1)
    if samples.ndim == 2:
        return Shown(scaled(samples, factor), 8 if top == 255 else 16, held)
    alpha = samples[..., -1] if samples.shape[2] in (2, 4) else None
    rgb = samples[..., 2::-1] if samples.shape[2] > 2 else samples[..., :1].repeat(3, -1)
    luma = weighted(rgb, factor)
    return Shown(luma, 8 if top == 255 else 16, held, 0.52 * max(1.0, factor), alpha)


def _heic(path: Path, held: Held) -> Shown:
    """FFmpeg reads HEIC of one tile; the luma is the coded one."""
    with av.open(file_url(path)) as container:
        if len(container.streams.video) != 1:
            raise BadSource(f"{path} is made of tiles, which nothing here reads a second time")
        frame = next(container.decode(video=0))
    grey = frame.to_ndarray(format="rgb24")
    return Shown(weighted(grey), 8, held, CHROMA_TOLERANCE)
