"""Frames in, coloured frames out."""

from stream.colorizer import Colorizer
from stream.errors import StreamError
from stream.jobs import colorize
from stream.pipeline import run
from stream.sinks import open_sink
from stream.sources import open_source

__all__ = ["Colorizer", "StreamError", "colorize", "open_sink", "open_source", "run"]
