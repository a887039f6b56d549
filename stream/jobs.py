"""What one command line asks for: which sources go to which sinks, and the run of each."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from engine import Backend, load
from stream.colorizer import Colorizer
from stream.cutlist import read_cuts
from stream.encode import EncodeOptions
from stream.errors import BadSink, BadSource, SourceNotFound, StreamError
from stream.film_file import FileSink
from stream.pace import Pace
from stream.pipeline import run
from stream.progress import Progress
from stream.report import make_report
from stream.settings import Settings
from stream.sinks import Sink, open_sink
from stream.sources import Source, open_source
from stream.stats import Stats
from stream.steady import Steady, make_steady
from stream.stills import is_still

log = logging.getLogger(__name__)

# Containers that hold what this program writes; other sources go into Matroska.
SAME_CONTAINER = frozenset((".mp4", ".mkv", ".mov", ".m4v", ".webm", ".ts", ".mts", ".m2ts"))
FILM_SUFFIXES = SAME_CONTAINER | frozenset(
    (
        ".mpg",
        ".mpeg",
        ".vob",
        ".flv",
        ".wmv",
        ".ogv",
        ".mxf",
        ".dv",
        ".y4m",
        ".3gp",
        ".h264",
        ".hevc",
    )
)


@dataclass(frozen=True)
class Job:
    """One source and where it goes."""

    source: str
    sink: str


def plan_jobs(sources: list[str], output: str | None, settings: Settings) -> list[Job]:
    """Pairs every source with its sink; folders are opened, one level deep.

    Raises SourceNotFound, BadSource or BadSink, before anything is written.
    """
    files: list[str] = []
    many = len(sources) > 1
    for source in sources:
        path = Path(source)
        if source != "-" and path.is_dir():
            found = sorted(str(p) for p in path.iterdir() if _is_ours(p))
            if not found:
                raise BadSource(f"no video and no picture in the folder {path}")
            files += found
            many = True
        elif source.startswith("test:") or source == "-" or "://" in source or path.exists():
            files.append(source)
        else:
            raise SourceNotFound(f"no such file: {path}")
    if not many:
        return [Job(files[0], output if output is not None else _beside(files[0]))]
    if output is None:
        return [Job(file, _beside(file)) for file in files]
    if output == "null:":
        return [Job(file, output) for file in files]
    folder = Path(output)
    if (
        output == "-"
        or ":" in output[2:]
        or folder.is_file()
        or folder.suffix.lower() in FILM_SUFFIXES
    ):
        raise BadSink(f"{len(files)} sources need an output folder, not {output}")
    jobs = [Job(file, str(folder / _sink_name(Path(file)))) for file in files]
    doubles = {job.sink for job in jobs if sum(other.sink == job.sink for other in jobs) > 1}
    if doubles:
        raise BadSink(f"several sources would become {min(doubles)}: colorize them apart")
    folder.mkdir(parents=True, exist_ok=True)
    return jobs


def colorize(source: str | Path, sink: str | Path, **options: Any) -> dict[str, Any]:
    """Colorizes one source into one sink, as the command does, and returns the report.

    Args:
        source: file, `-` or `test:`.
        sink: file, `-` or `null:`.
        options: fields of `Settings`: model, steady, saturation, codec, crf, overwrite, ...

    Raises StreamError or EngineError.
    """
    settings = Settings(**options)
    (job,) = plan_jobs([str(source)], str(sink), settings)
    with open_network(settings) as network:
        return run_job(job, network, settings, console=None, progress=False)


@contextmanager
def open_network(settings: Settings) -> Iterator[Backend]:
    """Loads the model on the backend that the settings ask for, once for all jobs."""
    network = load(
        settings.model,
        settings.backend,  # type: ignore[arg-type]
        settings.precision,  # type: ignore[arg-type]
        device=settings.device,
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
    message gives when it is long enough to be missed.
    """
    stats = Stats()
    source = _open_source(job, settings)
    try:
        sink = open_sink(
            job.sink,
            source,
            options=EncodeOptions(
                codec=settings.codec,
                encoder=_encoder(settings),
                crf=settings.crf,
                preset=settings.preset,
            ),
            overwrite=settings.overwrite,
            trimmed=settings.trimmed,
        )
        colorizer = _make_colorizer(network, settings, source, sink)
        try:
            with (
                closing(colorizer),
                Progress(console, source, sink, network, shown=progress) as bar,
            ):
                run(source, colorizer, sink, stats=stats, on_frame=bar.update)
            sink.finish()
        except BaseException as error:
            _end_early(sink, error)
            raise
        if source.damaged:
            log.warning("%d damaged packets were skipped", source.damaged)
        if source.repaired:
            log.warning("%d frames had no time of their own, or ran backwards", source.repaired)
        log.info("wrote %s", job.sink)
    finally:
        source.close()
    return make_report(source, job.sink, sink, colorizer, stats)


def _end_early(sink: Sink, error: BaseException) -> None:
    """Keeps what is worth keeping, and says where."""
    interrupted = isinstance(error, KeyboardInterrupt)
    long_enough = isinstance(sink, FileSink) and sink.worth_keeping
    kept = sink.abandon(keep=interrupted or long_enough)
    if kept is not None:
        log.warning("what was done until then is in %s", kept)


def _open_source(job: Job, settings: Settings) -> Source:
    span = {
        "start_seconds": settings.start_seconds,
        "duration_seconds": settings.duration_seconds,
    }
    if settings.hwaccel == "cuda":
        from stream.hwaccel import open_cuda_source

        return open_cuda_source(job.source, device=settings.device, **span)  # type: ignore[arg-type]
    return open_source(job.source, **span)  # type: ignore[arg-type]


def _encoder(settings: Settings) -> str:
    """NVENC for frames that are on the GPU already, unless the user chose or it is not there."""
    if settings.hwaccel != "cuda" or settings.encoder != "auto":
        return settings.encoder
    from stream.hwaccel import nvenc_problem

    problem = nvenc_problem(settings.codec or "h264", settings.device)
    if problem is None:
        return "nvenc"
    log.info("encoding on the processor: %s", problem)
    return "auto"


def _make_colorizer(network: Backend, settings: Settings, source: Source, sink: Sink) -> Colorizer:
    steady = _make_steady(settings, source)
    automatic = settings.every == "auto"
    choices: dict[str, Any] = {
        "steady": steady,
        "saturation": settings.saturation,
        "upsample": settings.upsample,
        "compare": settings.compare,
        "pix_fmts": sink.pix_fmts,
    }
    if settings.hwaccel == "cuda":
        from stream.hwaccel import CudaColorizer

        return CudaColorizer(network, **choices, index=settings.device)
    pace = Pace(steady.key_frames, source.info.rate) if automatic else None
    return Colorizer(network, **choices, pace=pace)


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
            every=1 if settings.every == "auto" else settings.every,
        )
    except ValueError as error:
        raise StreamError(str(error)) from error


def _beside(source: str) -> str:
    """film.mkv to film-color.mkv, in the same folder."""
    if source == "-":
        return "-"
    if "://" in source or source.startswith("test:"):
        raise BadSink(f"say with -o where the colours of {source} go")
    path = Path(source)
    return str(path.with_name(f"{path.stem}-color{_sink_name(path).suffix}"))


def _is_ours(path: Path) -> bool:
    return not path.is_dir() and (path.suffix.lower() in FILM_SUFFIXES or is_still(path))


def _sink_name(source: Path) -> Path:
    keep = source.suffix.lower() in SAME_CONTAINER or is_still(source)
    return Path(source.name) if keep else Path(f"{source.stem}.mkv")
