"""The command: the only place that prints or exits."""

from __future__ import annotations

import json
import logging
import math
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from engine.errors import EngineError
from stream.errors import StreamError
from stream.models_cli import app as models_app

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
FAILED = 1
_LONGEST_SECONDS = 1e9  # 30 years


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
# Standard output may be a pipe that takes frames, so everything said goes to standard error.
console = Console(stderr=True, highlight=False, markup=False)


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
    from export import cli as export_cli
    from export.errors import ExportError

    export_cli.add_to(app, models_app)
    try:
        for number, handler in (handlers or {}).items():
            signal.signal(number, handler)
        signal.signal(signal.SIGTERM, _interrupt)
        status = app(args=arguments, prog_name="kinemacolor", standalone_mode=False)
    except (StreamError, EngineError, ExportError) as error:
        _fail(str(error))
    except (_Stopped, KeyboardInterrupt) as error:
        console.print("stopped")
        by = error.number if isinstance(error, _Stopped) else signal.SIGINT
        raise SystemExit(128 + by) from None
    except BrokenPipeError:
        raise SystemExit(FAILED) from None
    except OSError as error:  # a folder that is not ours, a full disk
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}")
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


def _fail(message: str, status: int = FAILED) -> NoReturn:
    first_line = " ".join(message.split())
    print(f"kinemacolor: {first_line}", file=sys.stderr)
    raise SystemExit(status)


def _fail_usage(error: Any) -> None:
    """Says in one line what Typer found wrong with the command line; returns for other errors.

    Its errors have no public base class: it lay in Click before Typer took Click in.
    """
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        raise SystemExit(error.exit_code)
    if hasattr(error, "format_message"):
        path = error.ctx.command_path if getattr(error, "ctx", None) else "kinemacolor"
        _fail(f"{error.format_message().rstrip('.')}; {path} --help lists what there is", 2)


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        print(f"kinemacolor {installed('kinemacolor')}")
        raise typer.Exit


