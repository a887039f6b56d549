"""Writes a coloured still, of one page or several, with what its source held beside the picture."""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
from kinemacolor.engine.color import Encoding, dequantise, shrink_chroma, ycbcr_to_rgb
from kinemacolor.stream.address import STILLS
from kinemacolor.stream.color.frames import frame_encoding, plane_view
from kinemacolor.stream.errors import BadSink, SinkError
from kinemacolor.stream.sinks.partial import reserve
from kinemacolor.stream.stills.ifd import ORIENTATION
from kinemacolor.stream.stills.info import StillInfo, turn
from kinemacolor.stream.stills.png import write_png
from kinemacolor.stream.stills.tiff_writer import TiffPages
from kinemacolor.stream.stills.whole import encode_jpeg, encode_whole
from numpy.typing import NDArray

log = logging.getLogger(__name__)

_WITHOUT_ALPHA = ("JPEG", "BMP")
_STORED_UPRIGHT = ("BMP", "JPEG2000", "HEIF")  # which hold no orientation that viewers mind
_BAND_BYTES = 1 << 20  # turned into RGB at once, to bound the memory of a big scan


class StillFile:
    """The file of a still, under a temporary name until it is whole.

    PNG, TIFF, JPEG 2000 and lossless WebP: the luma of the RGB result, rounded, is the frame's
    luma. JPEG: the frame's planes are coded as they are, in 4:4:4 and with the source's own tables
    if it was a JPEG. That gives back its luma samples exactly, but for a few in blocks that touch
    black or white or reach over the picture's edge. A file of 16 bits stays one in PNG, TIFF and
    JPEG 2000.

    Raises BadSink: no format has this suffix.
    """

    def __init__(self, path: Path) -> None:
        file_format = STILLS.get(path.suffix.lower())
        if file_format is None:
            raise BadSink(f"a still cannot become {path.name}: use {', '.join(STILLS)}")
        self._path, self._format = path, file_format
        self._partial: Path | None = None
        self._file: BinaryIO | None = None
        self._pages: TiffPages | None = None

    def add(self, frame: av.VideoFrame, info: StillInfo) -> None:
        """Writes a page; of any format but TIFF there is one.

        Args:
            frame: as `read_still` gives it, with colour; of double width beside its grey.
            info: of the source.

        Raises:
            BadSink: the picture is too big for the format.
            SinkError: the file cannot be written.
        """
        try:
            if self._file is None:
                self._partial = reserve(self._path)
                self._file = self._partial.open("r+b")
            self._encode(self._file, frame, info)
        except (ValueError, OverflowError, RuntimeError, MemoryError, struct.error) as error:
            size = f"{frame.width}x{frame.height}"
            raise BadSink(f"{size} cannot be written as {self._format}: {error}") from error
        except OSError as error:
            raise SinkError(f"cannot write {self._path}: {error.strerror or error}") from error

    def finish(self) -> None:
        """Gives the file its name. Raises SinkError."""
        assert self._file is not None
        assert self._partial is not None
        try:
            self._file.close()
            os.replace(self._partial, self._path)
            self._partial = None
        except OSError as error:
            raise SinkError(f"cannot write {self._path}: {error.strerror or error}") from error

    def abandon(self) -> None:
        """Removes a file that is not whole."""
        if self._file is not None:
            self._file.close()
        if self._partial is not None:
            self._partial.unlink(missing_ok=True)

    def _encode(self, file: BinaryIO, frame: av.VideoFrame, info: StillInfo) -> None:
        if self._format in _STORED_UPRIGHT and info.orientation != 1:
            info = _as_seen(info)
        picture = _Picture(frame, info, self._format)
        match self._format:
            case "JPEG":
                file.write(encode_jpeg(picture.eight_bit_codes(), info))
            case "PNG":
                write_png(file, picture.bands(), picture.shape, info)
            case "TIFF":
                if self._pages is None:
                    size = int(np.prod(picture.shape)) * info.bit_depth // 8
                    self._pages = TiffPages(file, most_bytes=size * info.pages)
                self._pages.add(picture.bands(), picture.shape, info)
            case _:
                file.write(encode_whole(self._format, np.concatenate([*picture.bands()]), info))


def write_still(path: Path, frame: av.VideoFrame, info: StillInfo) -> None:
    """Writes a still of one page in the format that the suffix names. Raises BadSink, SinkError."""
    file = StillFile(path)
    try:
        file.add(frame, info)
        file.finish()
    finally:
        file.abandon()


