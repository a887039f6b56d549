"""The command, its ends good and bad, and the small commands; `colorize` has its own module."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from kinemacolor.stream.command.colorize import colorize
from kinemacolor.stream.command.console import FAILED, console, fail, start_log
from kinemacolor.stream.command.models import app as models_app
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from kinemacolor.errors import KinemacolorError

COMMANDS = (
    "colorize",
    "verify",
    "models",
    "train",
    "evaluate",
    "bench",
    "serve",
    "doctor",
    "devices",
)


class _Stopped(Exception):
    """Ctrl-C or SIGTERM, past Typer, which makes status 130 of every KeyboardInterrupt."""

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
app.add_typer(models_app, name="models")
app.command()(colorize)


def main(
    argv: list[str] | None = None, *, handlers: Mapping[signal.Signals, Any] | None = None
) -> None:
    """What the command `kinemacolor` does; `colorize` may be left out.

    Args:
        handlers: of signals, set again where a KeyboardInterrupt is one line.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] not in (*COMMANDS, "-h", "--help", "--version"):
        arguments.insert(0, "colorize")
    if arguments[:1] == ["colorize"]:
        arguments = list(_from_ffmpeg(arguments))
    from kinemacolor.export import command as export_cli

    export_cli.add_to(app, models_app)
    try:
        for number, handler in (handlers or {}).items():
            signal.signal(number, handler)
        signal.signal(signal.SIGTERM, _interrupt)
        status = app(args=arguments, prog_name="kinemacolor", standalone_mode=False)
    except KinemacolorError as error:
        fail(str(error))
    except (_Stopped, KeyboardInterrupt) as error:
        console.print("stopped")
        by = error.number if isinstance(error, _Stopped) else signal.SIGINT
        raise SystemExit(128 + by) from None
    except BrokenPipeError:
        raise SystemExit(FAILED) from None
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


def _interrupt(signum: int, frame: Any) -> None:
    raise KeyboardInterrupt(signum)


def _fail_usage(error: Any) -> None:
    """Says in one line what Typer found wrong with the command line; returns for other errors.

    Its errors have no public base class: it lay in Click before Typer took Click in.
    """
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        raise SystemExit(error.exit_code)
    if hasattr(error, "format_message"):
        path = error.ctx.command_path if getattr(error, "ctx", None) else "kinemacolor"
        fail(f"{error.format_message().rstrip('.')}; {path} --help lists what there is", 2)


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        print(f"kinemacolor {installed('kinemacolor')}")
        raise typer.Exit


@app.command()
def verify(source: Path, result: Path) -> None:
    """Proves that luma, frames, times, sound and tags of RESULT are those of SOURCE."""
    start_log(quiet=True)
    from kinemacolor.stream.proof.verify import verify as compare

    checks = compare(source, result)
    for check in checks:
        print(f"{'ok  ' if check.passed else 'FAIL'}  {check.name:<10} {check.detail}")
    if not all(check.passed for check in checks):
        raise typer.Exit(FAILED)


@app.command()
def devices() -> None:
    """Lists cameras with their modes."""
    from kinemacolor.stream.sources.camera import devices as cameras

    found = False
    for camera in cameras():
        found = True
        print(f"{camera.name}  {camera.description}")
        for mode in camera.modes:
            print(f"    {mode}")
    if not found:
        console.print("no camera was found")


@app.command()
def doctor() -> None:
    """Prints what this machine can do, and what to install for more."""
    from kinemacolor.stream.command.doctor import examine

    table = Table(show_header=False, box=None, pad_edge=False)
    for finding in examine():
        table.add_row("ok" if finding.good else "-", finding.subject, finding.detail)
    Console(highlight=False, markup=False).print(table)


@app.command()
def bench(
    model: Annotated[str, typer.Option(help="Packaged model, or an .onnx file.")] = "kinema",
    backend: Annotated[str, typer.Option(help="auto, tensorrt, openvino, onnxruntime")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16, fp16")] = "auto",
    steady: Annotated[str, typer.Option(help="off, live, film")] = "live",
    frames: Annotated[int, typer.Option(min=1)] = 200,
) -> None:
    """Measures this machine: a test picture at three sizes, without an encoder."""
    start_log(quiet=False)
    # How the colours of a test picture are read is no news, and it is read six times.
    logging.getLogger("kinemacolor.stream.color.colorizer").setLevel(logging.WARNING)
    from kinemacolor.stream.command.bench import measure
    from kinemacolor.stream.measure.stats import STAGES
    from kinemacolor.stream.options import Options
    from kinemacolor.stream.run.run import open_network

    options = Options.of(model=model, backend=backend, precision=precision, steady=steady)
    table = Table("size", "network", "fps", *(f"{stage} ms" for stage in STAGES[:-1]), box=None)
    with open_network(options) as network:
        console.print(network.description)
        for row in measure(network, frames=frames, steady=options.color.steady):  # type: ignore[arg-type]
            table.add_row(
                f"{row.width}x{row.height}",
                f"{row.network[1]}x{row.network[0]}",
                f"{row.fps:.1f}",
                *(f"{row.stage_ms[stage]:.2f}" for stage in STAGES[:-1]),
            )
    Console(highlight=False, markup=False).print(table)


@app.command()
def serve() -> None:
    """The browser application: not part of this version yet."""
    fail("serve is not part of this version yet")


if __name__ == "__main__":
    main()
