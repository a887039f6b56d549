"""What a run did, for `--report` and for the caller of `stream.colorize`."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from stream.colorizer import Colorizer
from stream.live.latency import Latency
from stream.publish.tee import Tee
from stream.publish.uri import shown
from stream.sinks import Sink
from stream.sources import Source
from stream.stats import Stats, peak_memory_mb


def make_report(
    source: Source,
    sink_uri: str,
    sink: Sink,
    colorizer: Colorizer,
    stats: Stats,
    latency: Latency | None = None,
) -> dict[str, Any]:
    """Everything that `--report` writes, ready for JSON."""
    spec = colorizer.backend.spec
    return {
        "source": source.info.name,
        "sink": shown(sink_uri),
        "width": source.info.width,
        "height": source.info.height,
        "pix_fmt": source.info.pix_fmt,
        "read_as": str(colorizer.encoding),
        "frames_in": stats.frames_in,
        "frames_out": stats.frames_out,
        "frames_inferred": stats.inferred,
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
        **({} if latency is None else latency.report()),
        **(_live(source, stats) if source.live else {}),
        **({"sinks_dropped": sink.dropped} if isinstance(sink, Tee) else {}),
    }


def _live(source: Source, stats: Stats) -> dict[str, Any]:
    return {
        "reconnects": getattr(source, "reconnects", 0),
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