def _finite(value: float | None) -> float | None:
    """Typer's `min` lets inf through, and in some versions nan."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


@app.command()
def colorize(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE...", help="film.mkv, picture.jpg, folder/, -, test:"),
    ],
    output: Annotated[
        list[str] | None,
        typer.Option("-o", "--output", metavar="SINK", help="Given again: several at once."),
    ] = None,
    model: Annotated[str, typer.Option(help="Packaged model, or an .onnx file.")] = "kinema",
    backend: Annotated[str, typer.Option(help="auto, tensorrt, openvino, onnxruntime")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16, fp16")] = "auto",
    device: Annotated[int, typer.Option(min=0, help="Number of the GPU.")] = 0,
    hwaccel: Annotated[
        str, typer.Option(help="none; cuda keeps frames on the GPU (no GPU has run it yet).")
    ] = "none",
    steady: Annotated[
        str, typer.Option(help="Temporal smoothing: off, live, film; auto is film for files.")
    ] = "auto",
    steady_strength: Annotated[
        float, typer.Option(min=0.0, callback=_finite, help="1 is normal.")
    ] = 1.0,
    every: Annotated[
        str | None,
        typer.Option(help="Infer every so many frames at least (1); auto keeps the film's rate."),
    ] = None,
    cuts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Cuts from PySceneDetect (.csv) or an .edl.")
    ] = None,
    saturation: Annotated[
        float, typer.Option(min=0.0, max=4.0, callback=_finite, help="Multiplies colour.")
    ] = 1.0,
    upsample: Annotated[str, typer.Option(help="guided, bilinear")] = "guided",
    compare: Annotated[
        bool, typer.Option("--compare", help="Grey and colour side by side.")
    ] = False,
    codec: Annotated[
        str | None, typer.Option(help="h264, hevc, av1, vp9, ffv1, prores, or an FFmpeg encoder.")
    ] = None,
    encoder: Annotated[str, typer.Option(help="auto, x264, nvenc, qsv, amf")] = "auto",
    crf: Annotated[
        float, typer.Option(min=0, max=63, callback=_finite, help="Quality; lower is better.")
    ] = 18.0,
    preset: Annotated[str, typer.Option(help="x264's speed names.")] = "veryfast",
    intra_refresh: Annotated[
        bool, typer.Option("--intra-refresh", help="Live, x264: no large key frames.")
    ] = False,
    start: Annotated[
        str, typer.Option(help="Also -ss: skip to this time (seconds or HH:MM:SS).")
    ] = "0",
    duration: Annotated[
        str | None, typer.Option("-t", "--duration", help="Stop after this much film.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("-y", "--overwrite", help="Replace an output.")
    ] = False,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Asked of a camera.")] = None,
    fps: Annotated[
        float | None, typer.Option(min=0.1, max=1000.0, callback=_finite, help="Asked of a camera.")
    ] = None,
    input_format: Annotated[str | None, typer.Option(help="Asked of a camera: mjpeg, ...")] = None,
    realtime: Annotated[bool, typer.Option("--realtime", help="A film as if live.")] = False,
    loop: Annotated[bool, typer.Option("--loop", help="Again and again, as if live.")] = False,
    give_up: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", min=0.0, callback=_finite, help="Stop waiting for a lost source."
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="For a network source that is not there yet.")
    ] = False,
    max_latency: Annotated[
        float,
        typer.Option(
            metavar="MS", min=1.0, callback=_finite, help="Live frames older than that are dropped."
        ),
    ] = 200.0,
    no_degrade: Annotated[
        bool,
        typer.Option("--no-degrade", help="Live: every frame inferred in full size, or dropped."),
    ] = False,
    metrics: Annotated[
        str | None, typer.Option(metavar="[HOST]:PORT", help="Counters for Prometheus.")
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(help="Login for RTSP viewers; password from KINEMACOLOR_PASSWORD[_FILE]."),
    ] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE.json")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
    no_progress: Annotated[bool, typer.Option("--no-progress")] = False,
) -> None:
    """Colorizes films and pictures: SOURCE in, SINK out."""
    _start_log(quiet)
    from stream.jobs import Stopped, check_stills, open_network, run_job
    from stream.live.uri import LiveOptions, is_live, size_of
    from stream.plan import plan_jobs
    from stream.report import check_report, unfinished_report
    from stream.settings import Settings

    settings = Settings(
        model=model,
        backend=backend,
        precision=precision,
        device=device,
        hwaccel=hwaccel,
        steady=steady,
        steady_strength=steady_strength,
        every=_every(every),
        cuts=cuts,
        saturation=saturation,
        upsample=upsample,
        compare=compare,
        codec=codec,
        encoder=encoder,
        crf=crf,
        preset=preset,
        intra_refresh=intra_refresh,
        start_seconds=_seconds(start),
        duration_seconds=None if duration is None else _seconds(duration),
        overwrite=overwrite,
        live=LiveOptions(
            size=None if size is None else size_of(size),
            fps=None if fps is None else Fraction(fps).limit_denominator(1001),
            input_format=input_format,
            realtime=realtime or loop,
            loop=loop,
            give_up_seconds=give_up,
            wait=wait,
        ),
        max_latency_ms=max_latency,
        degrade=not no_degrade,
        metrics=metrics,
        user=user,
    )
    outputs = output or []
    jobs = plan_jobs(sources, outputs[0] if outputs else None, more=outputs[1:], cuts=cuts)
    check_stills(jobs, settings)
    if report is not None:
        inputs = [Path(model), *([] if cuts is None else [cuts])]
        check_report(report, jobs, inputs=inputs, overwrite=overwrite)
    reports: list[dict[str, Any]] = []
    failures: list[str] = []
    live = any(is_live(job.source, settings.live) for job in jobs)
    try:
        with open_network(settings, live=live) as network:
            for job in jobs:
                try:
                    reports.append(
                        run_job(
                            job,
                            network,
                            settings,
                            console=None if quiet else console,
                            progress=not (quiet or no_progress),
                        )
                    )
                except StreamError as error:
                    if len(jobs) == 1:
                        raise
                    reports.append(unfinished_report(job, "failed", str(error)))
                    failures.append(_about(job.source, error))
                    console.print(f"failed: {failures[-1]}", soft_wrap=True)
                except Stopped as stopped:
                    reports.append(stopped.report)
                    raise
                except KeyboardInterrupt:
                    reports.append(unfinished_report(job, "stopped"))
                    raise
    finally:
        if report is not None and reports:  # also after Ctrl-C, the only end of a live run
            body = reports[0] if len(jobs) == 1 else reports
            report.write_text(json.dumps(body, indent=2) + "\n")
    if failures:
        _fail(f"{len(failures)} of {len(jobs)} failed; first: {failures[0]}")


def _about(source: str, error: StreamError) -> str:
    """What went wrong, with the source's name once."""
    message = " ".join(str(error).split())
    return message if source in message else f"{source}: {message}"


