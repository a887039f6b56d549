"""The options of one command line, checked before anything is opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from engine.backend import BackendName, Precision
from stream.chroma import Upsample
from stream.errors import StreamError
from stream.live.uri import LiveOptions
from stream.steady.smoothing import SteadyMode


@dataclass(frozen=True)
class Settings:
    """The options of one command line."""

    model: str = "kinema"
    backend: str = "auto"
    precision: str = "auto"
    device: int = 0
    hwaccel: str = "none"
    steady: str = "auto"
    steady_strength: float = 1.0
    every: int | Literal["auto"] | None = None  # None: 1, and live as few as it takes
    cuts: Path | None = None
    saturation: float = 1.0
    upsample: str = "guided"
    compare: bool = False
    codec: str | None = None
    encoder: str = "auto"
    crf: float = 18.0
    preset: str = "veryfast"
    intra_refresh: bool = False
    start_seconds: float = 0.0
    duration_seconds: float | None = None
    overwrite: bool = False
    live: LiveOptions = field(default_factory=LiveOptions)
    max_latency_ms: float = 200.0
    degrade: bool = True  # live: fewer inferences and a smaller input before frames are dropped
    metrics: str | None = None
    user: str | None = None

    def __post_init__(self) -> None:
        for name, value, known in (
            ("backend", self.backend, get_args(BackendName)),
            ("precision", self.precision, get_args(Precision)),
            ("steady", self.steady, ("auto", *get_args(SteadyMode))),
            ("upsample", self.upsample, get_args(Upsample)),
            ("hwaccel", self.hwaccel, ("none", "cuda")),
        ):
            if value not in known:
                raise StreamError(f"unknown --{name} {value!r}: one of {', '.join(known)}")
        if self.duration_seconds is not None and self.duration_seconds <= 0:
            raise StreamError(f"--duration {self.duration_seconds:g} leaves nothing of the film")
        if self.steady == "off" or self.steady_strength == 0:
            self._check_unsteady()

    def _check_unsteady(self) -> None:
        """Raises StreamError for options that have no meaning without steady colour."""
        cause = "--steady off" if self.steady == "off" else "--steady-strength 0"
        if self.every not in (None, 1):
            raise StreamError(
                f"--every {self.every} carries colours from frame to frame, and {cause} carries"
                " none: leave one of them out"
            )
        if self.cuts is not None:
            raise StreamError(
                f"--cuts says where steady colour starts anew, and with {cause} there is none:"
                " leave one of them out"
            )

    @property
    def trimmed(self) -> bool:
        return self.start_seconds > 0 or self.duration_seconds is not None
