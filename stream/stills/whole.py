"""Writes the formats that are coded in one piece: JPEG, WebP, BMP, JPEG 2000, AVIF, HEIC."""

from __future__ import annotations

import io
import logging
import struct
from importlib.util import find_spec
from typing import Any

import imagecodecs
import numpy as np
from kinemacolor.stream.errors import BadSink
from kinemacolor.stream.stills.ifd import (
    RATIONAL,
    RESOLUTION_UNIT,
    SHORT,
    X_RESOLUTION,
    Y_RESOLUTION,
    Directory,
    Tag,
    exif_block,
)
from kinemacolor.stream.stills.info import StillInfo
from numpy.typing import NDArray
from PIL import Image

log = logging.getLogger(__name__)

QUALITY = 95  # where the source sets no other
_SEGMENT_BYTES = 65_000  # of a JPEG; it holds no more of one kind
# UUIDs of boxes in JPEG 2000 files: EXIF (the digital photography group's) and XMP (Adobe's).
_JP2_EXIF = b"JpgTiffExif->JP2"
_JP2_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")


def encode_jpeg(codes: NDArray[np.uint8], info: StillInfo) -> bytes:
    """Y'CbCr codes (H, W, 3), BT.601 full range, to a JPEG; no conversion on the way."""
    options: dict[str, Any] = {"quality": QUALITY}
    if info.quantization:
        # Quantised again with the table it came from, the luma falls onto the same coefficients.
        luma = info.quantization[min(info.quantization)]
        options = {"qtables": [luma, info.quantization.get(1, luma)]}
    if iptc := _fitting(info.iptc, "IPTC", info):
        options["extra"] = b"\xff\xed" + struct.pack(">H", len(iptc) + 2) + iptc
    if comment := _fitting(info.texts.get("Comment", "").encode(), "comment", info):
        options["comment"] = comment
    if info.dpi:
        options["dpi"] = info.dpi
    if xmp := _fitting(info.xmp, "XMP", info):
        options["xmp"] = xmp
    exif = _fitting(exif_block(info.exif), "EXIF", info)
    planes = [Image.fromarray(np.ascontiguousarray(codes[..., index])) for index in range(3)]
    return _save(Image.merge("YCbCr", planes), "JPEG", info, exif, subsampling="4:4:4", **options)


def _fitting(data: bytes | None, name: str, info: StillInfo) -> bytes:
    """What a JPEG's segment holds; nothing where it is too long."""
    if data is not None and len(data) > _SEGMENT_BYTES:
        log.warning("%s: its %s is too long for a JPEG, and is left out", info.path, name)
        return b""
    return data or b""


def encode_whole(file_format: str, rgb: NDArray[Any], info: StillInfo) -> bytes:
    """RGB or RGBA codes to a file of a format that is neither JPEG, PNG nor TIFF."""
    if file_format == "JPEG2000":
        return _encode_jpeg2000(rgb, info)
    if rgb.dtype == np.uint16:
        log.info("%s: its 16 bits become 8 in %s", info.path, file_format)
        rgb = np.rint(rgb / np.float32(257)).astype(np.uint8)
    picture = Image.fromarray(rgb)
    exif = exif_block(_with_resolution(info))
    match file_format:
        case "WEBP":  # lossless if the source was
            options: dict[str, Any] = {"lossless": info.lossless, "exact": True}
            return _save(
                picture, "WEBP", info, exif, quality=QUALITY, xmp=info.xmp or b"", **options
            )
        case "BMP":
            _say_left_out(info, "BMP", info.exif, info.icc, info.xmp)
            return _save(picture, "BMP", info, b"", **({"dpi": info.dpi} if info.dpi else {}))
        case "AVIF":
            options = {"subsampling": "4:4:4", "xmp": info.xmp or b""}
            return _save(picture, "AVIF", info, exif, quality=QUALITY, **options)
        case _:
            return _encode_heic(picture, info, exif)


def _encode_heic(picture: Image.Image, info: StillInfo, exif: bytes) -> bytes:
    if find_spec("pillow_heif") is None:
        raise BadSink("install kinemacolor[heic] to write HEIC")
    import pillow_heif

    pillow_heif.register_heif_opener()
    options: dict[str, Any] = {"quality": QUALITY, "chroma": 444}
    if info.xmp:
        options["xmp"] = info.xmp
    return _save(picture, "HEIF", info, exif, **options)


def _encode_jpeg2000(rgb: NDArray[Any], info: StillInfo) -> bytes:
    """Lossless, in JP2's boxes; tags and XMP in boxes of their own behind."""
    _say_left_out(info, "JPEG 2000", info.icc)
    colors = imagecodecs.JPEG2K.CLRSPC.SRGB
    coded = imagecodecs.jpeg2k_encode(
        rgb, level=0, codecformat="jp2", colorspace=colors, reversible=True, mct=True
    )
    boxes = []
    if exif := exif_block(_with_resolution(info)):
        boxes.append((_JP2_EXIF, exif))
    if info.xmp:
        boxes.append((_JP2_XMP, info.xmp))
    return bytes(coded) + b"".join(
        struct.pack(">I", 24 + len(data)) + b"uuid" + uuid + data for uuid, data in boxes
    )


def _with_resolution(info: StillInfo) -> Directory:
    """EXIF's tags, with the resolution for which the format has no other field."""
    tags = dict(info.exif)
    if info.dpi:
        for tag, value in zip((X_RESOLUTION, Y_RESOLUTION), info.dpi, strict=True):
            tags[tag] = Tag.of(RATIONAL, round(value * 1000), 1000)
        tags[RESOLUTION_UNIT] = Tag.of(SHORT, 2)  # inch
    return tags


def _say_left_out(info: StillInfo, file_format: str, *held: object) -> None:
    if any(held):
        log.warning("%s: %s holds not all of its tags: some are left out", info.path, file_format)


def _save(
    picture: Image.Image, file_format: str, info: StillInfo, exif: bytes, **options: Any
) -> bytes:
    if exif:
        options["exif"] = b"Exif\0\0" + exif
    if info.icc:
        options["icc_profile"] = info.icc
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()
