"""The two ends of an RTSP test: a paced publisher of a coded clip, and a small strict client."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from kinemacolor.stream.rtsp import AudioTrack, CannotServe, RtspServer


@dataclass(frozen=True)
class Clip:
    """Coded packets in time order: (is_video, seconds, is_key, bytes)."""

    packets: list[tuple[bool, float, bool, bytes]]
    seconds: float
    video_extradata: bytes
    audio_config: bytes

    @property
    def frames(self) -> int:
        return sum(is_video for is_video, *_ in self.packets)


def encode_clip(
    seconds: float = 1.92, *, width: int = 320, height: int = 240, fps: int = 25, gop: int = 12
) -> Clip:
    """A moving test picture in H.264 with a tone in AAC, as a live encoder makes them.

    Whole numbers of video and audio frames fit into multiples of 0.64 s at 25 fps and 48 kHz, so
    that such a clip can be repeated without a seam.
    """

    packets: list[tuple[bool, float, bool, bytes]] = []
    video: Any = av.CodecContext.create("libx264", "w")
    video.width, video.height, video.pix_fmt = width, height, "yuv420p"
    video.time_base, video.framerate = Fraction(1, fps), Fraction(fps)
    video.gop_size = gop
    video.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "20"}
    audio: Any = av.CodecContext.create("aac", "w")
    audio.sample_rate, audio.layout, audio.format = 48000, "stereo", "fltp"
    audio.time_base = Fraction(1, 48000)
    for context in (video, audio):
        context.flags |= 1 << 22  # AV_CODEC_FLAG_GLOBAL_HEADER
        context.open()
    rows, columns = np.mgrid[0:height, 0:width]
    for index in range(round(seconds * fps)):
        luma = ((rows * 2 + columns * 3 + 5 * index) % 256).astype(np.uint8)
        luma[:16] = index * 7 % 256
        flat = np.full((height // 2, width), 128, np.uint8)
        frame = av.VideoFrame.from_ndarray(np.vstack([luma, flat]), format="yuv420p")
        frame.pts, frame.time_base = index, Fraction(1, fps)
        for packet in video.encode(frame):
            packets.append((True, packet.pts / fps, packet.is_keyframe, bytes(packet)))
    first: int | None = None  # the encoder's priming comes before zero
    for index in range(round(seconds * 48000 / 1024)):
        times = (np.arange(1024) + index * 1024) / 48000
        tone = (0.2 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)
        sound = av.AudioFrame.from_ndarray(np.stack([tone, tone]), format="fltp", layout="stereo")
        sound.sample_rate, sound.pts = 48000, index * 1024
        for packet in audio.encode(sound):
            first = packet.pts if first is None else first
            packets.append((False, (packet.pts - first) / 48000, True, bytes(packet)))
    packets.sort(key=lambda packet: packet[1])
    return Clip(packets, seconds, bytes(video.extradata), bytes(audio.extradata))


class Publisher:
    """Publishes a clip round and round at its own pace on a thread, until stopped."""

    def __init__(self, server: RtspServer, clip: Clip, *, sound: bool = True) -> None:
        self._server, self._clip, self._sound = server, clip, sound
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher")
        self.frames = 0

    def __enter__(self) -> Publisher:
        self._server.set_video(self._clip.video_extradata)
        if self._sound:
            self._server.set_audio(AudioTrack("aac", self._clip.audio_config, 48000, 2))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with contextlib.suppress(CannotServe):  # a test may close the server first
            self._publish()

    def _publish(self) -> None:
        begin = time.monotonic()
        for is_video, seconds, is_key, data in self._endless():
            if self._stop.wait(max(0.0, begin + seconds - time.monotonic())):
                return
            if is_video:
                self._server.publish_video(data, seconds, is_key)
                self.frames += 1
            elif self._sound:
                self._server.publish_audio(data, seconds)

    def _endless(self) -> Iterator[tuple[bool, float, bool, bytes]]:
        turn = 0
        while True:
            for is_video, seconds, is_key, data in self._clip.packets:
                yield is_video, seconds + turn * self._clip.seconds, is_key, data
            turn += 1


@dataclass
class Reply:
    status: int
    headers: dict[str, list[str]]
    body: bytes

    def header(self, name: str) -> str:
        return self.headers[name.lower()][0]


class Client:
    """An RTSP client that takes nothing for granted; one connection."""

    def __init__(
        self, server: RtspServer, *, timeout: float = 10.0, path: str = "live", source: str = ""
    ) -> None:
        self.sock = socket.create_connection(
            (server.host, server.port), timeout=timeout, source_address=(source, 0)
        )
        self.url = f"rtsp://{server.host}:{server.port}/{path}"
        self.session = ""
        self.cseq = 0
        self._stream = self.sock.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stream.close()
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def request(
        self, method: str, url: str | None = None, body: bytes = b"", **headers: str
    ) -> Reply:
        """Send a request and read its answer, passing over interleaved frames."""
        self.cseq += 1
        lines = [f"{method} {url or self.url} RTSP/1.0", f"CSeq: {self.cseq}"]
        if self.session and "Session" not in headers:
            lines.append(f"Session: {self.session}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items() if value]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
        reply = self.reply()
        assert reply.header("cseq") == str(self.cseq)
        return reply

    def reply(self) -> Reply:
        while True:
            first = self._stream.read(1)
            if not first:
                raise EOFError("the server closed the connection")
            if first != b"$":
                break
            self._frame()
        status = first + self._stream.readline()
        match = re.fullmatch(rb"RTSP/1\.0 ([1-5]\d\d) [\x20-\x7e]+\r\n", status)
        assert match, status
        headers: dict[str, list[str]] = {}
        while (line := self._stream.readline()) != b"\r\n":
            assert line.endswith(b"\r\n"), line
            name, _, value = line.decode().strip().partition(": ")
            headers.setdefault(name.lower(), []).append(value)
        length = int(headers.get("content-length", ["0"])[0])
        return Reply(int(match[1]), headers, self._stream.read(length))

    def frame(self) -> tuple[int, bytes]:
        """The next interleaved frame: channel and packet."""
        first = self._stream.read(1)
        if not first:
            raise EOFError("the server closed the connection")
        assert first == b"$", first
        return self._frame()

    def _frame(self) -> tuple[int, bytes]:
        head = self._stream.read(3)
        return head[0], self._stream.read(int.from_bytes(head[1:], "big"))

    def at_end(self) -> bool:
        """Whether the server has closed the connection (anything still unread is passed over)."""
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionResetError:
            pass
        except TimeoutError:
            return False
        return True

    def setup(self, track: int = 0, transport: str | None = None) -> Reply:
        channels = f"{2 * track}-{2 * track + 1}"
        transport = transport or f"RTP/AVP/TCP;unicast;interleaved={channels}"
        reply = self.request("SETUP", f"{self.url}/trackID={track}", Transport=transport)
        if reply.status == 200:
            self.session = reply.header("session").partition(";")[0]
        return reply

    def play(self, *tracks: int) -> Reply:
        """DESCRIBE, SETUP over TCP, PLAY."""
        assert self.request("DESCRIBE", Accept="application/sdp").status == 200
        for track in tracks or (0,):
            assert self.setup(track).status == 200
        reply = self.request("PLAY")
        assert reply.status == 200
        return reply


def digest(
    challenge: str, method: str, uri: str, user: str, password: str, *, qop: bool = True
) -> str:
    """An Authorization header as RFC 7616 has it, written apart from the server's code."""
    fields = dict(re.findall(r'(\w+)="?([^",]+)"?', challenge))
    name, nonce = fields.get("algorithm", "MD5"), fields.get("nonce", "")

    def hashed(text: str) -> str:
        return hashlib.new({"MD5": "md5", "SHA-256": "sha256"}[name], text.encode()).hexdigest()

    a1, a2 = hashed(f"{user}:{fields['realm']}:{password}"), hashed(f"{method}:{uri}")
    tail = ""
    if qop:
        response = hashed(f"{a1}:{nonce}:00000001:abcdef:auth:{a2}")
        tail = ', qop=auth, nc=00000001, cnonce="abcdef"'
    else:
        response = hashed(f"{a1}:{nonce}:{a2}")
    return (
        f'Digest username="{user}", realm="{fields["realm"]}", nonce="{nonce}", '
        f'uri="{uri}", response="{response}", algorithm={name}{tail}'
    )


def depacketize_h264(payloads: list[bytes]) -> list[bytes]:
    """NAL units out of the payloads of one access unit (RFC 6184, 5.6 to 5.8)."""
    nals: list[bytes] = []
    fragment = io.BytesIO()
    for payload in payloads:
        kind = payload[0] & 31
        if kind == 24:
            at = 1
            while at < len(payload):
                size = int.from_bytes(payload[at : at + 2], "big")
                nals.append(payload[at + 2 : at + 2 + size])
                assert size
                assert len(nals[-1]) == size
                at += 2 + size
        elif kind == 28:
            if payload[1] & 0x80:
                fragment = io.BytesIO()
                fragment.write(bytes([payload[0] & 0xE0 | payload[1] & 31]))
            fragment.write(payload[2:])
            if payload[1] & 0x40:
                nals.append(fragment.getvalue())
        else:
            nals.append(payload)
    return nals
