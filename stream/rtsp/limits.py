"""Bounds what one viewer, one connection or one address may ask of the server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that hold against careless and hostile peers alike.

    `queue_units` and `queue_bytes` bound what waits for one viewer; beyond them the viewer skips
    to the next key frame. Queued units are shared between viewers, so memory grows with the
    longest queue, not with the number of viewers.
    """

    clients: int = 32
    connections: int = 64
    connections_per_address: int = 24
    connections_per_second: float = 20.0
    connections_burst: int = 60
    requests_per_second: float = 50.0
    requests_burst: int = 100
    failed_logins: int = 5
    longest_login_wait_seconds: float = 60.0

    head_bytes: int = 8192
    header_count: int = 48
    uri_bytes: int = 2048
    body_bytes: int = 4096

    first_word_seconds: float = 2.0
    play_seconds: float = 10.0
    request_seconds: float = 10.0
    idle_seconds: float = 30.0
    session_seconds: float = 60.0
    orphan_seconds: float = 2.0
    stall_seconds: float = 15.0
    nonce_seconds: float = 300.0

    queue_units: int = 256
    queue_bytes: int = 8 << 20
    send_buffer_bytes: int = 256 << 10
    packet_bytes: int = 1400


class TokenBucket:
    """Lets `burst` through at once and `rate` a second after that."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._last_seconds = 0.0

    def wait_seconds(self, now_seconds: float) -> float:
        """Takes one token and returns how long to wait for it (0 when there was one)."""
        self._refill(now_seconds)
        self._tokens -= 1.0
        return max(0.0, -self._tokens / self._rate)

    def take(self, now_seconds: float) -> bool:
        """Takes one token if there is one."""
        self._refill(now_seconds)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def is_full(self, now_seconds: float) -> bool:
        """Whether nothing has been taken lately, so that the bucket can be forgotten."""
        self._refill(now_seconds)
        return self._tokens >= self._burst

    def _refill(self, now_seconds: float) -> None:
        elapsed = max(0.0, now_seconds - self._last_seconds)
        self._tokens = min(self._burst, self._tokens + elapsed * self._rate)
        self._last_seconds = now_seconds
