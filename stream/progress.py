"""The progress bar: frames, speed, time left, and what runs."""

from __future__ import annotations

import time
from types import TracebackType

from rich import progress as rich_progress
from rich.console import Console

from engine.backend import Backend
from stream.live.latency import Latency, status
from stream.sinks import Sink
from stream.sources import Source
from stream.stats import Stats

_REDRAW_SECONDS = 0.2


class Progress:
    """Prints what was chosen, then a bar while frames go by, then one line of result.

    `update` is called on the encoding thread; nothing else here runs beside it.
    """

    def __init__(
        self,
        console: Console | None,
        source: Source,
        sink: Sink,
        network: Backend,
        *,
        shown: bool,
        latency: Latency | None = None,
    ) -> None:
        self._console = console
        self._source = source
        self._sink = sink
        self._latency = latency
        self._stats: Stats | None = None
        self._redrawn = 0.0
        self._bar: rich_progress.Progress | None = None
        if console is None:
            return
        info = source.info
        rate = f"{float(info.rate):.3f}".rstrip("0").rstrip(".")
        console.print(
            f"{info.name}: {info.width}x{info.height} {info.pix_fmt}, {rate} fps, {info.codec}",
            markup=False,
            soft_wrap=True,
        )
        spec = network.spec
        model = f"{spec.name} {spec.version}".strip()
        console.print(
            f"model {model}; {network.description}; {sink.description}",
            markup=False,
            soft_wrap=True,
        )
        if shown and console.is_terminal:
            bar = (
                rich_progress.BarColumn(),
                rich_progress.TaskProgressColumn(),
                rich_progress.MofNCompleteColumn(),
            )
            eta = (rich_progress.TextColumn("eta"), rich_progress.TimeRemainingColumn())
            self._bar = rich_progress.Progress(
                *(bar if latency is None else ()),
                rich_progress.TextColumn("{task.fields[speed]}"),
                rich_progress.TimeElapsedColumn(),
                *(eta if latency is None else ()),
                console=console,
                transient=True,
                auto_refresh=False,
            )
            self._task = self._bar.add_task("", total=info.frames, speed="")

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def update(self, stats: Stats) -> None:
        self._stats = stats
        now = time.perf_counter()
        if self._bar is None or now - self._redrawn < _REDRAW_SECONDS:
            return
        self._redrawn = now
        speed = (
            f"{stats.fps:.1f} fps"
            if self._latency is None
            else status(stats, self._latency, self._source)
        )
        self._bar.update(self._task, completed=stats.frames_out, speed=speed, refresh=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        stats = self._stats
        if self._console is not None and stats is not None:
            self._console.print(
                f"{stats.frames_out} frames in {stats.elapsed_seconds:.1f} s, {stats.fps:.1f} fps"
                + (f" ({self._sink.description})" if kind is None else ", stopped"),
                markup=False,
                soft_wrap=True,
            )
