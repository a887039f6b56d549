"""Publishes to an RTSP server (MediaMTX and its like): ANNOUNCE, SETUP, RECORD (RFC 2326)."""

from __future__ import annotations

import base64
import re
import secrets
import select
import socket
import time
from urllib.parse import unquote, urlsplit, urlunsplit

from kinemacolor.stream.address import RtspPush
from kinemacolor.stream.errors import SinkError
from kinemacolor.stream.rtsp.auth import HASHES, digest_response, parse_parameters
from kinemacolor.stream.rtsp.payload import h264_payloads
from kinemacolor.stream.rtsp.publisher import Uplink, received
from kinemacolor.stream.rtsp.rtp import RTP_HEADER_BYTES, RtpStream
from kinemacolor.stream.rtsp.sdp import describe
from kinemacolor.stream.rtsp.tracks import AUDIO, VIDEO, AudioTrack, VideoTrack

_PAYLOAD_BYTES = 1400 - RTP_HEADER_BYTES
_REPORT_SECONDS = 5.0
_ALIVE_SECONDS = 20.0  # servers forget a silent control connection after 60 s


class RtspUplink(Uplink):
    """One RECORD session: over TCP, or with `?udp` at the URL's end over UDP.

    Raises OSError or SinkError when the server does not take it.
    """

    def __init__(
        self, address: RtspPush, video: VideoTrack, audio: AudioTrack | None, timeout_seconds: float
    ) -> None:
        parts = urlsplit(address.url)
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._host = parts.hostname or "127.0.0.1"
        self._url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        self._sequence = 0
        self._session = ""
        self._challenge = ""
        self._received = b""
        self._datagrams: dict[int, tuple[socket.socket, socket.socket]] = {}
        target = self._host, parts.port or 554
        self._socket = socket.create_connection(target, timeout=timeout_seconds)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._record(address.transport, video, audio)
        except BaseException:
            self.close()
            raise
        self._reported = self._alive = time.monotonic()

    def send_video(
        self, video: VideoTrack, nals: list[bytes], seconds: float, is_key: bool
    ) -> None:
        self._send(VIDEO, h264_payloads(nals, _PAYLOAD_BYTES), seconds)

    def send_audio(self, audio: AudioTrack, data: bytes, seconds: float) -> None:
        for later, payloads in audio.cut(data, _PAYLOAD_BYTES):
            self._send(AUDIO, payloads, seconds + later)

    def _send(self, track: int, payloads: list[bytes], seconds: float) -> None:
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
            received(self._socket)

    # Requests and answers

    def _ask(self, method: str, url: str, *, body: bytes = b"", **headers: str) -> dict[str, str]:
        """Sends a request and reads its answer; once more with a login when that is asked for."""
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
            if len(self._received) > 1 << 16:
                raise SinkError("this is no RTSP server: its answer has no end")
            self._received += received(self._socket)
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
            self._received += received(self._socket)
        self._received = self._received[length:]
        return int(match[1]), fields


def authorization(challenge: str, method: str, url: str, user: str, password: str) -> str:
    """Answers a challenge with an Authorization header: Digest (RFC 7616) or Basic (RFC 7617)."""
    if not challenge.lower().startswith("digest"):
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    asked = parse_parameters(challenge.partition(" ")[2])
    given = {"nonce": asked.get("nonce", ""), "uri": url}
    if "auth" in asked.get("qop", "").split(","):
        given |= {"qop": "auth", "nc": "00000001", "cnonce": secrets.token_hex(8)}
    realm = asked.get("realm", "")
    hashed = HASHES.get(asked.get("algorithm", "MD5").upper(), HASHES["MD5"])
    response = digest_response(
        hashed, user=user, realm=realm, password=password, method=method, given=given
    )
    fields = {"username": user, "realm": realm} | given | {"response": response}
    bare = ("qop", "nc")  # RFC 7616, 3.4
    words = [f"{k}={v}" if k in bare else f'{k}="{v}"' for k, v in fields.items()]
    if "algorithm" in asked:
        words.append(f"algorithm={asked['algorithm']}")
    return f"Digest {', '.join(words)}"
