"""Puts together what a run consists of, from its job and its options."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from kinemacolor.engine.backend import Backend
from kinemacolor.stream.address import STILLS, LocalFile, Null, Pipe, Window
from kinemacolor.stream.anchor.stage import Stage
from kinemacolor.stream.color.asking import takes_any_size
from kinemacolor.stream.color.colorizer import Colorizer
from kinemacolor.stream.color.cuda_painter import CudaPainter
from kinemacolor.stream.color.painter import Style
from kinemacolor.stream.color.tempo import SHARES, Tempo
from kinemacolor.stream.errors import BadSink, BadSource, StreamError
from kinemacolor.stream.handoff import Stop
from kinemacolor.stream.media import Sink, Source
from kinemacolor.stream.options import EncodeOptions, Options
from kinemacolor.stream.run.job import Job
from kinemacolor.stream.sinks.live_encoder import check_intra_refresh
from kinemacolor.stream.sinks.open import open_sink, way_back
from kinemacolor.stream.sinks.publish import credentials_for, tls_for
from kinemacolor.stream.sinks.tee import Tee
from kinemacolor.stream.sources.nvdec import nvenc_problem, open_cuda_source, why_not
from kinemacolor.stream.sources.open import open_source
from kinemacolor.stream.sources.still import StillSource
from kinemacolor.stream.steady.cutlist import read_cuts
from kinemacolor.stream.steady.smoothing import Steady, make_steady

log = logging.getLogger(__name__)


def check_stills(jobs: Sequence[Job], options: Options) -> None:
    """Raises BadSource or BadSink for still pictures that would have to become something else."""
    for job in jobs:
        if not (isinstance(job.source, LocalFile) and job.source.is_still):
            continue
        if options.live.plays_films:
            raise BadSource(f"{job.source} is a still picture: --realtime and --loop play films")
        for sink in job.sinks:
            is_picture = isinstance(sink, LocalFile) and sink.is_still
            if not (is_picture or isinstance(sink, Null | Window)):
                kinds = ", ".join(STILLS)
                raise BadSink(f"a still cannot become {sink}: use {kinds}, null: or window:")


def place_frames(job: Job, options: Options) -> Options:
    """Leaves `--hwaccel cuda` out, in one line, for a film that the GPU cannot hold."""
    if options.color.hwaccel != "cuda":
        return options
    source = job.source
    if job.is_live(options.live) or not isinstance(source, LocalFile) or source.is_still:
        problem: str | None = "it is no film file"
    elif options.color.compare:
        problem = "--compare makes frames of double width"
    elif options.color.knows:
        problem = "known colours are carried in memory"
    else:
        problem = why_not(source.path, device=options.color.device)
    if problem is None:
        return options
    name = Path(str(source)).name
    log.warning("%s: its frames stay off the GPU, as without --hwaccel cuda: %s", name, problem)
    return options.replace(hwaccel="none")


def open_job_source(job: Job, options: Options, stop: Stop) -> Source:
    """Opens the job's source. Raises SourceError."""
    span = options.span
    if options.color.hwaccel == "cuda" and isinstance(job.source, LocalFile):
        return open_cuda_source(
            job.source.path,
            device=options.color.device,
            start_seconds=span.start_seconds,
            duration_seconds=span.duration_seconds,
            copy_times=span.copy_times,
        )
    return open_source(
        job.source,
        start_seconds=span.start_seconds,
        duration_seconds=span.duration_seconds,
        copy_times=span.copy_times,
        live=options.live,
        film=options.film,
        stop=stop,
    )


def open_job_sinks(job: Job, options: Options, source: Source) -> Sink:
    """Opens the job's sink, or all of them as one; none stays open when another does not open."""
    encode = _encode_options(options, source.info.pix_fmt)
    if encode.intra_refresh:
        for address in job.sinks:
            check_intra_refresh(address)
    _say_pace(job, source)
    opened: list[Sink] = []
    try:
        for address in job.sinks:
            sink = open_sink(
                address,
                source,
                options=encode,
                overwrite=options.output.overwrite,
                trimmed=options.span.trims,
                credentials=credentials_for(options.output.user),
                tls=tls_for(options.output.tls_cert, options.output.tls_key),
            )
            opened.append(sink)
        if len(opened) == 1:
            return opened[0]
        return Tee(
            opened,
            live=source.live,
            names=[str(address) for address in job.sinks],
            reopen=[way_back(address, source, options=encode) for address in job.sinks],
        )
    except BaseException:
        for sink in opened:
            sink.abandon(keep=False)
        raise


def _say_pace(job: Job, source: Source) -> None:
    watched = [address for address in job.sinks if address.has_viewers]
    # Standard input comes at a pace of its own, which --realtime could not change.
    if watched and not source.live and not isinstance(job.source, Pipe):
        log.warning(
            "%s gets the film as fast as it is coloured; --realtime plays it at its own speed",
            watched[0],
        )


def _encode_options(options: Options, pix_fmt: str) -> EncodeOptions:
    """NVENC for frames that are on the GPU already, unless the user chose or it is not there."""
    color, encode = options.color, options.encode
    if color.hwaccel != "cuda" or encode.encoder != "auto":
        return encode
    problem = nvenc_problem(encode.codec, color.device, pix_fmt)
    if problem is None:
        return options.replace(encoder="nvenc").encode
    log.info("encoding on the processor: %s", problem)
    return encode


def make_colorizer(
    network: Backend,
    options: Options,
    source: Source,
    sink: Sink,
    *,
    known: Stage | None = None,
) -> Colorizer:
    """Makes what colours the job's frames, and warms it up for a live source.

    Args:
        known: carries known colours.
    """
    color = options.color
    steady = _make_steady(options, source)
    on_gpu = color.hwaccel == "cuda"
    colorizer = Colorizer(
        network,
        steady=steady,
        style=Style(color.saturation, color.upsample, color.compare),
        painter=CudaPainter(sink.pix_fmts, index=color.device) if on_gpu else None,
        pix_fmts=sink.pix_fmts,
        full_range=sink.full_range,
        tempo=make_tempo(network, options, steady, live=source.live),
        known=known,
    )
    if source.live:
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


def make_tempo(network: Backend, options: Options, steady: Steady, *, live: bool) -> Tempo | None:
    """What a run may change to keep the rate: nothing that the user chose."""
    every = options.color.every
    if live and options.live.degrade:
        return Tempo(
            steady.key_frames,
            limit_seconds=options.live.max_latency_ms / 1000,
            shares=SHARES if takes_any_size(network) else (),
            fixed=isinstance(every, int) or not steady.carries,
            skips=every == "auto",
        )
    return Tempo(steady.key_frames) if every == "auto" else None


def known_cuts(options: Options, source: Source) -> set[int] | None:
    """The frames that start shots, counted from the first that comes; None: nobody said so."""
    if options.color.cuts is None:
        return None
    skipped = round(options.span.start_seconds * source.info.rate)
    listed = read_cuts(options.color.cuts, rate=source.info.rate)
    return {cut - skipped for cut in listed if cut > skipped}


def _make_steady(options: Options, source: Source) -> Steady:
    color = options.color
    cuts = known_cuts(options, source)
    mode = color.steady
    if mode == "auto":
        mode = "live" if source.live else "film"
        if isinstance(source, StillSource):  # its pages are no film
            mode = "off"
    try:
        return make_steady(
            mode,
            strength=color.steady_strength,
            cuts=cuts,
            every=color.every if isinstance(color.every, int) else 1,
        )
    except ValueError as error:
        raise StreamError(str(error)) from error