@app.command()
def verify(source: Path, result: Path) -> None:
    """Proves that luma, frames, times, sound and tags of RESULT are those of SOURCE."""
    _start_log(quiet=True)
    from stream.verify import verify as compare

    checks = compare(source, result)
    for check in checks:
        print(f"{'ok  ' if check.passed else 'FAIL'}  {check.name:<10} {check.detail}")
    if not all(check.passed for check in checks):
        raise typer.Exit(FAILED)


@app.command()
def devices() -> None:
    """Lists cameras with their modes."""
    from stream.live.cameras import devices as cameras

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
    from stream.doctor import examine

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
    _start_log(quiet=False)
    # How the colours of a test picture are read is no news, and it is read six times.
    logging.getLogger("stream.colorizer").setLevel(logging.WARNING)
    from stream.bench import measure
    from stream.jobs import open_network
    from stream.settings import Settings
    from stream.stats import STAGES

    settings = Settings(model=model, backend=backend, precision=precision, steady=steady)
    table = Table("size", "network", "fps", *(f"{stage} ms" for stage in STAGES[:-1]), box=None)
    with open_network(settings) as network:
        console.print(network.description)
        for row in measure(network, frames=frames, steady=settings.steady):  # type: ignore[arg-type]
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
    _fail("serve is not part of this version yet")


def _every(text: str | None) -> int | Literal["auto"] | None:
    if text is None or text == "auto":
        return text  # type: ignore[return-value]  # mypy does not narrow to the literal
    # isdigit() takes ² as well, which int() does not; nor does it take thousands of digits.
    if not text.isdecimal() or len(text) > 9 or int(text) < 1:
        raise typer.BadParameter(f"{text!r} is no distance: use auto, or a number from 1")
    return int(text)


def _seconds(text: str) -> float:
    """`90`, `1:30` or `00:01:30.5`, as FFmpeg reads them."""
    try:
        parts = [float(part) for part in text.split(":")]
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time: use seconds or HH:MM:SS") from None
    total = 0.0
    for part in parts:
        total = total * 60 + part
    # FFmpeg counts microseconds in 64 bits; nan is on no side of anything.
    if len(parts) > 3 or min(parts) < 0 or not total <= _LONGEST_SECONDS:
        raise typer.BadParameter(f"{text!r} is no time: use seconds or HH:MM:SS")
    return total


def _start_log(quiet: bool) -> None:
    import av.logging

    # FFmpeg's own lines: errors come as exceptions. A level would make a decoder's thread wait
    # for the interpreter lock while the one that holds it waits for that thread.
    av.logging.set_level(None)
    logging.basicConfig(
        level=logging.ERROR if quiet else logging.INFO,
        handlers=[_ConsoleHandler()],
        format="%(message)s",
    )


class _ConsoleHandler(logging.Handler):
    """Prints a record on one line above the progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        console.print(level + self.format(record), soft_wrap=True)


if __name__ == "__main__":
    main()
