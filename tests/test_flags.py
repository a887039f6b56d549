"""A command gets the options of a dataclass, and hands them back as one."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner, Result

from kinemacolor.checked import Checked, described, option
from kinemacolor.errors import BadOption
from kinemacolor.flags import takes


def _even(text: str) -> int:
    if not text.isdigit() or int(text) % 2:
        raise BadOption(f"{text!r} is not even")
    return int(text)


@dataclass(frozen=True)
class Group(Checked):
    sides: tuple[int, ...] = option((4,), "Even.", "--side", parse=_even)
    places: tuple[Path, ...] = option((), "Anywhere.", parse=Path)
    share: float = option(0.5, "Of all.", low=0.0, high=1.0)
    grow: bool = option(True, "Stays as it is.", "--no-grow")
    hidden: float = 0.25


def run(*arguments: str) -> tuple[Group | None, Result]:
    got: list[Group] = []
    app = typer.Typer()

    @app.command()
    @takes([Group], Group)
    def command(
        first: str,
        *,
        options: Group,
        last: Annotated[bool, typer.Option("--last")] = False,
    ) -> None:
        got.append(options)

    result = CliRunner().invoke(app, ["x", *arguments])
    return (got[0] if got else None), result


def test_without_flags_the_options_are_the_defaults() -> None:
    assert run()[0] == Group()


def test_an_option_may_be_given_again_and_again() -> None:
    given = ("--side", "2", "--side", "6", "--places", "a", "--share", "1", "--no-grow")
    assert run(*given)[0] == Group((2, 6), (Path("a"),), 1.0, False)


@pytest.mark.parametrize("given", [("--side", "3"), ("--share", "2"), ("--hidden", "1")])
def test_what_is_wrong_is_an_error_of_the_command_line(given: tuple[str, str]) -> None:
    options, result = run(*given)
    assert options is None
    assert result.exit_code == 2


def test_a_field_that_is_no_option_is_on_no_command_line() -> None:
    assert {name for name, _ in described(Group)} == {f.name for f in fields(Group)} - {"hidden"}


def test_help_lists_the_options_where_they_stand_in_the_signature() -> None:
    text = run("--help")[1].output
    assert text.index("--side") < text.index("--no-grow") < text.index("--last")
