"""Writes raw coloured pictures to a pipe."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, BinaryIO

import av
from kinemacolor.stream.errors import SinkError
from kinemacolor.stream.media import Item, Sink, Source, is_frame
from kinemacolor.stream.sinks.words import errors_in_words
from kinemacolor.stream.sources.scan import order_of

log = logging.getLogger(__name__)


class Y4MSink(Sink):
    """Writes YUV4MPEG2, raw pictures that every encoder reads, to a pipe; leaves sound out."""

    description = "y4m"

    def __init__(self, pipe: BinaryIO, source: Source) -> None:
        depths = ("", "10le", "12le")
        layouts = ("420", "422", "444")
        self.pix_fmts = frozenset(f"yuv{chroma}p{d}" for chroma in layouts for d in depths)
        self._pipe = pipe
        self._source = source
        self._shape: tuple[int, int, str] | None = None  # width, height, pix_fmt of every frame
        self._first_seconds = 0.0
        self._frames = self._moved = 0  # written; of these so many half a frame or more off

    def write(self, item: Item) -> None:
        if not is_frame(item):
            return
        shape = (item.width, item.height, item.format.name)
        with errors_in_words("standard output"):
            if self._shape is None:
                self._pipe.write(self._header(item))
                self._shape = shape
            if shape != self._shape:
                raise SinkError(
                    f"the picture becomes {item.width}x{item.height} {item.format.name}: "
                    "a Y4M pipe has one size; give a file"
                )
            self._pipe.write(b"FRAME\n")
            for plane in item.planes:
                _write_rows(self._pipe, item, plane)
        self._compare_times(item)

    def _compare_times(self, frame: av.VideoFrame) -> None:
        """Counts frames that a constant rate puts elsewhere: Y4M has no times."""
        seconds = frame.time or 0.0
        if self._frames == 0:
            self._first_seconds = seconds
        place = (seconds - self._first_seconds) * float(self._source.info.rate)
        self._moved += abs(place - self._frames) >= 0.5
        self._frames += 1

    def finish(self) -> None:
        with errors_in_words("standard output"):
            self._pipe.flush()
        if self._moved:
            log.warning(
                "%d of %d frames come at other times than in the source: Y4M has one rate, here "
                "%s fps; a file keeps times",
                self._moved,
                self._frames,
                round(float(self._source.info.rate), 3),
            )

    def abandon(self, *, keep: bool) -> Path | None:
        return None

    def _header(self, frame: av.VideoFrame) -> bytes:
        """Returns the stream header of mjpegtools' yuv4mpeg(5), with FFmpeg's XCOLORRANGE."""
        rate = self._source.info.rate
        aspect = self._source.video.sample_aspect_ratio or 0
        name = frame.format.name  # yuv420p, yuv422p10le
        layout, depth = name[3:6], name[6:].removesuffix("le")
        # 420mpeg2: left-sited chroma, which is what H.264 and its kin mean.
        chroma = {"420p": "420mpeg2"}.get(
            layout + depth, layout if depth == "p" else layout + depth
        )
        scan = {"progressive": "Ip", "tff": "It", "bff": "Ib"}[order_of(frame)]
        words = [
            f"YUV4MPEG2 W{frame.width} H{frame.height} F{rate.numerator}:{rate.denominator} {scan}",
            f"A{aspect.numerator}:{aspect.denominator}" if aspect else "A0:0",
            f"C{chroma}",
        ]
        if frame.color_range in (1, 2):
            words.append(f"XCOLORRANGE={'LIMITED' if frame.color_range == 1 else 'FULL'}")
        return (" ".join(words) + "\n").encode()


def _write_rows(pipe: BinaryIO, frame: av.VideoFrame, plane: Any) -> None:
    sample = 1 if frame.format.components[0].bits == 8 else 2
    row, data = plane.width * sample, memoryview(plane)
    if plane.line_size == row:
        pipe.write(data[: row * plane.height])
        return
    for y in range(plane.height):
        pipe.write(data[y * plane.line_size : y * plane.line_size + row])
