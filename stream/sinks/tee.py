"""Writes to several sinks, each on a thread of its own: a slow one delays no other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
from kinemacolor.stream.errors import BadSink
from kinemacolor.stream.handoff import Channel, Closed, StageGroup
from kinemacolor.stream.media import Item, Sink, is_frame

CAPACITY = 2


class Tee(Sink):
    """Gives everything to every sink.

    A sink that falls behind a live source misses frames, which are counted; for a film all wait
    for the slowest, since none may lose a frame. The first sink that fails ends them all.

    Raises BadSink when there is no pixel format that all of them take.
    """

    def __init__(self, sinks: Sequence[Sink], *, live: bool) -> None:
        self._sinks = list(sinks)
        self.description = " + ".join(sink.description for sink in sinks)
        limits = [sink.pix_fmts for sink in sinks if sink.pix_fmts]
        self.pix_fmts = frozenset.intersection(*limits) if limits else frozenset()
        if limits and not self.pix_fmts:
            raise BadSink(f"no pixel format suits all of these outputs: {self.description}")
        self._channels: list[Channel[Item]] = [
            Channel(CAPACITY, drop_oldest=live, counted=is_frame) for _ in sinks
        ]
        self._group = StageGroup(*self._channels)
        self._ended = False
        self.follows_size = all(sink.follows_size for sink in sinks)
        for sink, channel in zip(self._sinks, self._channels, strict=True):
            self._group.start(_writer(sink, channel))

    @property
    def dropped(self) -> dict[str, int]:
        """Frames that a sink was too slow for, by its description."""
        return {
            sink.description: channel.dropped
            for sink, channel in zip(self._sinks, self._channels, strict=True)
        }

    @property
    def left_out(self) -> list[str]:
        """Streams of the source that some sink does not take, in words."""
        return [words for sink in self._sinks for words in sink.left_out]

    @property
    def worth_keeping(self) -> bool:
        """Whether some file is long enough that losing it would hurt."""
        return any(sink.worth_keeping for sink in self._sinks)

    def write(self, item: Item) -> None:
        try:
            for channel in self._channels:
                channel.put(item if is_frame(item) else _copied(item))
        except Closed:
            self._end(None)  # raises what went wrong
            raise

    def finish(self) -> None:
        for channel in self._channels:
            channel.close()
        self._end(None)
        first: BaseException | None = None
        for sink in self._sinks:
            try:
                sink.finish()
            except Exception as error:  # the others are whole all the same
                first = first or error
        if first is not None:
            raise first

    def abandon(self, *, keep: bool) -> Path | None:
        for channel in self._channels:
            channel.close() if keep else channel.cancel()
        try:
            self._end(Closed())
        finally:
            kept = [sink.abandon(keep=keep) for sink in self._sinks]
        return next((path for path in kept if path is not None), None)

    def _end(self, error: BaseException | None) -> None:
        """Joins the threads. Raises the first error of a sink, once."""
        if not self._ended:
            self._ended = True
            self._group.__exit__(None if error is None else type(error), error, None)


def _writer(sink: Sink, channel: Channel[Item]) -> Any:
    def write() -> None:
        for item in channel:
            sink.write(item)

    return write


def _copied(packet: Any) -> Any:
    """Copies a packet, so that a sink may point it at its own stream."""
    copy = av.Packet(bytes(packet))
    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
    copy.duration, copy.is_keyframe = packet.duration, packet.is_keyframe
    copy.stream = packet.stream
    return copy
