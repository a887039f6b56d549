"""Cuts RTMP's messages into chunks, and codes its commands in AMF0 (Adobe's specification 1.0)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

SET_CHUNK_SIZE, USER_CONTROL, WINDOW, BANDWIDTH = 1, 4, 5, 6
AUDIO, VIDEO, DATA, COMMAND = 8, 9, 18, 20
PING, PONG = 6, 7
_EXTENDED = 0xFFFFFF  # milliseconds that do not fit 24 bits stand behind the header
_MAX_MESSAGE_BYTES = 1 << 20
_END_OF_OBJECT = b"\x00\x00\x09"


class BadRtmp(ValueError):
    """What came is not RTMP."""


def chunks(channel: int, kind: int, stream: int, ms: int, body: bytes, chunk_bytes: int) -> bytes:
    """Cuts a message into chunks: a whole header (5.3.1.2.1), then as many short ones as needed.

    Args:
        channel: 3 to 63; messages of one channel do not mix.
    """
    ms &= 0xFFFFFFFF
    late = struct.pack(">I", ms) if ms >= _EXTENDED else b""
    short_ms = min(ms, _EXTENDED)
    head = bytes([channel]) + short_ms.to_bytes(3, "big") + len(body).to_bytes(3, "big")
    parts = [head + bytes([kind]) + struct.pack("<I", stream) + late, body[:chunk_bytes]]
    for at in range(chunk_bytes, len(body), chunk_bytes):
        parts += [bytes([0xC0 | channel]) + late, body[at : at + chunk_bytes]]
    return b"".join(parts)


@dataclass
class _Channel:
    """Keeps what the next chunk of a channel leaves out."""

    late: bool = False  # whether its time stands behind each header
    length: int = 0
    kind: int = 0
    body: bytearray = field(default_factory=bytearray)


class Reader:
    """Puts what comes from a server together into messages."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._channels: dict[int, _Channel] = {}
        self._chunk_bytes = 128

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Returns messages that are whole by now: (kind, body). Raises BadRtmp."""
        self._data += data
        messages = []
        while (message := self._next()) is not None:
            if not message:
                continue
            kind, body = message
            if kind == SET_CHUNK_SIZE and len(body) >= 4:
                self._chunk_bytes = int.from_bytes(body[:4], "big") & 0x7FFFFFFF or 128
            messages.append((kind, body))
        return messages

    def _next(self) -> tuple[int, bytes] | tuple[()] | None:
        """Returns a message, () after a chunk that ends none, None where no whole chunk is left."""
        data = self._data
        if not data:
            return None
        form, number = data[0] >> 6, data[0] & 63
        begin = 1 + (2 if number == 1 else 1 if number == 0 else 0)
        at = begin + (11, 7, 3, 0)[form]
        if len(data) < at:
            return None
        if number < 2:
            number = 64 + int.from_bytes(data[1:begin], "little")
        channel = self._channels.setdefault(number, _Channel())
        head = data[begin:at]
        if head:  # a new message, whether or not the last one came to its end
            channel.body.clear()
        late = head[:3] == b"\xff\xff\xff" if head else channel.late
        length = int.from_bytes(head[3:6], "big") if form < 2 else channel.length
        kind = head[6] if form < 2 else channel.kind
        at += 4 * late
        if length > _MAX_MESSAGE_BYTES:
            raise BadRtmp(f"a message of {length} bytes")
        wanted = min(self._chunk_bytes, length - len(channel.body))
        if len(data) < at + wanted:
            return None
        channel.late, channel.length, channel.kind = late, length, kind
        channel.body += data[at : at + wanted]
        del data[: at + wanted]
        if len(channel.body) < length:
            return ()
        body = bytes(channel.body)
        channel.body.clear()
        return kind, body


def amf(*values: Any) -> bytes:
    """Writes AMF0 of None, bool, numbers, strings and dicts of those."""
    return b"".join(_amf(value) for value in values)


def _amf(value: Any) -> bytes:
    match value:
        case None:
            return b"\x05"
        case bool():
            return bytes([1, value])
        case int() | float():
            return b"\x00" + struct.pack(">d", value)
        case str():
            return b"\x02" + _text(value)
        case dict():
            items = b"".join(_text(name) + _amf(item) for name, item in value.items())
            return b"\x03" + items + _END_OF_OBJECT
    raise TypeError(f"no AMF0 for {type(value).__name__}")


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def parse_amf(data: bytes) -> list[Any]:
    """Reads values out of AMF0; leaves out what follows one of an unknown kind. Raises BadRtmp."""
    values, at = [], 0
    try:
        while at < len(data):
            value, at = _parse(data, at, depth=0)
            values.append(value)
    except _Unknown:
        pass
    except (struct.error, IndexError) as error:
        raise BadRtmp("a command that is cut short") from error
    return values


class _Unknown(Exception):
    """A kind of value that no answer to a publisher has."""


def _parse(data: bytes, at: int, *, depth: int) -> tuple[Any, int]:
    if depth > 8:
        raise BadRtmp("a command too deep")
    kind, at = data[at], at + 1
    match kind:
        case 0:
            return struct.unpack_from(">d", data, at)[0], at + 8
        case 1:
            return bool(data[at]), at + 1
        case 2:
            return _parse_text(data, at)
        case 5 | 6:
            return None, at
        case 3 | 8:
            at += 4 if kind == 8 else 0  # how many, which is a guess only
            fields: dict[str, Any] = {}
            while data[at : at + 3] != _END_OF_OBJECT:
                name, at = _parse_text(data, at)
                fields[name], at = _parse(data, at, depth=depth + 1)
            return fields, at + 3
    raise _Unknown


def _parse_text(data: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">H", data, at)
    end = at + 2 + length
    if end > len(data):
        raise IndexError
    return data[at + 2 : end].decode("utf-8", "replace"), end
