"""Reads a live source that may go away and come back; what it yields never stops."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import av
import av.error
from kinemacolor.stream.errors import BadSource, SourceError
from kinemacolor.stream.handoff import Channel, Closed, StageGroup
from kinemacolor.stream.media import Item, Source, SourceInfo, is_frame
from kinemacolor.stream.sources import connection
from kinemacolor.stream.sources.clock import TIME_BASE, LiveClock
from kinemacolor.stream.sources.connection import Backoff, kind_of, picture_of, reason_of
from kinemacolor.stream.sources.slate import held_frame, slate_frame

log = logging.getLogger(__name__)

# A picture that stands still is sent so often: enough for players, little work.
HOLD_AFTER_SECONDS, HOLD_STEP_SECONDS = 0.5, 0.2
SLATE_AFTER_SECONDS = 5.0
CAPACITY = 2

Connect = Callable[[], Any]  # opens an av.container.InputContainer, with time-outs


class ReconnectingSource(Source):
    """Yields frames and sound of a camera or a network stream on one timeline that never breaks.

    While nothing comes the last frame is repeated, then a slate; meanwhile the source is opened
    again and again. Sizes and codecs may have changed when it is back. `container` and `video`
    describe the streams as they were first found, and stay valid when the connection is gone.

    Args:
        name: of the source, without a password.
        connect: opens it; called again whenever it was lost.
        backoff: how often to try again, and for how long.
        duration_seconds: ends after so much time.
    """

    live = True

    def __init__(
        self,
        name: str,
        connect: Connect,
        *,
        backoff: Backoff | None = None,
        duration_seconds: float | None = None,
    ) -> None:
        self._connect = connect
        self._backoff = backoff or Backoff()
        self._end = duration_seconds
        self._connection: Any = connect()
        try:
            self.container, self._streams = connection.described(name, self._connection)
        except BadSource as error:
            self._connection.close()
            raise BadSource(f"{name}: {error}") from error
        except BaseException:
            self._connection.close()
            raise
        first = picture_of(self._connection)
        self.video = self._streams[first.index]
        self.info = SourceInfo(
            name=name,
            width=first.codec_context.width,
            height=first.codec_context.height,
            pix_fmt=first.codec_context.pix_fmt,
            rate=connection.rate_of(first),
            time_base=TIME_BASE,
            codec=first.codec_context.name,
        )
        self.clock = LiveClock()

    def now(self) -> float:
        return self.clock.now()

    def __iter__(self) -> Iterator[Item]:
        arrived: Channel[Item] = Channel(CAPACITY, drop_oldest=True, counted=is_frame)

        def receive() -> None:
            with arrived:
                self._receive(arrived)

        with StageGroup(arrived) as group:
            group.start(receive)
            try:
                yield from self._without_gaps(arrived)
            finally:
                arrived.cancel()
                self.dropped = arrived.dropped

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # What comes out: on the caller's thread

    def _without_gaps(self, arrived: Channel[Item]) -> Iterator[Item]:
        last: av.VideoFrame | None = None
        away_since = time.monotonic()
        wait = HOLD_AFTER_SECONDS
        while self._end is None or self.now() < self._end:
            try:
                item = arrived.take(wait)
            except EOFError:
                return
            if item is None:
                if last is not None:
                    yield self._stand_in(last, time.monotonic() - away_since)
                wait = HOLD_STEP_SECONDS
            else:
                if is_frame(item):
                    last, away_since, wait = item, time.monotonic(), HOLD_AFTER_SECONDS
                self.dropped = arrived.dropped
                yield item

    def _stand_in(self, last: av.VideoFrame, away_seconds: float) -> av.VideoFrame:
        pts = round(self.now() / TIME_BASE)
        make = held_frame if away_seconds < SLATE_AFTER_SECONDS else slate_frame
        return make(last, pts)

    # What comes in: on a thread of its own

    def _receive(self, arrived: Channel[Item]) -> None:
        while True:
            try:
                for item in self._read(arrived):
                    arrived.put(item)
                reason = "it ended"
            except Closed:
                raise
            except (av.error.FFmpegError, OSError) as error:
                reason = reason_of(error)
            self.close()
            self._reconnect(arrived, reason)

    def _read(self, arrived: Channel[Item]) -> Iterator[Item]:
        """Yields what one connection gives, until it ends or fails."""
        video = picture_of(self._connection)
        sounds = {s.index: s for s in self._connection.streams.audio if self._same(s)}
        context = video.codec_context
        timeless = self._connection.format.name in connection.TIMELESS
        segmented = self._connection.format.name in connection.SEGMENTED
        due = connection.Due()
        for packet in self._connection.demux(video, *sounds.values()):
            if packet.stream_index in sounds:
                sound = self._sound(packet)
                if sound is not None:
                    yield sound
                continue
            try:
                frames = context.decode(packet if packet.size else None)
            except av.error.EOFError:
                return
            except av.error.InvalidDataError as error:
                if self.damaged == 0:
                    log.warning("%s: damaged packet skipped: %s", self.info.name, error.strerror)
                self.damaged += 1
                continue
            for frame in frames:
                if segmented and arrived.closed_within(due.wait_seconds(frame.time)):
                    raise Closed
                self.repaired += frame.pts is None
                frame.pts = self.clock.place_frame(None if timeless else frame.time)
                frame.time_base = TIME_BASE
                frame.duration = 0
                yield frame

    def _sound(self, packet: Any) -> av.Packet | None:
        if packet.pts is None or not packet.size:
            return None
        index = packet.stream_index
        seconds = self.clock.place_sound(index, float(packet.pts * packet.time_base))
        if seconds is None:
            return None
        packet.pts = packet.dts = round(seconds / packet.time_base)
        packet.stream = self._streams[index]
        return packet

    def _same(self, sound: Any) -> bool:
        """Whether a sound track is as it was at first, which is how the sinks know it."""
        first = self._streams.get(sound.index)
        if first is not None and first.type == "audio" and kind_of(first) == kind_of(sound):
            return True
        log.warning("%s: sound stream %d is another one now", self.info.name, sound.index)
        return False

    def _reconnect(self, arrived: Channel[Item], reason: str) -> None:
        """Opens the source again, however long it takes.

        Raises SourceError when it was given up.
        """
        lost = time.monotonic()
        log.warning("%s: lost (%s); trying again", self.info.name, reason)
        for wait in self._backoff:
            if arrived.closed_within(wait):
                raise Closed
            try:
                self._connection = self._connect()
                picture_of(self._connection)
                break
            except (SourceError, av.error.FFmpegError, OSError) as error:
                self.close()
                log.debug("%s: %s", self.info.name, reason_of(error))
                if self._backoff.gives_up(lost):
                    raise SourceError(
                        f"{self.info.name} did not come back within "
                        f"{self._backoff.give_up_seconds:g} s: {reason_of(error)}"
                    ) from error
        self.reconnects += 1
        self.clock.restart()
        log.warning("%s: back after %.1f s", self.info.name, time.monotonic() - lost)
