"""A still picture is a film of one frame: JPEG, PNG, TIFF and WebP in and out.

The grey of a still is its BT.601 luma in full range, whatever the file format: it is what JPEG
stores, and what other programs get when they turn the coloured picture grey again.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from stream.errors import BadSink
from stream.sources import Item, SourceInfo
from stream.stills.reader import FORMATS, StillInfo, read_still
from stream.stills.writer import write_still

__all__ = ["StillInfo", "StillSink", "StillSource", "is_still", "read_still", "write_still"]


def is_still(path: str | Path) -> bool:
    """Whether a name is that of a still picture."""
    return Path(path).suffix.lower() in FORMATS


class StillSource:
    """A source of one frame. `info` names the file; `still` holds what the sink has to keep."""

    live = False
    container: Any = None  # there is nothing in it to copy
    video: Any = None
    display_matrix: tuple[int, ...] | None = None  # the frame stands upright
    damaged = 0
    repaired = 0

    def __init__(self, path: Path) -> None:
        self.frame, self.still = read_still(path)
        self.info = SourceInfo(
            name=str(path),
            width=self.frame.width,
            height=self.frame.height,
            pix_fmt=self.frame.format.name,
            rate=Fraction(1),
            time_base=Fraction(1),
            codec=self.still.format.lower(),
            frames=1,
            duration_seconds=1.0,
        )

    def __iter__(self) -> Iterator[Item]:
        yield self.frame

    def close(self) -> None:
        pass


class StillSink:
    """Takes one frame. The file appears when it is whole; whether it may is asked before."""

    def __init__(self, path: Path, source: StillSource) -> None:
        if not is_still(path):
            raise BadSink(f"a still cannot become {path.name}: use {', '.join(FORMATS)}")
        self.pix_fmts = {"yuv444p", "yuv444p16le"}
        self.description = FORMATS[path.suffix.lower()].lower()
        self._path = path
        self._info = source.still
        self._frame: av.VideoFrame | None = None

    def write(self, item: Item) -> None:
        assert isinstance(item, av.VideoFrame)
        self._frame = item

    def finish(self) -> None:
        if self._frame is None:
            raise BadSink(f"no picture came for {self._path}")
        write_still(self._path, self._frame, self._info)

    def abandon(self, *, keep: bool) -> Path | None:
        self._frame = None
        return None
