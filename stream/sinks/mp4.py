"""Mends in a finished MP4 what FFmpeg's muxer guesses: how long the end of a text track is."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_PARENTS = frozenset((b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts"))
_TEXT = frozenset((b"text", b"sbtl"))
_NO_TEXT = 2  # bytes of an empty title


@dataclass(frozen=True)
class Box:
    """A box of ISO 14496-12: its path (`moov/trak/tkhd`) and where its payload lies in `moov`."""

    path: str
    start: int
    end: int


def end_titles(path: Path) -> None:
    """Gives the empty title at the end of each text track no length.

    Where an MP4 was written in fragments, the muxer takes that to be as long as the title before.
    """
    with path.open("r+b") as file:
        found = _find_moov(file)
        if found is None:
            return
        place, moov = found
        before = bytes(moov)
        for track in _tracks(moov):
            _end_track(moov, track)
        if moov != before:
            _set_film_duration(moov)
            file.seek(place)
            file.write(moov)


def _find_moov(file: BinaryIO) -> tuple[int, bytearray] | None:
    at, size = 0, file.seek(0, 2)
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length, kind = struct.unpack(">I4s", head[:8])
        if length == 1:
            (length,) = struct.unpack(">Q", head[8:16])
        if kind == b"moov":
            file.seek(at)
            return at, bytearray(file.read(length))
        if length < 8:
            return None
        at += length
    return None


def _boxes(data: bytearray, start: int, end: int, path: str = "") -> Iterator[Box]:
    while start + 8 <= end:
        length, kind = struct.unpack_from(">I4s", data, start)
        if length < 8 or start + length > end:
            return
        name = f"{path}/{kind.decode('latin-1')}" if path else kind.decode("latin-1")
        yield Box(name, start + 8, start + length)
        if kind in _PARENTS:
            yield from _boxes(data, start + 8, start + length, name)
        start += length


def _tracks(moov: bytearray) -> list[dict[str, Box]]:
    """Every track's boxes, by their names; of two `hdlr` of QuickTime, the media's own."""
    tracks = [b for b in _boxes(moov, 0, len(moov)) if b.path == "moov/trak"]
    named = []
    for track in tracks:
        boxes: dict[str, Box] = {}
        for box in _boxes(moov, track.start, track.end, "trak"):
            boxes.setdefault(box.path.rsplit("/", 1)[-1], box)
        named.append(boxes)
    return named


def _end_track(moov: bytearray, boxes: dict[str, Box]) -> None:
    if not {"hdlr", "stts", "stsz", "mdhd", "tkhd"} <= boxes.keys():
        return
    if bytes(moov[boxes["hdlr"].start + 8 : boxes["hdlr"].start + 12]) not in _TEXT:
        return
    length = _end_lengths(moov, boxes["stts"], _empty_at_end(moov, boxes["stsz"]))
    if not length:
        return
    scale = _shorten(moov, boxes["mdhd"], 12, 20, length)
    film = struct.unpack_from(">I", moov, _film_head(moov).start + 12)[0]
    less = round(length * film / scale)
    _shorten(moov, boxes["tkhd"], 20, 28, less)
    if "elst" in boxes:
        elst = boxes["elst"]
        wide = moov[elst.start] == 1
        (edits,) = struct.unpack_from(">I", moov, elst.start + 4)
        entry = elst.start + 8 + (20 if wide else 12) * (edits - 1)
        _subtract(moov, entry, wide=wide, less=less)


def _empty_at_end(moov: bytearray, stsz: Box) -> int:
    """How many empty titles a track ends with."""
    same, count = struct.unpack_from(">II", moov, stsz.start + 4)
    if same:
        return 0
    sizes = struct.unpack_from(f">{count}I", moov, stsz.start + 12)
    return next((n for n, size in enumerate(reversed(sizes)) if size != _NO_TEXT), 0)


def _end_lengths(moov: bytearray, stts: Box, empty: int) -> int:
    """Gives the last samples no length, where the table has room. Returns what they had."""
    (entries,) = struct.unpack_from(">I", moov, stts.start + 4)
    runs = list(struct.iter_unpack(">II", moov[stts.start + 8 : stts.start + 8 + 8 * entries]))
    if not runs or not empty:
        return 0
    without = runs[-1][0] if runs[-1][1] == 0 else 0  # samples that have none already
    at = len(runs) - (2 if without else 1)
    left = empty - without
    if at < 0 or left <= 0:
        return 0
    count, length = runs[at]
    if count == left:
        runs[at] = count, 0
    elif without and count > left:
        runs[at:] = [(count - left, length), (without + left, 0)]
    else:
        return 0
    for number, run in enumerate(runs):
        struct.pack_into(">II", moov, stts.start + 8 + 8 * number, *run)
    return left * length


def _shorten(moov: bytearray, box: Box, narrow: int, wide: int, less: int) -> int:
    """Subtracts from a head's duration; returns the word before it, a media head's timescale."""
    is_wide = moov[box.start] == 1
    place = box.start + (wide + 4 if is_wide else narrow + 4)
    _subtract(moov, place, wide=is_wide, less=less)
    return struct.unpack_from(">I", moov, place - 4)[0]


def _subtract(moov: bytearray, place: int, *, wide: bool, less: int) -> None:
    kind = ">Q" if wide else ">I"
    (value,) = struct.unpack_from(kind, moov, place)
    struct.pack_into(kind, moov, place, max(0, value - less))


def _film_head(moov: bytearray) -> Box:
    return next(b for b in _boxes(moov, 0, len(moov)) if b.path == "moov/mvhd")


def _set_film_duration(moov: bytearray) -> None:
    """Makes the film as long as its longest track."""
    longest = 0
    for boxes in _tracks(moov):
        head = boxes["tkhd"].start
        wide = moov[head] == 1
        place = head + (28 if wide else 20)
        (value,) = struct.unpack_from(">Q" if wide else ">I", moov, place)
        longest = max(longest, value)
    head = _film_head(moov).start
    wide = moov[head] == 1
    place = head + (24 if wide else 16)
    struct.pack_into(">Q" if wide else ">I", moov, place, longest)
