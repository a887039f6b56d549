"""Publishes over RTMP (YouTube, Twitch, nginx-rtmp, MediaMTX): H.264 and AAC as FLV wraps them.

FFmpeg's own RTMP is not used: PyAV opens its outputs without any time-out, holding the interpreter
lock, so that a server that says nothing would stop the whole program.
"""

from __future__ import annotations

import os
import socket
import ssl
from contextlib import suppress
from typing import Any

from kinemacolor.stream.address import RtmpPush
from kinemacolor.stream.errors import SinkError
from kinemacolor.stream.rtmp import message as rtmp
from kinemacolor.stream.rtmp.message import BadRtmp, Reader, amf, chunks, parse_amf
from kinemacolor.stream.rtsp.nal import PPS, SPS, ParameterSets
from kinemacolor.stream.rtsp.publisher import Uplink, received
from kinemacolor.stream.rtsp.tracks import AudioTrack, VideoTrack

_CHUNK_BYTES = 4096
_HANDSHAKE_BYTES = 1536
_MOST_SAID = 1 << 20  # bytes taken between two pictures
_CONTROL, _COMMANDS, _SOUND, _PICTURE = 2, 3, 4, 6  # channels; FFmpeg and OBS use the same
_HIGH_PROFILES = (100, 110, 122, 144)


