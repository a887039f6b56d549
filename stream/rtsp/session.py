"""Keeps one viewer's tracks and state, and sends to it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from kinemacolor.stream.rtsp.limits import Limits
from kinemacolor.stream.rtsp.outlet import Outlet
from kinemacolor.stream.rtsp.rtp import RtpStream
from kinemacolor.stream.rtsp.tracks import VIDEO, Unit
from kinemacolor.stream.rtsp.unit_queue import UnitQueue

REPORT_SECONDS = 5.0


@dataclass(slots=True)
class Leg:
    """One track on its way to one viewer."""

    stream: RtpStream
    outlet: Outlet
    reported_seconds: float = float("-inf")


class Session:
    """What SETUP creates and TEARDOWN, silence or a broken connection ends.

    An orphan is a session over UDP whose RTSP connection has closed. `hang_up` closes the
    connection that controls the session.

    Args:
        media_now: The clock that sender reports name beside the wall clock, in seconds.
        on_end: Called once, with the cause, when nobody else has ended the session.
    """

    def __init__(
        self,
        peer: str,
        kind: Literal["tcp", "udp"],
        limits: Limits,
        *,
        counts: Counter[str],
        dropped: Counter[str],
        media_now: Callable[[], float],
        on_end: Callable[[Session, str], None],
    ) -> None:
        self.id = secrets.token_hex(12)
        self.peer = peer
        self.kind = kind
        self.legs: dict[int, Leg] = {}
        self.state: Literal["ready", "playing"] = "ready"
        self.is_orphan = False
        self.hang_up: Callable[[], None] = lambda: None
        self.has_played = False
        self.began_seconds = self.seen_seconds = time.monotonic()
        self._limits = limits
        self._counts = counts
        self._dropped = dropped
        self._media_now = media_now
        self._on_end = on_end
        self._queue = UnitQueue(max_units=0, max_bytes=0)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_waiting_for_key(self) -> bool:
        return self.state == "playing" and self._queue.is_waiting

    @property
    def timeout_seconds(self) -> int:
        """What SETUP announces; players send a sign of life at half to nine tenths of it."""
        return max(1, int(self._limits.session_seconds))

    def touch(self) -> None:
        """Notes a sign of life."""
        self.seen_seconds = time.monotonic()

    def is_expired(self, now_seconds: float) -> bool:
        limits = self._limits
        limit = limits.orphan_seconds if self.is_orphan else 1.25 * limits.session_seconds
        return now_seconds - self.seen_seconds > limit

    def play(self) -> None:
        if self.state == "playing":
            return
        self._queue = UnitQueue(
            max_units=self._limits.queue_units,
            max_bytes=self._limits.queue_bytes,
            needs_key=VIDEO in self.legs,
        )
        self.state = "playing"
        self.has_played = True
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"rtsp viewer {self.peer}")

    def pause(self) -> None:
        self.state = "ready"
        self._queue.restart()

    def offer(self, unit: Unit) -> None:
        """Queues a unit if the viewer takes its track; never waits."""
        if self.state != "playing" or unit.track not in self.legs:
            return
        before = self._queue.dropped
        self._queue.put(unit)
        if self._queue.dropped > before:
            self._dropped["slow_viewer"] += self._queue.dropped - before
        self._wake.set()

    def end(self) -> None:
        """Says goodbye and stops sending."""
        self.state = "ready"
        if self._task is not None:
            self._task.cancel()
        for leg in self.legs.values():
            leg.outlet.report(leg.stream.goodbye(self.id))

    async def _run(self) -> None:
        cause = "error"
        try:
            while True:
                unit = self._queue.get()
                if unit is None:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                async with asyncio.timeout(self._limits.stall_seconds):
                    await self._send(unit)
        except TimeoutError:
            cause = "stalled"
        except OSError:
            cause = "connection_lost"
        except asyncio.CancelledError:
            cause = ""
            raise
        finally:
            if cause:
                self._on_end(self, cause)

    async def _send(self, unit: Unit) -> None:
        leg = self.legs[unit.track]
        now = time.monotonic()
        if now - leg.reported_seconds >= REPORT_SECONDS:
            # Before the first packet too, so that players align the tracks from the start.
            leg.reported_seconds = now
            leg.outlet.report(
                leg.stream.sender_report(
                    wall_seconds=time.time(), media_seconds=self._media_now(), name=self.id
                )
            )
        packets = leg.stream.packets(unit.payloads, unit.media_seconds)
        await leg.outlet.send(packets)
        self._counts["units"] += 1
        self._counts["packets"] += len(packets)
        self._counts["bytes"] += unit.size
        if self.kind == "tcp":
            self.touch()  # a connection that takes data is alive
