"""Describes one connection to a live source, and says when to try it again."""

from __future__ import annotations

import io
import logging
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import av.error
from av.codec.context import Flags
from kinemacolor.stream.errors import BadSource
from kinemacolor.stream.sources.clock import JUMP_SECONDS
from kinemacolor.stream.sources.film import kinds_in

log = logging.getLogger(__name__)

# Formats without times of their own, which FFmpeg invents at 25 fps whatever comes.
TIMELESS = ("mpjpeg", "mjpeg", "h264", "hevc", "m4v")

# Formats that come in segments of seconds, each at once: their frames wait until they are due.
SEGMENTED = ("hls", "dash")
LONGEST_WAIT_SECONDS = 10.0  # beyond this a time has jumped


@dataclass(frozen=True)
class Backoff:
    """Says how long to wait before each attempt to connect again.

    Half of each wait is chance, so that many viewers of one server do not return at once.
    """

    first_seconds: float = 0.25
    longest_seconds: float = 1.5
    give_up_seconds: float | None = None  # None: try for ever

    def __iter__(self) -> Iterator[float]:
        wait = self.first_seconds
        while True:
            yield wait * random.uniform(0.5, 1.0)
            wait = min(2 * wait, self.longest_seconds)

    def gives_up(self, lost: float) -> bool:
        """Whether what was lost at that time (`time.monotonic`) is not tried again."""
        limit = self.give_up_seconds
        return limit is not None and time.monotonic() - lost >= limit


class Due:
    """Spreads frames that came all at once: they are shown as far apart as their times are."""

    def __init__(self) -> None:
        self._shift: float | None = None  # the monotonic clock minus the frames' times

    def wait_seconds(self, seconds: float | None) -> float:
        if seconds is None:
            return 0.0
        now = time.monotonic()
        wait = 0.0 if self._shift is None else seconds + self._shift - now
        if self._shift is None or not -JUMP_SECONDS < wait < LONGEST_WAIT_SECONDS:
            self._shift, wait = now - seconds, 0.0
        return max(0.0, wait)


def picture_of(connection: Any) -> Any:
    """Sets the first video stream to decode without delay. Raises BadSource if there is none."""
    if not connection.streams.video:
        raise BadSource(f"no video stream (it holds {kinds_in(connection)})")
    video = connection.streams.video[0]
    context = video.codec_context
    if context is None or context.width < 1 or context.pix_fmt is None:
        raise BadSource("no picture came in time to know its size")
    if not context.is_open:
        video.thread_type = "SLICE"  # frame threads hold back a frame each
        context.flags |= Flags.low_delay
    return video


def described(name: str, connection: Any) -> tuple[Any, dict[int, Any]]:
    """Describes the streams in a container that outlives the connection.

    Sinks copy codec parameters from it at any time; those of a closed input are gone.
    """
    picture_of(connection)
    # NUT takes every codec that there is; Matroska would lose the G.711 that cameras send.
    book = av.open(io.BytesIO(), "w", format="nut")
    streams: dict[int, Any] = {}
    for stream in (connection.streams.video[0], *connection.streams.audio):
        try:
            streams[stream.index] = book.add_stream_from_template(stream)
        except (ValueError, NotImplementedError):  # a codec that even NUT does not know
            if stream.type == "audio":
                log.warning("%s: its sound cannot be copied", name)
                continue
            streams[stream.index] = book.add_stream("rawvideo")
        streams[stream.index].time_base = stream.time_base
    return book, streams


def kind_of(sound: Any) -> tuple[Any, ...]:
    context = sound.codec_context
    return context.codec.canonical_name, context.sample_rate, context.layout.name


def rate_of(video: Any) -> Fraction:
    """Returns frames a second; a guess where a stream says nonsense, such as 90000."""
    for rate in (video.average_rate, video.guessed_rate):
        if rate and 1 <= rate <= 240:
            return rate
    return Fraction(25)


def reason_of(error: BaseException) -> str:
    """Says what went wrong, without the URL, which may hold a password."""
    if isinstance(error, av.error.ExitError):  # PyAV's time-out
        return "nothing came in time"
    return getattr(error, "strerror", None) or str(error)
