"""How an option is declared: a dataclass field with its words, its range and its check."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from fractions import Fraction
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from kinemacolor.errors import BadOption


@dataclass(frozen=True)
class Words:
    """How an option is written and explained.

    Attributes:
        flags: on the command line, the last one in messages; an option that begins with `--no-`
            turns its field off.
        parse: makes the value of what was written; raises BadOption. For a tuple of any length the
            option may be given again and again, and `parse` makes one of its values.
        low, high: the least and the greatest value; of a pair, for each of its numbers.
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
        group = type(self)
        kinds = get_type_hints(group)
        for name, words in described(group):
            flag, value = flag_of(group, name), getattr(self, name)
            _check_kind(flag, value, _members(kinds[name]))
            for number in value if isinstance(value, tuple) else (value,):
                if isinstance(number, Real):
                    _check_range(flag, number, words)


def described(group: type[Any]) -> list[tuple[str, Words]]:
    """Returns the name and the words of every option of a group.

    A field that is not an `option` is Python's alone: no command has it, and nothing checks it.
    """
    return [(f.name, f.metadata["words"]) for f in fields(group) if "words" in f.metadata]


def flag_of(group: type[Any], name: str) -> str:
    """The option's name on the command line."""
    flags = dict(described(group))[name].flags
    return flags[-1] if flags else "--" + name.replace("_", "-")


def _members(kind: Any) -> list[Any]:
    """The types that a union is of; a type that is none, alone."""
    if get_origin(kind) in (Union, UnionType):
        return [member for part in get_args(kind) for member in _members(part)]
    return [kind]


def _check_kind(flag: str, value: Any, kinds: list[Any]) -> None:
    """Raises BadOption for a value of another kind than these."""
    if any(_fits(value, kind) for kind in kinds):
        return
    choices = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    others = [kind for kind in kinds if kind is not NoneType and get_origin(kind) is not Literal]
    if not others:
        raise BadOption(f"unknown {flag} {value!r}: one of {', '.join(choices)}")
    names = [_NAMES.get(kind) or getattr(kind, "__name__", kind) for kind in others]
    raise BadOption(f"{flag} {value!r} is no {' or '.join((*names, *choices))}")


_NAMES = {
    bool: "True or False",
    float: "number",
    Fraction: "number",
    int: "whole number",
    str: "text",
    tuple[int, int]: "pair of whole numbers",
}


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a kind; whole numbers are numbers, and True and False are none."""
    parts = get_args(kind)
    if get_origin(kind) is Literal:
        return isinstance(value, str) and value in parts
    if get_origin(kind) is tuple:
        if isinstance(value, tuple) and parts[-1] is Ellipsis:
            parts = parts[:1] * len(value)
        return (
            isinstance(value, tuple) and len(value) == len(parts) and all(map(_fits, value, parts))
        )
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, {int: Integral, float: Real, Fraction: Real}.get(kind, kind))


def _check_range(flag: str, number: Any, words: Words) -> None:
    """Raises BadOption for a number that is out of its range, or none at all."""
    if not math.isfinite(number):
        raise BadOption(f"{flag} {number} is not a finite number")
    if words.low is not None and number < words.low:
        raise BadOption(f"{flag} {number} is too small: {words.low:g} is the least")
    if words.high is not None and number > words.high:
        raise BadOption(f"{flag} {number} is too large: {words.high:g} is the most")
