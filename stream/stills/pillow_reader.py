"""Reads JPEG, PNG, WebP, BMP, JPEG 2000, AVIF and HEIC, by Pillow; deep samples by imagecodecs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from kinemacolor.stream.errors import BadSource
from kinemacolor.stream.stills.ifd import Directory, parse_exif
from kinemacolor.stream.stills.info import StillInfo
from kinemacolor.stream.stills.png import COLOR_CHUNKS, TEXT_CHUNKS
from kinemacolor.stream.stills.samples import cmyk_to_rgb, scaled, to_luma
from kinemacolor.stream.stills.tags import checked_dpi, kept_tags, orientation_of, resolution_of
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

log = logging.getLogger(__name__)

_SIGNATURE_BYTES = 16  # what Pillow's plugins look at
_XMP_KEY = b"XML:com.adobe.xmp\0"


def read_with_pillow(
    path: Path, file: BinaryIO, formats: Sequence[str], check_size: Callable[[int, int], None]
) -> tuple[NDArray[Any], StillInfo]:
    """Reads a picture.

    Args:
        check_size: raises BadSource for a width and height that are too much.

    Returns:
        The luma as stored, (H, W) uint8 or uint16, and what else the file holds.
    """
    picture = _open(file, formats)
    check_size(*picture.size)
    file_format = "JPEG" if picture.format == "MPO" else picture.format
    if file_format != "JPEG" and getattr(picture, "n_frames", 1) > 1:
        raise BadSource(
            f"{path} is moving: it holds {picture.n_frames} pictures; convert it to a film"
        )
    held = _held(picture, file, file_format)
    exif = _exif(picture)
    profile = picture.info.get("icc_profile")  # asked before the samples: then the file is closed
    luma, alpha = _grey(path, picture, file_format, profile)
    kept = kept_tags(exif)
    info = StillInfo(
        path=path,
        format=file_format,
        width=luma.shape[1],
        height=luma.shape[0],
        bit_depth=8 * luma.dtype.itemsize,
        orientation=orientation_of(exif),
        dpi=_resolution(picture, exif),
        exif=kept,
        icc=profile,
        xmp=_bytes(picture.info.get("xmp")),
        iptc=held.iptc,
        texts=held.texts,
        png_chunks=held.png_chunks,
        lossless=held.lossless,
        quantization=held.quantization,
        alpha=alpha,
    )
    return luma, info


def _open(file: BinaryIO, formats: Sequence[str]) -> Any:
    """Opens a picture as Pillow does, but without its limit on the size: ours is another."""
    Image.init()
    head = file.read(_SIGNATURE_BYTES)
    for name in formats:
        factory, accept = Image.OPEN.get(name, (None, None))
        if factory is None:
            continue
        accepted = accept is None or accept(head)
        if accepted and not isinstance(accepted, str):  # else it says what is not installed
            file.seek(0)
            return factory(file, "")
    raise UnidentifiedImageError("of no known format")


@dataclass(frozen=True)
class _Held:
    """What one file format holds, and another does not."""

    iptc: bytes | None = None
    texts: dict[str, str] | None = None
    png_chunks: tuple[tuple[bytes, bytes], ...] = ()
    lossless: bool = True
    quantization: dict[int, Any] | None = None


def _held(picture: Any, file: BinaryIO, file_format: str) -> Any:
    comment = picture.info.get("comment")
    texts = {"Comment": _bytes(comment).decode("utf-8", "replace")} if comment else {}
    match file_format:
        case "JPEG":
            segments = (data for name, data in picture.applist if name == "APP13")
            tables = dict(picture.quantization)
            return _Held(next(segments, None), texts, lossless=False, quantization=tables)
        case "PNG":
            chunks = tuple(_png_chunks(file))
            return _Held(None, _texts(picture), chunks)
        case "WEBP":
            return _Held(texts=texts, lossless=b"VP8 " not in _webp_chunks(file))
        case _:
            return _Held(texts=texts, lossless=file_format in ("BMP", "JPEG2000"))


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """A PNG's texts, byte by byte: what some writers put there, no text could hold again.

    And what it says of the light that its codes are.

    XMP and the profiles of ImageMagick are no texts: they are written anew.
    """
    place = file.tell()
    file.seek(8)
    while len(head := file.read(8)) == 8:
        size, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind not in (*TEXT_CHUNKS, *COLOR_CHUNKS):
            file.seek(size + 4, 1)
            continue
        data = file.read(size)
        file.seek(4, 1)
        if len(data) == size and not data.startswith((_XMP_KEY, b"Raw profile type")):
            yield kind, data
    file.seek(place)


def _texts(picture: Any) -> dict[str, str]:
    """A PNG's texts, as far as they are some. Those behind the samples count as well."""
    picture.load()
    return {
        key: str(text)
        for key, text in picture.text.items()
        if key != "XML:com.adobe.xmp"
        and not key.startswith("Raw profile type")
        and "\0" not in str(text)
    }


