"""Says how a film's pictures were scanned: whole, in fields, or as film in fields (telecine)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import av
import av.error
import numpy as np
from av.filter import Graph
from kinemacolor.stream.color.carrier import make_graph
from kinemacolor.stream.color.fields import is_combed
from kinemacolor.stream.color.frames import has_luma_plane, plane_view
from kinemacolor.stream.media import FieldOrder
from numpy.typing import NDArray

log = logging.getLogger(__name__)

FRAMES = 24  # that are looked at
# AVFieldOrder of libavcodec, of the field that is shown first; FFmpeg writes 4 and 5 for frames.
_ORDERS: dict[int, FieldOrder] = {2: "tff", 4: "tff", 3: "bff", 5: "bff"}
# As in FFmpeg's idet: how much better one order of fields must fit than the other, and than none.
_ORDER_RATIO, _FIELDS_RATIO = 1.04, 1.5
_LEAST_FRAMES, _LEAST_SHARE = 8, 0.75
_LEAST_COMBED = 0.3  # of the pictures; film in fields has two of five
_CADENCE = 5  # pictures in which film at 24 a second comes out as video at 30


@dataclass(frozen=True)
class Scan:
    """How a film was scanned, and whether its flags say so.

    Attributes:
        order: which field is shown first.
        telecined: four pictures of film make five of video, two of them of mixed fields.
        lies: the frames' own flags say something else.
    """

    order: FieldOrder = "progressive"
    telecined: bool = False
    lies: bool = False


def look(container: Any, video: Any) -> Scan:
    """Decodes the first frames of a container that nobody else reads, and judges them."""
    frames: list[av.VideoFrame] = []
    try:
        for frame in container.decode(video):
            frames.append(frame)
            if len(frames) == FRAMES:
                break
    except (av.error.FFmpegError, IndexError) as error:
        log.debug("the scan ends early: %s", error)
    return judge(frames, _ORDERS.get(video.codec_context.field_order))


def judge(frames: Sequence[av.VideoFrame], declared: FieldOrder | None = None) -> Scan:
    """Judges frames that follow each other.

    Args:
        declared: the order that the container or the codec declares.
    """
    frames = [f for f in frames if has_luma_plane(f.format) and f.format.name != "cuda"]
    if not frames:
        return Scan()
    first = next((f for f in frames if f.interlaced_frame), None)
    flagged = None if first is None else order_of(first)
    lumas = [_narrow(f) for f in frames if f.width == frames[0].width]
    seen = seen_order(lumas)
    combed = [is_combed(luma) for luma in lumas]
    telecined = is_cadence(combed)
    order = flagged or declared or "progressive"
    if seen is not None and sum(combed) >= _LEAST_COMBED * len(combed):
        order = seen
    return Scan(order, telecined, lies=order != (flagged or "progressive"))


def seen_order(lumas: Sequence[NDArray[Any]]) -> FieldOrder | None:
    """The order of fields that the pictures' motion shows; None where it shows none (idet)."""
    votes = {"tff": 0, "bff": 0, "progressive": 0}
    for before, here, after in zip(lumas, lumas[1:], lumas[2:], strict=False):
        if before.shape != here.shape or after.shape != here.shape:
            continue
        vote = _vote(before, here, after)
        if vote is not None:
            votes[vote] += 1
    fields = votes["tff"] + votes["bff"]
    order: Literal["tff", "bff"] = "tff" if votes["tff"] > votes["bff"] else "bff"
    sure = votes[order] >= _LEAST_FRAMES and votes[order] >= _LEAST_SHARE * sum(votes.values())
    return order if sure and votes[order] >= 0.9 * fields else None


def _vote(before: NDArray[Any], here: NDArray[Any], after: NDArray[Any]) -> str | None:
    """One picture's vote, by the sums of FFmpeg's vf_idet.c."""
    around = here[:-2] + here[2:]  # of the lines from 1 on
    still, past, next_ = (
        np.abs(around - 2 * lines[1:-1]).sum(1) for lines in (here, before, after)
    )
    # A line's own field against the other field of the picture before, and of the one after.
    even, odd = slice(0, None, 2), slice(1, None, 2)
    top_first = float(past[odd].sum() + next_[even].sum())
    bottom_first = float(past[even].sum() + next_[odd].sum())
    whole = float(still.sum())
    if top_first > _ORDER_RATIO * bottom_first:
        return "tff"
    if bottom_first > _ORDER_RATIO * top_first:
        return "bff"
    return "progressive" if bottom_first > _FIELDS_RATIO * whole else None


def is_cadence(combed: Sequence[bool]) -> bool:
    """Whether two of five pictures are of mixed fields, again and again."""
    if len(combed) < 3 * _CADENCE:
        return False
    for phase in range(_CADENCE):
        wanted = [(n - phase) % _CADENCE in (0, 1) for n in range(len(combed))]
        if sum(a == b for a, b in zip(wanted, combed, strict=True)) >= 0.9 * len(combed):
            return True
    return False


def order_of(frame: av.VideoFrame) -> FieldOrder:
    """Which field of a frame is shown first, by its flags. PyAV hides that; a filter tells it."""
    if not frame.interlaced_frame:
        return "progressive"
    graph = make_graph(frame, ("select", "eq(interlace_type,TOPFIRST)"))
    graph.push(frame)
    try:
        graph.vpull()
    except (av.error.BlockingIOError, av.error.EOFError):
        return "bff"
    return "tff"


def flagging(like: av.VideoFrame, order: FieldOrder) -> Graph:
    """Makes the filter that flags frames as scanned in an order."""
    return make_graph(like, ("setfield", {"progressive": "prog"}.get(order, order)))


def _narrow(frame: av.VideoFrame) -> NDArray[Any]:
    """A frame's luma in 8 bits, int16, every second or fourth column."""
    luma = plane_view(frame, 0)
    step = 1 + (frame.width > 360) + 2 * (frame.width > 1000)
    shift = frame.format.components[0].bits - 8
    return (
        (luma[:, ::step] >> shift).astype(np.int16) if shift else luma[:, ::step].astype(np.int16)
    )