def _as_seen(info: StillInfo) -> StillInfo:
    """What a still holds, when it is stored as it is seen."""
    alpha = None if info.alpha is None else turn(info.alpha, info.orientation)
    exif = {tag: value for tag, value in info.exif.items() if tag != ORIENTATION}
    return replace(info, orientation=1, alpha=alpha, exif=exif)


class _Picture:
    """A coloured frame as it is to be stored: turned back, with its alpha."""

    def __init__(self, frame: av.VideoFrame, info: StillInfo, file_format: str) -> None:
        encoding = frame_encoding(frame).encoding
        if frame.format.name not in ("yuv444p", "yuv444p16le") or encoding != Encoding(
            "bt601", "full", encoding.bit_depth
        ):
            raise ValueError(f"a still is yuv444p, BT.601, full range; got {frame.format.name}")
        self._encoding = encoding
        self._planes = [turn(plane_view(frame, i), info.orientation, back=True) for i in range(3)]
        self._alpha = self._fitting_alpha(info) if info.alpha is not None else None
        if file_format in _WITHOUT_ALPHA and self._alpha is not None:
            log.warning("%s: %s has no transparency, and it is left out", info.path, file_format)
            self._alpha = None
        self._premultiplied = info.alpha_kind == "premultiplied"
        self._keeps_kind = file_format == "TIFF"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, n) of the stored picture, n 3 or 4."""
        height, width = self._planes[0].shape
        return height, width, 3 if self._alpha is None else 4

    def bands(self) -> Iterator[NDArray[Any]]:
        """RGB or RGBA codes of some rows each, whose luma is the frame's."""
        height, width, channels = self.shape
        rows = max(1, min(height, _BAND_BYTES // (width * channels * self._planes[0].itemsize)))
        for row in range(0, height, rows):
            codes = np.dstack([plane[row : row + rows] for plane in self._planes])
            if self._alpha is None:
                yield _rgb(codes, self._encoding)
                continue
            alpha = self._alpha[row : row + rows]
            rgb = _rgb(codes, self._encoding, top=alpha if self._premultiplied else None)
            if self._premultiplied and not self._keeps_kind:
                rgb = _straight(rgb, alpha)
            yield np.dstack([rgb, alpha])

    def eight_bit_codes(self) -> NDArray[np.uint8]:
        """Y'CbCr codes (H, W, 3), of 16 bits rounded to 8."""
        codes = np.dstack(self._planes)
        if self._encoding.bit_depth == 8:
            return codes
        middle = np.array([0, 1, 1], np.float32)  # of chroma, which is 0 at half the codes
        narrow = np.rint((codes - 32768 * middle) / 257) + 128 * middle
        return np.clip(narrow, 0, 255).astype(np.uint8)

    def _fitting_alpha(self, info: StillInfo) -> NDArray[Any]:
        """Alpha as stored; twice where grey and colour lie side by side."""
        alpha = info.alpha
        assert alpha is not None
        if alpha.shape == self._planes[0].shape:
            return alpha
        upright = np.hstack([turn(alpha, info.orientation)] * 2)
        return turn(upright, info.orientation, back=True)


def _rgb(
    codes: NDArray[Any], encoding: Encoding, *, top: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Y'CbCr codes (H, W, 3) to RGB of the same type, whose luma is the codes' luma.

    Args:
        top: (H, W) alpha, above which no premultiplied colour lies.
    """
    most = 2**encoding.bit_depth - 1
    ycbcr = dequantise(codes, encoding)
    color = ycbcr_to_rgb(ycbcr, "bt601")
    # Rounded chroma may lie a hair outside the gamut, and clipping would change the luma.
    outside = ((color < 0) | (color > 1)).any(axis=-1)
    color[outside] = ycbcr_to_rgb(shrink_chroma(ycbcr[outside], "bt601"), "bt601")
    if top is not None:
        luma = ycbcr[..., :1]
        excess = color.max(axis=-1, keepdims=True) - luma
        room = np.maximum(top[..., None] / np.float32(most) - luma, 0)
        share = np.where(excess > room, room / np.maximum(excess, 1e-9), 1)
        color = luma + (color - luma) * share
    return np.clip(np.rint(color * most), 0, most).astype(codes.dtype)


def _straight(rgb: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Premultiplied colours (H, W, 3) as they were before, for a format without that kind."""
    most = np.iinfo(rgb.dtype).max
    color = rgb * (most / np.maximum(alpha[..., None], 1).astype(np.float64))
    return np.minimum(np.rint(color), most).astype(rgb.dtype)
