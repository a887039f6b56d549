"""What a still picture's file says beside its picture, read from the file's own bytes.

Sources: JPEG (T.81 and JFIF), PNG, WebP's container, JP2's boxes, HEIF.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
from kinemacolor.stream.proof.directory import Tags, directories, tags_at, unpack

_ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION, _UNIT = 274, 282, 283, 296
_XMP, _ICC = 700, 34675
# Tags that say how samples are stored, which a coloured picture does not share with a grey one;
# layers, thumbnails, and what has fields of its own.
_ABOUT_SAMPLES = {*range(254, 267), *range(277, 282), *range(284, 294), 273, 297, 301}
_ABOUT_SAMPLES -= {269, 270}
_ABOUT_SAMPLES |= {*range(317, 348), *range(512, 533), 34377, 37724, 32995, 32996, 32997}
_ABOUT_SAMPLES |= {_XMP, _ICC, _ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION, _UNIT, 50838, 50839}
# EXIF's orientation, by the quarter turns and the mirroring's axis of HEIF.
_TURNED = {(0, None): 1, (1, None): 8, (2, None): 3, (3, None): 6, (0, 0): 4, (0, 1): 2}
_TURNED |= {(1, 0): 5, (1, 1): 7, (2, 0): 2, (2, 1): 4, (3, 0): 7, (3, 1): 5}
_PNG_KEPT = (b"tEXt", b"zTXt", b"iTXt", b"gAMA", b"cHRM", b"sRGB", b"cICP")
_JP2_EXIF, _JP2_XMP = b"JpgTiffExif->JP2", bytes.fromhex("be7acfcb97a942e89c71999491e3afac")


@dataclass
class Held:
    """A file's tags; None where it has none."""

    format: str
    orientation: int = 1
    dpi: tuple[float, float] | None = None
    exif: Tags = field(default_factory=dict)  # about the picture, not about its samples
    icc: bytes | None = None
    xmp: bytes | None = None
    texts: tuple[bytes, ...] = ()  # a PNG's chunks, a JPEG's comment
    components: int = 0  # of a JPEG
    lossy: bool = False


def held_by(path: Path, page: int = 0) -> Held:
    """Reads a file's tags; page counts the directories of a TIFF."""
    data = path.read_bytes()
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _of_tiff(data, page)
    if data.startswith(b"\xff\xd8"):
        return _of_jpeg(data)
    if data.startswith(b"\x89PNG"):
        return _of_png(data)
    if data[:4] == b"RIFF":
        return _of_webp(data)
    if data.startswith(b"BM"):
        return _of_bmp(data)
    if data[4:8] in (b"jP  ", b"jP\x1a\x1a") or data.startswith(b"\xff\x4f\xff\x51"):
        return _of_jp2(data)
    if data[4:8] == b"ftyp":
        return _of_heif(path, data)
    return Held("unknown")


def _of_tiff(data: bytes, page: int) -> Held:
    places = directories(data)
    held = Held("TIFF")
    if page < len(places):
        tags = tags_at(data, places[page])
        _take(held, tags)
        held.icc, held.xmp = _bytes(tags.get((_ICC,))), _bytes(tags.get((_XMP,)))
    return held


def _take(held: Held, tags: Tags) -> None:
    """Takes orientation, resolution and what is about the picture out of tags."""
    orientation = tags.get((_ORIENTATION,), (1,))[0]
    held.orientation = orientation if orientation in range(1, 9) else 1
    unit = tags.get((_UNIT,), (2,))[0]
    x, y = (_ratio(tags.get((tag,))) for tag in (_X_RESOLUTION, _Y_RESOLUTION))
    if x and y and unit in (2, 3) and held.dpi is None:
        inch = 2.54 if unit == 3 else 1.0
        held.dpi = (x * inch, y * inch)
    held.exif = {
        key: value
        for key, value in tags.items()
        if not (len(key) == 1 and key[0] in _ABOUT_SAMPLES) and not _is_layout(key, value)
    }


def _is_layout(key: tuple[int, ...], value: object) -> bool:
    """Descriptions in which tifffile, ImageJ and OME's microscopes count the samples."""
    return (
        key == (270,)
        and isinstance(value, bytes)
        and value.startswith((b'{"shape":', b"ImageJ=", b"<?xml"))
    )


def _ratio(value: Any) -> float:
    if not value or isinstance(value, bytes):
        return 0.0
    first = value[0]
    if isinstance(first, tuple):
        return first[0] / first[1] if first[1] else 0.0
    return float(first)


def _bytes(value: Any) -> bytes | None:
    return value if isinstance(value, bytes) else None


def _take_exif(held: Held, block: bytes) -> None:
    block = block.removeprefix(b"Exif\0\0")
    places = directories(block) if block[:2] in (b"II", b"MM") else []
    if places:
        _take(held, tags_at(block, places[0]))


# The other formats


