"""Makes the command line's options from the dataclasses that hold them (`kinemacolor.checked`)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from kinemacolor.checked import Words, described, flag_of
from kinemacolor.errors import BadOption

Command = Callable[..., Any]


def takes(groups: Iterable[type[Any]], build: Callable[..., Any]) -> Callable[[Command], Command]:
    """Gives a command every option of some groups, and hands them over as its argument `options`.

    The command's help lists them where `options` stands among its arguments.

    Args:
        build: makes the argument `options` from the values by name.
    """
    owners = {name: (group, words) for group in groups for name, words in described(group)}

    def decorate(command: Command) -> Command:
        hints = get_type_hints(command, include_extras=True)
        parameters = [
            p.replace(annotation=hints[p.name], kind=p.KEYWORD_ONLY)
            for p in inspect.signature(command).parameters.values()
        ]
        here = [p.name for p in parameters].index("options")
        made = [_parameter(group, name, words) for name, (group, words) in owners.items()]
        parameters[here : here + 1] = made

        def wrapped(**values: Any) -> Any:
            chosen = {
                name: _read(group, name, words, values.pop(name))
                for name, (group, words) in owners.items()
            }
            return command(**values, options=build(**chosen))

        wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
        wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
        return wrapped

    return decorate


def _parameter(group: type[Any], name: str, words: Words) -> inspect.Parameter:
    default, kind = getattr(group, name), get_type_hints(group)[name]
    flag = flag_of(group, name)
    if _turns_off(flag):
        default = not default
    parts = [part for part in get_args(kind) or (kind,) if part is not NoneType]
    plain: Any = parts[0] if len(parts) == 1 and parts[0] in (bool, int, float) else str
    if words.parse is not None:
        plain, default = str, None
    extra: dict[str, Any] = {}
    if plain in (int, float):
        extra = {"min": words.low, "max": words.high}
    if get_origin(kind) is tuple and get_args(kind)[-1] is Ellipsis:  # it may be given again
        plain = list[str]
    info = typer.Option(*(words.flags or (flag,)), help=words.help, metavar=words.metavar, **extra)
    optional = plain if default is not None else plain | None
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[optional, info]
    )


def _read(group: type[Any], name: str, words: Words, value: Any) -> Any:
    """Returns the option's value from what was written. Raises typer.BadParameter."""
    flag = flag_of(group, name)
    if _turns_off(flag):
        return not value
    if words.parse is None:
        return value
    if value is None or value == []:
        return getattr(group, name)
    try:
        return tuple(map(words.parse, value)) if isinstance(value, list) else words.parse(value)
    except BadOption as error:
        raise typer.BadParameter(str(error), param_hint=f"'{flag}'") from None


def _turns_off(flag: str) -> bool:
    return flag.startswith("--no-")
