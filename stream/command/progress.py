"""The progress bar: frames, speed, time left, and what runs."""

from __future__ import annotations

import time

from kinemacolor.stream.media import Sink, Source
from kinemacolor.stream.run.progress import Progress
from kinemacolor.stream.run.run import Run, Watcher
from rich import progress as rich_progress
from rich.console import Console

_REDRAW_SECONDS = 0.2


class ProgressBar(Watcher):
    """Prints what was chosen, then a bar while frames go by, then one line of result.

    `frame` is called on the encoding thread; nothing else here runs beside it.
    """

    def __init__(self, console: Console, *, shown: bool) -> None:
        self._console = console
        self._shown = shown and console.is_terminal
        self._redrawn = 0.0
        self._bar: rich_progress.Progress | None = None

    def began(self, run: Run, source: Source, sink: Sink) -> None:
        info, spec = source.info, run.backend.spec
        self._sink = sink
        rate = f"{float(info.rate):.3f}".rstrip("0").rstrip(".")
        self._say(
            f"{info.name}: {info.width}x{info.height} {info.pix_fmt}, {rate} fps, {info.codec}"
        )
        model = f"{spec.name} {spec.version}".strip()
        self._say(f"model {model}; {run.backend.description}; {sink.description}")
        if self._shown:
            self._bar = _make_bar(self._console, ends=not source.live)
            self._task = self._bar.add_task("", total=info.frames, speed="")
            self._bar.start()

    def frame(self, run: Run) -> None:
        now = time.perf_counter()
        if self._bar is None or now - self._redrawn < _REDRAW_SECONDS:
            return
        self._redrawn = now
        progress = run.progress
        assert progress is not None
        self._bar.update(
            self._task, completed=progress.frames, speed=status(progress), refresh=True
        )

    def ended(self, run: Run, *, whole: bool) -> None:
        if self._bar is not None:
            self._bar.stop()
        stats = run.stats
        if stats.frames_out:
            end = f" ({self._sink.description})" if whole else ", stopped"
            self._say(
                f"{stats.frames_out} frames in {stats.elapsed_seconds:.1f} s, {stats.fps:.1f} fps"
                + end
            )

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)


def _make_bar(console: Console, *, ends: bool) -> rich_progress.Progress:
    bar = (
        rich_progress.BarColumn(),
        rich_progress.TaskProgressColumn(),
        rich_progress.MofNCompleteColumn(),
    )
    eta = (rich_progress.TextColumn("eta"), rich_progress.TimeRemainingColumn())
    return rich_progress.Progress(
        *(bar if ends else ()),
        rich_progress.TextColumn("{task.fields[speed]}"),
        rich_progress.TimeElapsedColumn(),
        *(eta if ends else ()),
        console=console,
        transient=True,
        auto_refresh=False,
    )


def status(progress: Progress) -> str:
    """A run in one line, for the terminal."""
    speed = f"{progress.fps:.1f} fps"
    if not progress.live:
        return speed
    ages = progress.latency_ms
    shown = "/".join(f"{ages[p]:.0f}" for p in ("p50", "p95", "p99")) if ages else "-"
    step = f", {progress.given_up}" if progress.given_up else ""
    return (
        f"{speed}, latency {shown} ms, dropped {progress.dropped}, "
        f"reconnects {progress.reconnects}{step}"
    )