def _of_jpeg(data: bytes) -> Held:
    held, block, profile = Held("JPEG", lossy=True), b"", {}
    texts = []
    for marker, body in _segments(data):
        if marker == 0xE0 and body.startswith(b"JFIF\0") and len(body) >= 12:
            unit, x, y = struct.unpack_from(">BHH", body, 7)
            if unit in (1, 2) and x and y:
                held.dpi = tuple(n * (2.54 if unit == 2 else 1.0) for n in (x, y))  # type: ignore[assignment]
        elif marker == 0xE1 and body.startswith(b"Exif\0\0"):
            block = block or body
        elif marker == 0xE1 and body.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            held.xmp = body.split(b"\0", 1)[1]
        elif marker == 0xE2 and body.startswith(b"ICC_PROFILE\0"):
            profile[body[12]] = body[14:]
        elif marker == 0xFE:
            texts.append(body)
        elif marker in (0xC0, 0xC1, 0xC2) and len(body) > 5:
            held.components = body[5]
    held.icc = b"".join(profile[n] for n in sorted(profile)) or None
    held.texts = tuple(texts)
    _take_exif(held, block)
    return held


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, size = data[at + 1], unpack(">H", data, at + 2)
        if marker == 0xDA or size < 2:
            return
        yield marker, data[at + 4 : at + 2 + size]
        at += 2 + size


def _of_png(data: bytes) -> Held:
    held, block, texts, at = Held("PNG"), b"", [], 8
    while at + 8 <= len(data):
        size, kind = unpack(">I", data, at), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + size]
        at += size + 12
        if kind == b"pHYs" and len(body) == 9 and body[8] == 1:
            held.dpi = tuple(n * 0.0254 for n in struct.unpack(">II", body[:8]))  # type: ignore[assignment]
        elif kind == b"eXIf":
            block = body
        elif kind == b"iCCP":
            held.icc = _unzipped(body.split(b"\0", 1)[-1][1:])
        elif kind == b"iTXt" and body.startswith(b"XML:com.adobe.xmp\0"):
            held.xmp = body.split(b"\0", 5)[-1]
        elif kind in _PNG_KEPT and not body.startswith(b"Raw profile"):
            texts.append(kind + body)
    held.texts = tuple(texts)
    _take_exif(held, block)
    return held


def _unzipped(data: bytes) -> bytes | None:
    try:
        return zlib.decompress(data)
    except zlib.error:
        return None


def _of_webp(data: bytes) -> Held:
    held, block, at = Held("WEBP"), b"", 12
    while at + 8 <= len(data):
        size, kind = unpack("<I", data, at + 4), data[at : at + 4]
        body = data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
        match kind:
            case b"EXIF":
                block = body
            case b"ICCP":
                held.icc = body
            case b"XMP ":
                held.xmp = body
            case b"VP8 ":
                held.lossy = True
    _take_exif(held, block)
    return held


def _of_bmp(data: bytes) -> Held:
    held = Held("BMP")
    x, y = unpack("<i", data, 38), unpack("<i", data, 42)
    if unpack("<I", data, 14) >= 40 and x > 0 and y > 0:
        held.dpi = (x * 0.0254, y * 0.0254)
    return held


def _of_jp2(data: bytes) -> Held:
    held, block, at = Held("JPEG2000"), b"", 0
    while at + 8 <= len(data) and data[:1] != b"\xff":
        size, kind, start = unpack(">I", data, at), data[at + 4 : at + 8], at + 8
        if size == 1:
            size, start = unpack(">Q", data, start), start + 8
        end = len(data) if size == 0 else at + size
        if end <= at:
            break
        if kind == b"uuid":
            name, body = data[start : start + 16], data[start + 16 : end]
            block = body if name == _JP2_EXIF else block
            held.xmp = body if name == _JP2_XMP else held.xmp
        at = end
    _take_exif(held, block)
    return held


def _of_heif(path: Path, data: bytes) -> Held:
    """OpenCV takes the EXIF out of AVIF. Of HEIC nothing here does."""
    if data[8:12] not in (b"avif", b"avis"):
        return Held("HEIF", lossy=True)
    held = Held("AVIF", lossy=True)
    _, kinds, blocks = cv2.imreadWithMetadata(str(path), cv2.IMREAD_UNCHANGED)
    for kind, block in zip(kinds, blocks, strict=True):
        body = block.tobytes()
        if kind == cv2.IMAGE_METADATA_EXIF:
            _take_exif(held, body)
    turn, mirror, color = (data.find(name) for name in (b"irot", b"imir", b"colrprof"))
    if color > 0:  # ISO 14496-12, 12.1.5
        held.icc = data[color + 8 : color - 4 + unpack(">I", data, color - 4)]
    start, end = data.find(b"<x:xmpmeta"), data.find(b"</x:xmpmeta>")
    held.xmp = data[start : end + 12] if 0 <= start < end else None
    # ISO 23008-12, 6.5.10 and 6.5.12: quarter turns counter-clockwise, then a mirroring.
    angle = data[turn + 4] & 3 if turn > 0 else 0
    axis = data[mirror + 4] & 1 if mirror > 0 else None
    held.orientation = _TURNED[angle, axis]
    return held
