"""Publishing to an RTSP server (MediaMTX and its like): ANNOUNCE, SETUP, RECORD (RFC 2326)."""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import secrets
import select
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from stream.connection import Backoff
from stream.errors import SinkError
from stream.network import rtsp_transport, without_password
from stream.rtsp.nal import parse_extradata
from stream.rtsp.payload import h264_payloads
from stream.rtsp.rtp import RTP_HEADER_BYTES, RtpStream
from stream.rtsp.sdp import describe
from stream.rtsp.tracks import AUDIO, VIDEO, AudioCodec, AudioTrack, VideoTrack

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 5.0
_PACKET_BYTES = 1400
_REPORT_SECONDS = 5.0
_ALIVE_SECONDS = 20.0  # servers forget a silent control connection after 60 s


class RtspPusher:
    """Sends one coded stream to a server, and connects again when that goes away.

    Used by one thread, which waits for the server for `TIMEOUT_SECONDS` at most; a unit that
    cannot be sent is lost, and sending goes on at the next key frame.
    """

    def __init__(
        self, url: str, *, on_key_request: Callable[[], None], backoff: Backoff | None = None
    ) -> None:
        self._url, self._transport = rtsp_transport(url)
        self.url = without_password(self._url)
        self._on_key_request = on_key_request
        self._video: VideoTrack | None = None
        self._audio: AudioTrack | None = None
        self._connection: Connection | None = None
        self._backoff = backoff or Backoff()
        self._waits: Iterator[float] | None = None  # until the next attempt; None: never lost
        self._next_try = 0.0
        self._lost_at = 0.0
        self._needs_key = True
        self.reconnects = 0
        self.dropped = 0  # access units that found no server

    def set_video(self, extradata: bytes | None = None) -> None:
        self._video = VideoTrack(*parse_extradata(extradata or b""))

    def set_audio(
        self,
        codec: AudioCodec,
        *,
        sample_rate: int,
        channels: int,
        config: bytes | None = None,
    ) -> None:
        self._audio = AudioTrack(codec, config or b"", sample_rate, channels)

    def publish_video(self, access_unit: bytes, pts_seconds: float, is_key: bool) -> None:
        """Sends a coded picture. Raises SinkError when the very first connection fails."""
        assert self._video is not None
        sets, nals = self._video.read(access_unit, is_key)
        self._video = replace(self._video, sets=sets)
        if self._connection is None and not self._connect():
            self.dropped += 1
            return
        if self._needs_key and not is_key:
            self.dropped += 1
            return
        self._needs_key = False
        self._send(VIDEO, h264_payloads(nals, _PACKET_BYTES - RTP_HEADER_BYTES), pts_seconds)

    def publish_audio(self, frame: bytes, pts_seconds: float) -> None:
        """Sends a coded audio frame or a run of samples, once the picture flows."""
        if self._audio is None or self._connection is None or self._needs_key:
            return
        for later, payloads in self._audio.cut(frame, _PACKET_BYTES - RTP_HEADER_BYTES):
            self._send(AUDIO, payloads, pts_seconds + later)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> bool:
        """Connects if it is time to try; the first time a failure is an error."""
        if time.monotonic() < self._next_try:
            return False
        assert self._video is not None
        try:
            self._connection = Connection(self._url, self._transport, self._video, self._audio)
        except (OSError, SinkError) as error:
            if self._waits is None:
                raise SinkError(f"cannot push to {self.url}: {_said(error)}") from error
            log.debug("%s: %s", self.url, _said(error))
            self._wait(error)
            return False
        if self._waits is not None:
            self.reconnects += 1
            away = time.monotonic() - self._lost_at
            log.warning("%s: connected again after %.1f s", self.url, away)
        self._waits = iter(self._backoff)
        self._needs_key = True
        self._on_key_request()
        return True

    def _send(self, track: int, payloads: list[bytes], pts_seconds: float) -> None:
        assert self._connection is not None
        try:
            self._connection.send(track, payloads, pts_seconds)
        except OSError as error:
            log.warning("%s: lost (%s); trying again", self.url, _said(error))
            self._connection.close()
            self._connection = None
            self._waits = iter(self._backoff)
            self._lost_at = time.monotonic()
            self._wait(error)

    def _wait(self, error: BaseException) -> None:
        assert self._waits is not None
        limit = self._backoff.give_up_seconds
        if limit is not None and time.monotonic() - self._lost_at >= limit:
            raise SinkError(f"{self.url} did not come back within {limit:g} s") from error
        self._next_try = time.monotonic() + next(self._waits)


