"""What one command line asks for: which sources go to which sinks, and the run of each."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, get_args

from rich.console import Console

from engine import Backend, load
from engine.backend import BackendName, Precision
from stream.chroma import Upsample
from stream.colorizer import Colorizer
from stream.cutlist import read_cuts
from stream.encode import EncodeOptions
from stream.errors import BadSink, BadSource, SourceNotFound, StreamError
from stream.pipeline import run
from stream.progress import Progress
from stream.sinks import FileSink, Sink, open_sink
from stream.sources import Source, open_source
from stream.stats import Stats, peak_memory_mb
from stream.steady import Steady, SteadyMode, make_steady
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
class Settings:
    """The options of one command line."""

    model: str = "kinema"
    backend: str = "auto"
    precision: str = "auto"
    steady: str = "auto"
    steady_strength: float = 1.0
    every: int = 1
    cuts: Path | None = None
    saturation: float = 1.0
    upsample: str = "guided"
    compare: bool = False
    codec: str | None = None
    encoder: str = "auto"
    crf: float = 18.0
    preset: str = "veryfast"
    start_seconds: float = 0.0
    duration_seconds: float | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name, value, known in (
            ("backend", self.backend, get_args(BackendName)),
            ("precision", self.precision, get_args(Precision)),
            ("steady", self.steady, ("auto", *get_args(SteadyMode))),
            ("upsample", self.upsample, get_args(Upsample)),
        ):
            if value not in known:
                raise StreamError(f"unknown --{name} {value!r}: one of {', '.join(known)}")

    @property
    def trimmed(self) -> bool:
        return self.start_seconds > 0 or self.duration_seconds is not None


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
    network = load(settings.model, settings.backend, settings.precision)  # type: ignore[arg-type]
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
    source = open_source(
        job.source,
        start_seconds=settings.start_seconds,
        duration_seconds=settings.duration_seconds,
    )
    try:
        sink = open_sink(
            job.sink,
            source,
            options=EncodeOptions(
                codec=settings.codec,
                encoder=settings.encoder,
                crf=settings.crf,
                preset=settings.preset,
            ),
            overwrite=settings.overwrite,
            trimmed=settings.trimmed,
        )
        colorizer = Colorizer(
            network,
            steady=_make_steady(settings, source),
            saturation=settings.saturation,
            upsample=settings.upsample,  # type: ignore[arg-type]
            compare=settings.compare,
            pix_fmts=sink.pix_fmts,
        )
        try:
            with Progress(console, source, sink, network, shown=progress) as bar:
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
    return _report(job, source, sink, colorizer, stats)


def _end_early(sink: Sink, error: BaseException) -> None:
    """Keeps what is worth keeping, and says where."""
    interrupted = isinstance(error, KeyboardInterrupt)
    long_enough = isinstance(sink, FileSink) and sink.worth_keeping
    kept = sink.abandon(keep=interrupted or long_enough)
    if kept is not None:
        log.warning("what was done until then is in %s", kept)


def _make_steady(settings: Settings, source: Source) -> Steady:
    mode = settings.steady
    if mode == "auto":
        mode = "live" if source.live else "film"
    cuts = None if settings.cuts is None else read_cuts(settings.cuts, rate=source.info.rate)
    try:
        return make_steady(
            mode,  # type: ignore[arg-type]
            strength=settings.steady_strength,
            cuts=cuts,
            every=settings.every,
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


def _report(
    job: Job, source: Source, sink: Sink, colorizer: Colorizer, stats: Stats
) -> dict[str, Any]:
    spec = colorizer.backend.spec
    return {
        "source": job.source,
        "sink": job.sink,
        "width": source.info.width,
        "height": source.info.height,
        "pix_fmt": source.info.pix_fmt,
        "read_as": str(colorizer.encoding),
        "frames_in": stats.frames_in,
        "frames_out": stats.frames_out,
        "packets_copied": stats.packets_copied,
        "packets_damaged": source.damaged,
        "times_repaired": source.repaired,
        "streams_left_out": getattr(sink, "left_out", []),
        "cuts": list(colorizer.steady.cuts),
        "seconds": round(stats.elapsed_seconds, 3),
        "fps": round(stats.fps, 2),
        "first_frame_seconds": stats.first_frame_seconds,
        "stage_ms": {name: round(ms, 3) for name, ms in stats.stage_ms().items()},
        "peak_memory_mb": peak_memory_mb(),
        "model": {"name": spec.name, "version": spec.version, "file": str(spec.path)},
        "backend": colorizer.backend.description,
        "encoder": sink.description,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Versions of this program, Python and the libraries that do the work."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in ("kinemacolor", "numpy", "opencv-python", "av", "onnxruntime", "openvino"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
