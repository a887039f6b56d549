"""Colorizes black-and-white video as it plays.

    from kinemacolor import colorize

    report = colorize("film.mkv", "film-color.mkv", steady="film", saturation=1.1)

The public names are imported when they are first asked for, so that `import kinemacolor` costs
nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kinemacolor.engine.backend import Backend
    from kinemacolor.engine.errors import EngineError
    from kinemacolor.engine.load import load
    from kinemacolor.errors import BadOption, KinemacolorError
    from kinemacolor.stream.color.colorizer import Colorizer
    from kinemacolor.stream.color.painter import Style
    from kinemacolor.stream.errors import (
        BadSink,
        BadSource,
        NotYetError,
        SinkError,
        SinkExists,
        SourceError,
        SourceNotFound,
        StreamError,
    )
    from kinemacolor.stream.media import Item, Sink, Source, SourceInfo
    from kinemacolor.stream.options import (
        ColorOptions,
        EncodeOptions,
        LiveOptions,
        Options,
        OutputOptions,
        Span,
    )
    from kinemacolor.stream.pipeline import run
    from kinemacolor.stream.proof.verify import verify
    from kinemacolor.stream.run.job import Job
    from kinemacolor.stream.run.progress import Progress
    from kinemacolor.stream.run.run import Run, Watcher, colorize
    from kinemacolor.stream.sinks.open import open_sink
    from kinemacolor.stream.sources.open import open_source

_HOMES = {
    "engine.backend": ("Backend",),
    "engine.errors": ("EngineError",),
    "engine.load": ("load",),
    "stream.color.colorizer": ("Colorizer",),
    "stream.color.painter": ("Style",),
    "errors": ("BadOption", "KinemacolorError"),
    "stream.errors": (
        "BadSink",
        "BadSource",
        "NotYetError",
        "SinkError",
        "SinkExists",
        "SourceError",
        "SourceNotFound",
        "StreamError",
    ),
    "stream.media": ("Item", "Sink", "Source", "SourceInfo"),
    "stream.options": (
        "ColorOptions",
        "EncodeOptions",
        "LiveOptions",
        "Options",
        "OutputOptions",
        "Span",
    ),
    "stream.pipeline": ("run",),
    "stream.proof.verify": ("verify",),
    "stream.run.job": ("Job",),
    "stream.run.progress": ("Progress",),
    "stream.run.run": ("Run", "Watcher", "colorize"),
    "stream.sinks.open": ("open_sink",),
    "stream.sources.open": ("open_source",),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Backend",
    "BadOption",
    "BadSink",
    "BadSource",
    "ColorOptions",
    "Colorizer",
    "EncodeOptions",
    "EngineError",
    "Item",
    "Job",
    "KinemacolorError",
    "LiveOptions",
    "NotYetError",
    "Options",
    "OutputOptions",
    "Progress",
    "Run",
    "Sink",
    "SinkError",
    "SinkExists",
    "Source",
    "SourceError",
    "SourceInfo",
    "SourceNotFound",
    "Span",
    "StreamError",
    "Style",
    "Watcher",
    "colorize",
    "load",
    "open_sink",
    "open_source",
    "run",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
