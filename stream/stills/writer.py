"""Writes a coloured still with what its source held beside the picture.

Pillow codes JPEG and WebP, and keeps the tags. It has no RGB of 16 bits a sample, so PNG is coded
by OpenCV and gets its chunks here, and TIFF is written through Pillow's tag directory.
"""

from __future__ import annotations

import io
import logging
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from kinemacolor.engine.color import Encoding, dequantise, shrink_chroma, ycbcr_to_rgb
from kinemacolor.stream.address import STILLS
from kinemacolor.stream.color.frames import frame_encoding, plane_view
from kinemacolor.stream.errors import BadSink, SinkError
from kinemacolor.stream.sinks.partial import reserve
from kinemacolor.stream.stills.reader import StillInfo, turn
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

log = logging.getLogger(__name__)

QUALITY = 95  # where the source sets no other
_BAND = 256  # rows turned into RGB at once, to bound the memory of a big scan
_STRIP_BYTES = 1 << 20
_DEFLATE_LEVEL = 3  # on grainy differences as small as level 6, in a quarter of the time
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 282, 283, 296
_XMP, _ICC = 700, 34675


def write_still(path: Path, frame: av.VideoFrame, info: StillInfo) -> None:
    """Writes a coloured still in the format that the suffix names.

    PNG, TIFF and lossless WebP: the luma of the RGB result, rounded, is the frame's luma. JPEG: the
    frame's planes are coded as they are, in 4:4:4 and with the source's own tables if it was a
    JPEG. That gives back its luma samples exactly, but for a few in blocks that touch black or
    white or reach over the picture's edge. A file of 16 bits stays one in PNG and TIFF.

    Args:
        frame: as `read_still` gives it, with colour; of double width beside its grey.
        info: of the source.

    Raises:
        BadSink: no such format, or the picture is too big for it.
        SinkError: the file cannot be written.
    """
    file_format = STILLS.get(path.suffix.lower())
    if file_format is None:
        raise BadSink(f"a still cannot become {path.name}: use {', '.join(STILLS)}")
    encoding = frame_encoding(frame).encoding
    if frame.format.name not in ("yuv444p", "yuv444p16le") or encoding != Encoding(
        "bt601", "full", encoding.bit_depth
    ):
        raise ValueError(f"a still is yuv444p, BT.601, full range; got {frame.format.name}")
    upright = np.dstack([plane_view(frame, index) for index in range(3)])
    codes = turn(upright, info.orientation, back=True)
    alpha = info.alpha
    if alpha is not None and codes.shape[:2] != alpha.shape:  # grey and colour side by side
        alpha = turn(np.hstack([turn(alpha, info.orientation)] * 2), info.orientation, back=True)
    partial: Path | None = None
    try:
        partial = reserve(path)
        partial.write_bytes(_encode(file_format, codes, alpha, encoding, info))
        os.replace(partial, path)
    except OSError as error:
        raise SinkError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def _encode(
    file_format: str,
    codes: NDArray[Any],
    alpha: NDArray[Any] | None,
    encoding: Encoding,
    info: StillInfo,
) -> bytes:
    try:
        if file_format == "JPEG":
            if alpha is not None:
                log.warning("%s: JPEG has no transparency, and it is left out", info.path)
            return _encode_jpeg(_to_8_bits(codes, encoding), info)
        rgb = _rgb(codes, encoding)
        if alpha is not None:
            rgb = np.dstack([rgb, alpha])
        match file_format:
            case "PNG":
                return _encode_png(rgb, info)
            case "TIFF":
                return _encode_tiff(rgb, info)
            case _:
                if rgb.dtype == np.uint16:
                    rgb = np.rint(rgb / 257).astype(np.uint8)
                return _encode_webp(rgb, info)
    except (ValueError, OSError, cv2.error) as error:
        height, width = codes.shape[:2]
        raise BadSink(f"{width}x{height} cannot be written as {file_format}: {error}") from error


def _rgb(codes: NDArray[Any], encoding: Encoding) -> NDArray[Any]:
    """Y'CbCr codes (H, W, 3) to RGB of the same type, whose luma is the codes' luma."""
    top = 2**encoding.bit_depth - 1
    rgb = np.empty_like(codes)
    for row in range(0, len(codes), _BAND):
        ycbcr = dequantise(codes[row : row + _BAND], encoding)
        color = ycbcr_to_rgb(ycbcr, "bt601")
        # Rounded chroma may lie a hair outside the gamut, and clipping would change the luma.
        outside = ((color < 0) | (color > 1)).any(axis=-1)
        color[outside] = ycbcr_to_rgb(shrink_chroma(ycbcr[outside], "bt601"), "bt601")
        rgb[row : row + _BAND] = np.clip(np.rint(color * top), 0, top)
    return rgb


def _to_8_bits(codes: NDArray[Any], encoding: Encoding) -> NDArray[np.uint8]:
    if encoding.bit_depth == 8:
        return codes
    middle = np.array([0, 1, 1], np.float32)  # of chroma, which is 0 at half the codes
    narrow = np.rint((codes - 32768 * middle) / 257) + 128 * middle
    return np.clip(narrow, 0, 255).astype(np.uint8)


