"""Says who may come in, and keeps places for viewers that it knows. Runs on the server's loop."""

from __future__ import annotations

import ipaddress
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kinemacolor.stream.rtsp.limits import Limits, TokenBucket

logger = logging.getLogger(__name__)

_MAX_ADDRESSES = 1024
_SAY_SECONDS = 60.0
_FORGIVEN_SECONDS = 600.0


@dataclass(eq=False, slots=True)
class Guest:
    """One connection that is inside."""

    address: str
    hang_up: Callable[[], None]
    has_spoken: bool = False
    has_played: bool = False


@dataclass(slots=True)
class _Wrong:
    """The wrong logins of one address."""

    count: int = 0
    until: float = 0.0  # when it may try again
    unsaid: int = 0


class Door:
    """Admits connections: so many in all, and of one address so many a second, and without playing.

    Where there is no place, the oldest connection that has said nothing makes room. A quarter of
    the places is kept for addresses that have played before.
    """

    def __init__(self, limits: Limits, refused: Counter[str]) -> None:
        self._limits = limits
        self._refused = refused
        self._guests: dict[Guest, None] = {}  # the oldest first
        self._buckets: dict[str, TokenBucket] = {}
        self._known: dict[str, None] = {}  # the latest last
        self._wrong: dict[str, _Wrong] = {}
        self._said_seconds = float("-inf")

    def enter(self, host: str, hang_up: Callable[[], None]) -> Guest | None:
        """Lets a connection in, or counts why not."""
        address = address_of(host)
        reason = self._refusal(address)
        if reason:
            self._refused[reason] += 1
            return None
        guest = Guest(address, hang_up)
        self._guests[guest] = None
        return guest

    def leave(self, guest: Guest) -> None:
        self._guests.pop(guest, None)

    def knows(self, host: str) -> bool:
        """Whether somebody at this address has played before."""
        return address_of(host) in self._known

    def remember(self, host: str) -> None:
        """Notes that an address plays."""
        address = address_of(host)
        self._known.pop(address, None)
        self._known[address] = None
        if len(self._known) > _MAX_ADDRESSES:
            del self._known[next(iter(self._known))]

    def is_shut(self, host: str) -> bool:
        """Whether an address has to wait before it may try another login."""
        wrong = self._wrong.get(address_of(host))
        return wrong is not None and time.monotonic() < wrong.until

    def note_wrong_login(self, host: str) -> None:
        """Counts a wrong login; from a number on each one doubles how long the address waits."""
        address = address_of(host)
        if address not in self._wrong and len(self._wrong) >= _MAX_ADDRESSES:
            del self._wrong[next(iter(self._wrong))]
        wrong = self._wrong.setdefault(address, _Wrong())
        wrong.count += 1
        wrong.unsaid += 1
        beyond = wrong.count - self._limits.failed_logins
        if beyond >= 0:
            wait = min(2.0 ** min(beyond, 16), self._limits.longest_login_wait_seconds)
            wrong.until = time.monotonic() + wait

    def tidy(self, now: float) -> None:
        """Forgets what is over, and says once a minute who guesses passwords."""
        self._buckets = {a: b for a, b in self._buckets.items() if not b.is_full(now)}
        guessing = [a for a, w in self._wrong.items() if w.unsaid and w.until]
        if guessing and now - self._said_seconds >= _SAY_SECONDS:
            self._said_seconds = now
            count = sum(self._wrong[address].unsaid for address in guessing)
            logger.warning(
                "%d wrong logins from %s: who guesses has to wait, longer each time",
                *(count, ", ".join(guessing[:5]) + (" and others" if guessing[5:] else "")),
            )
            for wrong in self._wrong.values():
                wrong.unsaid = 0
        over = [a for a, w in self._wrong.items() if w.until and now > w.until + _FORGIVEN_SECONDS]
        for address in over:
            del self._wrong[address]

    def _refusal(self, address: str) -> str:
        """Why an address may not come in; empty when it may."""
        limits, is_known = self._limits, address in self._known
        if self.is_shut(address):
            return "wrong_logins"
        if not self._is_within_rate(address, is_known=is_known):
            return "connection_rate"
        same = [g for g in self._guests if g.address == address and not g.has_played]
        if len(same) >= limits.connections_per_address and not self._make_room(same):
            return "too_many_of_one_address"
        places = limits.connections - (0 if is_known else limits.connections // 4)
        if len(self._guests) >= places and not self._make_room(self._guests):
            return "too_many_connections"
        return ""

    def _make_room(self, guests: Iterable[Guest]) -> bool:
        """Puts the oldest of them that has said nothing out."""
        silent = next((guest for guest in guests if not guest.has_spoken), None)
        if silent is None:
            return False
        self._refused["silent"] += 1
        self.leave(silent)
        silent.hang_up()
        return True

    def _is_within_rate(self, address: str, *, is_known: bool) -> bool:
        bucket = self._buckets.get(address)
        if bucket is None:
            if len(self._buckets) >= _MAX_ADDRESSES and not is_known:
                return False
            limits = self._limits
            bucket = TokenBucket(limits.connections_per_second, limits.connections_burst)
            self._buckets[address] = bucket
        return bucket.take(time.monotonic())


def address_of(host: str) -> str:
    """Returns what counts as one address: one of IPv4, or the /64 that an IPv6 host is given."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host  # one already
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))
