"""Writes a film as numbered pictures: DPX, EXR, TIFF, PNG."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from kinemacolor.engine.color import dequantise, shrink_chroma, ycbcr_to_rgb
from kinemacolor.stream.address import ImageSequence
from kinemacolor.stream.color.frames import frame_encoding, plane_view
from kinemacolor.stream.errors import BadSink, SinkError, SinkExists
from kinemacolor.stream.media import Item, Sink, Source, is_frame
from kinemacolor.stream.sinks.words import errors_in_words
from numpy.typing import NDArray

log = logging.getLogger(__name__)

# The encoder of each suffix, and its RGB by bits a sample.
_KINDS: dict[str, tuple[str, dict[int, str]]] = {
    ".dpx": ("dpx", {8: "rgb24", 10: "gbrp10le", 12: "gbrp12le", 16: "rgb48le"}),
    ".exr": ("exr", {16: "gbrpf32le"}),
    ".png": ("png", {8: "rgb24", 16: "rgb48be"}),
    ".tif": ("tiff", {8: "rgb24", 16: "rgb48le"}),
    ".tiff": ("tiff", {8: "rgb24", 16: "rgb48le"}),
}
_FIRST = 1  # number, as FFmpeg's


class PicturesSink(Sink):
    """Writes each frame to a file of its own, in RGB; sound is left out.

    Raises SinkExists where the first picture is there already, BadSink for other suffixes.
    """

    def __init__(self, address: ImageSequence, source: Source, *, overwrite: bool) -> None:
        suffix = Path(address.name).suffix.lower()
        if suffix not in _KINDS:
            raise BadSink(f"pictures cannot become {address}: use {', '.join(_KINDS)}")
        if address.file(_FIRST).exists() and not overwrite:
            raise SinkExists(f"{address.file(_FIRST)} exists: --overwrite replaces it")
        if not address.folder.is_dir():
            raise SinkError(f"no such folder: {address.folder}")
        self._address = address
        self._encoder, self._formats = _KINDS[suffix]
        depths = ("" if bits == 8 else f"{bits}le" for bits in self._formats)
        self.pix_fmts = frozenset(f"yuv444p{depth}" for depth in depths)
        self.description = self._encoder
        self.left_out = [
            f"{s.type} stream {s.index}: pictures hold none"
            for s in (source.container.streams if source.container else ())
            if s.type == "audio"
        ]
        self._written = 0

    left_out: list[str] = []  # noqa: RUF012  (set for each)

    def write(self, item: Item) -> None:
        if not is_frame(item):
            return
        path = self._address.file(_FIRST + self._written)
        try:
            data = self._encode(item)
        except (av.error.FFmpegError, ValueError) as error:
            raise BadSink(f"{self._encoder} does not take this picture: {error}") from error
        with errors_in_words(path):
            path.write_bytes(data)
        self._written += 1

    def finish(self) -> None:
        if not self._written:
            raise BadSink(f"no picture came for {self._address}")

    def abandon(self, *, keep: bool) -> Path | None:
        return self._address.folder if self._written else None

    def _encode(self, frame: av.VideoFrame) -> bytes:
        bits = frame_encoding(frame).encoding.bit_depth
        rgb = _frame_of(_rgb(frame), self._formats[bits])
        context: Any = av.CodecContext.create(self._encoder, "w")
        context.width, context.height = rgb.width, rgb.height
        context.pix_fmt, context.time_base = rgb.format.name, Fraction(1, 25)
        rgb.pts, rgb.time_base = 0, Fraction(1, 25)
        return b"".join(map(bytes, [*context.encode(rgb), *context.encode(None)]))


def _rgb(frame: av.VideoFrame) -> NDArray[np.float32]:
    """A 4:4:4 frame's RGB: (H, W, 3), 0..1, whose luma is the frame's."""
    encoding = frame_encoding(frame).encoding
    ycbcr = dequantise(np.dstack([plane_view(frame, i) for i in range(3)]), encoding)
    color = ycbcr_to_rgb(ycbcr, encoding.colorspace)
    outside = ((color < 0) | (color > 1)).any(axis=-1)  # clipping would change the luma
    color[outside] = ycbcr_to_rgb(
        shrink_chroma(ycbcr[outside], encoding.colorspace), encoding.colorspace
    )
    return color.clip(0, 1)


def _frame_of(rgb: NDArray[np.float32], pix_fmt: str) -> av.VideoFrame:
    if pix_fmt == "gbrpf32le":
        return av.VideoFrame.from_ndarray(_light(rgb).astype(np.float32), format=pix_fmt)
    top = 2 ** av.VideoFormat(pix_fmt).components[0].bits - 1
    codes = np.rint(rgb * top).astype(np.uint8 if top == 255 else np.uint16)
    if pix_fmt == "rgb48be":  # PNG's own order of bytes
        return av.VideoFrame.from_ndarray(codes, format="rgb48le").reformat(format=pix_fmt)
    return av.VideoFrame.from_ndarray(codes, format=pix_fmt)


def _light(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turns sRGB's codes (IEC 61966-2-1) into linear light."""
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
