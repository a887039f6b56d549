"""How an option is declared: a dataclass field with its words, its range and its check."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from kinemacolor.errors import BadOption


@dataclass(frozen=True)
class Words:
    """How an option is written and explained.

    Attributes:
        flags: on the command line, the last one in messages; an option that begins with `--no-`
            turns its field off.
        parse: makes the value of what was written; raises BadOption. For a tuple of any length the
            option may be given again and again, and `parse` makes one of its values.
        low, high: the least and the greatest value.
    """

    help: str
    flags: tuple[str, ...] = ()
    metavar: str | None = None
    parse: Callable[[str], Any] | None = None
    low: float | None = None
    high: float | None = None


def option(default: Any, help: str, *flags: str, **words: Any) -> Any:
    """A dataclass field that is an option; see `Words`."""
    return field(default=default, metadata={"words": Words(help, flags, **words)})


class Checked:
    """Options that say at once what is wrong with them. Raises BadOption on construction."""

    def __post_init__(self) -> None:
        types = types_of(type(self))
        for name, words in described(type(self)):
            _check(flag_of(type(self), name), getattr(self, name), types[name], words)


def described(group: type[Any]) -> Iterator[tuple[str, Words]]:
    """Yields the name and the words of every option of a group.

    A field that is not an `option` is Python's alone: no command has it, and nothing checks it.
    """
    for each in fields(group):
        if "words" in each.metadata:
            yield each.name, each.metadata["words"]


def flag_of(group: type[Any], name: str) -> str:
    """Returns the option's name on the command line."""
    words: Mapping[str, Words] = dict(described(group))
    return words[name].flags[-1] if words[name].flags else "--" + name.replace("_", "-")


def types_of(group: type[Any]) -> dict[str, Any]:
    """Returns the types of a dataclass's fields, by name."""
    return get_type_hints(group)


def _check(flag: str, value: Any, kind: Any, words: Words) -> None:
    """Raises BadOption where a value is not of its kind, or out of its range."""
    choices, kinds = _choices(kind)
    if (value is None and NoneType in kinds) or (isinstance(value, str) and value in choices):
        return
    if choices and not kinds:
        raise BadOption(f"unknown {flag} {value!r}: one of {', '.join(choices)}")
    wanted = tuple(float if k is Fraction else k for k in kinds)
    number = isinstance(value, int | float | Fraction) and not isinstance(value, bool)
    if number and {int, float, Fraction} & set(kinds):
        if float not in kinds and Fraction not in kinds and not isinstance(value, int):
            raise BadOption(f"{flag} {value!r} is no whole number")
        if not math.isfinite(value):
            raise BadOption(f"{flag} {value} is not a finite number")
        if words.low is not None and value < words.low:
            raise BadOption(f"{flag} {value} is too small: {words.low:g} is the least")
        if words.high is not None and value > words.high:
            raise BadOption(f"{flag} {value} is too large: {words.high:g} is the most")
        return
    if not isinstance(value, wanted):
        names = " or ".join(sorted(k.__name__ for k in wanted if k is not NoneType))
        raise BadOption(f"{flag} {value!r} is no {names}")


def _choices(kind: Any) -> tuple[tuple[str, ...], tuple[type, ...]]:
    """Returns the words that a type allows, and its other types."""
    if get_origin(kind) is Literal:
        return get_args(kind), ()
    if isinstance(kind, UnionType) or get_origin(kind) not in (None, tuple):
        parts = [_choices(part) for part in get_args(kind)]
        return sum((c for c, _ in parts), ()), sum((k for _, k in parts), ())
    return (), (get_origin(kind) or kind,)
