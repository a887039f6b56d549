"""Reads RTSP 1.0 requests out of bytes and writes responses (RFC 2326), without any I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from kinemacolor.stream.rtsp.limits import Limits

REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    431: "Request Header Fields Too Large",
    451: "Parameter Not Understood",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    459: "Aggregate Operation Not Allowed",
    460: "Only Aggregate Operation Allowed",
    461: "Unsupported Transport",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "RTSP Version Not Supported",
    551: "Option not supported",
}

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
_VISIBLE = re.compile(r"[\x21-\x7e]+\Z")
_PRINTABLE = re.compile(r"[\t\x20-\x7e\x80-\U0010ffff]*\Z")
_CSEQ = re.compile(rb"(?im)^cseq[ \t]*:[ \t]*([0-9]{1,10})[ \t]*\r?$")
_DIGITS = re.compile(r"[0-9]{1,10}\Z")
# A second one of these would leave it to chance which is obeyed.
_SINGLE = frozenset({"cseq", "content-length", "session", "authorization"})


class BadRequest(Exception):
    """A request that is answered with `status` and ends its connection."""

    def __init__(self, status: int, why: str, cseq: int | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.cseq = cseq


@dataclass(frozen=True, slots=True)
class Request:
    """One request; header names are in lower case."""

    method: str
    uri: str
    cseq: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Interleaved:
    """One binary frame that a client sent on its RTSP connection (RFC 2326, 10.12)."""

    channel: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """What is answered; CSeq and Server are added when it is written."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class RequestReader:
    """Cuts a connection's bytes into requests and interleaved frames.

    The buffer holds at most what was fed since the last `next()` returned None, plus one
    unfinished item within the limits.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buffer = bytearray()

    @property
    def is_partial(self) -> bool:
        """Whether an item has begun and not ended."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> Request | Interleaved | None:
        """Returns the next whole item, or None when more bytes are needed. Raises BadRequest."""
        buffer = self._buffer
        while buffer[:1] in (b"\r", b"\n"):
            del buffer[: len(buffer) - len(buffer.lstrip(b"\r\n"))]
        if not buffer:
            return None
        if buffer[0] == 0x24:
            return self._interleaved()
        head_end, body_start = _find_head_end(buffer, self._limits.head_bytes)
        if head_end < 0:
            if len(buffer) > self._limits.head_bytes:
                cseq = _guess_cseq(bytes(buffer[: self._limits.head_bytes]))
                raise BadRequest(431, "the request's header does not end", cseq)
            return None
        head = bytes(buffer[:head_end])
        request, length = parse_head(head, self._limits)
        if len(buffer) < body_start + length:
            return None
        body = bytes(buffer[body_start : body_start + length])
        del buffer[: body_start + length]
        return Request(request.method, request.uri, request.cseq, request.headers, body)

    def _interleaved(self) -> Interleaved | None:
        buffer = self._buffer
        if len(buffer) < 4:
            return None
        length = int.from_bytes(buffer[2:4], "big")
        if len(buffer) < 4 + length:
            return None
        frame = Interleaved(buffer[1], bytes(buffer[4 : 4 + length]))
        del buffer[: 4 + length]
        return frame


def parse_head(head: bytes, limits: Limits) -> tuple[Request, int]:
    """Reads a request line and headers; returns the request without body, and the body's length."""
    cseq = _guess_cseq(head)
    try:
        lines = head.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        raise BadRequest(400, "the header is not UTF-8", cseq) from None
    lines = [line.removesuffix("\r") for line in lines]
    method, uri = _request_line(lines[0], limits, cseq)
    if len(lines) - 1 > limits.header_count:
        raise BadRequest(431, f"more than {limits.header_count} headers", cseq)
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        name, value = name.rstrip(" \t").lower(), value.strip(" \t")
        if not colon or not _TOKEN.match(name) or not _PRINTABLE.match(value):
            raise BadRequest(400, "a header line is malformed", cseq)
        if name in headers:
            if name in _SINGLE:
                raise BadRequest(400, f"{name} is there twice", cseq)
            value = f"{headers[name]}, {value}"
        headers[name] = value
    if not _DIGITS.match(headers.get("cseq", "")):
        raise BadRequest(400, "CSeq is missing or no number")
    length = headers.get("content-length", "0")
    if not _DIGITS.match(length):
        raise BadRequest(400, "Content-Length is no number", cseq)
    if int(length) > limits.body_bytes:
        raise BadRequest(413, f"a body of more than {limits.body_bytes} bytes", cseq)
    return Request(method, uri, int(headers["cseq"]), headers), int(length)


def _request_line(line: str, limits: Limits, cseq: int | None) -> tuple[str, str]:
    parts = line.split(" ")
    if len(parts) != 3 or not _TOKEN.match(parts[0]):
        raise BadRequest(400, "the request line is not METHOD URI VERSION", cseq)
    method, uri, version = parts
    if not version.startswith("RTSP/"):
        raise BadRequest(400, "not RTSP", cseq)
    if version != "RTSP/1.0":
        raise BadRequest(505, "only RTSP/1.0 is spoken here", cseq)
    if len(uri) > limits.uri_bytes:
        raise BadRequest(414, f"a URI of more than {limits.uri_bytes} bytes", cseq)
    if not _VISIBLE.match(uri):
        raise BadRequest(400, "the URI is malformed", cseq)
    return method, uri


def _find_head_end(buffer: bytearray, limit: int) -> tuple[int, int]:
    """Finds where head ends and body begins, or (-1, -1); a bare LF is accepted as a line end."""
    found = [
        (at, at + len(blank))
        for blank in (b"\r\n\r\n", b"\n\n", b"\n\r\n")
        if (at := buffer.find(blank, 0, limit + 4)) >= 0
    ]
    return min(found, default=(-1, -1))


def _guess_cseq(head: bytes) -> int | None:
    found = _CSEQ.search(head)
    return int(found[1]) if found else None


def format_response(response: Response, cseq: int | None, server: str) -> bytes:
    """Writes a response; a header value never holds a line break."""
    lines = [f"RTSP/1.0 {response.status} {REASONS[response.status]}"]
    if cseq is not None:
        lines.append(f"CSeq: {cseq}")
    lines.append(f"Server: {server}")
    lines += [f"{name}: {value}" for name, value in response.headers]
    if response.body:
        lines.append(f"Content-Length: {len(response.body)}")
    assert not any("\r" in line or "\n" in line for line in lines)
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + response.body


_URI = re.compile(r"rtsps?://[^/?#]*(?P<path>/[^?#]*)?(?:\?[^#]*)?\Z", re.IGNORECASE)
_TRACK = re.compile(r"/trackID=([0-9])\Z")


def locate(uri: str, path: str, *, tracks: Iterable[int]) -> int | None:
    """Finds the track of the stream at `path` that a URI names; None for the whole stream.

    Raises:
        KeyError: the URI names nothing that is served here.
    """
    match = _URI.match(uri)
    if match is None:
        raise KeyError(uri)
    asked = (match["path"] or "/").rstrip("/")
    if asked == f"/{path}":
        return None
    track = _TRACK.search(asked)
    if track is None or asked[: track.start()].rstrip("/") != f"/{path}":
        raise KeyError(uri)
    index = int(track[1])
    if index not in tracks:
        raise KeyError(uri)
    return index


def content_base(uri: str) -> str:
    """Returns the stream's URI as a client asked for it, without user and query: tracks' base."""
    bare = _TRACK.sub("", uri.partition("?")[0].rstrip("/")).rstrip("/")
    scheme, _, rest = bare.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}/"
