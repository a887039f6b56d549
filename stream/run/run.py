"""One job on its way, as a value: started, watched, stopped and reported from anywhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from kinemacolor.engine.backend import Backend
from kinemacolor.engine.load import load
from kinemacolor.stream import pipeline
from kinemacolor.stream.anchor.hints import Hint
from kinemacolor.stream.anchor.reference import Reference
from kinemacolor.stream.anchor.stage import Stage
from kinemacolor.stream.color.colorizer import Colorizer
from kinemacolor.stream.errors import StreamError
from kinemacolor.stream.handoff import Stop, Stopped, Task, on_interrupt
from kinemacolor.stream.measure.latency import Latency
from kinemacolor.stream.measure.metrics import Metrics
from kinemacolor.stream.measure.stats import Stats
from kinemacolor.stream.media import Outcome, Sink, Source, State
from kinemacolor.stream.options import Options
from kinemacolor.stream.run import assemble
from kinemacolor.stream.run.job import Job, plan_jobs
from kinemacolor.stream.run.knowing import open_stage
from kinemacolor.stream.run.progress import Progress
from kinemacolor.stream.run.report import Report, make_report, unfinished_report

log = logging.getLogger(__name__)


class Watcher(Protocol):
    """Is told how a run goes. Its default is to do nothing."""

    def began(self, run: Run, source: Source, sink: Sink) -> None:
        """Both ends are open; frames are about to flow."""

    def frame(self, run: Run) -> None:
        """A frame is in the sink. Called on the encoding thread."""

    def ended(self, run: Run, *, whole: bool) -> None:
        """No more frames come. Called before the sink is finished."""


class Run:
    """Does one job, once. It prints nothing, and any thread may run, stop and ask it.

    Args:
        backend: runs the network; while this runs nobody else may use it.
        watcher: is told how it goes.
        references, hints: beside those that the options name.
    """

    def __init__(
        self,
        job: Job,
        options: Options,
        backend: Backend,
        *,
        watcher: Watcher | None = None,
        references: Sequence[Reference] = (),
        hints: Sequence[Hint] = (),
    ) -> None:
        self.job, self.options, self.backend = job, options, backend
        self._references, self._hints = references, hints
        self.stats = Stats()
        self._watcher = watcher
        self._stop = Stop()
        self._source: Source | None = None
        self._latency: Latency | None = None
        self._last: Progress | None = None  # set when it has ended
        # What `--report` writes; None until it has ended without an error, or was stopped.
        self.report: Report | None = None
        self._task: Task[Report] | None = None

    def start(self) -> None:
        """Runs on a thread of its own; `join` waits for it."""
        if self._task is not None:
            raise RuntimeError(f"the run of {self.job.source} was started before")
        self._task = Task(self.run, name="run")

    def join(self, timeout_seconds: float | None = None) -> Report:
        """Waits for a run that was started, and returns its report.

        Raises what `run` raises, or TimeoutError.
        """
        if self._task is None:
            raise RuntimeError(f"the run of {self.job.source} was not started")
        return self._task.join(timeout_seconds)

    def stop(self) -> None:
        """Ends it soon, from any thread: a film's part is kept, a live output becomes whole."""
        self._stop.request()

    @property
    def progress(self) -> Progress | None:
        """How far it is, or how far it came; None before its source is open."""
        if self._last is not None or self._source is None:
            return self._last
        return Progress.of(self.stats, self._source, self._latency)

    def run(self) -> Report:
        """Does the job on this thread and returns the report.

        Whoever stops it gets a report that says so: "ended" is "stopped".

        Raises StreamError; what was written by then is removed, or kept under a name that the
        message gives when it is long enough to be missed. Raises KeyboardInterrupt after Ctrl-C;
        there is a report all the same.
        """
        self.stats.started = time.perf_counter()
        try:
            return self._work()
        finally:
            self._last = self.progress

    def _work(self) -> Report:
        try:
            self._stop.sleep(0)  # raises where it was stopped before it began
            options = assemble.place_frames(self.job, self.options)
            source = self._source = assemble.open_job_source(self.job, options, self._stop)
        except Stopped:
            self.report = unfinished_report(self.job, "stopped")
            return self.report
        # From here on there is something to lose: a signal no longer ends what it interrupts.
        with (
            on_interrupt(self._interrupt),
            closing(source),
            self._open_stage(source, options) as known,
        ):
            sink = assemble.open_job_sinks(self.job, options, source)
            with self._ended_early_on_error(sink, live=source.live):
                stopped, kept = self._color(source, sink, options, known)
            self._say_repairs(source)
            if known is not None and stopped is None:
                known.warn()
        assert self.report is not None
        if stopped is not None:
            self.report["ended"] = "stopped"
            if kept is not None:
                self.report["sink"] = str(kept)
        told = stopped or self._stop.error  # a signal may have come while the sink was finished
        if isinstance(told, KeyboardInterrupt):
            raise told
        return self.report

    def _open_stage(self, source: Source, options: Options) -> AbstractContextManager[Stage | None]:
        return open_stage(
            self.job,
            options,
            source,
            self.backend,
            references=self._references,
            hints=self._hints,
        )

    def _interrupt(self, number: int) -> None:
        self._stop.request(KeyboardInterrupt(number))

    def _color(
        self, source: Source, sink: Sink, options: Options, known: Stage | None
    ) -> tuple[BaseException | None, Path | None]:
        """Moves all frames. Returns what stopped that, and where a part was kept."""
        if source.live:  # a film is never late
            limit = options.live.max_latency_ms / 1000
            self._latency = Latency.of(source, max_seconds=limit)
        colorizer = assemble.make_colorizer(self.backend, options, source, sink, known=known)
        stopped: BaseException | None = None
        kept: Path | None = None
        try:
            with closing(colorizer), ExitStack() as lookers_on:
                if options.output.metrics is not None:
                    counters = self.stats, source, self._latency
                    metrics = Metrics(options.output.metrics, *counters)
                    lookers_on.callback(metrics.close)
                lookers_on.enter_context(self._watched(source, sink))
                self._move(source, colorizer, sink)
        except (KeyboardInterrupt, Stopped) as error:
            stopped = error
        if stopped is None or (source.live and self.stats.frames_out):
            sink.finish()
            outcomes = self._outcomes(sink, "whole")
            log.info("wrote %s", ", ".join(o.output for o in outcomes if o.state != "failed"))
        else:
            kept = _end_early(sink, stopped, live=source.live)
            outcomes = self._outcomes(sink, "stopped", kept=kept)
        self.report = make_report(self.job, source, sink, colorizer, self.stats, self._latency)
        self.report["outputs"] = [asdict(outcome) for outcome in outcomes]
        return stopped, kept

    def _outcomes(
        self, sink: Sink, state: State, *, cause: str | None = None, kept: Path | None = None
    ) -> Sequence[Outcome]:
        """What became of each output; of a single one what became of the run."""
        files = () if kept is None else (str(kept),)
        return sink.outcomes or [Outcome(str(self.job.sinks[0]), state, cause, files)]

    def _move(self, source: Source, colorizer: Colorizer, sink: Sink) -> None:
        watcher = self._watcher
        pipeline.run(
            source,
            colorizer,
            sink,
            stats=self.stats,
            on_frame=None if watcher is None else lambda stats: watcher.frame(self),
            latency=self._latency,
            stop=self._stop,
        )

    @contextmanager
    def _watched(self, source: Source, sink: Sink) -> Iterator[None]:
        if self._watcher is None:
            yield
            return
        self._watcher.began(self, source, sink)
        whole = False
        try:
            yield
            whole = True
        finally:
            self._watcher.ended(self, whole=whole)

    def _say_repairs(self, source: Source) -> None:
        if source.damaged:
            log.warning("%d damaged packets were skipped", source.damaged)
        if source.repaired:
            log.warning("%d frames had no time of their own, or ran backwards", source.repaired)

    @contextmanager
    def _ended_early_on_error(self, sink: Sink, *, live: bool) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            kept = _end_early(sink, error, live=live)
            outcomes = self._outcomes(sink, "failed", cause=str(error), kept=kept)
            self.report = unfinished_report(self.job, "failed", str(error), outcomes)
            raise


