"""The protocols of what takes coded pictures and sound: our server, or a way to another one."""

from __future__ import annotations

import socket
from typing import Protocol

from kinemacolor.stream.rtsp.tracks import AudioTrack, VideoTrack


class Publisher(Protocol):
    """Takes one coded stream; `url` is where viewers find it, as it may be shown."""

    @property
    def url(self) -> str: ...

    def set_video(self, extradata: bytes | None = None) -> None:
        """Declares H.264 video.

        Args:
            extradata: the encoder's, avcC (access units are then length-prefixed) or Annex B.
                None: the first access unit that brings SPS and PPS declares them.
        """

    def set_audio(self, audio: AudioTrack) -> None:
        """Declares sound, or other sound than before."""

    def publish_video(self, access_unit: bytes, pts_seconds: float, is_key: bool) -> None:
        """Sends one coded picture, in decoding order; its time is on one clock with the sound."""

    def publish_audio(self, frame: bytes, pts_seconds: float) -> None:
        """Sends one coded frame of sound (AAC without ADTS) or a run of samples."""

    def close(self) -> None:
        """Ends the stream."""


class Uplink(Protocol):
    """One connection to a server that takes streams. Its methods raise OSError when it is lost."""

    def send_video(
        self, video: VideoTrack, nals: list[bytes], seconds: float, is_key: bool
    ) -> None: ...
    def send_audio(self, audio: AudioTrack, data: bytes, seconds: float) -> None: ...
    def close(self) -> None: ...


def received(connection: socket.socket, most_bytes: int = 65536) -> bytes:
    """Waits for what a server says. Raises OSError, also when it closed the connection."""
    data = connection.recv(most_bytes)
    if not data:
        raise ConnectionResetError("the server closed the connection")
    return data