class RtmpUplink(Uplink):
    """One published stream. Raises OSError or SinkError when the server does not take it.

    Times begin at zero with the first picture of each connection.
    """

    def __init__(
        self, address: RtmpPush, video: VideoTrack, audio: AudioTrack | None, timeout_seconds: float
    ) -> None:
        host, port, application = address.host, address.port, address.application
        self._key = address.key
        self._timeout_seconds = timeout_seconds
        self._reader = Reader()
        self._stream = 0
        self._zero: float | None = None
        self._last_ms: dict[int, int] = {}
        self._sets = ParameterSets()
        self._sound: AudioTrack | None = None
        self._socket = socket.create_connection((host, port), timeout=timeout_seconds)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if address.scheme == "rtmps":
                context = ssl.create_default_context()
                self._socket = context.wrap_socket(self._socket, server_hostname=host)
            self._shake_hands()
            try:
                self._publish(f"{address.scheme}://{host}:{port}/{application}", application)
            except ConnectionResetError as error:
                raise SinkError(f"{error}; has it an application {application!r}?") from error
        except BadRtmp as error:
            self._socket.close()
            raise SinkError(f"this is no RTMP server: it sends {error}") from error
        except BaseException:
            self._socket.close()
            raise

    def send_video(
        self, video: VideoTrack, nals: list[bytes], seconds: float, is_key: bool
    ) -> None:
        self._heed()
        if self._zero is None:
            self._zero = seconds
        if is_key and video.sets != self._sets:
            self._sets = video.sets
            self._put(
                _PICTURE, rtmp.VIDEO, seconds, b"\x17\x00\x00\x00\x00" + avc_config(video.sets)
            )
        head = b"\x17\x01" if is_key else b"\x27\x01"  # no B-frames: shown when decoded
        pictures = [nal for nal in nals if nal[0] & 31 not in (SPS, PPS)]
        body = b"".join(len(nal).to_bytes(4, "big") + nal for nal in pictures)
        self._put(_PICTURE, rtmp.VIDEO, seconds, head + b"\x00\x00\x00" + body)

    def send_audio(self, audio: AudioTrack, data: bytes, seconds: float) -> None:
        assert audio.codec == "aac"
        if self._zero is None or seconds < self._zero:
            return
        if audio != self._sound:
            self._sound = audio
            self._put(_SOUND, rtmp.AUDIO, seconds, b"\xaf\x00" + audio.config)
        self._put(_SOUND, rtmp.AUDIO, seconds, b"\xaf\x01" + data)

    def close(self) -> None:
        with suppress(OSError):  # it is gone already
            if self._stream:
                self._command("deleteStream", 6, None, self._stream)
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    # What the server is told

    def _shake_hands(self) -> None:
        ours = bytes(8) + os.urandom(_HANDSHAKE_BYTES - 8)
        self._socket.sendall(b"\x03" + ours)
        answer = self._exactly(1 + _HANDSHAKE_BYTES)
        if answer[0] != 3:
            raise BadRtmp(f"version {answer[0]}")
        self._socket.sendall(answer[1:])
        self._exactly(_HANDSHAKE_BYTES)

    def _publish(self, address: str, application: str) -> None:
        size = _CHUNK_BYTES.to_bytes(4, "big")
        self._socket.sendall(chunks(_CONTROL, rtmp.SET_CHUNK_SIZE, 0, 0, size, 128))
        about: dict[str, Any] = {
            "app": application,
            "type": "nonprivate",
            "flashVer": "FMLE/3.0 (compatible; kinemacolor)",
            "tcUrl": address,
        }
        self._command("connect", 1, about)
        self._answer_to(1)
        self._command(
            "releaseStream", 2, None, self._key
        )  # some servers want these two, none minds
        self._command("FCPublish", 3, None, self._key)
        self._command("createStream", 4, None)
        number = self._answer_to(4)[-1]
        if not isinstance(number, float) or not 0 < number < 1 << 32:
            raise BadRtmp("no number for the stream")
        self._stream = int(number)
        self._command("publish", 5, None, self._key, "live", stream=self._stream)
        self._await_start()
        about = {"videocodecid": 7, "audiocodecid": 10, "encoder": "kinemacolor"}
        self._send(_SOUND, rtmp.DATA, 0, amf("@setDataFrame", "onMetaData", about), self._stream)

    def _command(self, *values: Any, stream: int = 0) -> None:
        self._send(_COMMANDS, rtmp.COMMAND, 0, amf(*values), stream)

    def _put(self, channel: int, kind: int, seconds: float, body: bytes) -> None:
        assert self._zero is not None
        # Rounded to ms, and a loop's seam may overlap: servers cut off a stream that goes back.
        ms = max(self._last_ms.get(kind, 0), round(1000 * (seconds - self._zero)))
        self._last_ms[kind] = ms
        self._send(channel, kind, ms, body, self._stream)

    def _send(self, channel: int, kind: int, ms: int, body: bytes, stream: int) -> None:
        self._socket.sendall(chunks(channel, kind, stream, ms, body, _CHUNK_BYTES))

    # What the server says

    def _answer_to(self, number: int) -> list[Any]:
        while True:
            for answer in self._answers_in(received(self._socket)):
                if answer[:2] == ["_result", number]:
                    return answer
                if answer[:2] == ["_error", number]:
                    raise SinkError(f"the server refuses: {self._reason(answer)}")

    def _await_start(self) -> None:
        while True:
            for answer in self._answers_in(received(self._socket)):
                if answer[:1] != ["onStatus"]:
                    continue
                if _status(answer).get("code") == "NetStream.Publish.Start":
                    return
                raise SinkError(f"the server refuses: {self._reason(answer)}")

    def _heed(self) -> None:
        """Answers what the server says while it records; it says little."""
        data = b""
        self._socket.settimeout(0)
        try:
            while len(data) < _MOST_SAID:
                data += received(self._socket)
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        finally:
            self._socket.settimeout(self._timeout_seconds)
        try:
            answers = self._answers_in(data)
        except BadRtmp as error:
            raise ConnectionResetError(f"the server sends {error}") from error
        for answer in answers:
            if answer[:1] == ["onStatus"] and _status(answer).get("level") == "error":
                raise ConnectionResetError(f"the server says: {self._reason(answer)}")

    def _answers_in(self, data: bytes) -> list[list[Any]]:
        answers = []
        for kind, body in self._reader.feed(data):
            if kind == rtmp.USER_CONTROL and int.from_bytes(body[:2], "big") == rtmp.PING:
                pong = rtmp.PONG.to_bytes(2, "big") + body[2:6]
                self._socket.sendall(chunks(_CONTROL, rtmp.USER_CONTROL, 0, 0, pong, _CHUNK_BYTES))
            elif kind == rtmp.BANDWIDTH:
                window = chunks(_CONTROL, rtmp.WINDOW, 0, 0, body[:4], _CHUNK_BYTES)
                self._socket.sendall(window)
            elif kind == rtmp.COMMAND:
                answers.append(parse_amf(body))
        return answers

    def _reason(self, answer: list[Any]) -> str:
        """Returns what a refusal says, on one line, without the key."""
        status = _status(answer)
        words = str(status.get("description") or status.get("code") or "it gives no reason")
        for secret in filter(None, (self._key, *self._key.split("?"))):
            words = words.replace(secret, "...")
        return "".join(c for c in words if c.isprintable())[:200]

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            data += received(self._socket, count - len(data))
        return data


def avc_config(sets: ParameterSets) -> bytes:
    """Writes an AVCDecoderConfigurationRecord (ISO 14496-15, 5.3.3.1) of 8-bit 4:2:0."""
    first = sets.sps[0]
    parts = [b"\x01", first[1:4], b"\xff", bytes([0xE0 | len(sets.sps)])]
    parts += [len(nal).to_bytes(2, "big") + nal for nal in sets.sps]
    parts.append(bytes([len(sets.pps)]))
    parts += [len(nal).to_bytes(2, "big") + nal for nal in sets.pps]
    if first[1] in _HIGH_PROFILES:
        parts.append(b"\xfd\xf8\xf8\x00")  # chroma format 1, 8 bits, 8 bits, no SPS extension
    return b"".join(parts)


def _status(answer: list[Any]) -> dict[str, Any]:
    return answer[-1] if answer and isinstance(answer[-1], dict) else {}
