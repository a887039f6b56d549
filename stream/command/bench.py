"""Measures this machine: frames per second by size, and where each millisecond goes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kinemacolor.engine.backend import Backend
from kinemacolor.stream.color.colorizer import Colorizer
from kinemacolor.stream.measure.stats import Stats
from kinemacolor.stream.pipeline import run
from kinemacolor.stream.sinks.null import NullSink
from kinemacolor.stream.sources.open import open_source
from kinemacolor.stream.steady.smoothing import SteadyMode, make_steady

SIZES = ((854, 480), (1280, 720), (1920, 1080))
WARM_UP_FRAMES = 8


@dataclass(frozen=True)
class Measurement:
    """One size: the whole pipeline into `null:`, so without an encoder."""

    width: int
    height: int
    network: tuple[int, int]  # (H, W)
    frames: int
    fps: float
    stage_ms: dict[str, float]


def measure(
    network: Backend, *, frames: int = 200, steady: SteadyMode = "live"
) -> Iterator[Measurement]:
    """Colorizes a moving test picture at each size, after a short warm-up."""
    for width, height in SIZES:
        for count in (WARM_UP_FRAMES, frames):
            source = open_source(f"test:{width}x{height}@25#{count / 25}")
            try:
                colorizer = Colorizer(network, steady=make_steady(steady))
                stats = run(source, colorizer, NullSink(), stats=Stats())
            finally:
                source.close()
            fps = stats.fps
        size = network.spec.input_size(width, height)
        yield Measurement(width, height, size, stats.frames_out, fps, stats.stage_ms())
