"""The run of each source that a command line asks for."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
from rich.console import Console

from engine import Backend, load
from stream.colorizer import Colorizer, takes_any_size
from stream.encode import EncodeOptions
from stream.errors import BadSink, BadSource, StreamError
from stream.live.degrade import SHARES, Degrade
from stream.live.latency import Latency
from stream.live.network import without_password
from stream.live.uri import LiveOptions, is_live
from stream.pipeline import run
from stream.plan import Job, is_no_film, plan_jobs
from stream.progress import Progress
from stream.publish.encoder import check_intra_refresh
from stream.publish.sink import credentials_for
from stream.publish.tee import Tee
from stream.publish.uri import has_viewers, is_stream, shown
from stream.report import make_report
from stream.settings import Settings
from stream.sinks import Sink, open_sink
from stream.sources import Source, open_source
from stream.stats import Stats
from stream.steady.cutlist import read_cuts
from stream.steady.pace import Pace
from stream.steady.smoothing import Steady, make_steady
from stream.stills.reader import FORMATS
from stream.stills.still import is_still

log = logging.getLogger(__name__)


class Stopped(KeyboardInterrupt):
    """A run that Ctrl-C or SIGTERM ended, with the report of what was done until then."""

    def __init__(self, *args: object, report: dict[str, Any]) -> None:
        super().__init__(*args)
        self.report = report


def colorize(source: str | Path, sink: str | Path, **options: Any) -> dict[str, Any]:
    """Colorizes one source into one sink, as the command does, and returns the report.

    Args:
        source: file, `-` or `test:`.
        sink: file, `-` or `null:`.
        options: fields of `Settings`: model, steady, saturation, codec, crf, overwrite, ...

    Raises StreamError or EngineError.
    """
    settings = Settings(**options)
    (job,) = plan_jobs([str(source)], str(sink))
    check_stills([job], settings)
    with open_network(settings, live=is_live(job.source, settings.live)) as network:
        return run_job(job, network, settings, console=None, progress=False)


def check_stills(jobs: Sequence[Job], settings: Settings) -> None:
    """Raises BadSource or BadSink for still pictures that would have to become something else."""
    for job in jobs:
        if not is_still(job.source) or is_live(job.source, LiveOptions()):
            continue
        if settings.live.realtime:
            raise BadSource(f"{job.source} is a still picture: --realtime and --loop play films")
        for uri in (job.sink, *job.more):
            if not (uri == "null:" or uri.startswith("window:") or _is_picture(uri)):
                kinds = ", ".join(FORMATS)
                raise BadSink(f"a still cannot become {shown(uri)}: use {kinds}, null: or window:")


def _is_picture(uri: str) -> bool:
    return is_still(uri) and not is_stream(uri) and "://" not in uri


@contextmanager
def open_network(settings: Settings, *, live: bool = False) -> Iterator[Backend]:
    """Loads the model on the backend that the settings ask for, once for all jobs.

    Args:
        live: pictures come one by one, and each is wanted soon.
    """
    network = load(
        settings.model,
        settings.backend,  # type: ignore[arg-type]
        settings.precision,  # type: ignore[arg-type]
        device=settings.device,
        batch=1 if live else None,
    )
    try:
        yield network
    finally:
        network.close()


def run_job(
    job: Job, network: Backend, settings: Settings, *, console: Console | None, progress: bool
) -> dict[str, Any]:
    """Colorizes one source into its sink and returns the report.

    Raises StreamError; what was written by then is removed, or kept under a name that the
    message gives when it is long enough to be missed. Raises Stopped after Ctrl-C: what was
    written of a live source, which has no other end, is then whole.
    """
    stats = Stats()
    settings = _where_frames_lie(job, settings)
    source = _open_source(job, settings)
    stopped: KeyboardInterrupt | None = None
    kept: Path | None = None
    try:
        sink = _open_sinks(job, settings, source)
        try:
            watched = [uri for uri in (job.sink, *job.more) if has_viewers(uri)]
            # Standard input comes at a pace of its own, which --realtime could not change.
            if watched and not source.live and job.source != "-":
                log.warning(
                    "%s gets the film as fast as it is coloured; --realtime plays it at its own "
                    "speed",
                    shown(watched[0]),
                )
            late_after = settings.max_latency_ms / 1000
            latency = Latency.of(source, max_seconds=late_after) if source.live else None
            colorizer = _make_colorizer(network, settings, source, sink)
            bar = Progress(console, source, sink, network, shown=progress, latency=latency)
            try:
                with closing(colorizer), bar, _metrics(settings, stats, source, latency):
                    run(source, colorizer, sink, stats=stats, on_frame=bar.update, latency=latency)
            except KeyboardInterrupt as error:
                stopped = error
            if stopped is None or (source.live and stats.frames_out):
                sink.finish()
                log.info("wrote %s", ", ".join(map(shown, (job.sink, *job.more))))
            else:
                kept = _end_early(sink, stopped)
        except BaseException as error:
            _end_early(sink, error)
            raise
        if source.damaged:
            log.warning("%d damaged packets were skipped", source.damaged)
        if source.repaired:
            log.warning("%d frames had no time of their own, or ran backwards", source.repaired)
    finally:
        source.close()
    report = make_report(source, job.sink, sink, colorizer, stats, latency)
    if stopped is not None:
        report |= {"ended": "stopped", **({} if kept is None else {"sink": str(kept)})}
        raise Stopped(*stopped.args, report=report) from stopped
    return report


def _end_early(sink: Sink, error: BaseException) -> Path | None:
    """Keeps what is worth keeping, says where, and returns it."""
    interrupted = isinstance(error, KeyboardInterrupt)
    long_enough = getattr(sink, "worth_keeping", False)
    kept = sink.abandon(keep=interrupted or long_enough)
    if kept is not None:
        log.warning("what was done until then is in %s", kept)
    return kept


def _where_frames_lie(job: Job, settings: Settings) -> Settings:
    """Leaves `--hwaccel cuda` out, in one line, for a film that the GPU cannot hold."""
    if settings.hwaccel != "cuda":
        return settings
    from stream.nvdec import why_not

    if is_live(job.source, settings.live) or is_no_film(job.source):
        problem: str | None = "it is no film file"
    elif settings.compare:
        problem = "--compare makes frames of double width"
    else:
        problem = why_not(job.source, device=settings.device)
    if problem is None:
        return settings
    name = shown(job.source)
    name = Path(without_password(name) if "://" in name else name).name
    log.warning("%s: its frames stay off the GPU, as without --hwaccel cuda: %s", name, problem)
    return replace(settings, hwaccel="none")


def _open_source(job: Job, settings: Settings) -> Source:
    span = {
        "start_seconds": settings.start_seconds,
        "duration_seconds": settings.duration_seconds,
    }
    if settings.hwaccel == "cuda":
        from stream.nvdec import open_cuda_source

        return open_cuda_source(job.source, device=settings.device, **span)  # type: ignore[arg-type]
    return open_source(job.source, **span, live=settings.live)  # type: ignore[arg-type]


def _open_sinks(job: Job, settings: Settings, source: Source) -> Sink:
    """The job's sink, or all of them as one. None is left open when another does not open."""
    options = EncodeOptions(
        codec=settings.codec,
        encoder=_encoder(settings, source.info.pix_fmt),
        crf=settings.crf,
        preset=settings.preset,
        intra_refresh=settings.intra_refresh,
    )
    if settings.intra_refresh:
        for uri in (job.sink, *job.more):
            check_intra_refresh(uri)
    opened: list[Sink] = []
    try:
        for uri in (job.sink, *job.more):
            sink = open_sink(
                uri,
                source,
                options=options,
                overwrite=settings.overwrite,
                trimmed=settings.trimmed,
                credentials=credentials_for(settings.user),
            )
            opened.append(sink)
        return opened[0] if len(opened) == 1 else Tee(opened, live=source.live)
    except BaseException:
        for sink in opened:
            sink.abandon(keep=False)
        raise


