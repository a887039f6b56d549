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
from kinemacolor.stream.color.carrier import Carrier, is_noted
from kinemacolor.stream.color.chroma import chroma_guide, chroma_planes, extract_L, resize
from kinemacolor.stream.color.fields import is_combed
from kinemacolor.stream.color.frames import (
    LIMITED,
    FrameEncoding,
    colored_pix_fmt,
    copy_alpha,
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
        fields: its two fields show different moments, and get their chroma each by itself.
    """

    guide: NDArray[Any]
    pix_fmt: str
    fields: bool = False


class HostPainter(Painter[HostCanvas]):
    """Paints frames in memory.

    Args:
        pix_fmts: what the sink takes; empty means anything.
        full_range: else luma is brought to limited range.
    """

    encoding: FrameEncoding | None = None

    def __init__(self, pix_fmts: Collection[str] = frozenset(), *, full_range: bool = True) -> None:
        self._full_range = full_range
        self._pix_fmts = frozenset(pix_fmts)
        self._carrier = Carrier()

    def look(self, frame: av.VideoFrame, spec: ModelSpec) -> HostCanvas:
        frame = to_luma_format(frame)
        encoding = frame_encoding(frame)
        name = colored_pix_fmt(frame.format, self._pix_fmts, frame.width, frame.height)
        pix_fmt = av.VideoFormat(name)
        if encoding != self.encoding:
            _say_encoding(
                encoding, kept_bits=pix_fmt.components[0].bits, full_range=self._full_range
            )
        self.encoding = encoding
        luma = plane_view(frame, 0)
        fields = frame.interlaced_frame and is_combed(luma, frame.format.components[0].bits)
        guide = _guide(luma, pix_fmt, fields=fields)
        turns, (height, width) = quarter_turns(frame), size_as_it_lies(frame, spec)
        seen = guide[0::2] if fields else guide  # one moment, not a mixture of two
        L = extract_L(resize(seen, width, height), encoding.encoding)
        if turns:
            L = np.ascontiguousarray(np.rot90(L, turns))
        return HostCanvas(frame, encoding, L, turns, guide, name, fields)

    def paint(self, canvas: HostCanvas, ab: NDArray[np.float32], style: Style) -> av.VideoFrame:
        frame = canvas.frame
        width = frame.width * 2 if style.compare else frame.width
        blank = self._carrier.blank(frame, canvas.pix_fmt, width) if is_noted(frame) else None
        colored = new_frame(frame, canvas.pix_fmt, width, blank=blank)
        if not self._full_range:
            colored.color_range = LIMITED
        copy_luma(frame, colored)
        copy_alpha(frame, colored)
        encoding = frame_encoding(colored).encoding
        guide = canvas.guide
        before = canvas.encoding.encoding
        if (encoding.bit_depth, encoding.color_range) != (before.bit_depth, before.color_range):
            luma = plane_view(colored, 0)[:, : frame.width]
            guide = _guide(luma, colored.format, fields=canvas.fields)
        if style.compare:
            _put_grey_beside(colored, guide.shape[1], encoding)
        cb, cr = (plane_view(colored, i)[:, -guide.shape[1] :] for i in (1, 2))
        ab = canvas.as_it_lies(ab)
        for part in (slice(0, None, 2), slice(1, None, 2)) if canvas.fields else (slice(None),):
            chroma_planes(
                np.ascontiguousarray(guide[part]),
                ab,
                encoding,
                upsample=style.upsample,
                saturation=style.saturation,
                out=(cb[part], cr[part]),
            )
        return colored


def _guide(luma: NDArray[Any], pix_fmt: av.VideoFormat, *, fields: bool) -> NDArray[Any]:
    """The luma codes at the chroma samples; those of each field are of its own lines only."""
    height, width = pix_fmt.chroma_height(luma.shape[0]), pix_fmt.chroma_width(luma.shape[1])
    left = is_left_sited(pix_fmt)
    if not fields:
        return chroma_guide(luma, width, height, left_sited=left)
    guide = np.empty((height, width), luma.dtype)
    for field in (0, 1):
        rows = (height + 1 - field) // 2
        guide[field::2] = chroma_guide(luma[field::2], width, rows, left_sited=left)
    return guide


def _say_encoding(encoding: FrameEncoding, *, kept_bits: int, full_range: bool) -> None:
    log.info("read as %s", encoding)
    bits = encoding.encoding.bit_depth
    if kept_bits < bits:
        log.warning(
            "luma is rounded from %d to %d bit: the output takes no more (--codec ffv1 does)",
            bits,
            kept_bits,
        )
    if encoding.encoding.color_range == "full" and not full_range:
        log.warning(
            "luma is brought to limited range: the output cannot say full range"
            " (--codec ffv1 in .mkv does)"
        )


def _put_grey_beside(frame: av.VideoFrame, chroma_width: int, encoding: Encoding) -> None:
    """Copies the left half of a frame's luma to the right; chroma on the left becomes neutral."""
    luma = plane_view(frame, 0)
    width = luma.shape[1] // 2
    luma[:, width:] = luma[:, :width]
    for index in (1, 2):
        plane_view(frame, index)[:, :chroma_width] = int(encoding.chroma_offset)
