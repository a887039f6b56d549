"""Digest authentication (RFC 7616; RFC 2617 and 2069 for the players that know no other)."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["accepted", "stale", "refused"]

_PARAMETER = re.compile(
    r'([A-Za-z0-9_-]{1,32})\s*=\s*(?:"((?:[^"\\]|\\.){0,2048})"|([^",\s]{1,512}))'
)
HASHES: dict[str, Callable[[bytes], str]] = {
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who may watch. The password never shows in a repr or a log."""

    user: str
    password: str = field(repr=False)


class Gate:
    """Challenges one connection and checks its answers.

    The nonce belongs to the connection, so an answer overheard elsewhere is worth nothing here;
    counting `nc` would add nothing to that.
    """

    def __init__(self, credentials: Credentials, *, realm: str, nonce_seconds: float) -> None:
        self._credentials = credentials
        self._realm = realm
        self._nonce_seconds = nonce_seconds
        self._nonce = ""
        self._issued_seconds = 0.0

    def challenges(self, now_seconds: float, *, stale: bool = False) -> list[str]:
        """Makes WWW-Authenticate values, a fresh nonce in all of them.

        MD5 comes last because FFmpeg and live555 (VLC) take the last Digest challenge they see
        and know MD5 alone; live555 also wants realm and nonce first and in this order.
        """
        self._nonce = secrets.token_hex(16)
        self._issued_seconds = now_seconds
        tail = ", stale=true" if stale else ""
        return [
            f'Digest realm="{self._realm}", nonce="{self._nonce}", '
            f'qop="auth", algorithm={algorithm}{tail}'
            for algorithm in HASHES
        ]

    def check(
        self, method: str, authorization: str, now_seconds: float, *, is_ours: Callable[[str], bool]
    ) -> Verdict:
        """Judges an Authorization header; `is_ours` says whether its URI is on this stream.

        The digest's URI need not equal the request's: live555 signs the stream's URI in the
        request for a track.
        """
        scheme, _, rest = authorization.partition(" ")
        if scheme.lower() != "digest":
            return "refused"
        given = parse_parameters(rest)
        hashed = HASHES.get(given.get("algorithm", "MD5").upper())
        if hashed is None or not is_ours(given.get("uri", "")):
            return "refused"
        expected = digest_response(
            hashed,
            user=self._credentials.user,
            realm=self._realm,
            password=self._credentials.password,
            method=method,
            given=given,
        )
        right = _same(given.get("response", ""), expected)
        right &= _same(given.get("username", ""), self._credentials.user)
        right &= _same(given.get("realm", ""), self._realm)
        if not right:
            return "refused"
        fresh = now_seconds - self._issued_seconds <= self._nonce_seconds
        if not self._nonce or not _same(given.get("nonce", ""), self._nonce) or not fresh:
            return "stale"
        return "accepted"


def parse_parameters(text: str) -> dict[str, str]:
    """Reads `key=value, key="value"` into a dict with lower-case keys; the first of two wins."""
    found: dict[str, str] = {}
    for key, quoted, bare in _PARAMETER.findall(text[:8192]):
        found.setdefault(key.lower(), re.sub(r"\\(.)", r"\1", quoted) if quoted else bare)
    return found


def digest_response(
    hashed: Callable[[bytes], str],
    *,
    user: str,
    realm: str,
    password: str,
    method: str,
    given: dict[str, str],
) -> str:
    """Returns the right password's response (RFC 7616, 3.4.1; RFC 2069 where qop is absent).

    `given` supplies nonce, uri, qop, nc and cnonce as the client chose them.
    """
    a1 = hashed(f"{user}:{realm}:{password}".encode())
    a2 = hashed(f"{method}:{given.get('uri', '')}".encode())
    middle = [given.get("nonce", "")]
    if "qop" in given:
        middle += [given.get("nc", ""), given.get("cnonce", ""), given["qop"]]
    return hashed(":".join([a1, *middle, a2]).encode())


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())
