"""Serves RTSP on a thread with an event loop of its own, fed from the thread that encodes."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import re
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import replace
from typing import Self

from kinemacolor.stream.rtsp.auth import Credentials
from kinemacolor.stream.rtsp.broadcast import Broadcast, Stats
from kinemacolor.stream.rtsp.connection import Connection, peer_of
from kinemacolor.stream.rtsp.door import Guest
from kinemacolor.stream.rtsp.errors import BadMedia, CannotServe
from kinemacolor.stream.rtsp.limits import Limits
from kinemacolor.stream.rtsp.message import Response, format_response
from kinemacolor.stream.rtsp.nal import parse_extradata
from kinemacolor.stream.rtsp.outlet import UdpPair
from kinemacolor.stream.rtsp.payload import h264_payloads
from kinemacolor.stream.rtsp.publisher import Publisher
from kinemacolor.stream.rtsp.rtp import RTP_HEADER_BYTES
from kinemacolor.stream.rtsp.tracks import AUDIO, VIDEO, AudioTrack, VideoTrack

logger = logging.getLogger(__name__)

_PATH = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*\Z")
# Where IPv4 is served IPv6 is beside it, and the other way round.
_HOSTS = {
    "127.0.0.1": ("127.0.0.1", "::1"),
    "localhost": ("127.0.0.1", "::1"),
    "::1": ("::1", "127.0.0.1"),
    "0.0.0.0": ("0.0.0.0", "::"),
    "::": ("::", "0.0.0.0"),
}
_MAX_PENDING = 512
_GOODBYE_SECONDS = 1.0


class RtspServer(Publisher):
    """Serves one stream of H.264 and, if there is sound, one of an `AudioCodec`.

    `publish_video` and `publish_audio` may be called from any one thread between `start` and
    `close`; they never wait for a viewer.

    Args:
        port: 0 takes any free one; `port` and `url` say which.
        credentials: Asked of every viewer by Digest authentication; None lets everybody in.
        on_key_request: Called on the server's thread when a viewer has begun and needs a key
            frame; without it the viewer waits for the next one. Must return at once.
        udp: Whether viewers may take RTP over UDP beside TCP.
        udp_port: The even RTP port; RTCP takes the next. 0 takes any free pair.
        tls: Serves RTSPS with this certificate, over TCP alone: RTP over UDP would be open.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8554,
        path: str = "live",
        *,
        credentials: Credentials | None = None,
        limits: Limits | None = None,
        on_key_request: Callable[[], None] | None = None,
        udp: bool = True,
        udp_port: int = 0,
        tls: ssl.SSLContext | None = None,
        title: str = "kinemacolor",
    ) -> None:
        if not _PATH.match(path):
            raise CannotServe(
                f"cannot serve at {path!r}: a path has letters, digits and . _ ~ - (no dot first)"
            )
        self.host = host
        self.port = port
        self.path = path
        self._credentials = credentials
        self._limits = limits or Limits()
        self._on_key_request = on_key_request
        self._tls = tls
        self._udp = udp and tls is None
        self._udp_port = udp_port
        self._title = re.sub(r"[^\x20-\x7e]", "?", title) or "-"
        self._broadcast = Broadcast(self._limits, self._on_key_request)
        self._connections: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._pending = 0
        self._behind = False
        self._lock = threading.Lock()

    def start(self) -> None:
        """Binds and serves; returns once viewers can connect.

        Raises:
            CannotServe: the address is taken or not this machine's.
        """
        if self._thread is not None:
            raise CannotServe("this RTSP server has been started before; make a new one")
        bound: Future[None] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._main(bound)), name="rtsp-server"
        )
        self._thread.start()
        try:
            bound.result()
        except BaseException:  # Ctrl-C included: no thread is left behind
            wait([bound])
            self.close()
            raise
        if self._credentials is None and not _is_loopback(self.host):
            logger.warning("%s is open to everybody who reaches this machine: no login", self.url)

    def close(self) -> None:
        """Says goodbye to all viewers and joins the thread; a second call does nothing."""
        with self._lock:
            loop, stop = self._loop, self._stop
            self._loop = None
        if loop is not None and stop is not None:
            loop.call_soon_threadsafe(stop.set)
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host or "0.0.0.0"
        scheme = "rtsp" if self._tls is None else "rtsps"
        return f"{scheme}://{host}:{self.port}/{self.path}"

    def stats(self) -> Stats:
        """Takes a snapshot of the counters, from any thread."""
        return self._broadcast.stats(connections=len(self._connections))

    def set_video(self, extradata: bytes | None = None) -> None:
        """Declares H.264 video; viewers are asked to come back until SPS and PPS are known."""
        self._broadcast.video = VideoTrack(*parse_extradata(extradata or b""))

    def set_audio(self, audio: AudioTrack) -> None:
        self._broadcast.audio = audio

    def publish_video(self, access_unit: bytes, pts_seconds: float, is_key: bool) -> None:
        """Sends one coded picture to all viewers, in decoding order.

        Raises:
            BadMedia: no video was declared, or this is not its kind of access unit.
            CannotServe: the server has stopped.
        """
        video = self._broadcast.video
        if video is None:
            raise BadMedia("publish_video before set_video")
        sets, nals = video.read(access_unit, is_key)
        if sets is not video.sets:
            self._broadcast.video = replace(video, sets=sets)
        max_bytes = self._limits.packet_bytes - RTP_HEADER_BYTES
        self._hand_over(VIDEO, h264_payloads(nals, max_bytes), pts_seconds, is_key)

    def publish_audio(self, frame: bytes, pts_seconds: float) -> None:
        audio = self._broadcast.audio
        if audio is None:
            raise BadMedia("publish_audio before set_audio")
        max_bytes = self._limits.packet_bytes - RTP_HEADER_BYTES
        for later, payloads in audio.cut(frame, max_bytes):
            self._hand_over(AUDIO, payloads, pts_seconds + later, is_key=True)

    def _hand_over(
        self, track: int, payloads: list[bytes], pts_seconds: float, is_key: bool
    ) -> None:
        with self._lock:
            if self._loop is None:
                raise CannotServe("the RTSP server is not running")
            # A loop that is this far behind is starved of the processor: skip to a key frame
            # rather than let its inbox grow.
            if self._pending >= _MAX_PENDING:
                self._behind = True
            elif self._broadcast.video is None or (is_key and track == VIDEO):
                self._behind = False
            if self._behind:
                self._broadcast.dropped["server_behind"] += 1
                if self._pending < _MAX_PENDING:
                    self._loop.call_soon_threadsafe(self._broadcast.ask_for_key, True)
                return
            self._pending += 1
            self._loop.call_soon_threadsafe(self._take, track, payloads, pts_seconds, is_key)

    def _take(self, track: int, payloads: list[bytes], pts_seconds: float, is_key: bool) -> None:
        with self._lock:
            self._pending -= 1
        self._broadcast.send(track, payloads, pts_seconds, is_key)

    async def _main(self, bound: Future[None]) -> None:
        try:
            servers = await self._bind()
        except (OSError, ValueError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            failure = CannotServe(f"cannot serve at {self.url}: {why}")
            failure.__cause__ = error
            bound.set_exception(failure)
            return
        except BaseException as error:
            bound.set_exception(error)
            raise
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        bound.set_result(None)
        try:
            while not self._stop.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), 1.0)
                self._broadcast.tidy()
        finally:
            with self._lock:
                self._loop = None
            for server in servers:
                server.close()
            self._broadcast.close()
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _bind(self) -> list[asyncio.Server]:
        """Binds the address, and beside it, where it can be had, its like of the other IP."""
        first, *beside = _HOSTS.get(self.host, (self.host,))
        servers = [await self._bind_one(first)]
        for host in beside:
            try:
                servers.append(await self._bind_one(host))
            except OSError as error:  # a machine without IPv6, or somebody else's port
                logger.debug("not at %s: %s", host, error)
        return servers

    async def _bind_one(self, host: str) -> asyncio.Server:
        server = await asyncio.start_server(
            self._connected, host, self.port, backlog=128, limit=64 << 10
        )
        try:
            if self._udp:
                pair = await UdpPair.open(host, self._udp_port, self._broadcast.on_rtcp)
                self._broadcast.udp[pair.family] = pair
        except OSError:
            server.close()
            raise
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        guest = self._welcome(writer)
        try:
            if guest is not None:
                _bound_send_buffer(writer, self._limits.send_buffer_bytes)
                await self._start_tls(writer)
                await Connection(
                    reader,
                    writer,
                    self._broadcast,
                    path=self.path,
                    title=self._title,
                    credentials=self._credentials,
                    guest=guest,
                ).serve()
            writer.close()
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await writer.wait_closed()
        except OSError:
            pass  # gone, or too slow to take its last answer (TimeoutError)
        except asyncio.CancelledError:
            # Only closing the server cancels a connection, and it waits for this task.
            writer.close()
        finally:
            writer.transport.abort()
            self._connections.discard(task)
            if guest is not None:
                self._broadcast.door.leave(guest)

    async def _start_tls(self, writer: asyncio.StreamWriter) -> None:
        """Begins TLS, if it is to be. Raises OSError when the client does not."""
        if self._tls is None:
            return
        try:
            await writer.start_tls(self._tls, ssl_handshake_timeout=self._limits.first_word_seconds)
        except OSError:
            self._broadcast.refused["no_tls"] += 1
            raise

    def _welcome(self, writer: asyncio.StreamWriter) -> Guest | None:
        address = peer_of(writer)
        if not address:
            return None
        refused = self._broadcast.refused
        full = refused["too_many_connections"]
        guest = self._broadcast.door.enter(address[0], writer.transport.abort)
        if guest is None and refused["too_many_connections"] > full and self._tls is None:
            writer.write(format_response(Response(503, (("Retry-After", "10"),)), None, "-"))
        return guest


def _bound_send_buffer(writer: asyncio.StreamWriter, size: int) -> None:
    """Keeps the kernel from hoarding seconds of video for a slow viewer."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
