"""Answers each RTSP method on one connection (RFC 2326, 10)."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from typing import Any, Literal

from kinemacolor.stream.rtsp.broadcast import Broadcast
from kinemacolor.stream.rtsp.message import Request, Response, content_base, locate
from kinemacolor.stream.rtsp.outlet import Outlet, TcpOutlet, UdpOutlet
from kinemacolor.stream.rtsp.rtp import RtpStream
from kinemacolor.stream.rtsp.sdp import describe
from kinemacolor.stream.rtsp.session import Leg, Session
from kinemacolor.stream.rtsp.tracks import VIDEO
from kinemacolor.stream.rtsp.transport import (
    TcpOffer,
    UdpOffer,
    format_tcp,
    format_udp,
    parse_transport,
)

logger = logging.getLogger(__name__)

METHODS = (
    "OPTIONS",
    "DESCRIBE",
    "SETUP",
    "PLAY",
    "PAUSE",
    "GET_PARAMETER",
    "SET_PARAMETER",
    "TEARDOWN",
)
# FFmpeg and VLC ask for OPTIONS before they offer a login; it tells nothing.
OPEN_METHODS = frozenset({"OPTIONS"})
_OTHER_METHODS = frozenset({"ANNOUNCE", "RECORD", "REDIRECT"})
_PUBLIC = ("Public", ", ".join(METHODS))
_SESSION_ID = re.compile(r"([0-9a-f]{24})(?:\s*;.*)?\Z")


class Methods:
    """Answers requests; holds the one session that this connection has opened or controls."""

    def __init__(
        self, broadcast: Broadcast, writer: asyncio.StreamWriter, *, path: str, title: str
    ) -> None:
        self.session: Session | None = None
        self._has_played = False
        self._broadcast = broadcast
        self._writer = writer
        self._path = path
        self._title = title
        self._number = secrets.randbits(31)

    @property
    def has_session(self) -> bool:
        """Whether the session that was opened here is still there."""
        return self.session is not None and self.session.id in self._broadcast.sessions

    @property
    def has_played(self) -> bool:
        """Whether this connection, or the session that it controls, has ever played."""
        return self._has_played or (self.session is not None and self.session.has_played)

    def leave(self) -> None:
        """Ends what goes with the connection: TCP viewers; UDP viewers may live on a little."""
        session, self.session = self.session, None
        if session is None or session.id not in self._broadcast.sessions:
            return
        session.hang_up = lambda: None
        if session.kind == "tcp":
            self._broadcast.end(session, "connection_closed")
        else:
            session.is_orphan = True

    def answer(self, request: Request) -> Response:
        if request.method not in METHODS:
            known = request.method in _OTHER_METHODS
            return Response(405, (("Allow", _PUBLIC[1]),)) if known else Response(501, (_PUBLIC,))
        if "require" in request.headers:
            return Response(551, (("Unsupported", request.headers["require"]),))
        if request.uri == "*" and request.method in ("OPTIONS", "GET_PARAMETER", "SET_PARAMETER"):
            track = None
        else:
            try:
                track = locate(request.uri, self._path, tracks=self._broadcast.tracks)
            except KeyError:
                waiting = not self._broadcast.is_ready and "/trackID=" in request.uri
                return Response(503 if waiting else 404)
        session = self._find_session(request)
        if session == "unknown":
            return Response(454)
        if session is not None:
            session.touch()
        match request.method:
            case "OPTIONS":
                return Response(200, (_PUBLIC,))
            case "DESCRIBE":
                return self._describe(request)
            case "SETUP":
                return self._setup(request, session, track)
            case "GET_PARAMETER" | "SET_PARAMETER":
                # Players send them empty, to keep the session.
                return Response(451 if request.body.strip() else 200, _session_header(session))
        if session is None:
            return Response(454)
        if track is not None and (track not in session.legs or len(session.legs) > 1):
            return Response(460)
        match request.method:
            case "PLAY":
                return self._play(request, session)
            case "PAUSE":
                return self._pause(session)
            case _:
                self._broadcast.end(session, "teardown")
                self.session = None if session is self.session else self.session
                return Response(200)

    def _find_session(self, request: Request) -> Session | Literal["unknown"] | None:
        """Finds the session a request names; one opened elsewhere only from the same address."""
        header = request.headers.get("session")
        if header is None:
            return None
        match = _SESSION_ID.match(header)
        session = self._broadcast.sessions.get(match[1]) if match else None
        if session is None or session.peer != self._address[0]:
            return "unknown"
        if session.kind == "udp":
            if not self.has_session:
                self.session = session
                session.hang_up = self._writer.transport.abort
            session.is_orphan = False
        return session

    @property
    def _address(self) -> tuple[Any, ...]:
        return self._writer.get_extra_info("peername") or ("", 0)

    def _describe(self, request: Request) -> Response:
        accepted = request.headers.get("accept", "application/sdp").lower()
        if not any(kind in accepted for kind in ("application/sdp", "application/*", "*/*")):
            return Response(406)
        broadcast = self._broadcast
        if not broadcast.is_ready:
            return Response(503, (("Retry-After", "1"),))
        own = self._writer.get_extra_info("sockname") or ("0.0.0.0",)
        tracks = broadcast.tracks
        body = describe(
            broadcast.video if VIDEO in tracks else None,
            broadcast.audio,
            address=own[0],
            number=self._number,
            title=self._title,
        )
        headers = (
            ("Content-Type", "application/sdp"),
            ("Content-Base", content_base(request.uri)),
            ("Cache-Control", "no-cache"),
        )
        return Response(200, headers, body)

    def _setup(self, request: Request, session: Session | None, track: int | None) -> Response:
        broadcast = self._broadcast
        tracks = broadcast.tracks
        if not broadcast.is_ready:
            return Response(503, (("Retry-After", "1"),))
        if track is None:
            if len(tracks) != 1:
                return Response(459)
            track = next(iter(tracks))
        if session.state == "playing" if session else self.has_session:
            return Response(455)
        offer = self._choose(request, session)
        if offer is None:
            return Response(461)
        if session is None:
            session = broadcast.new_session(
                self._address[0], "tcp" if isinstance(offer, TcpOffer) else "udp"
            )
            if session is None:
                return Response(503, (("Retry-After", "10"),))
            self.session = session
            session.hang_up = self._writer.transport.abort
        of = tracks[track]
        stream = RtpStream(of.payload_type, of.clock_rate, of.marks_ends)
        outlet: Outlet
        if isinstance(offer, TcpOffer):
            used = {
                channel
                for index, leg in session.legs.items()
                if index != track and isinstance(leg.outlet, TcpOutlet)
                for channel in leg.outlet.channels
            }
            channels = offer.channels or (2 * track, 2 * track + 1)
            if used & set(channels):
                return Response(461)
            outlet = TcpOutlet(self._writer, channels)
            transport = format_tcp(channels, stream.ssrc)
        else:
            outlet, transport = self._udp_outlet(session, track, offer, stream.ssrc)
        session.legs[track] = Leg(stream, outlet)
        return Response(200, (("Transport", transport), *_session_header(session, timeout=True)))

    def _choose(self, request: Request, session: Session | None) -> TcpOffer | UdpOffer | None:
        """Chooses the first transport offered that is served; one kind for a whole session.

        Packets on a connection belong to the session that was opened on it.
        """
        for offer in parse_transport(request.headers.get("transport", "")):
            kind = "tcp" if isinstance(offer, TcpOffer) else "udp"
            if kind == "udp" and not self._reaches_udp():
                continue
            if session is None or (
                session.kind == kind and (kind == "udp" or session is self.session)
            ):
                return offer
        return None

    def _reaches_udp(self) -> bool:
        """Whether there is a pair of UDP ports of the connection's own address family."""
        return self._family() in self._broadcast.udp

    def _family(self) -> Any:
        sock = self._writer.get_extra_info("socket")
        return None if sock is None else sock.family

    def _udp_outlet(
        self, session: Session, track: int, offer: UdpOffer, ssrc: int
    ) -> tuple[UdpOutlet, str]:
        pair = self._broadcast.udp[self._family()]
        host, _, *scope = self._address
        rtp, rtcp = ((host, port, *scope) for port in offer.ports)
        before = session.legs[track].outlet if track in session.legs else None
        self._broadcast.listen(
            session, rtcp, instead_of=before.rtcp_address if isinstance(before, UdpOutlet) else None
        )
        outlet = UdpOutlet(pair, rtp, rtcp, self._broadcast.dropped)
        return outlet, format_udp(offer.ports, pair.ports, ssrc)

    def _play(self, request: Request, session: Session) -> Response:
        base = content_base(request.uri)
        media_seconds = self._broadcast.media_now()
        info = ",".join(
            f"url={base}trackID={track};seq={leg.stream.sequence};"
            f"rtptime={leg.stream.timestamp(media_seconds)}"
            for track, leg in sorted(session.legs.items())
        )
        headers = [("Range", "npt=now-"), *_session_header(session)]
        if session.state != "playing":
            headers.append(("RTP-Info", info))
            session.play()
            self._has_played = True
            self._broadcast.door.remember(session.peer)
            self._broadcast.counts["plays"] += 1
            logger.info("viewer %s plays over %s", session.peer, session.kind)
            self._broadcast.ask_for_key()
        return Response(200, tuple(headers))

    def _pause(self, session: Session) -> Response:
        if session.state != "playing":
            return Response(455)
        session.pause()
        return Response(200, _session_header(session))


def _session_header(
    session: Session | None, *, timeout: bool = False
) -> tuple[tuple[str, str], ...]:
    if session is None:
        return ()
    seconds = f";timeout={session.timeout_seconds}" if timeout else ""
    return (("Session", session.id + seconds),)
