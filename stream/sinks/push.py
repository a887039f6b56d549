"""Publishes to another server: connects, sends, and connects again when that goes away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from kinemacolor.stream.errors import SinkError
from kinemacolor.stream.rtsp.nal import parse_extradata
from kinemacolor.stream.rtsp.publisher import Publisher, Uplink
from kinemacolor.stream.rtsp.tracks import AudioTrack, VideoTrack
from kinemacolor.stream.sources.connection import Backoff

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 5.0
# RTMP servers say yes to any key and close the connection when they have looked at it.
SETTLED_SECONDS = 2.0


class Connect(Protocol):
    """Connects, with a limit for every wait. Raises OSError or SinkError."""

    def __call__(
        self, video: VideoTrack, audio: AudioTrack | None, timeout_seconds: float
    ) -> Uplink: ...


class Pusher(Publisher):
    """Sends one coded stream to a server, and connects again when that goes away.

    Used by one thread, which waits for the server for `timeout_seconds` at a time; a unit that
    cannot be sent is lost, and sending goes on at the next key frame.

    Args:
        url: as it may be shown: without password or key.
    """

    def __init__(
        self,
        url: str,
        connect: Connect,
        *,
        on_key_request: Callable[[], None],
        backoff: Backoff | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._url = url
        self._open = connect
        self._timeout_seconds = timeout_seconds
        self._on_key_request = on_key_request
        self._video: VideoTrack | None = None
        self._audio: AudioTrack | None = None
        self._uplink: Uplink | None = None
        self._backoff = backoff or Backoff()
        self._waits: Iterator[float] | None = None  # until the next attempt; None: never lost
        self._next_try = 0.0
        self._lost_at = 0.0
        self._connected_at = 0.0
        self._needs_key = True
        self.reconnects = 0
        self.dropped = 0  # access units that found no server

    @property
    def url(self) -> str:
        return self._url

    def set_video(self, extradata: bytes | None = None) -> None:
        self._video = VideoTrack(*parse_extradata(extradata or b""))

    def set_audio(self, audio: AudioTrack) -> None:
        self._audio = audio

    def publish_video(self, access_unit: bytes, pts_seconds: float, is_key: bool) -> None:
        """Sends a coded picture. Raises SinkError when the very first connection fails."""
        assert self._video is not None
        sets, nals = self._video.read(access_unit, is_key)
        self._video = replace(self._video, sets=sets)
        if self._uplink is None and not self._connect():
            self.dropped += 1
            return
        if self._needs_key and not is_key:
            self.dropped += 1
            return
        self._needs_key = False
        assert self._uplink is not None
        with self._losses():
            self._uplink.send_video(self._video, nals, pts_seconds, is_key)

    def publish_audio(self, frame: bytes, pts_seconds: float) -> None:
        """Sends sound once the picture flows."""
        if self._audio is None or self._uplink is None or self._needs_key:
            return
        with self._losses():
            self._uplink.send_audio(self._audio, frame, pts_seconds)

    def close(self) -> None:
        if self._uplink is not None:
            self._uplink.close()
            self._uplink = None

    def _connect(self) -> bool:
        """Connects if it is time to try; the first time a failure is an error."""
        if time.monotonic() < self._next_try:
            return False
        assert self._video is not None
        try:
            self._uplink = self._open(self._video, self._audio, self._timeout_seconds)
        except (OSError, SinkError) as error:
            if self._waits is None:
                raise SinkError(f"cannot push to {self.url}: {self._said(error)}") from error
            log.debug("%s: %s", self.url, self._said(error))
            self._wait(error)
            return False
        if self._waits is not None:
            self.reconnects += 1
            away = time.monotonic() - self._lost_at
            log.warning("%s: connected again after %.1f s", self.url, away)
        else:
            self._waits = iter(self._backoff)
        self._connected_at = time.monotonic()
        self._needs_key = True
        self._on_key_request()
        return True

    @contextmanager
    def _losses(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.close()
            now = time.monotonic()
            lasted = now - self._connected_at
            if not self.reconnects and lasted < SETTLED_SECONDS:
                raise SinkError(
                    f"cannot push to {self.url}: the server took the stream and ended it after "
                    f"{lasted:.1f} s ({self._said(error)}); is it the right path and key?"
                ) from error
            log.warning("%s: lost (%s); trying again", self.url, self._said(error))
            if lasted >= SETTLED_SECONDS:
                self._waits, self._lost_at = iter(self._backoff), now
            self._wait(error)

    def _wait(self, error: BaseException) -> None:
        assert self._waits is not None
        if self._backoff.gives_up(self._lost_at):
            limit = self._backoff.give_up_seconds
            raise SinkError(f"{self.url} did not come back within {limit:g} s") from error
        self._next_try = time.monotonic() + next(self._waits)

    def _said(self, error: BaseException) -> str:
        if isinstance(error, TimeoutError):
            return f"no answer within {self._timeout_seconds:g} s"
        return getattr(error, "strerror", None) or str(error)