def _webp_chunks(file: BinaryIO) -> set[bytes]:
    """The four-letter names of a WebP's chunks: `VP8 ` is lossy, `VP8L` lossless."""
    names, place = set(), file.tell()
    file.seek(12)
    while len(head := file.read(8)) == 8:
        names.add(head[:4])
        size = int.from_bytes(head[4:], "little")
        file.seek(size + size % 2, 1)
    file.seek(place)
    return names


def _exif(picture: Any) -> Directory:
    block = picture.info.get("exif")
    if not isinstance(block, bytes):
        # ImageMagick's way to put it into a PNG: a text of three lines and hexadecimal digits
        profile = picture.info.get("Raw profile type exif")
        if not isinstance(profile, str):
            return {}
        try:
            block = bytes.fromhex("".join(profile.split("\n")[3:]))
        except ValueError:
            log.warning("the EXIF tags are damaged and are left out")
            return {}
    return parse_exif(block)


def _resolution(picture: Any, exif: Directory) -> tuple[float, float] | None:
    """Dots per inch, where the file says so."""
    if picture.format in ("JPEG", "MPO") and not picture.info.get("jfif_unit"):
        return resolution_of(exif)  # Pillow makes it 72 where nothing says so
    try:
        x, y = picture.info["dpi"]
        return checked_dpi(float(x), float(y))
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return resolution_of(exif)


def _grey(
    path: Path, picture: Any, file_format: str, profile: bytes | None
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Luma and alpha, as stored."""
    samples = _deep_samples(path, picture, file_format)
    if samples is None:
        samples = _samples(path, picture, file_format)
    if samples.ndim == 2:
        return samples, None
    if picture.mode == "CMYK":
        is_inks = profile is not None and profile[16:20] == b"CMYK"
        return to_luma(cmyk_to_rgb(samples, profile if is_inks else None)), None
    colors = 1 if samples.shape[2] <= 2 else 3
    luma = samples[..., 0] if colors == 1 else to_luma(samples[..., :3])
    return luma, samples[..., colors] if colors < samples.shape[2] else None


def _samples(path: Path, picture: Any, file_format: str) -> NDArray[Any]:
    """(H, W) grey or (H, W, n) with n 2: grey, alpha; 3: RGB; 4: RGBA, or CMYK by its mode."""
    mode = picture.mode
    if file_format == "JPEG" and mode == "RGB":
        picture.draft("L", picture.size)  # the Y plane itself, as libjpeg decodes it
    picture.load()  # raises on a file that breaks off, where FFmpeg returns half a picture
    if mode in ("P", "PA"):
        picture = picture.convert("RGBA" if _is_transparent(picture) else "RGB")
    elif mode in ("1", "YCbCr"):
        picture = picture.convert("L" if mode == "1" else "RGB")
    elif mode in ("L", "RGB") and "transparency" in picture.info:
        picture = picture.convert(mode + "A")
    elif mode not in ("L", "LA", "RGB", "RGBA", "CMYK", "I;16", "I;16B", "I;16L"):
        raise BadSource(f"{path} is a {mode} picture: convert it to grey or RGB of 8 or 16 bit")
    samples = np.asarray(picture)
    return samples.astype(np.uint16) if samples.dtype.itemsize == 2 else samples


def _is_transparent(picture: Any) -> bool:
    return picture.mode == "PA" or "transparency" in picture.info


def _deep_samples(path: Path, picture: Any, file_format: str) -> NDArray[Any] | None:
    """Samples of more than 8 bits, which Pillow cuts but for plain grey: (H, W[, n]) uint16."""
    data = path.read_bytes() if file_format in ("PNG", "JPEG2000", "AVIF") else b""
    bits = _bits(data, file_format)
    if bits <= 8:
        return None
    if bits > 16:
        raise BadSource(f"{path} is a {bits}-bit picture: convert it to grey or RGB of 16 bit")
    match file_format:
        case "PNG":
            picture.load()  # says what is damaged
            samples = imagecodecs.png_decode(data)
        case "JPEG2000":
            samples = imagecodecs.jpeg2k_decode(data)
        case _:
            samples = imagecodecs.avif_decode(data)
    if samples.shape[:2] != picture.size[::-1] or samples.dtype != np.uint16:
        raise BadSource(f"{path} cannot be read as a picture of {bits} bits")
    return scaled(samples, bits)


def _bits(data: bytes, file_format: str) -> int:
    """Bits of a sample, as the header says."""
    match file_format:
        case "PNG":
            return data[24]  # of IHDR
        case "JPEG2000":  # ISO 15444-1, A.5.1: Ssiz, behind the start of the codestream
            start = data.find(b"\xff\x4f\xff\x51")
            return (data[start + 42] & 0x7F) + 1 if 0 <= start < len(data) - 42 else 8
        case "AVIF":  # AV1's ISO binding, 2.3.3: high_bitdepth and twelve_bit
            start = data.find(b"av1C")
            flags = data[start + 6] if 0 <= start < len(data) - 6 else 0
            return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10
        case _:
            return 8


def _bytes(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value
