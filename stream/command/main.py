"""The command: which commands there are, and how they end, well or not."""

from __future__ import annotations

import atexit
import signal
import sys
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer
from kinemacolor.export import command as export
from kinemacolor.stream.command.colorize import colorize
from kinemacolor.stream.command.console import Exit, console, drop_what_cannot_be_said, fail
from kinemacolor.stream.command.machine import bench, devices, doctor
from kinemacolor.stream.command.models import app as models_app
from kinemacolor.stream.command.stills import stills
from kinemacolor.stream.command.verify import verify
from kinemacolor.stream.handoff import Interrupts
from typer.core import TyperGroup

import kinemacolor
from kinemacolor.errors import KinemacolorError


class _Stopped(Exception):
    """Ctrl-C, SIGTERM or SIGHUP, past Typer, which makes status 130 of every KeyboardInterrupt."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _Stopped(error.args[0] if error.args else signal.SIGINT) from error


app = typer.Typer(
    name="kinemacolor",
    cls=_Commands,
    help="Colorizes black-and-white video as it plays.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"kinemacolor {kinemacolor.__version__}")
        raise typer.Exit


def serve() -> None:
    """The browser application: not part of this version yet."""
    fail("serve is not part of this version yet")


app.add_typer(models_app, name="models")
for command in (colorize, stills, verify, devices, doctor, bench, serve):
    app.command()(command)
export.add_to(app, models_app)
# What a command line may begin with; anything else is a source, and `colorize` is left out.
_FIRST_WORDS = {
    *("-h", "--help", "--version"),
    *(group.name for group in app.registered_groups),
    *(command.callback.__name__ for command in app.registered_commands if command.callback),
}


def main(argv: list[str] | None = None, *, signals: Iterable[int] = ()) -> None:
    """What the command `kinemacolor` does; `colorize` may be left out.

    Args:
        signals: those that end it, and are one line.
    """
    drop_what_cannot_be_said()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] not in _FIRST_WORDS:
        arguments.insert(0, "colorize")
    if arguments[:1] == ["colorize"]:
        arguments = list(_from_ffmpeg(arguments))
    try:
        interrupts = Interrupts(_interrupt)
        for number in signals:
            signal.signal(number, interrupts)
            # Python gives signals back to the system before it ends: one more would be the status.
            atexit.register(signal.signal, number, signal.SIG_IGN)
        status = app(args=arguments, prog_name="kinemacolor", standalone_mode=False)
    except KinemacolorError as error:
        fail(str(error))
    except (_Stopped, KeyboardInterrupt) as error:
        console.print("stopped")
        by = error.number if isinstance(error, _Stopped) else signal.SIGINT
        raise SystemExit(Exit.SIGNAL + by) from None
    except BrokenPipeError:
        raise SystemExit(Exit.FAILED) from None
    except OSError as error:  # a folder that is not ours, a full disk
        where = f"{error.filename}: " if error.filename else ""
        fail(f"{where}{error.strerror or error}")
    except Exception as error:
        _fail_usage(error)
        raise
    raise SystemExit(status if isinstance(status, int) else 0)


def _from_ffmpeg(arguments: Iterable[str]) -> Iterator[str]:
    """FFmpeg's `-ss` and `-i`, which are no options to Typer: one dash is for single letters."""
    words = iter(arguments)
    for word in words:
        if word == "--":
            yield word
            yield from words
        elif word != "-i":  # what follows is the source
            yield "--start" if word == "-ss" else word


def _interrupt(number: int) -> None:
    raise KeyboardInterrupt(number)


def _fail_usage(error: Any) -> None:
    """Says in one line what Typer found wrong with the command line; returns for other errors.

    Its errors have no public base class: it lay in Click before Typer took Click in.
    """
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        raise SystemExit(error.exit_code)
    if hasattr(error, "format_message"):
        path = error.ctx.command_path if getattr(error, "ctx", None) else "kinemacolor"
        fail(f"{error.format_message().rstrip('.')}; {path} --help lists what there is", Exit.USAGE)
