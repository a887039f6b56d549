"""The command `colorize`: its jobs one by one, and its report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_type_hints

import typer
from kinemacolor.engine.backend import Backend
from kinemacolor.stream.command.console import Exit, console, fail, start_log
from kinemacolor.stream.errors import StreamError
from kinemacolor.stream.handoff import on_interrupt
from kinemacolor.stream.options import Options

from kinemacolor.flags import takes

if TYPE_CHECKING:
    from kinemacolor.stream.run.job import Job
    from kinemacolor.stream.run.report import Report
    from kinemacolor.stream.run.run import Watcher

takes_options = takes(get_type_hints(Options).values(), Options.of)


@takes_options
def colorize(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE...", help="film.mkv, picture.jpg, folder/, -, test:"),
    ],
    output: Annotated[
        list[str] | None,
        typer.Option("-o", "--output", metavar="SINK", help="Given again: several at once."),
    ] = None,
    *,
    options: Options,
    report: Annotated[Path | None, typer.Option(metavar="FILE.json")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
    no_progress: Annotated[bool, typer.Option("--no-progress")] = False,
) -> None:
    """Colorizes films and pictures: SOURCE in, SINK out."""
    start_log(quiet)
    from kinemacolor.stream.command.progress import ProgressBar
    from kinemacolor.stream.run.assemble import check_stills
    from kinemacolor.stream.run.job import plan_jobs
    from kinemacolor.stream.run.report import check_report
    from kinemacolor.stream.run.run import open_network

    color = options.color
    jobs = plan_jobs(sources, output or [], cuts=color.cuts, sequence=options.film.sequence)
    check_stills(jobs, options)
    if report is not None:
        inputs = [Path(color.model), *([] if color.cuts is None else [color.cuts])]
        check_report(report, jobs, inputs=inputs, overwrite=options.output.overwrite)
    reports: list[Report] = []
    failures: list[str] = []
    folder = any(Path(source).is_dir() for source in sources)
    live = any(job.is_live(options.live) for job in jobs)
    bar = None if quiet else ProgressBar(console, shown=not no_progress)
    with ExitStack() as ends:
        if report is not None:  # also after Ctrl-C, the only end of a live run
            ends.callback(_write_report, report, reports, many=len(jobs) > 1)
        network = ends.enter_context(open_network(options, live=live))
        for job in jobs:
            if folder and not options.output.overwrite and job.is_done:
                console.print(f"{job.sinks[0]} is there already", soft_wrap=True)
                continue
            try:
                _color(job, options, network, reports, bar)
            except StreamError as error:
                if len(jobs) == 1:
                    raise
                failures.append(_about(str(job.source), error))
                console.print(f"failed: {failures[-1]}", soft_wrap=True)
    if failures:
        fail(f"{len(failures)} of {len(jobs)} failed; first: {failures[0]}")
    raise typer.Exit(_status(reports))


def _color(
    job: Job, options: Options, network: Backend, reports: list[Report], bar: Watcher | None
) -> None:
    """Does one job, and adds its report, however it ends."""
    from kinemacolor.stream.run.report import unfinished_report
    from kinemacolor.stream.run.run import Run

    run = Run(job, options, network, watcher=bar)
    try:
        reports.append(run.run())
    except StreamError as error:
        reports.append(run.report or unfinished_report(job, "failed", str(error)))
        raise
    except KeyboardInterrupt:
        reports.append(run.report or unfinished_report(job, "stopped"))
        raise
    if reports[-1]["ended"] == "stopped":  # its window was closed
        raise KeyboardInterrupt


def _status(reports: Sequence[Report]) -> Exit:
    """How runs end that came to an end: whole, or as the worst of them did."""
    outputs = [output for report in reports for output in report.get("outputs", [])]
    if any(output["state"] in ("failed", "resumed") for output in outputs):
        return Exit.OUTPUT_FAILED
    return Exit.BROKEN_OFF if any("broken_off" in report for report in reports) else Exit.OK


def _write_report(path: Path, reports: list[Report], *, many: bool) -> None:
    if reports:
        body = reports if many else reports[0]
        with on_interrupt(lambda number: None):  # it ends soon anyway, and the report is whole
            path.write_text(json.dumps(body, indent=2) + "\n")


def _about(source: str, error: StreamError) -> str:
    """What went wrong, with the source's name once."""
    message = " ".join(str(error).split())
    return message if source in message else f"{source}: {message}"
