"""Paints frames in memory: one copy of the luma plane, and two chroma planes beside it."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from kinemacolor.engine.color import Encoding
from kinemacolor.engine.spec import ModelSpec
from kinemacolor.stream.color.chroma import chroma_guide, chroma_planes, extract_L, resize
from kinemacolor.stream.color.frames import (
    FrameEncoding,
    colored_pix_fmt,
    copy_luma,
    frame_encoding,
    is_left_sited,
    new_frame,
    plane_view,
    to_luma_format,
)
from kinemacolor.stream.color.painter import (
    Canvas,
    Painter,
    Style,
    quarter_turns,
    size_as_it_lies,
)
from numpy.typing import NDArray

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class HostCanvas(Canvas):
    """A frame in memory that was looked at.

    Attributes:
        guide: (h, w) uint8 or uint16: the luma codes at the chroma samples.
        pix_fmt: of the frame to be.
    """

    guide: NDArray[Any]
    pix_fmt: str


class HostPainter(Painter[HostCanvas]):
    """Paints frames in memory.

    Args:
        pix_fmts: what the sink takes; empty means anything.
    """

    encoding: FrameEncoding | None = None

    def __init__(self, pix_fmts: Collection[str] = frozenset()) -> None:
        self._pix_fmts = frozenset(pix_fmts)

    def look(self, frame: av.VideoFrame, spec: ModelSpec) -> HostCanvas:
        frame = to_luma_format(frame)
        encoding = frame_encoding(frame)
        name = colored_pix_fmt(frame.format, self._pix_fmts, frame.width, frame.height)
        pix_fmt = av.VideoFormat(name)
        if encoding != self.encoding:
            _say_encoding(encoding, kept_bits=pix_fmt.components[0].bits)
        self.encoding = encoding
        guide = chroma_guide(
            plane_view(frame, 0),
            pix_fmt.chroma_width(frame.width),
            pix_fmt.chroma_height(frame.height),
            left_sited=is_left_sited(pix_fmt),
        )
        turns, (height, width) = quarter_turns(frame), size_as_it_lies(frame, spec)
        L = extract_L(resize(guide, width, height), encoding.encoding)
        if turns:
            L = np.ascontiguousarray(np.rot90(L, turns))
        return HostCanvas(frame, encoding, L, turns, guide, name)

    def paint(self, canvas: HostCanvas, ab: NDArray[np.float32], style: Style) -> av.VideoFrame:
        frame = canvas.frame
        width = frame.width * 2 if style.compare else frame.width
        colored = new_frame(frame, canvas.pix_fmt, width)
        copy_luma(frame, colored)
        encoding = frame_encoding(colored).encoding
        guide = canvas.guide
        if encoding.bit_depth != canvas.encoding.encoding.bit_depth:
            guide = chroma_guide(
                plane_view(colored, 0)[:, : frame.width],
                *guide.shape[::-1],
                left_sited=is_left_sited(colored.format),
            )
        if style.compare:
            _put_grey_beside(colored, guide.shape[1], encoding)
        cb, cr = (plane_view(colored, i)[:, -guide.shape[1] :] for i in (1, 2))
        chroma_planes(
            guide,
            canvas.as_it_lies(ab),
            encoding,
            upsample=style.upsample,
            saturation=style.saturation,
            out=(cb, cr),
        )
        return colored


def _say_encoding(encoding: FrameEncoding, *, kept_bits: int) -> None:
    log.info("read as %s", encoding)
    bits = encoding.encoding.bit_depth
    if kept_bits < bits:
        log.warning(
            "luma is rounded from %d to %d bit: the output takes no more (--codec ffv1 does)",
            bits,
            kept_bits,
        )


def _put_grey_beside(frame: av.VideoFrame, chroma_width: int, encoding: Encoding) -> None:
    """Copies the left half of a frame's luma to the right; chroma on the left becomes neutral."""
    luma = plane_view(frame, 0)
    width = luma.shape[1] // 2
    luma[:, width:] = luma[:, :width]
    for index in (1, 2):
        plane_view(frame, index)[:, :chroma_width] = int(encoding.chroma_offset)
