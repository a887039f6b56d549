"""Makes the command line's options from the classes that hold them (`stream.options`)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import NoneType
from typing import Annotated, Any, get_args, get_type_hints

import typer
from kinemacolor.stream.options import Options

from kinemacolor.checked import Words, described, flag_of, types_of
from kinemacolor.errors import BadOption


def takes_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command every option of `Options`, and hands them over as its argument `options`."""
    groups = types_of(Options)
    names = {name: group for group in groups.values() for name, _ in described(group)}
    hints = get_type_hints(command, include_extras=True)
    own = [p for p in inspect.signature(command).parameters.values() if p.name != "options"]
    made = [
        _parameter(group, name, words)
        for group in groups.values()
        for name, words in described(group)
    ]

    def wrapped(**values: Any) -> Any:
        chosen = {name: _read(names[name], name, values.pop(name)) for name in names}
        return command(**values, options=Options.of(**chosen))

    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    own = [p.replace(annotation=hints[p.name], kind=p.KEYWORD_ONLY) for p in own]
    parameters = [*own[:2], *made, *own[2:]]  # what goes in and out stands first
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapped


def _parameter(group: type[Any], name: str, words: Words) -> inspect.Parameter:
    default, kind = getattr(group, name), types_of(group)[name]
    flag = flag_of(group, name)
    if _turns_off(flag):
        default = not default
    parts = [part for part in get_args(kind) or (kind,) if part is not NoneType]
    plain = parts[0] if len(parts) == 1 and parts[0] in (bool, int, float) else str
    if words.parse is not None:
        plain, default = str, None
    extra: dict[str, Any] = {}
    if plain in (int, float):
        extra = {"min": words.low, "max": words.high}
    flags = words.flags or (flag,)
    info = typer.Option(*flags, help=words.help, metavar=words.metavar, **extra)
    optional = plain if default is not None else plain | None
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[optional, info]
    )


def _read(group: type[Any], name: str, value: Any) -> Any:
    """The option's value from what was written. Raises typer.BadParameter."""
    words, flag = dict(described(group))[name], flag_of(group, name)
    if _turns_off(flag):
        return not value
    if words.parse is None:
        return value
    if value is None:
        return getattr(group, name)
    try:
        return words.parse(value)
    except BadOption as error:
        raise typer.BadParameter(str(error), param_hint=f"'{flag}'") from None


def _turns_off(flag: str) -> bool:
    return flag.startswith("--no-")
