"""One RTSP connection: reads requests at a bounded pace, checks who asks, writes answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from math import inf
from typing import Any

from kinemacolor.stream.rtsp.auth import Credentials, Gate
from kinemacolor.stream.rtsp.broadcast import Broadcast
from kinemacolor.stream.rtsp.door import Guest
from kinemacolor.stream.rtsp.limits import TokenBucket
from kinemacolor.stream.rtsp.message import (
    BadRequest,
    Interleaved,
    Request,
    RequestReader,
    Response,
    format_response,
    locate,
)
from kinemacolor.stream.rtsp.methods import OPEN_METHODS, Methods
from kinemacolor.stream.rtsp.rtp import is_rtcp

logger = logging.getLogger(__name__)

SERVER_NAME = "kinemacolor"
_READ_BYTES = 16 << 10
_LINGER_READS = 16
_LINGER_SECONDS = 1.0


class _TooLate(Exception):
    """A client did not say its first word, or did not play, in time."""


class Connection:
    """Serves one client until it leaves, breaks a rule or is silent for too long."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        broadcast: Broadcast,
        *,
        path: str,
        title: str,
        credentials: Credentials | None,
        guest: Guest,
    ) -> None:
        self._guest = guest
        self._began = time.monotonic()
        self._reader = reader
        self._writer = writer
        self._broadcast = broadcast
        self._path = path
        self._limits = broadcast.limits
        self._methods = Methods(broadcast, writer, path=path, title=title)
        self._gate: Gate | None = None
        if credentials is not None:
            self._gate = Gate(
                credentials, realm=SERVER_NAME, nonce_seconds=self._limits.nonce_seconds
            )
        self._failed_logins = 0
        self._is_logged_in = False

    async def serve(self) -> None:
        """Answers requests one after the other; the connection is closed afterwards."""
        incoming = RequestReader(self._limits)
        try:
            await self._answer_all(incoming)
        except BadRequest as error:
            self._broadcast.refused[f"status_{error.status}"] += 1
            self._methods.leave()  # nothing may be sent to a viewer here after the last answer
            self._write(Response(error.status, (("Connection", "close"),)), error.cseq)
            await self._linger()
        except _TooLate as error:
            self._broadcast.refused[str(error)] += 1
        except TimeoutError:
            self._broadcast.refused["half_open" if incoming.is_partial else "idle"] += 1
        except OSError:
            pass  # the client has gone, in one of the ways a socket can tell
        finally:
            self._methods.leave()

    async def _answer_all(self, incoming: RequestReader) -> None:
        bucket = TokenBucket(self._limits.requests_per_second, self._limits.requests_burst)
        partial_since = time.monotonic()
        while True:
            data = await self._read(incoming, partial_since)
            if not data:
                return
            if not incoming.is_partial:
                partial_since = time.monotonic()
            incoming.feed(data)
            while (item := incoming.next()) is not None:
                partial_since = time.monotonic()
                # Waiting here stops reading, so a flood waits in the sender's own buffers.
                await asyncio.sleep(bucket.wait_seconds(time.monotonic()))
                if isinstance(item, Interleaved):
                    self._take_interleaved(item)
                elif not await self._answer(item):
                    return

    async def _linger(self) -> None:
        """Reads on for a moment: closing on unread bytes would reset what has just been said."""
        with contextlib.suppress(OSError):
            self._writer.write_eof()
            async with asyncio.timeout(_LINGER_SECONDS):
                for _ in range(_LINGER_READS):
                    if not await self._reader.read(_READ_BYTES):
                        break

    async def _read(self, incoming: RequestReader, partial_since: float) -> bytes:
        """Reads more bytes; a request has to be whole in time, an idle client needs a session."""
        while True:
            patience = self._limits.idle_seconds
            if incoming.is_partial:
                patience = partial_since + self._limits.request_seconds - time.monotonic()
            left, reason = self._deadline()
            try:
                async with asyncio.timeout(min(patience, left)):
                    data = await self._reader.read(_READ_BYTES)
                self._guest.has_spoken |= bool(data)
                return data
            except TimeoutError:
                if left <= patience:
                    raise _TooLate(reason) from None
                if incoming.is_partial or not self._methods.has_session:
                    raise

    def _deadline(self) -> tuple[float, str]:
        """Returns how long a client may take to its first word, or to PLAY, and which it is."""
        age = time.monotonic() - self._began
        if not self._guest.has_spoken:
            return self._limits.first_word_seconds - age, "silent"
        self._guest.has_played = self._methods.has_played
        if not self._guest.has_played:
            return self._limits.play_seconds - age, "never_played"
        return inf, ""

    def _take_interleaved(self, frame: Interleaved) -> None:
        session = self._methods.session
        if session is None:
            raise BadRequest(400, "binary data without a session")
        if is_rtcp(frame.payload):
            self._broadcast.counts["receiver_reports"] += 1
            session.touch()
        else:
            self._broadcast.refused["bad_rtcp"] += 1

    async def _answer(self, request: Request) -> bool:
        """Answers one request; False when the connection is to be closed."""
        self._broadcast.counts["requests"] += 1
        response = self._authenticate(request)
        if response is None:
            try:
                response = self._methods.answer(request)
            except Exception:
                logger.exception("answering %s failed", request.method)
                response = Response(500)
        if response.status >= 400:
            self._broadcast.refused[f"status_{response.status}"] += 1
        self._write(response, request.cseq)
        async with asyncio.timeout(self._limits.stall_seconds):
            await self._writer.drain()
        closes = request.headers.get("connection", "").lower() == "close"
        return not closes and self._failed_logins < self._limits.failed_logins

    def _authenticate(self, request: Request) -> Response | None:
        """Returns None when the request may pass, else the answer that asks for a login."""
        if self._gate is None or request.method in OPEN_METHODS:
            return None
        now = time.monotonic()
        given = request.headers.get("authorization")
        stale = False
        if given is not None:
            if self._broadcast.door.is_shut(self._guest.address) and not self._is_logged_in:
                raise BadRequest(503, "this address guesses passwords", request.cseq)
            verdict = self._gate.check(request.method, given, now, is_ours=self._is_ours)
            if verdict == "accepted":
                self._is_logged_in = True
                return None
            stale = verdict == "stale"
            if not stale:
                self._failed_logins += 1
                self._broadcast.door.note_wrong_login(self._guest.address)
        challenges = self._gate.challenges(now, stale=stale)
        return Response(401, tuple(("WWW-Authenticate", text) for text in challenges))

    def _is_ours(self, uri: str) -> bool:
        try:
            locate(uri, self._path, tracks=range(10))
        except KeyError:
            return False
        return True

    def _write(self, response: Response, cseq: int | None) -> None:
        if not self._writer.is_closing():
            self._writer.write(format_response(response, cseq, SERVER_NAME))


def peer_of(writer: asyncio.StreamWriter) -> tuple[Any, ...]:
    """Returns the client's socket address; empty once the connection has gone."""
    return writer.get_extra_info("peername") or ()
