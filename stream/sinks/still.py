"""The file of a coloured still picture."""

from __future__ import annotations

from pathlib import Path

import av
from kinemacolor.stream.address import STILLS, is_still
from kinemacolor.stream.errors import BadSink
from kinemacolor.stream.media import Item, Sink
from kinemacolor.stream.sources.still import StillSource
from kinemacolor.stream.stills.writer import StillFile


class StillSink(Sink):
    """Takes a frame for each page. The file appears when it is whole.

    Raises BadSink: no format has this suffix, or it holds one page and there are several.
    """

    def __init__(self, path: Path, source: StillSource) -> None:
        if not is_still(path):
            raise BadSink(f"a still cannot become {path.name}: use {', '.join(STILLS)}")
        file_format, pages = STILLS[path.suffix.lower()], source.still.pages
        if pages > 1 and file_format != "TIFF":
            raise BadSink(f"{source.info.name} has {pages} pages, which only .tif holds")
        self.pix_fmts = frozenset(("yuv444p", "yuv444p16le"))
        self.description = file_format.lower()
        self._path, self._source = path, source
        self._file = StillFile(path)
        self._empty = True

    def write(self, item: Item) -> None:
        assert isinstance(item, av.VideoFrame)
        assert item.pts is not None
        self._file.add(item, self._source.stills[item.pts])
        self._empty = False

    def finish(self) -> None:
        if self._empty:
            raise BadSink(f"no picture came for {self._path}")
        self._file.finish()

    def abandon(self, *, keep: bool) -> Path | None:
        self._file.abandon()
        return None
