"""What frames bring beside their picture: rotation, fields, mastering display, captions."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from typing import Any

import av
import av.error
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import Type

_MASTERING = "=" + "ii" * 10 + "ii"  # AVMasteringDisplayMetadata: ten rationals and two flags
_VALID_CAPTION = 4  # cc_valid of CTA-708


def data_of(frame: av.VideoFrame, kind: Type) -> bytes | None:
    """The bytes of a frame's side data of a kind."""
    every: Any = frame.side_data
    for data in every:
        if data.type == kind:
            return bytes(data)
    return None


def rotation_of(frame: av.VideoFrame) -> tuple[int, bool]:
    """Degrees that FFmpeg's display matrix turns by, counter-clockwise, and whether it mirrors."""
    data = data_of(frame, Type.DISPLAYMATRIX)
    if data is None:
        return 0, False
    a, b, _, c, d, *_ = struct.unpack("=9i", data)
    degrees = round(np.degrees(np.arctan2(b, a)))
    return -degrees % 360 if -degrees % 360 <= 180 else -degrees % 360 - 360, a * d - b * c < 0


def light_of(frame: av.VideoFrame) -> dict[str, tuple[float, ...]]:
    """Mastering display (CIE x, y; cd/m2) and content light level, where a frame has them."""
    found: dict[str, tuple[float, ...]] = {}
    data = data_of(frame, Type.MASTERING_DISPLAY_METADATA)
    if data is not None and len(data) >= struct.calcsize(_MASTERING):
        numbers = struct.unpack_from(_MASTERING, data)
        pairs = zip(numbers[:20:2], numbers[1:20:2], strict=True)
        found["mastering display"] = tuple(float(Fraction(n, d)) if d else 0.0 for n, d in pairs)
    data = data_of(frame, Type.CONTENT_LIGHT_LEVEL)
    if data is not None and len(data) >= 8:
        found["content light level"] = tuple(map(float, struct.unpack_from("=II", data)))
    return found


def captions_of(frame: av.VideoFrame) -> bytes:
    """The closed captions that count: three bytes each (CTA-708, 4.3)."""
    data = data_of(frame, Type.A53_CC) or b""
    triplets = [data[at : at + 3] for at in range(0, len(data) - 2, 3)]
    return b"".join(t for t in triplets if t[0] & _VALID_CAPTION)


def field_order(frame: av.VideoFrame) -> str:
    """ "progressive", "top first" or "bottom first", as the decoder's flags say."""
    if not frame.interlaced_frame:
        return "progressive"
    # PyAV does not tell which field is first: FFmpeg's filter does, as it parts them.
    first = _first_of(run_filters([frame], "format=gray,separatefields"))
    if first is None:
        return "interlaced"
    whole = frame.reformat(format="gray").to_ndarray()
    top = np.array_equal(first.to_ndarray(), whole[0::2])
    bottom = np.array_equal(first.to_ndarray(), whole[1::2])
    return "interlaced" if top == bottom else "top first" if top else "bottom first"


def looks_interlaced(frames: list[av.VideoFrame]) -> bool:
    """Whether FFmpeg's idet finds two times in most of these pictures."""
    found = [
        f.metadata.get("lavfi.idet.multiple.current_frame") for f in run_filters(frames, "idet")
    ]
    combed = sum(kind in ("tff", "bff") for kind in found)
    return 2 * combed > len(found)


def _first_of(frames: Iterator[av.VideoFrame]) -> av.VideoFrame | None:
    return next(frames, None)


def run_filters(frames: list[av.VideoFrame], filters: str) -> Iterator[av.VideoFrame]:
    """Frames of one size and format through a chain of FFmpeg's filters."""
    first = frames[0]
    graph = Graph()
    source = graph.add_buffer(
        width=first.width,
        height=first.height,
        format=first.format,
        time_base=first.time_base or Fraction(1, 1000),
    )
    last: Any = source
    for name in filters.split(","):
        step, _, value = name.partition("=")
        node = graph.add(step, value or None)
        last.link_to(node)
        last = node
    last.link_to(graph.add("buffersink"))
    graph.configure()
    for frame in [*frames, None]:
        with suppress(av.error.EOFError):
            graph.push(frame)
        with suppress(av.error.BlockingIOError, av.error.EOFError):
            while True:
                ready: Any = graph.pull()
                yield ready
