"""Reads a still picture: its grey as one frame, and all else that its file holds."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from kinemacolor.engine.color import LUMA_WEIGHTS
from kinemacolor.stream.address import STILLS, file_url
from kinemacolor.stream.color.frames import plane_view
from kinemacolor.stream.errors import BadSource, SourceNotFound
from numpy.typing import NDArray
from PIL import Image

log = logging.getLogger(__name__)

_PILLOW_FORMATS = sorted(set(STILLS.values()))
_BT601 = 5  # AVCOL_SPC_BT470BG, which FFmpeg, too, gives a JPEG
_FULL = 2  # AVCOL_RANGE_JPEG

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


# TIFF 6.0 and Adobe's supplements: tags that say how the old samples were stored.
_STRUCTURE = {254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281}
_STRUCTURE |= {284, 288, 289, 290, 291, 292, 293, 297, 301, 317, 320, 321, 322, 323, 324, 325}
_STRUCTURE |= {330, 332, 333, 334, 336, 338, 339, 340, 341, 347, *range(512, 522), *range(529, 533)}
_STRUCTURE |= {700, 34675}  # XMP and ICC, which have fields of their own


@dataclass(frozen=True, eq=False)
class StillInfo:
    """What a still holds beside its grey, and what it takes to write its like."""

    path: Path
    format: str  # a value of FORMATS
    width: int  # of the upright picture
    height: int
    bit_depth: int = 8  # 8 or 16
    orientation: int = 1  # EXIF 1..8, kept: the output is stored as the source was
    dpi: tuple[float, float] | None = None
    exif: bytes = b""  # a TIFF structure with Exif and GPS; without a thumbnail, which is grey
    icc: bytes | None = None  # an RGB profile; one for grey does not fit a coloured picture
    xmp: bytes | None = None
    iptc: bytes | None = None  # a JPEG's APP13 segment
    texts: dict[str, str] = field(default_factory=dict)  # of a PNG, or a JPEG's comment
    lossless: bool = True
    quantization: dict[int, Any] | None = None  # a JPEG's tables, so that its luma survives
    alpha: NDArray[Any] | None = None  # (H, W) as stored, uint8 or uint16


def turn(samples: NDArray[Any], orientation: int, *, back: bool = False) -> NDArray[Any]:
    """Rows and columns as stored to those that are seen, or back."""
    if back:
        orientation = _INVERSE.get(orientation, orientation)
    return np.ascontiguousarray(_TO_UPRIGHT[orientation](samples))


def read_still(path: Path) -> tuple[av.VideoFrame, StillInfo]:
    """Reads a still.

    Returns:
        The upright picture as a frame: yuv444p or yuv444p16le, BT.601, full range, neutral
        chroma; and what else the file holds. A JPEG's luma is its decoded Y plane.

    Raises:
        SourceNotFound: no such file.
        BadSource: no picture, a damaged one, or a kind that cannot be coloured.
    """
    if not path.exists():
        raise SourceNotFound(f"no such file: {path}")
    if path.is_file() and path.stat().st_size == 0:
        raise BadSource(f"{path} is empty (0 bytes)")
    try:
        # By a file, not a path: Pillow 13 maps an uncompressed TIFF of a path into memory, and
        # scrambles it if its orientation swaps width and height.
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")  # what matters of them comes as an error, too
            with Image.open(file, formats=_PILLOW_FORMATS) as picture:
                return _read(path, picture)
    except BadSource:
        raise
    except Image.UnidentifiedImageError as error:
        raise BadSource(f"{path} is no JPEG, PNG, TIFF or WebP that can be read") from error
    except Exception as error:  # on a broken file, Pillow raises nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadSource(f"{path} cannot be read as a picture: {reason}") from error


def _read(path: Path, picture: Any) -> tuple[av.VideoFrame, StillInfo]:
    if picture.format != "MPO" and getattr(picture, "n_frames", 1) > 1:
        raise BadSource(f"{path} holds {picture.n_frames} pictures: split it into single ones")
    exif = picture.getexif()
    orientation = exif.get(0x0112, 1)
    if orientation not in _TO_UPRIGHT:
        orientation = 1
    tags = _clean_exif(exif)  # before the samples, behind which Pillow closes the file
    samples = _stored_samples(path, picture, orientation)
    if samples.ndim == 2:
        luma, alpha = samples, None
    else:
        colors = samples.shape[2] - 1 if samples.shape[2] in (2, 4) else samples.shape[2]
        luma = samples[..., 0] if colors == 1 else _luma(samples[..., :3])
        alpha = samples[..., colors] if colors < samples.shape[2] else None
    upright = turn(luma, orientation)
    icc = picture.info.get("icc_profile")
    if icc is not None and icc[16:20] != b"RGB ":
        log.info("%s: its ICC profile is for grey, and is left out", path)
        icc = None
    is_jpeg = picture.format in ("JPEG", "MPO")
    info = StillInfo(
        path=path,
        format="JPEG" if is_jpeg else picture.format,
        width=upright.shape[1],
        height=upright.shape[0],
        bit_depth=8 * luma.dtype.itemsize,
        orientation=orientation,
        dpi=_resolution(picture, exif),
        exif=tags,
        icc=icc,
        xmp=_bytes(picture.info.get("xmp")),
        iptc=next(
            (data for name, data in getattr(picture, "applist", ()) if name == "APP13"), None
        ),
        texts=_texts(picture),
        lossless=not is_jpeg and not (picture.format == "WEBP" and b"VP8 " in _chunks(path)),
        quantization=dict(picture.quantization) if is_jpeg else None,
        alpha=alpha,
    )
    frame = av.VideoFrame(
        info.width, info.height, "yuv444p" if info.bit_depth == 8 else "yuv444p16le"
    )
    plane_view(frame, 0)[:] = upright
    for index in (1, 2):
        plane_view(frame, index)[:] = 2 ** (info.bit_depth - 1)
    frame.colorspace, frame.color_range = _BT601, _FULL
    frame.pts, frame.time_base = 0, Fraction(1)
    return frame, info


def _stored_samples(path: Path, picture: Any, orientation: int) -> NDArray[Any]:
    """The samples as stored: (H, W) grey or (H, W, n) with n 2: grey, alpha; 3: RGB; 4: RGBA."""
    mode, file_format = picture.mode, picture.format
    if picture.format in ("JPEG", "MPO") and mode == "RGB":
        picture.draft("L", picture.size)  # the Y plane itself, as libjpeg decodes it
    elif mode in ("P", "PA"):
        mode = "RGBA" if mode == "PA" or "transparency" in picture.info else "RGB"
        picture = picture.convert(mode)
    elif mode in ("1", "YCbCr"):
        picture = picture.convert("L" if mode == "1" else "RGB")
    elif mode in ("L", "RGB") and "transparency" in picture.info:
        picture = picture.convert(mode + "A")
    elif mode not in ("L", "LA", "RGB", "RGBA", "I;16", "I;16B", "I;16L"):
        names = {"CMYK": "CMYK", "F": "floating-point", "I": "32-bit"}
        raise BadSource(
            f"{path} is a {names.get(mode, mode)} picture: convert it to grey or RGB of 8 or 16 bit"
        )
    picture.load()  # raises on a file that breaks off, where FFmpeg returns half a picture
    if mode in ("RGB", "RGBA", "LA") and _has_16_bits(path, picture):
        return _read_16_bits(path)
    samples = np.asarray(picture)
    if file_format == "TIFF":  # the one format that Pillow sets upright by itself
        samples = turn(samples, orientation, back=True)
    return samples.astype(np.uint16) if samples.dtype.itemsize == 2 else samples


def _has_16_bits(path: Path, picture: Any) -> bool:
    if picture.format == "TIFF":
        return 16 in picture.tag_v2.get(258, ())  # BitsPerSample
    if picture.format == "PNG":
        with path.open("rb") as file:
            return file.read(25)[24] == 16  # IHDR's bit depth
    return False


def _read_16_bits(path: Path) -> NDArray[np.uint16]:
    """Pillow cuts colour of 16 bits a sample to 8: FFmpeg reads it."""
    with av.open(file_url(path)) as container:
        frame = next(container.decode(video=0))
    channels = len(frame.format.components)
    if frame.format.is_planar or frame.format.components[0].bits != 16:
        raise BadSource(f"{path} cannot be read as a picture of 16 bits ({frame.format.name})")
    order = ">u2" if frame.format.is_big_endian else "<u2"
    plane: Any = frame.planes[0]
    rows = np.frombuffer(plane, order).reshape(frame.height, -1)
    return rows[:, : frame.width * channels].reshape(frame.height, -1, channels).astype(np.uint16)


def _luma(rgb: NDArray[Any]) -> NDArray[Any]:
    """(H, W, 3) codes to their BT.601 luma, rounded, of the same type; grey stays as it is."""
    kr, kb = LUMA_WEIGHTS["bt601"]
    weights = np.array([[kr, 1 - kr - kb, kb]], np.float32)
    return cv2.transform(np.ascontiguousarray(rgb), weights).reshape(rgb.shape[:2])


def _clean_exif(exif: Any) -> bytes:
    """The tags worth keeping, as one TIFF structure; empty where there are none.

    A thumbnail is left out: it would stay grey.
    """
    for tag in _STRUCTURE:
        if tag in exif:
            del exif[tag]
    if not exif:
        return b""
    try:
        return exif.tobytes()
    except Exception as error:  # damaged tags raise anything
        log.warning("the EXIF tags are damaged and are left out: %s", error)
        return b""


def _resolution(picture: Any, exif: Any) -> tuple[float, float] | None:
    """Dots per inch, where the file says so."""
    dpi, tagged = picture.info.get("dpi"), (exif.get(0x011A), exif.get(0x011B))
    if picture.format == "TIFF":  # Pillow makes it 1 where it is missing; no unit is no inch
        return _dpi(dpi) if None not in tagged else None
    return _dpi(dpi or tagged)


def _dpi(value: Any) -> tuple[float, float] | None:
    try:
        x, y = (float(number) for number in value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 0 < x < 1e6 and 0 < y < 1e6 else None


def _texts(picture: Any) -> dict[str, str]:
    if comment := picture.info.get("comment"):
        return {"Comment": _bytes(comment).decode("utf-8", "replace")}
    found = getattr(picture, "text", {}) if picture.format == "PNG" else {}
    return {
        key: str(text)
        for key, text in found.items()
        if key != "XML:com.adobe.xmp" and not key.startswith("Raw profile type")
    }


def _bytes(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


def _chunks(path: Path) -> set[bytes]:
    """The four-letter names of a WebP's chunks: `VP8 ` is lossy, `VP8L` lossless."""
    data, names, at = path.read_bytes(), set(), 12
    while at + 8 <= len(data):
        names.add(data[at : at + 4])
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    return names
