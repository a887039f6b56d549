"""The file of a coloured still picture."""

from __future__ import annotations

from pathlib import Path

import av
from kinemacolor.stream.address import STILLS, is_still
from kinemacolor.stream.errors import BadSink
from kinemacolor.stream.media import Item, Sink
from kinemacolor.stream.sources.still import StillSource
from kinemacolor.stream.stills.writer import write_still


class StillSink(Sink):
    """Takes one frame. The file appears when it is whole; whether it may is asked before."""

    def __init__(self, path: Path, source: StillSource) -> None:
        if not is_still(path):
            raise BadSink(f"a still cannot become {path.name}: use {', '.join(STILLS)}")
        self.pix_fmts = frozenset(("yuv444p", "yuv444p16le"))
        self.description = STILLS[path.suffix.lower()].lower()
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