def _encode_jpeg(codes: NDArray[np.uint8], info: StillInfo) -> bytes:
    """Y'CbCr codes (H, W, 3), BT.601 full range, to a JPEG; no conversion on the way."""
    options: dict[str, Any] = {"quality": QUALITY}
    if info.quantization:
        # Quantised again with the table it came from, the luma falls onto the same coefficients.
        luma = info.quantization[min(info.quantization)]
        options = {"qtables": [luma, info.quantization.get(1, luma)]}
    if info.iptc:
        options["extra"] = b"\xff\xed" + struct.pack(">H", len(info.iptc) + 2) + info.iptc
    if comment := info.texts.get("Comment"):
        options["comment"] = comment.encode()
    if info.dpi:
        options["dpi"] = info.dpi
    if info.xmp:
        options["xmp"] = info.xmp
    planes = [Image.fromarray(np.ascontiguousarray(codes[..., index])) for index in range(3)]
    return _save(Image.merge("YCbCr", planes), "JPEG", info, subsampling="4:4:4", **options)


def _encode_webp(rgb: NDArray[np.uint8], info: StillInfo) -> bytes:
    """RGB or RGBA codes to a WebP, lossless if the source was."""
    if info.dpi:  # WebP has no field for it but EXIF's
        exif = Image.Exif()
        exif.load(info.exif)
        exif[_X_RESOLUTION], exif[_Y_RESOLUTION] = info.dpi
        exif[_RESOLUTION_UNIT] = 2  # inch
        tags = exif.tobytes()
    else:
        tags = info.exif
    return _save(
        Image.fromarray(rgb),
        "WEBP",
        info,
        lossless=info.lossless,
        exact=True,
        quality=QUALITY,
        xmp=info.xmp or b"",
        exif=tags,
    )


def _save(picture: Image.Image, file_format: str, info: StillInfo, **options: Any) -> bytes:
    options = {"exif": info.exif, **options}
    if not options["exif"]:
        del options["exif"]
    if info.icc:
        options["icc_profile"] = info.icc
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


def _encode_png(rgb: NDArray[Any], info: StillInfo) -> bytes:
    """RGB or RGBA codes of 8 or 16 bits to a PNG."""
    order = [2, 1, 0, 3][: rgb.shape[2]]
    done, data = cv2.imencode(".png", np.ascontiguousarray(rgb[..., order]))
    if not done:
        raise OSError("OpenCV could not encode it")
    chunks = []
    if info.icc:
        chunks.append(_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(info.icc)))
    if info.dpi:
        x, y = (round(dpi / 0.0254) for dpi in info.dpi)  # PNG counts pixels per metre
        chunks.append(_chunk(b"pHYs", struct.pack(">IIB", x, y, 1)))
    if info.exif:
        chunks.append(_chunk(b"eXIf", info.exif.removeprefix(b"Exif\0\0")))
    if info.xmp:
        chunks.append(_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + info.xmp))
    for key, text in info.texts.items():
        keyword = key.encode("latin-1", "replace")[:79]
        chunks.append(_chunk(b"iTXt", keyword + b"\0\0\0\0\0" + text.encode()))
    coded = data.tobytes()
    header = 8 + 25  # the signature and IHDR, behind which all of these may stand
    return coded[:header] + b"".join(chunks) + coded[header:]


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _encode_tiff(rgb: NDArray[Any], info: StillInfo) -> bytes:
    """RGB or RGBA codes of 8 or 16 bits to a TIFF: deflate with horizontal differencing."""
    height, width, channels = rgb.shape
    row_bytes = width * channels * rgb.itemsize
    rows = max(1, min(height, _STRIP_BYTES // row_bytes))
    strips = []
    for start in range(0, height, rows):
        band = rgb[start : start + rows]
        # TIFF 6.0 section 14: each sample less its left neighbour, modulo the sample's size.
        differences = np.concatenate([band[:, :1], band[:, 1:] - band[:, :-1]], axis=1)
        data = differences.astype(rgb.dtype.newbyteorder("<")).tobytes()
        strips.append(zlib.compress(data, _DEFLATE_LEVEL))

    ifd: Any = ImageFileDirectory_v2()  # little-endian
    if info.exif:
        exif = Image.Exif()
        exif.load(info.exif)
        for tag in exif:
            # A sub-directory, Exif's or GPS's, comes as an offset, and is written as a dictionary.
            ifd[tag] = exif.get_ifd(tag) if tag in (0x8769, 0x8825) else exif[tag]
    ifd[256], ifd[257] = width, height
    ifd[258] = (8 * rgb.itemsize,) * channels  # BitsPerSample
    ifd[259], ifd[317] = 8, 2  # Compression: deflate; Predictor: horizontal differencing
    ifd[262], ifd[277], ifd[284] = 2, channels, 1  # RGB, SamplesPerPixel, contiguous
    if channels == 4:
        ifd[338] = 2  # ExtraSamples: alpha, not premultiplied
    if info.dpi and not (info.format == "TIFF" and _X_RESOLUTION in ifd):  # it keeps its own unit
        ifd[_X_RESOLUTION], ifd[_Y_RESOLUTION] = info.dpi
        ifd[_RESOLUTION_UNIT] = 2
    if info.xmp:
        ifd[_XMP] = info.xmp
    if info.icc:
        ifd[_ICC] = info.icc
    sizes = [len(strip) for strip in strips]
    ifd.tagtype[273] = ifd.tagtype[279] = 4  # LONG, whatever the size
    ifd[273] = tuple(sum(sizes[:n]) for n in range(len(sizes)))  # moved behind the tags by save()
    ifd[278], ifd[279] = rows, tuple(sizes)
    file = io.BytesIO()
    ifd.save(file)
    file.write(b"".join(strips))
    return file.getvalue()
