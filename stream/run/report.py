"""What a run did, for `--report` and for the caller of `stream.run.run.colorize`."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, Required, TypedDict

from kinemacolor.engine.outputs import check_writable
from kinemacolor.stream.color.colorizer import Colorizer
from kinemacolor.stream.errors import BadSink, SinkExists
from kinemacolor.stream.measure.latency import Latency
from kinemacolor.stream.measure.stats import Stats, peak_memory_mb
from kinemacolor.stream.media import Outcome, Sink, Source
from kinemacolor.stream.run.job import Job


class Report(TypedDict, total=False):
    """What a run did, ready for JSON. Of a source that came to nothing, only what is required."""

    source: Required[str]  # as it may be shown: without a password
    sink: Required[str]  # where the result is; of a film that was stopped, the part that was kept
    ended: Required[Literal["whole", "stopped", "failed"]]
    error: str  # of "failed"
    outputs: list[dict[str, Any]]  # what became of each: output, state, cause, files
    width: int
    height: int
    pix_fmt: str
    read_as: str | None  # matrix and range; None where no frame came
    frames_in: int
    frames_out: int
    frames_inferred: int
    packets_copied: int
    packets_damaged: int
    times_repaired: int
    broken_off: dict[str, float]  # of a source that ended early: seconds and promised_seconds
    streams_left_out: list[str]
    cuts: list[int]  # frame numbers
    seconds: float
    fps: float
    first_frame_seconds: float | None
    stage_ms: dict[str, float]  # a frame's mean
    peak_memory_mb: float | None
    model: dict[str, str]
    backend: str
    encoder: str
    versions: dict[str, str]
    latency_ms: dict[str, float]  # this and what follows of a live source: p50, p95 and p99
    dropped: dict[str, int]  # frames, by cause
    reconnects: int
    degraded: list[dict[str, Any]]  # what was given up to keep the rate, and when
    sinks_dropped: dict[str, int]  # of several sinks
    references: list[dict[str, Any]]  # where each was used, and on how much of the picture
    hints: list[dict[str, Any]]


def check_report(
    path: Path, jobs: Sequence[Job], *, inputs: Sequence[Path] = (), overwrite: bool = False
) -> None:
    """Fails before the work where a report cannot be written, or would cost another file.

    Args:
        inputs: files that are read beside the sources.
        overwrite: what is there may go, whatever it is, unless this run needs it.

    Raises BadSink, SinkExists, or the OSError that writing would end in.
    """
    sources = [Path(job.source.text) for job in jobs]
    sinks = [Path(address.text) for job in jobs for address in job.sinks]
    for role, files in (("a source", sources), ("an output", sinks), ("an input", inputs)):
        if any(_is_same(path, file) for file in files):
            raise BadSink(f"--report {path} is {role} of this run: give the report another name")
    check_writable(path)
    if path.is_file() and not overwrite and not _looks_like_json(path):
        raise SinkExists(f"--report {path} exists and is no JSON: --overwrite replaces it")


def _is_same(path: Path, other: Path) -> bool:
    if path.exists() and other.exists():
        return path.samefile(other)
    return path.resolve() == other.resolve()


def _looks_like_json(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(64).lstrip()
    return not path.stat().st_size or start.startswith((b"{", b"["))


def make_report(
    job: Job,
    source: Source,
    sink: Sink,
    colorizer: Colorizer,
    stats: Stats,
    latency: Latency | None = None,
) -> Report:
    """Everything that `--report` writes, ready for JSON."""
    spec = colorizer.backend.spec
    report: Report = {
        "source": source.info.name,
        "sink": str(job.sinks[0]),
        "ended": "whole",
        "width": source.info.width,
        "height": source.info.height,
        "pix_fmt": source.info.pix_fmt,
        "read_as": None if colorizer.encoding is None else str(colorizer.encoding),
        "frames_in": stats.frames_in,
        "frames_out": stats.frames_out,
        "frames_inferred": stats.inferred,
        "packets_copied": stats.packets_copied,
        "packets_damaged": source.damaged,
        "times_repaired": source.repaired,
        "streams_left_out": list(sink.left_out),
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
    if source.broken_off is not None:
        report["broken_off"] = asdict(source.broken_off)
    if latency is not None:
        report.update(latency.report())  # type: ignore[typeddict-item]
    if source.live:
        report["reconnects"] = source.reconnects
        report["degraded"] = [
            {"at_seconds": seconds, "step": step.name, "message": step.message}
            for seconds, step in stats.steps
        ]
    if colorizer.known is not None:
        report.update(colorizer.known.report())  # type: ignore[typeddict-item]
    if len(job.sinks) > 1:
        report["sinks_dropped"] = dict(sink.dropped)
    return report


def unfinished_report(
    job: Job,
    ended: Literal["stopped", "failed"],
    message: str | None = None,
    outcomes: Sequence[Outcome] = (),
) -> Report:
    """Of a source that came to nothing."""
    report: Report = {"source": str(job.source), "sink": str(job.sinks[0]), "ended": ended}
    if outcomes:
        report["outputs"] = [asdict(outcome) for outcome in outcomes]
    if message is not None:
        report["error"] = message
    return report


def versions() -> dict[str, str]:
    """Versions of this program, Python and the libraries that do the work."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in ("kinemacolor", "numpy", "opencv-python", "av", "onnxruntime", "openvino"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