class Connection:
    """One RECORD session. Raises OSError or SinkError when the server does not take it."""

    def __init__(
        self, url: str, transport: str, video: VideoTrack, audio: AudioTrack | None
    ) -> None:
        parts = urlsplit(url)
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._host = parts.hostname or "127.0.0.1"
        self._url = without_password(url)
        self._sequence = 0
        self._session = ""
        self._challenge = ""
        self._received = b""
        self._datagrams: dict[int, tuple[socket.socket, socket.socket]] = {}
        address = self._host, parts.port or 554
        self._socket = socket.create_connection(address, timeout=TIMEOUT_SECONDS)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._record(transport, video, audio)
        except BaseException:
            self.close()
            raise
        self._reported = self._alive = time.monotonic()

    def send(self, track: int, payloads: list[bytes], seconds: float) -> None:
        """Sends an access unit as RTP packets. Raises OSError."""
        rtp = self._streams.get(track)
        if rtp is None:
            return
        self._heed()
        self._put(2 * track, rtp.packets(payloads, seconds))
        now = time.monotonic()
        if now - self._reported >= _REPORT_SECONDS:
            self._reported = now
            for number, stream in self._streams.items():
                report = stream.sender_report(
                    wall_seconds=time.time(), media_seconds=seconds, name="kinemacolor"
                )
                self._put(2 * number + 1, [report])
        if now - self._alive >= _ALIVE_SECONDS:
            self._alive = now
            self._socket.sendall(self._request("OPTIONS", self._url))

    def close(self) -> None:
        try:
            if self._session:
                self._socket.sendall(self._request("TEARDOWN", self._url))
        except OSError:
            pass  # it is gone already
        self._socket.close()
        for pair in self._datagrams.values():
            for sock in pair:
                sock.close()

    def _record(self, transport: str, video: VideoTrack, audio: AudioTrack | None) -> None:
        tracks = {VIDEO: video} | ({} if audio is None else {AUDIO: audio})
        self._streams = {
            number: RtpStream(track.payload_type, track.clock_rate, track.marks_ends)
            for number, track in tracks.items()
        }
        address = self._socket.getsockname()[0]
        sdp = describe(video, audio, address=address, number=1, title="kinemacolor")
        self._ask("OPTIONS", self._url)
        self._ask("ANNOUNCE", self._url, body=sdp, Content_Type="application/sdp")
        for track in tracks:
            self._set_up(track, transport)
        self._ask("RECORD", self._url, Range="npt=0.000-")

    def _set_up(self, track: int, transport: str) -> None:
        target = f"{self._url}/trackID={track}"
        if transport == "tcp":
            channels = f"{2 * track}-{2 * track + 1}"
            wanted = f"RTP/AVP/TCP;unicast;interleaved={channels};mode=record"
            self._ask("SETUP", target, Transport=wanted)
            return
        family = self._socket.family
        pair = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_DGRAM)
        self._datagrams[track] = pair
        for sock in pair:
            sock.bind((self._socket.getsockname()[0], 0))
        ports = "-".join(str(sock.getsockname()[1]) for sock in pair)
        wanted = f"RTP/AVP;unicast;client_port={ports};mode=record"
        reply = self._ask("SETUP", target, Transport=wanted)
        server = re.search(r"server_port=(\d+)-(\d+)", reply.get("transport", ""))
        if server is None:
            raise SinkError("the server names no UDP ports; try the URL without ?udp")
        peer = self._socket.getpeername()[0]
        for sock, port in zip(pair, server.groups(), strict=True):
            sock.connect((peer, int(port)))

    def _put(self, channel: int, packets: list[bytes]) -> None:
        if self._datagrams:
            sock = self._datagrams[channel // 2][channel % 2]
            for packet in packets:
                sock.send(packet)
            return
        head = b"$" + bytes([channel])
        self._socket.sendall(b"".join(head + len(p).to_bytes(2, "big") + p for p in packets))

    def _heed(self) -> None:
        """Reads away what the server says while it records: receiver reports, answers."""
        while select.select([self._socket], [], [], 0)[0]:
            if not self._socket.recv(65536):
                raise ConnectionResetError("the server closed the connection")

    # Requests and answers

    def _ask(self, method: str, url: str, *, body: bytes = b"", **headers: str) -> dict[str, str]:
        """One request and its answer; once more with a login when that is asked for."""
        status, fields = self._exchange(self._request(method, url, body=body, **headers))
        if status == 401 and self._user:
            self._challenge = fields.get("www-authenticate", "")
            status, fields = self._exchange(self._request(method, url, body=body, **headers))
        if status == 401:
            raise SinkError("user or password refused (401)")
        if not 200 <= status < 300:
            raise SinkError(f"the server answers {method} with {status}")
        self._session = fields.get("session", self._session).partition(";")[0]
        return fields

    def _request(self, method: str, url: str, *, body: bytes = b"", **headers: str) -> bytes:
        self._sequence += 1
        lines = [f"{method} {url} RTSP/1.0", f"CSeq: {self._sequence}", "User-Agent: kinemacolor"]
        if self._session:
            lines.append(f"Session: {self._session}")
        if self._challenge:
            login = authorization(self._challenge, method, url, self._user, self._password)
            lines.append(f"Authorization: {login}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body

    def _exchange(self, request: bytes) -> tuple[int, dict[str, str]]:
        self._socket.sendall(request)
        while b"\r\n\r\n" not in self._received:
            data = self._socket.recv(65536)
            if not data or len(self._received) > 1 << 16:
                raise ConnectionResetError("the server closed the connection")
            self._received += data
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        first, *lines = head.decode("utf-8", "replace").split("\r\n")
        match = re.match(r"RTSP/1\.\d (\d{3})", first)
        if match is None:
            raise SinkError(f"this is no RTSP server: it answers {first[:40]!r}")
        fields: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name, value = name.strip().lower(), value.strip()
            # Of several challenges the one that does not show the password.
            if name != "www-authenticate" or value.lower().startswith("digest"):
                fields[name] = value
            else:
                fields.setdefault(name, value)
        length = int(fields.get("content-length", "0"))
        while len(self._received) < length:
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionResetError("the server closed the connection")
            self._received += data
        self._received = self._received[length:]
        return int(match[1]), fields


def authorization(challenge: str, method: str, url: str, user: str, password: str) -> str:
    """The Authorization header that answers a challenge: Digest (RFC 7616) or Basic (RFC 7617)."""
    if not challenge.lower().startswith("digest"):
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    asked = dict(re.findall(r'(\w+)="?([^",]*)"?', challenge))
    algorithm = asked.get("algorithm", "MD5").upper()

    def digest(text: str) -> str:
        name = "sha256" if algorithm == "SHA-256" else "md5"
        return hashlib.new(name, text.encode(), usedforsecurity=False).hexdigest()

    realm, nonce = asked.get("realm", ""), asked.get("nonce", "")
    ours, theirs = digest(f"{user}:{realm}:{password}"), digest(f"{method}:{url}")
    fields = f'username="{user}", realm="{realm}", nonce="{nonce}", uri="{url}"'
    if "auth" in asked.get("qop", "").split(","):
        once = secrets.token_hex(8)
        answer = digest(f"{ours}:{nonce}:00000001:{once}:auth:{theirs}")
        fields += f', qop=auth, nc=00000001, cnonce="{once}"'
    else:
        answer = digest(f"{ours}:{nonce}:{theirs}")
    if "algorithm" in asked:
        fields += f", algorithm={asked['algorithm']}"
    return f'Digest {fields}, response="{answer}"'


def _said(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT_SECONDS:g} s"
    return getattr(error, "strerror", None) or str(error)
