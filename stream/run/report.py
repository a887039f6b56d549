"""What a run did, for `--report` and for the caller of `stream.run.run.colorize`."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from kinemacolor.engine.outputs import check_writable
from kinemacolor.stream.color.colorizer import Colorizer
from kinemacolor.stream.errors import BadSink, SinkExists
from kinemacolor.stream.measure.latency import Latency
from kinemacolor.stream.measure.stats import Stats, peak_memory_mb
from kinemacolor.stream.media import Sink, Source
from kinemacolor.stream.run.job import Job


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
) -> dict[str, Any]:
    """Everything that `--report` writes, ready for JSON."""
    spec = colorizer.backend.spec
    return {
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
        **({} if latency is None else latency.report()),
        **(_live(source, stats) if source.live else {}),
        **({"sinks_dropped": dict(sink.dropped)} if len(job.sinks) > 1 else {}),
    }


def unfinished_report(job: Job, ended: str, message: str | None = None) -> dict[str, Any]:
    """Of a source that came to nothing: `ended` is "failed" or "stopped"."""
    report = {"source": str(job.source), "sink": str(job.sinks[0]), "ended": ended}
    return report if message is None else {**report, "error": message}


def _live(source: Source, stats: Stats) -> dict[str, Any]:
    return {
        "reconnects": source.reconnects,
        "degraded": [
            {"at_seconds": seconds, "step": step.name, "message": step.message}
            for seconds, step in stats.steps
        ],
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
