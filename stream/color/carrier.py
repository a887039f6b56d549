"""Frames that keep what a decoder noted beside the picture: field order, captions, HDR."""

from __future__ import annotations

from typing import Any

import av
from av.filter import Graph
from av.sidedata.sidedata import SideData, Type

# What encoders can write again. A grey film's ICC profile says nothing of its colours.
CARRIED = frozenset(
    (
        *(Type.A53_CC, Type.GOP_TIMECODE, Type.S12M_TIMECODE, Type.AFD, Type.STEREO3D),
        *(Type.MASTERING_DISPLAY_METADATA, Type.CONTENT_LIGHT_LEVEL, Type.DYNAMIC_HDR_PLUS),
    )
)


def notes_of(frame: av.VideoFrame) -> list[SideData]:
    """What stands beside a picture; nothing where a note is of a kind that PyAV does not know."""
    try:
        return list(frame.side_data)  # type: ignore[arg-type]  # as PyAV iterates it
    except ValueError:
        return []


def is_noted(frame: av.VideoFrame) -> bool:
    """Whether a frame has notes beside its picture that an encoder can write."""
    return frame.interlaced_frame or any(note.type in CARRIED for note in notes_of(frame))


class Carrier:
    """Makes room for pictures in frames that keep the notes of others. Use it on one thread.

    PyAV lets nobody write these notes; FFmpeg's filters take them along.
    """

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._shape: tuple[Any, ...] = ()

    def blank(self, like: av.VideoFrame, pix_fmt: str, width: int) -> av.VideoFrame:
        """Returns a frame of a format and width, with the notes of another; its samples are open.

        Args:
            width: as wide as the other frame, or wider.
        """
        shape = (like.width, like.height, like.format.name, like.time_base, pix_fmt, width)
        if self._graph is None or shape != self._shape:
            room = () if width == like.width else (("pad", f"{width}:{like.height}"),)
            format = (("format", pix_fmt),) if pix_fmt != like.format.name else (("copy", None),)
            self._graph, self._shape = make_graph(like, *format, *room), shape
        self._graph.push(like)
        return self._graph.vpull()


def make_graph(
    like: av.VideoFrame, *filters: tuple[str, str | None], rate: Any | None = None
) -> Graph:
    """Makes a row of FFmpeg's filters for frames like this one.

    Args:
        filters: names and arguments.
        rate: frames a second, for filters that count by it.
    """
    graph = Graph()
    words = [
        f"video_size={like.width}x{like.height}",
        f"pix_fmt={like.format.name}",
        f"time_base={like.time_base}",
        f"colorspace={int(like.colorspace)}",
        f"range={int(like.color_range)}",
    ]
    words += [f"frame_rate={rate}"] if rate else []
    nodes = [graph.add("buffer", ":".join(words))]
    nodes += [graph.add(name, arguments) for name, arguments in filters]
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes).configure()
    return graph
