"""Holds what all connections share: tracks, viewers, counters. Runs on the server's loop."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from kinemacolor.stream.rtsp.door import Door
from kinemacolor.stream.rtsp.limits import Limits
from kinemacolor.stream.rtsp.outlet import UdpPair
from kinemacolor.stream.rtsp.rtp import is_rtcp
from kinemacolor.stream.rtsp.session import Session
from kinemacolor.stream.rtsp.tracks import AUDIO, VIDEO, AudioTrack, Timeline, Unit, VideoTrack

logger = logging.getLogger(__name__)

_KEY_REQUEST_SECONDS = 0.5
_LAG_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Stats:
    """Counters since the start, each a dict by name; `clients` and `connections` are now.

    counts: requests, sessions, plays, units, packets, bytes, receiver_reports, key_requests, jumps.
    dropped: units not sent, by cause: slow_viewer, server_behind; and packets: udp_full.
    refused: status_4xx and 5xx answers, connection_rate, too_many_connections,
        too_many_of_one_address, wrong_logins, silent, never_played, half_open, idle, no_tls,
        stray_rtcp, bad_rtcp.
    ended: viewers by cause: teardown, connection_closed, connection_lost, stalled, timeout,
        never_played, server_closed, error.
    """

    clients: int
    connections: int
    counts: dict[str, int]
    dropped: dict[str, int]
    refused: dict[str, int]
    ended: dict[str, int]


class Broadcast:
    """The one stream that is served, and everybody who watches it."""

    def __init__(self, limits: Limits, on_key_request: Callable[[], None] | None) -> None:
        self.limits = limits
        self.video: VideoTrack | None = None
        self.audio: AudioTrack | None = None
        self.udp: dict[socket.AddressFamily, UdpPair] = {}
        self.sessions: dict[str, Session] = {}
        self._sources: dict[tuple[str, int], Session] = {}
        self.counts: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.door = Door(limits, self.refused)
        self._on_key_request = on_key_request
        self._asked_seconds = float("-inf")
        self._asked_for_all = False
        self._ask_later: asyncio.TimerHandle | None = None
        self._timeline = Timeline()
        self._media_zero: float | None = None

    @property
    def tracks(self) -> dict[int, VideoTrack | AudioTrack]:
        """The tracks that can be described by now."""
        tracks: dict[int, VideoTrack | AudioTrack] = {}
        if self.video is not None and self.video.sets.is_whole:
            tracks[VIDEO] = self.video
        if self.audio is not None:
            tracks[AUDIO] = self.audio
        return tracks

    @property
    def is_ready(self) -> bool:
        """Whether every declared track can be described."""
        return bool(self.tracks) and (self.video is None or VIDEO in self.tracks)

    def media_now(self) -> float:
        """Returns the media clock's time: 0 at the first unit, and on with the monotonic clock."""
        return 0.0 if self._media_zero is None else time.monotonic() - self._media_zero

    def send(self, track: int, payloads: list[bytes], pts_seconds: float, is_key: bool) -> None:
        """Hands one access unit to every viewer."""
        if self._media_zero is None:
            self._media_zero = time.monotonic()
        media_seconds = self._timeline.place(track, pts_seconds)
        self.counts["jumps"] = self._timeline.jumps
        if abs(media_seconds - self.media_now()) > _LAG_SECONDS:
            # A publisher slower than the clock, or one that paused: the reports follow it.
            self._media_zero = time.monotonic() - media_seconds
        unit = Unit(track, payloads, media_seconds, is_key, sum(map(len, payloads)))
        for session in self.sessions.values():
            session.offer(unit)
        if any(session.is_waiting_for_key for session in self.sessions.values()):
            self.ask_for_key()  # the next one may be far, or never come

    def ask_for_key(self, for_all: bool = False) -> None:
        """Asks the publisher for a key frame, at most twice a second.

        Args:
            for_all: no viewer waits by itself, but none is sent anything before a key frame.
        """
        self._asked_for_all |= for_all
        if self._on_key_request is None or self._ask_later is not None:
            return
        wait = self._asked_seconds + _KEY_REQUEST_SECONDS - time.monotonic()
        if wait <= 0:
            self._ask()
        else:
            self._ask_later = asyncio.get_running_loop().call_later(wait, self._ask)

    def _ask(self) -> None:
        self._ask_later = None
        waiting = any(session.is_waiting_for_key for session in self.sessions.values())
        if not (waiting or self._asked_for_all):
            return
        self._asked_for_all = False
        assert self._on_key_request is not None
        self._asked_seconds = time.monotonic()
        self.counts["key_requests"] += 1
        try:
            self._on_key_request()
        except Exception:
            logger.exception("the publisher's key frame callback failed")

    def new_session(self, peer: str, kind: Literal["tcp", "udp"]) -> Session | None:
        """Opens a session; None when all places are taken.

        A quarter of them is kept for addresses that have played before. The oldest session that
        was not played in time to say a first word makes room.
        """
        places = self.limits.clients
        if not self.door.knows(peer):
            places -= places // 4
        if len(self.sessions) >= places and not self._make_room():
            return None
        session = Session(
            peer,
            kind,
            self.limits,
            counts=self.counts,
            dropped=self.dropped,
            media_now=self.media_now,
            on_end=self.end,
        )
        self.sessions[session.id] = session
        self.counts["sessions"] += 1
        return session

    def _make_room(self) -> bool:
        waited = time.monotonic() - self.limits.first_word_seconds
        for session in self.sessions.values():
            if not session.has_played and session.began_seconds < waited:
                self.end(session, "never_played")
                return True
        return False

    def end(self, session: Session, cause: str) -> None:
        """Ends a session once; a second call does nothing."""
        if self.sessions.pop(session.id, None) is None:
            return
        self.ended[cause] += 1
        self._sources = {a: s for a, s in self._sources.items() if s is not session}
        session.end()
        if cause != "teardown":
            session.hang_up()
        logger.info("viewer %s left: %s", session.peer, cause)

    def tidy(self) -> None:
        """Ends what has expired; called once a second."""
        now = time.monotonic()
        for session in list(self.sessions.values()):
            if session.is_expired(now):
                self.end(session, "timeout")
        self.door.tidy(now)

    def listen(
        self, session: Session, address: tuple[Any, ...], *, instead_of: tuple[Any, ...] | None
    ) -> None:
        """Takes RTCP from an address as that viewer's, and no longer from the one before."""
        if instead_of is not None and self._sources.get(endpoint(instead_of)) is session:
            del self._sources[endpoint(instead_of)]
        self._sources[endpoint(address)] = session

    def on_rtcp(self, address: tuple[Any, ...], data: bytes) -> None:
        """Takes a datagram on the RTCP port as a sign of life of the viewer it comes from."""
        session = self._sources.get(endpoint(address))
        if session is None:
            self.refused["stray_rtcp"] += 1
        elif not is_rtcp(data):
            self.refused["bad_rtcp"] += 1
        else:
            self.counts["receiver_reports"] += 1
            session.touch()

    def stats(self, *, connections: int) -> Stats:
        """Takes a snapshot, from any thread."""
        return Stats(
            clients=len(self.sessions),
            connections=connections,
            counts=dict(self.counts),
            dropped=dict(self.dropped),
            refused=dict(self.refused),
            ended=dict(self.ended),
        )

    def close(self) -> None:
        if self._ask_later is not None:
            self._ask_later.cancel()
        for session in list(self.sessions.values()):
            self.end(session, "server_closed")
        for pair in self.udp.values():
            pair.close()


def endpoint(address: tuple[Any, ...]) -> tuple[str, int]:
    """Returns an address and port that compare equal for IPv4 and IPv4-mapped IPv6."""
    host = ipaddress.ip_address(address[0].partition("%")[0])
    mapped = getattr(host, "ipv4_mapped", None)
    return str(mapped or host), address[1]