def _metrics(
    settings: Settings, stats: Stats, source: Source, latency: Latency | None
) -> AbstractContextManager[object]:
    if settings.metrics is None:
        return nullcontext()
    from stream.live.metrics import Metrics

    return Metrics(settings.metrics, stats, source=source, latency=latency)


def _encoder(settings: Settings, pix_fmt: str) -> str:
    """NVENC for frames that are on the GPU already, unless the user chose or it is not there."""
    if settings.hwaccel != "cuda" or settings.encoder != "auto":
        return settings.encoder
    from stream.nvdec import nvenc_problem

    problem = nvenc_problem(settings.codec, settings.device, pix_fmt)
    if problem is None:
        return "nvenc"
    log.info("encoding on the processor: %s", problem)
    return "auto"


def _make_colorizer(network: Backend, settings: Settings, source: Source, sink: Sink) -> Colorizer:
    steady = _make_steady(settings, source)
    choices: dict[str, Any] = {
        "steady": steady,
        "saturation": settings.saturation,
        "upsample": settings.upsample,
        "compare": settings.compare,
        "pix_fmts": sink.pix_fmts,
    }
    degrades = source.live and settings.degrade  # which minds the distance of key frames as well
    if settings.every == "auto" and not degrades:
        choices["pace"] = Pace(steady.key_frames, source.info.rate)
    if settings.hwaccel == "cuda":
        from stream.hwaccel import CudaColorizer

        return CudaColorizer(network, **choices, index=settings.device)
    degrade = _degrade(network, settings, steady) if degrades else None
    colorizer = Colorizer(network, **choices, degrade=degrade)
    if source.live:
        colorizer.overlap = 0  # as the pipeline runs it
        rate = source.info.rate
        usual = 1 <= rate <= 240  # else it is no rate, but a clock
        colorizer.warm_up(_frame_like(source), period_seconds=float(1 / rate) if usual else None)
    return colorizer


def _frame_like(source: Source) -> av.VideoFrame:
    """A black frame of the kind that a source is about to give."""
    frame = av.VideoFrame(source.info.width, source.info.height, source.info.pix_fmt)
    for plane in frame.planes:
        np.frombuffer(memoryview(plane), np.uint8)[:] = 0
    context = source.video.codec_context
    frame.colorspace, frame.color_range = context.colorspace, context.color_range
    frame.pts, frame.time_base = 0, source.info.time_base
    return frame


def _degrade(network: Backend, settings: Settings, steady: Steady) -> Degrade:
    """What a live run may give up: nothing that the user chose."""
    return Degrade(
        steady.key_frames,
        limit_seconds=settings.max_latency_ms / 1000,
        shares=SHARES if takes_any_size(network) else (),
        fixed=isinstance(settings.every, int) or not steady.carries,
        skips=settings.every == "auto",
    )


def _make_steady(settings: Settings, source: Source) -> Steady:
    mode = settings.steady
    if mode == "auto":
        mode = "live" if source.live else "film"
    cuts = None
    if settings.cuts is not None:
        skipped = round(settings.start_seconds * source.info.rate)
        listed = read_cuts(settings.cuts, rate=source.info.rate)
        cuts = {cut - skipped for cut in listed if cut > skipped}
    try:
        return make_steady(
            mode,  # type: ignore[arg-type]
            strength=settings.steady_strength,
            cuts=cuts,
            every=settings.every if isinstance(settings.every, int) else 1,
        )
    except ValueError as error:
        raise StreamError(str(error)) from error
