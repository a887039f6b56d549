"""Reads lists of cuts that other programs made: PySceneDetect's CSV, a CMX 3600 EDL."""

from __future__ import annotations

import csv
import re
from fractions import Fraction
from pathlib import Path

from kinemacolor.stream.errors import StreamError

_TIMECODE = r"(\d\d)[:;.](\d\d)[:;.](\d\d)([:;.])(\d\d)"
# Event, reel, channels, transition (with its frames), source in and out, record in and out.
_EVENT = re.compile(
    r"^\s*\d+\s+\S+\s+(?P<channels>\S+)\s+(?P<transition>C|D|W\d*|K\w*)(?:\s+\d+)?"
    r"((?:\s+" + _TIMECODE.replace("(", "(?:") + r"){4})\s*$"
)


class BadCutList(StreamError, ValueError):
    """A file of cuts is in no format known here, or contradicts itself."""


def read_cuts(path: Path, *, rate: Fraction | None) -> frozenset[int]:
    """Returns the numbers of the frames that start a shot; the first frame of all is 0.

    Args:
        path: `scenedetect ... list-scenes` output (.csv), or an edit decision list (.edl), of
            which the hard cuts of the video track count, by their time in the finished film.
        rate: frames a second, which an EDL's timecode counts in; None if unknown.

    Raises:
        BadCutList: the file cannot be understood; the text says where.
        FileNotFoundError: no such file.
    """
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    if path.suffix.lower() == ".edl":
        return _read_edl(path, lines, rate)
    return _read_csv(path, lines)


def _read_csv(path: Path, lines: list[str]) -> frozenset[int]:
    rows = [row for row in csv.reader(lines) if row]
    for number, row in enumerate(rows):
        if "Start Frame" in row:
            header, scenes = row, rows[number + 1 :]
            break
    else:
        raise BadCutList(
            f"{path} has no column 'Start Frame': expected the table that PySceneDetect's"
            " list-scenes writes, or a file that ends in .edl"
        )
    column = header.index("Start Frame")
    try:
        starts = [int(row[column]) for row in scenes]
    except (ValueError, IndexError) as error:
        raise BadCutList(f"{path}: a scene has no whole number as its Start Frame") from error
    if starts != sorted(starts):
        raise BadCutList(f"{path}: the scenes are not in the order of time")
    # PySceneDetect counts from 1; its older versions counted from 0.
    base = 0 if starts[:1] == [0] else 1
    return frozenset(start - base for start in starts if start > base)


def _read_edl(path: Path, lines: list[str], rate: Fraction | None) -> frozenset[int]:
    if rate is None:
        raise BadCutList(f"{path}: an EDL counts frames, and the source states no frame rate")
    starts = []
    first: int | None = None
    for number, line in enumerate(lines, 1):
        event = _EVENT.match(line)
        if event is None or not re.search("V|B", event["channels"]):
            continue
        record = re.findall(_TIMECODE, line)[2:]
        try:
            record_in, record_out = (_frames(timecode, rate) for timecode in record)
        except ValueError as error:
            raise BadCutList(f"{path}, line {number}: {error}") from error
        first = record_in if first is None else min(first, record_in)
        # A dissolve is written as a cut of no length and the incoming picture's own line.
        if event["transition"] == "C" and record_out > record_in:
            starts.append(record_in)
    if first is None:
        raise BadCutList(f"{path} holds no event of a video track: expected a CMX 3600 EDL")
    return frozenset(start - first for start in starts if start > first)


def _frames(timecode: tuple[str, ...], rate: Fraction) -> int:
    """Returns the number of a frame, or raises ValueError if there is no such one.

    Drop-frame timecode (";", SMPTE ST 12-1) leaves out two numbers a minute (four at 60 a
    second), but not in every tenth minute, so that 29.97 frames a second keep up with the clock.
    """
    hours, minutes, seconds, frame = (int(timecode[i]) for i in (0, 1, 2, 4))
    base = round(rate)
    if minutes > 59 or seconds > 59 or frame >= base:
        text = f"{hours:02}:{minutes:02}:{seconds:02}{timecode[3]}{frame:02}"
        raise ValueError(f"there is no {text} at {base} frames a second")
    total = ((hours * 60 + minutes) * 60 + seconds) * base + frame
    if timecode[3] == ";" and base % 30 == 0:
        minutes_passed = hours * 60 + minutes
        total -= base // 15 * (minutes_passed - minutes_passed // 10)
    return total
