"""Keeps the size of a live picture, for outputs that cannot follow a change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import av
import cv2
from kinemacolor.stream.color.frames import (
    frame_encoding,
    luma_at_depth,
    plane_view,
    to_luma_format,
)
from kinemacolor.stream.media import Item, is_frame
from kinemacolor.stream.sources.slate import blank_frame


def fitted(items: Iterable[Item]) -> Iterator[Item]:
    """Draws frames of another size or format than the first into one like it, with bars.

    Only their luma is kept: they are about to be coloured.
    """
    first: av.VideoFrame | None = None
    for item in items:
        if is_frame(item):
            if first is None:
                first = blank_frame(to_luma_format(item))
                shape = _shape(item)
            elif _shape(item) != shape:
                item = _drawn_into(first, to_luma_format(item))
        yield item


def _shape(frame: av.VideoFrame) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name


def _drawn_into(like: av.VideoFrame, frame: av.VideoFrame) -> av.VideoFrame:
    """Draws a frame into the middle of one like another, as large as goes."""
    whole = blank_frame(like)
    whole.pts, whole.time_base = frame.pts, frame.time_base
    encoding = frame_encoding(whole).encoding
    scale = min(whole.width / frame.width, whole.height / frame.height)
    width, height = (max(1, round(n * scale)) for n in (frame.width, frame.height))
    left, top = (whole.width - width) // 2, (whole.height - height) // 2
    luma = plane_view(whole, 0)
    luma[:] = 0 if encoding.color_range == "full" else 16 << (encoding.bit_depth - 8)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    codes = luma_at_depth(frame, encoding.bit_depth)
    cv2.resize(
        codes, (width, height), luma[top : top + height, left : left + width], interpolation=method
    )
    return whole
