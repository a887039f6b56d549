"""Writes into a Matroska file's head what PyAV cannot tell FFmpeg's muxer: the pixels' shape."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

# Element IDs of RFC 9559.
_SEGMENT, _SEEK_HEAD, _INFO, _TRACKS, _CLUSTER = (
    *(0x18538067, 0x114D9B74, 0x1549A966, 0x1654AE6B),
    0x1F43B675,
)
_VOID, _CRC, _SEEK, _SEEK_ID, _SEEK_POSITION = 0xEC, 0xBF, 0x4DBB, 0x53AB, 0x53AC
_TRACK_ENTRY, _VIDEO, _WIDTH, _HEIGHT = 0xAE, 0xE0, 0xB0, 0xBA
_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT = 0x54B0, 0x54BA, 0x54B2
_HEAD_BYTES = 1 << 20


@dataclass(frozen=True)
class Element:
    """One element: its ID, and its payload with CRC and all.

    Attributes:
        start: in what it was read from; of a segment and a cluster, where the payload starts.
        read: as it was written there, whose size may take more bytes than it needs.
    """

    id: int
    data: bytes
    start: int = 0
    read: bytes = b""

    def encoded(self) -> bytes:
        return self.read or _id_bytes(self.id) + _size_bytes(len(self.data)) + self.data


def set_aspect(path: Path, aspect: Fraction) -> bool:
    """Makes the first picture's pixels as wide as they are: DisplayWidth and DisplayHeight.

    The muxer leaves room behind its table of contents; what lies between that and the tracks
    moves up. Returns False, and changes nothing, where there is no such room.
    """
    with path.open("r+b") as file:
        head = file.read(_HEAD_BYTES)
        top = read_elements(head, 0, len(head))
        segment = next((e for e in top if e.id == _SEGMENT), None)
        if segment is None:
            return False
        inside = read_elements(head, segment.start, len(head))
        inside = inside[: next((i for i, e in enumerate(inside) if e.id == _CLUSTER), len(inside))]
        changed = _rewritten(inside, aspect)
        if changed is None:
            return False
        file.seek(inside[0].start)
        file.write(changed)
    return True


def _rewritten(inside: list[Element], aspect: Fraction) -> bytes | None:
    """Returns the segment's first elements, of the same length, with the shape in the tracks."""
    places = {e.id: i for i, e in enumerate(inside)}
    if not {_SEEK_HEAD, _VOID, _TRACKS} <= places.keys():
        return None
    tracks = _with_aspect(inside[places[_TRACKS]], aspect)
    grown = len(tracks.encoded()) - len(inside[places[_TRACKS]].encoded())
    void = next(i for i, e in enumerate(inside) if e.id == _VOID)
    room = len(inside[void].encoded()) - grown
    if void > places[_TRACKS] or room < 9:
        return None
    moved = list(inside)
    moved[places[_TRACKS]] = tracks
    ids = {_id_bytes(e.id) for e in inside[void + 1 : places[_TRACKS] + 1]}
    head = _moved_seeks(inside[places[_SEEK_HEAD]], ids, grown)
    if head is None:
        return None
    moved[places[_SEEK_HEAD]] = head
    data = b"".join(
        _void(room) if i == void else element.encoded() for i, element in enumerate(moved)
    )
    length = sum(len(e.encoded()) for e in inside)
    return data if len(data) == length else None


def _void(length: int) -> bytes:
    """A Void of so many bytes in all, its size written in eight."""
    return b"\xec\x01" + (length - 9).to_bytes(7, "big") + bytes(length - 9)


def _moved_seeks(head: Element, ids: set[bytes], back: int) -> Element | None:
    """Moves the entries of some elements in the table of contents; None where one has no room."""
    seeks = []
    for seek in _children(head.data):
        if seek.id != _SEEK:
            continue
        parts = {e.id: e for e in _children(seek.data)}
        position = parts[_SEEK_POSITION].data
        if parts[_SEEK_ID].data in ids:
            moved = int.from_bytes(position, "big") - back
            if not 0 <= moved < 256 ** len(position):
                return None
            position = moved.to_bytes(len(position), "big")
        seeks.append(
            Element(
                _SEEK,
                parts[_SEEK_ID].encoded() + Element(_SEEK_POSITION, position).encoded(),
            )
        )
    data = _summed(b"".join(seek.encoded() for seek in seeks), like=head)
    return Element(_SEEK_HEAD, data) if len(data) == len(head.data) else None


def _with_aspect(tracks: Element, aspect: Fraction) -> Element:
    """Returns the tracks with the display size in the first picture's entry."""
    entries, done = [], False
    for entry in _children(tracks.data):
        if entry.id == _CRC:
            continue
        parts = _children(entry.data)
        video = next((e for e in parts if e.id == _VIDEO), None)
        if entry.id == _TRACK_ENTRY and video is not None and not done:
            done = True
            parts = [_shaped(e, aspect) if e is video else e for e in parts]
            entry = Element(_TRACK_ENTRY, b"".join(e.encoded() for e in parts))
        entries.append(entry)
    return Element(_TRACKS, _summed(b"".join(e.encoded() for e in entries), like=tracks))


def _shaped(video: Element, aspect: Fraction) -> Element:
    display = (_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT)
    parts = [e for e in _children(video.data) if e.id not in display]
    sizes = {e.id: int.from_bytes(e.data, "big") for e in parts if e.id in (_WIDTH, _HEIGHT)}
    width, height = sizes[_WIDTH], sizes[_HEIGHT]
    whole = Fraction(width, height) * aspect
    # The smallest size of exactly that shape in which no sample gets lost.
    times = max(-(-width // whole.numerator), -(-height // whole.denominator))
    shape = (
        (_DISPLAY_WIDTH, times * whole.numerator),
        (_DISPLAY_HEIGHT, times * whole.denominator),
    )
    parts += [Element(i, n.to_bytes((n.bit_length() + 7) // 8, "big")) for i, n in shape]
    return Element(_VIDEO, b"".join(e.encoded() for e in parts))


def _summed(data: bytes, *, like: Element) -> bytes:
    """Puts a checksum before a payload, where the old one had one."""
    if not like.data.startswith(b"\xbf"):
        return data
    return b"\xbf\x84" + zlib.crc32(data).to_bytes(4, "little") + data


def read_elements(data: bytes, start: int, end: int) -> list[Element]:
    """Reads elements side by side, as far as they are whole; a segment opens, and ends the row."""
    found, at = [], start
    while at < end:
        id_length = 9 - data[at].bit_length()
        if id_length > 4 or at + id_length >= end:
            break
        identity = int.from_bytes(data[at : at + id_length], "big")
        place = at + id_length
        size_length = 9 - data[place].bit_length()
        size = int.from_bytes(data[place : place + size_length], "big")
        size &= (1 << 7 * size_length) - 1
        place += size_length
        if identity in (_SEGMENT, _CLUSTER):
            found.append(Element(identity, b"", place))
            break
        if place + size > end:
            break
        found.append(Element(identity, data[place : place + size], at, data[at : place + size]))
        at = place + size
    return found


def _children(data: bytes) -> list[Element]:
    return read_elements(data, 0, len(data))


def _id_bytes(identity: int) -> bytes:
    return identity.to_bytes((identity.bit_length() + 7) // 8, "big")


def _size_bytes(size: int) -> bytes:
    length = next(n for n in range(1, 9) if size < (1 << 7 * n) - 1)
    return (size | 1 << 7 * length).to_bytes(length, "big")
