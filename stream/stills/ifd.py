"""TIFF's directories of tags, as TIFF files and EXIF blocks hold them: read and written.

TIFF 6.0 section 2, BigTIFF (Adobe's design of 2007), EXIF 2.32 section 4.6.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, Self

import numpy as np

ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 274, 282, 283, 296
ASCII, SHORT, LONG, RATIONAL, UNDEFINED, LONG8 = 2, 3, 4, 5, 7, 16
# Bytes of a value, and of its parts that a byte order turns round, by the number of its type.
_TYPES = {1: (1, 1), 2: (1, 1), 3: (2, 2), 4: (4, 4), 5: (8, 4), 6: (1, 1), 7: (1, 1), 8: (2, 2)}
_TYPES |= {9: (4, 4), 10: (8, 4), 11: (4, 4), 12: (8, 8), 13: (4, 4), 16: (8, 8), 17: (8, 8)}
_TYPES |= {18: (8, 8)}
_POINTERS = frozenset((0x8769, 0x8825, 0xA005))  # Exif, GPS, Interoperability
_MOST_BYTES = 1 << 26  # of one tag; and no directory is so deep or so full
_DEEPEST, _MOST_TAGS = 3, 4096


@dataclass(frozen=True)
class Tag:
    """The values of a tag: their type's number, and their bytes, little-endian."""

    type: int
    data: bytes

    @classmethod
    def of(cls, type_number: int, *values: int) -> Self:
        """Whole numbers, of SHORT, LONG, LONG8, or RATIONAL as numerator and denominator."""
        size = _TYPES[type_number][1]
        return cls(type_number, b"".join(value.to_bytes(size, "little") for value in values))

    @property
    def count(self) -> int:
        return len(self.data) // _TYPES[self.type][0]

    @property
    def number(self) -> float:
        """The first value; nan where it is none."""
        size = _TYPES[self.type][0]
        if len(self.data) < size:
            return float("nan")
        if self.type in (RATIONAL, 10):
            top, bottom = struct.unpack("<II" if self.type == RATIONAL else "<ii", self.data[:8])
            return top / bottom if bottom else float("nan")
        if self.type in (11, 12):
            return struct.unpack("<f" if self.type == 11 else "<d", self.data[:size])[0]
        return float(int.from_bytes(self.data[:size], "little", signed=self.type in (6, 8, 9, 17)))


# A tag that points to another directory holds it.
Directory = dict[int, "Tag | Directory"]


def number_of(directory: Mapping[int, Tag | Directory], tag: int) -> float:
    """The first value of a tag; nan where there is none."""
    found = directory.get(tag)
    return found.number if isinstance(found, Tag) else float("nan")


def parse_exif(block: bytes) -> Directory:
    """Reads an EXIF block, with or without its JPEG prefix; what is damaged is left out."""
    return read_directory(io.BytesIO(block.removeprefix(b"Exif\0\0")))


def exif_block(directory: Directory) -> bytes:
    """A directory as an EXIF block without a prefix; empty where there are no tags."""
    return b"II*\0\x08\0\0\0" + directory_bytes(directory, 8) if directory else b""


def read_directory(file: BinaryIO, offset: int | None = None) -> Directory:
    """Reads a directory: the first, or the one at an offset. A damaged tag is left out."""
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        return {}
    big = struct.unpack(order + "H", head[2:4])[0] == 43
    if big and len(head) < 16:
        return {}
    if offset is None:
        (offset,) = struct.unpack(order + ("Q" if big else "I"), head[8:16] if big else head[4:8])
    size = file.seek(0, io.SEEK_END)
    return _read(file, offset, order, big, size, 0)


def _read(file: BinaryIO, offset: int, order: str, big: bool, size: int, depth: int) -> Directory:
    count_code, entry_code = ("Q", "HHQ8s") if big else ("H", "HHI4s")
    found: Directory = {}
    if not 0 < offset < size:
        return found
    file.seek(offset)
    head = file.read(struct.calcsize(order + count_code))
    if len(head) < struct.calcsize(order + count_code):
        return found
    count = min(struct.unpack(order + count_code, head)[0], _MOST_TAGS)
    entry_size = struct.calcsize(order + entry_code)
    entries = file.read(count * entry_size)
    for at in range(0, len(entries) - entry_size + 1, entry_size):
        code, kind, values, inline = struct.unpack_from(order + entry_code, entries, at)
        length = values * _TYPES.get(kind, (0, 0))[0]
        if not 0 < length <= min(size, _MOST_BYTES):
            continue
        data = inline[:length]
        if length > len(inline):
            file.seek(min(struct.unpack(order + ("Q" if big else "I"), inline)[0], size))
            data = file.read(length)
        if len(data) < length:
            continue
        tag = Tag(kind, _little_endian(data, kind, order))
        if code not in _POINTERS:
            found[code] = tag
        elif depth < _DEEPEST and (
            inner := _read(file, int(tag.number), order, big, size, depth + 1)
        ):
            found[code] = inner
    return found


def _little_endian(data: bytes, kind: int, order: str) -> bytes:
    part = _TYPES[kind][1]
    if order == "<" or part == 1:
        return data
    return np.frombuffer(data, f">u{part}").astype(f"<u{part}").tobytes()


def directory_bytes(directory: Directory, at: int, *, big: bool = False) -> bytes:
    """A directory as bytes, little-endian, that will lie at an offset; no other follows it."""
    word = 8 if big else 4
    table = (8 if big else 2) + len(directory) * (20 if big else 12) + word
    entries, behind = [len(directory).to_bytes(8 if big else 2, "little")], b""
    for code, tag in sorted(directory.items()):
        if isinstance(tag, Tag):
            kind, count, data = tag.type, tag.count, tag.data
        else:
            kind, count = (LONG8 if big else LONG), 1
            place = at + table + len(behind)
            behind += directory_bytes(tag, place, big=big)
            data = place.to_bytes(word, "little")
        if len(data) > word:
            place = at + table + len(behind)
            behind += data + b"\0" * (len(data) % 2)
            data = place.to_bytes(word, "little")
        head = struct.pack("<HH", code, kind) + count.to_bytes(word, "little")
        entries.append(head + data.ljust(word, b"\0"))
    return b"".join(entries) + b"\0" * word + behind