def _end_early(sink: Sink, error: BaseException, *, live: bool) -> Path | None:
    """Keeps what is worth keeping, says where, and returns it. What was live is not made again."""
    told = isinstance(error, KeyboardInterrupt | Stopped)
    kept = sink.abandon(keep=told or live or sink.worth_keeping)
    if kept is not None:
        log.warning("what was done until then is in %s", kept)
    return kept


def open_network(options: Options, *, live: bool = False) -> AbstractContextManager[Backend]:
    """Loads the model on the backend that the options ask for, once for all jobs.

    Args:
        live: pictures come one by one, and each is wanted soon.
    """
    color, batch = options.color, 1 if live else None
    network = load(color.model, color.backend, color.precision, device=color.device, batch=batch)
    return closing(network)


def colorize(
    source: str | Path,
    sink: str | Path,
    *,
    references: Sequence[Reference | str | Path] = (),
    hints: Sequence[Hint] | str | Path = (),
    **options: Any,
) -> Report:
    """Colorizes one source into one sink, as the command does, and returns the report.

    Args:
        source, sink: as on the command line: film.mkv, webcam:0, rtsp://..., test:, null:.
        references: colour stills: what they are of, or files and folders.
        hints: colours of points of frames, or a file of them.
        options: by name: model, steady, saturation, codec, crf, overwrite, ... (`Options.of`).

    Raises KinemacolorError; TypeError for an option that there is not.
    """
    of_files = tuple(Path(each) for each in references if not isinstance(each, Reference))
    hints_file = Path(hints) if isinstance(hints, str | Path) else None
    chosen = Options.of(references=of_files, hints=hints_file, **options)
    jobs = plan_jobs([str(source)], [str(sink)])
    if len(jobs) != 1:
        raise StreamError(f"{source} holds {len(jobs)} films: colorize them one by one")
    assemble.check_stills(jobs, chosen)
    with open_network(chosen, live=jobs[0].is_live(chosen.live)) as network:
        return Run(
            jobs[0],
            chosen,
            network,
            references=[each for each in references if isinstance(each, Reference)],
            hints=() if isinstance(hints, str | Path) else hints,
        ).run()
