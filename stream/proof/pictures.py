"""Reads the samples of a still picture by OpenCV, and by libtiff and others inside imagecodecs.

A run reads by Pillow and tifffile, and writes PNG and TIFF by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import cv2
import imagecodecs
import numpy as np
from kinemacolor.stream.address import file_url
from kinemacolor.stream.errors import BadSource
from kinemacolor.stream.proof.held import Held, directories, held_by, tags_at
from numpy.typing import NDArray

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # one line says it here
_BAND = 256  # rows at once, to bound the memory of a big scan
_BT601 = (0.299, 0.587, 0.114)
_D50 = np.array([0.9642, 1.0, 0.8249])
_CHROMA_TOLERANCE = 3.0  # codes of 8 bits, where inks or Lab went through a profile


@dataclass(frozen=True, eq=False)
class Shown:
    """The grey of a picture, upright, and what is needed to compare it.

    Attributes:
        luma: (H, W) BT.601 codes: whole ones of grey, else float32, not rounded.
        bits: 8 or 16; what the samples are scaled to.
        tolerance: by how much a right result's luma may differ, in codes.
        alpha: (H, W) codes of `bits`, upright.
    """

    luma: NDArray[Any]
    bits: int
    held: Held
    tolerance: float = 0.0
    alpha: NDArray[Any] | None = None
    alpha_kind: int = 2  # TIFF's ExtraSamples: 1 premultiplied, 2 not, 0 unspecified


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
        if not (_number(tags, 254, 0) & 5 or _number(tags, 255, 0) == 2)
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
            return _tiff(path, place, held)
        case "JPEG" if held.components == 4:
            inks = 255 - imagecodecs.jpeg8_decode(path.read_bytes())  # Adobe stores them inverted
            return Shown(_ink_luma(inks, held.icc), 8, held, _ink_tolerance(held.icc, 8))
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
        return Shown(_scaled(samples, factor), 8 if top == 255 else 16, held)
    alpha = samples[..., -1] if samples.shape[2] in (2, 4) else None
    rgb = samples[..., 2::-1] if samples.shape[2] > 2 else samples[..., :1].repeat(3, -1)
    luma = weighted(rgb, factor)
    return Shown(luma, 8 if top == 255 else 16, held, 0.52 * max(1.0, factor), alpha)


def weighted(rgb: NDArray[Any], factor: float = 1.0) -> NDArray[np.float32]:
    """(H, W, 3) codes to their BT.601 luma, not rounded, times a factor."""
    luma = np.empty(rgb.shape[:2], np.float32)
    for row in range(0, len(rgb), _BAND):
        band = rgb[row : row + _BAND].astype(np.float64)
        luma[row : row + _BAND] = band @ np.array(_BT601) * factor
    return luma


def _scaled(codes: NDArray[Any], factor: float) -> NDArray[Any]:
    """Whole codes of another depth."""
    return codes if factor == 1 else np.rint(codes * np.float32(factor))


# TIFF


def _tiff(path: Path, place: int, held: Held) -> Shown:
    data = path.read_bytes()
    tags = tags_at(data, directories(data)[place])
    height, width = _number(tags, 257, 0), _number(tags, 256, 0)
    bits, photometric = _number(tags, 258, 1), _number(tags, 262, 0)
    through_profile = photometric == 5 and _is_for(held.icc, b"CMYK")
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
    return Shown(luma, bits, held, tolerance, alpha, _number(tags, 338, 0))


def _tiff_luma(
    samples: NDArray[Any], tags: Any, photometric: int, factor: float, held: Held
) -> tuple[NDArray[Any], float]:
    """Luma of samples as a photometric interpretation means them, and its tolerance."""
    deep = samples.dtype == np.uint16
    match photometric:
        case 0:
            top = 65535 if deep else 255
            return top - _scaled(samples[..., 0], factor), 0.0
        case 1:
            return _scaled(samples[..., 0], factor), 0.0
        case 3:
            colors = np.array(tags[(320,)], np.float64).reshape(3, -1).T
            if colors.max() >= 256 and ((colors % 257 == 0).all() or (colors % 256 == 0).all()):
                colors = np.floor(colors / 256)
            return weighted(colors[samples[..., 0]]), 0.52
        case 5:
            bits = 16 if deep else 8
            return _ink_luma(samples, held.icc), _ink_tolerance(held.icc, bits)
        case 8 | 9:
            top = 65535 if deep else 255
            unit = 257 if deep else 1
            return _lab_luma(samples, photometric) * top, _CHROMA_TOLERANCE * unit
        case _:
            inks = _number(tags, 262, 2) in (5, 6)  # what libtiff made RGB of
            return weighted(samples, factor), (2.6 if inks else 0.52) * (1.2 if deep else 1)


def _plain_strips(data: bytes, tags: Any, height: int, width: int) -> NDArray[Any]:
    """Inks of 8 bits as stored, of strips that are plain, LZW or deflate."""
    unpack = {1: bytes, 5: imagecodecs.lzw_decode, 8: imagecodecs.zlib_decode}
    unpack[32946] = imagecodecs.zlib_decode
    decode = unpack.get(_number(tags, 259, 1))
    if decode is None or (322,) in tags or _number(tags, 258, 8) != 8:
        raise BadSource("inks with a profile are compared of plain strips of 8 bits only")
    places = zip(tags[(273,)], tags[(279,)], strict=True)
    raw = b"".join(bytes(decode(data[at : at + size])) for at, size in places)
    samples = np.frombuffer(raw, np.uint8).reshape(height, width, -1)
    if _number(tags, 317, 1) == 2:
        samples = np.cumsum(samples, axis=1, dtype=np.uint8)
    return samples


def _number(tags: Any, tag: int, default: int) -> int:
    value = tags.get((tag,))
    return int(value[0]) if value else default


# Inks, Lab, HEIC


def _ink_luma(inks: NDArray[Any], icc: bytes | None) -> NDArray[np.float32]:
    """Inks (H, W, 4) to the luma of sRGB: through their profile, else as light less the ink."""
    if _is_for(icc, b"CMYK"):
        srgb = imagecodecs.cms_profile("srgb")
        rgb = imagecodecs.cms_transform(
            np.ascontiguousarray(inks), icc, srgb, colorspace="cmyk", outcolorspace="rgb", intent=1
        )
        return weighted(rgb)
    top = np.float32(np.iinfo(inks.dtype).max)
    light = top - inks
    return weighted(light[..., :3] * light[..., 3:] / top)


def _ink_tolerance(icc: bytes | None, bits: int) -> float:
    unit = 1 if bits == 8 else 257
    return _CHROMA_TOLERANCE * unit if _is_for(icc, b"CMYK") else 1.6


def _is_for(icc: bytes | None, space: bytes) -> bool:
    return icc is not None and icc[16:20] == space


def _lab_luma(samples: NDArray[Any], photometric: int) -> NDArray[np.float32]:
    """CIELAB of D50 to the luma 0..1 of sRGB, by LittleCMS."""
    deep = samples.dtype == np.uint16
    lab = samples.astype(np.float64) / (257 if deep and photometric == 8 else 256 if deep else 1)
    lightness = lab[..., :1] * (100 / 255)
    if photometric == 8:
        signed: Any = np.int16 if deep else np.int8
        chroma = np.ascontiguousarray(samples[..., 1:]).view(signed) / (256 if deep else 1)
    else:
        chroma = lab[..., 1:] - 128
    lab = np.ascontiguousarray(np.concatenate([lightness, chroma], axis=-1))
    profile = imagecodecs.cms_profile("lab4")  # of D50
    srgb = imagecodecs.cms_profile("srgb")
    rgb = imagecodecs.cms_transform(
        lab, profile, srgb, colorspace="lab", outcolorspace="rgb", intent=1
    )
    return weighted(np.clip(rgb, 0, 1))


def _heic(path: Path, held: Held) -> Shown:
    """FFmpeg reads HEIC of one tile; the luma is the coded one."""
    with av.open(file_url(path)) as container:
        if len(container.streams.video) != 1:
            raise BadSource(f"{path} is made of tiles, which nothing here reads a second time")
        frame = next(container.decode(video=0))
    grey = frame.to_ndarray(format="rgb24")
    return Shown(weighted(grey), 8, held, _CHROMA_TOLERANCE)
