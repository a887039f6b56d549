"""Hints: a point of a frame, and the colour that is there. In Python, and in a file `hints.json`.

The file's schema is `hints.schema.json` beside this module.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from kinemacolor.stream.errors import BadHint

SCHEMA = Path(__file__).with_name("hints.schema.json")
VERSION = 1
MOST = 1000  # of one film

Reach = Literal["spot", "object", "everywhere"]
_COLOR = re.compile(r"#([0-9a-fA-F]{6})")


@dataclass(frozen=True)
class Hint:
    """A colour that somebody knows.

    Attributes:
        x, y: 0..1, from the left and from the top of the picture.
        color: "#rrggbb"; "keep" pins what is there, "grey" takes colour away.
        frame: its number, counted from 0 at the film's start.
        time: the same in seconds; exactly one of both is given.
        reach: how far it goes: "spot", as far as its "object", or "everywhere" to what looks
            alike, in other shots, too.

    Raises BadHint for any other value.
    """

    x: float
    y: float
    color: str
    frame: int | None = None
    time: float | None = None
    reach: Reach = "object"

    def __post_init__(self) -> None:
        for name in ("x", "y"):
            _check_number(name, getattr(self, name), most=1)
        if not isinstance(self.color, str) or (
            self.color not in ("keep", "grey") and not _COLOR.fullmatch(self.color)
        ):
            raise BadHint(f'color is {self.color!r}: expected "#rrggbb", "keep" or "grey"')
        if (self.frame is None) == (self.time is None):
            raise BadHint("it has to have a frame or a time, and only one of them")
        if self.frame is not None:
            if isinstance(self.frame, bool) or not isinstance(self.frame, int) or self.frame < 0:
                raise BadHint(f"frame is {self.frame!r}: expected a whole number from 0")
        else:
            _check_number("time", self.time)
        if self.reach not in get_args(Reach):
            words = ", ".join(get_args(Reach))
            raise BadHint(f"reach is {self.reach!r}: expected one of {words}")

    @property
    def name(self) -> str:
        """What it is called in messages and in the report."""
        place = f"frame {self.frame}" if self.time is None else f"{self.time:g} s"
        return f"hint {self.color} at {self.x:g}, {self.y:g} of {place}"

    @property
    def rgb(self) -> tuple[float, float, float] | None:
        """R, G, B of 0..1; None for "keep"."""
        if self.color == "keep":
            return None
        if self.color == "grey":
            return 0.5, 0.5, 0.5
        code = int(self.color[1:], 16)
        return (code >> 16) / 255, (code >> 8 & 255) / 255, (code & 255) / 255


def read_hints(path: Path) -> list[Hint]:
    """Reads a file of hints. Raises BadHint, and names the entry."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadHint(f"{path} cannot be read: {error}") from error
    try:
        found = json.loads(text)
    except ValueError as error:
        raise BadHint(f"{path} is no JSON: {error}") from error
    return _parse(path, found)


def _parse(path: Path, found: Any) -> list[Hint]:
    if not isinstance(found, dict) or "version" not in found:
        raise BadHint(f'{path} is no file of hints: expected {{"version": {VERSION}, "hints": []}}')
    if found["version"] != VERSION or isinstance(found["version"], bool):
        raise BadHint(f"{path} is of version {found['version']!r}: this program reads {VERSION}")
    if unknown := set(found) - {"version", "hints", "$schema"}:
        raise BadHint(f"{path} has an unknown key {min(unknown)!r}")
    entries = found.get("hints")
    if not isinstance(entries, list):
        raise BadHint(f"{path}: hints has to be a list")
    if len(entries) > MOST:
        raise BadHint(f"{path} has {len(entries)} hints: {MOST} is the most")
    return [_hint(path, number, entry) for number, entry in enumerate(entries)]


def _hint(path: Path, number: int, entry: Any) -> Hint:
    where = f"{path}: hints[{number}]"
    if not isinstance(entry, dict):
        raise BadHint(f"{where} is no object")
    known = {each.name for each in fields(Hint)}
    if unknown := set(entry) - known:
        raise BadHint(f"{where} has an unknown key {min(unknown)!r}")
    if missing := {"x", "y", "color"} - set(entry):
        raise BadHint(f"{where} has no {min(missing)}")
    try:
        return Hint(**entry)
    except BadHint as error:
        raise BadHint(f"{where}: {error}") from None


def check_apart(hints: Sequence[Hint]) -> None:
    """Raises BadHint where two say different colours of the same point of one frame."""
    said: dict[tuple[Any, ...], Hint] = {}
    for hint in hints:
        other = said.setdefault((hint.frame, hint.time, hint.x, hint.y), hint)
        if other.color != hint.color:
            raise BadHint(f"{other.name} and {hint.color} at the same point contradict each other")


def _check_number(name: str, value: Any, *, most: float | None = None) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0 or (most is not None and value > most):
        wanted = "0 or more" if most is None else f"a number from 0 to {most:g}"
        raise BadHint(f"{name} is {value!r}: expected {wanted}")
