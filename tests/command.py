"""Runs the product as its users do: as a command in a process of its own, or as a library call."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from kinemacolor.stream.options import Options
from kinemacolor.stream.run.job import Job
from kinemacolor.stream.run.run import Run, open_network

from tests.models import write_model

ROOT = Path(__file__).parent.parent
TIMEOUT_SECONDS = 60


def colorize(source: Path | str, sink: Path | str, **settings: Any) -> dict[str, Any]:
    """Colorizes in this process with a tiny model; returns the report.

    Lossless and without steadying, unless the settings say otherwise: most tests ask what
    becomes of the source, not of its colours.
    """
    paths = [Path(end) for end in (sink, source) if Path(end).is_absolute()]
    folder = paths[0].parent  # one of them lies in the test's own folder
    model = folder / "tiny.onnx"
    if not model.exists():
        write_model(model)
    chosen = Options.of(
        **{
            "model": str(model),
            "backend": "onnxruntime",
            "steady": "off",
            "codec": "ffv1",
            "preset": "ultrafast",
            **settings,
        }
    )
    with open_network(chosen) as network:
        return Run(Job.of(str(source), str(sink)), chosen, network).run()


def command_line(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "kinemacolor", *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def kinemacolor(
    *arguments: str | Path, cwd: Path | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Runs the command line and waits for it."""
    return subprocess.run(
        command_line(*arguments),
        cwd=cwd or ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
        **options,
    )
