"""Reads TIFF's directories of tags, of a TIFF or of an EXIF block, from the bytes themselves.

TIFF 6.0 section 2 and BigTIFF.
"""

from __future__ import annotations

import struct
from typing import Any

Tags = dict[tuple[int, ...], tuple[Any, ...] | bytes]
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {16: 8, 17: 8, 18: 8}
_CODES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q"}
_CODES |= {17: "q", 18: "Q"}
_INNER = (0x8769, 0x8825, 0xA005)  # Exif, GPS, Interoperability


def directories(data: bytes) -> list[int]:
    """Where the pages' directories are, in their order."""
    order, big = _layout(data)
    count_code, size, step = ("Q", 8, 20) if big else ("H", 2, 12)
    word = "Q" if big else "I"
    found: list[int] = []
    place = unpack(order + word, data, 8 if big else 4)
    while place and place not in found and place + size <= len(data):
        found.append(place)
        count = unpack(order + count_code, data, place)
        link = place + size + count * step
        if link + struct.calcsize(word) > len(data):
            break
        place = unpack(order + word, data, link)
    return found


def tags_at(data: bytes, place: int, prefix: tuple[int, ...] = ()) -> Tags:
    """The tags of a directory and of those inside it."""
    order, big = _layout(data)
    count_code, size, step, word = ("Q", 8, 20, "Q") if big else ("H", 2, 12, "I")
    found: Tags = {}
    if len(prefix) > 3 or place + size > len(data):
        return found
    for entry in range(unpack(order + count_code, data, place)):
        at = place + size + entry * step
        if at + step > len(data):
            break
        code, kind = struct.unpack_from(order + "HH", data, at)
        count = unpack(order + word, data, at + 4)
        length = count * _SIZES.get(kind, 0)
        inline = at + 4 + struct.calcsize(word)
        start = inline if length <= struct.calcsize(word) else unpack(order + word, data, inline)
        value = data[start : start + length]
        if not length or len(value) < length:
            continue
        if code in _INNER:
            inner = unpack(order + {16: "Q", 18: "Q"}.get(kind, "I"), value, 0)
            found |= tags_at(data, inner, (*prefix, code))
        else:
            found[(*prefix, code)] = _values(value, kind, order)
    return found


def _values(data: bytes, kind: int, order: str) -> tuple[Any, ...] | bytes:
    if kind in (5, 10):
        parts = struct.unpack(f"{order}{len(data) // 4}{'I' if kind == 5 else 'i'}", data)
        return tuple(zip(parts[::2], parts[1::2], strict=True))
    if kind in (1, 2, 7):
        return data
    return struct.unpack(f"{order}{len(data) // _SIZES[kind]}{_CODES[kind]}", data)


def _layout(data: bytes) -> tuple[str, bool]:
    order = "<" if data[:2] == b"II" else ">"
    return order, len(data) > 4 and unpack(order + "H", data, 2) == 43


def unpack(code: str, data: bytes, at: int) -> int:
    if at < 0 or at + struct.calcsize(code) > len(data):
        return 0
    return struct.unpack_from(code, data, at)[0]
