"""What the user knows of a film's colours: read and checked before the run, carried during it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial

import av
from kinemacolor.engine.backend import Backend
from kinemacolor.engine.load import load
from kinemacolor.stream.address import LocalFile
from kinemacolor.stream.anchor.given import sort_given
from kinemacolor.stream.anchor.hints import Hint, check_apart, read_hints
from kinemacolor.stream.anchor.learn import Eyes
from kinemacolor.stream.anchor.reference import (
    Reference,
    check_different,
    check_shape,
    find_references,
)
from kinemacolor.stream.anchor.stage import Stage, Timing
from kinemacolor.stream.color.frames import frame_encoding, to_luma_format
from kinemacolor.stream.color.host_painter import HostCanvas, HostPainter
from kinemacolor.stream.errors import BadHint, BadReference
from kinemacolor.stream.media import Source, is_frame
from kinemacolor.stream.options import Options
from kinemacolor.stream.run.assemble import known_cuts
from kinemacolor.stream.run.job import Job
from kinemacolor.stream.sources.open import open_source


@contextmanager
def open_stage(
    job: Job,
    options: Options,
    source: Source,
    network: Backend,
    *,
    references: Sequence[Reference] = (),
    hints: Sequence[Hint] = (),
) -> Iterator[Stage | None]:
    """Makes what carries known colours; None where nothing is known.

    Args:
        references, hints: beside those that the options name.

    Raises BadReference or BadHint.
    """
    color = options.color
    references = [*find_references(color.references), *references]
    hints = [*([] if color.hints is None else read_hints(color.hints)), *hints]
    if not references and not hints:
        yield None
        return
    check_different(references)
    check_apart(hints)
    check_readable(references, source)
    _check_within(references, hints, source, options)
    with _seer_beside(network) as seer:
        rate = source.info.rate
        timing = Timing(
            first=round(options.span.start_seconds * rate),
            period_seconds=float(1 / rate),
            offset_seconds=_offset(options, source),
            reopen=_reopener(job, source, network),
        )
        yield Stage(
            sort_given(references, hints),
            Eyes(network, seer),
            own_eyes=seer is not network,
            strength=color.reference_strength,
            cuts=known_cuts(options, source),
            timing=timing,
        )


def _offset(options: Options, source: Source) -> float:
    """What is added to a frame's time to have its time in the film."""
    span = options.span
    if span.start_seconds > 0 and not span.copy_times:
        return span.start_seconds
    begins = 0 if source.container is None else source.container.start_time
    return -(begins or 0) / av.time_base


def check_readable(references: Sequence[Reference], source: Source) -> None:
    """Reads every reference once, so that what is wrong with one is said before the work."""

    def check(reference: Reference) -> None:
        size = reference.check()
        if reference.belongs:
            width, height = source.info.width, source.info.height
            if (size[1] < size[0]) != (width < height):
                width, height = height, width  # a film may be turned; `learn` knows
            check_shape(reference.name, size, width, height)

    with ThreadPoolExecutor() as pool:
        for _ in pool.map(check, references):
            pass


def _check_within(
    references: Sequence[Reference], hints: Sequence[Hint], source: Source, options: Options
) -> None:
    """Raises BadReference or BadHint for a frame behind the film's end."""
    seconds = source.info.duration_seconds
    if source.live or seconds is None or options.span.trims:
        return
    # Containers without an index only estimate it; what lies a little behind is said after the run.
    estimate = round(seconds * source.info.rate)
    frames = source.info.frames or estimate
    frames = frames if source.info.frames == source.video.frames else max(frames, estimate) + 1
    known: list[Reference | Hint] = [*references, *hints]
    for each in known:
        beyond = (each.frame is not None and each.frame >= frames) or (
            each.time is not None and each.time > seconds + 1 / source.info.rate
        )
        if beyond:
            kind = BadReference if isinstance(each, Reference) else BadHint
            raise kind(f"{each.name} lies behind the film's end ({frames} frames, {seconds:.2f} s)")


@contextmanager
def _seer_beside(network: Backend) -> Iterator[Backend]:
    """Yields what gives features: the run's network, or the packaged one on the processor."""
    if network.gives_features:
        yield network
        return
    with closing(load(backend="auto" if network.name != "tensorrt" else "openvino")) as seer:
        yield seer


def _reopener(
    job: Job, source: Source, network: Backend
) -> Callable[[float], Iterator[HostCanvas]] | None:
    """Returns what reads a film's frames from a time on, beside the run; None for live ones."""
    if source.live or not isinstance(job.source, LocalFile) or job.source.is_still:
        return None
    return partial(_frames_from, job.source, network)


def _frames_from(address: LocalFile, network: Backend, seconds: float) -> Iterator[HostCanvas]:
    painter = HostPainter()
    with closing(open_source(address, start_seconds=max(0.0, seconds))) as source:
        for item in source:
            if is_frame(item):
                painter.encoding = frame_encoding(to_luma_format(item))  # the run has said it
                yield painter.look(item, network.spec)
