"""A still picture is a film of one frame, or, of a TIFF with several pages, of one each.

The grey of a still is its BT.601 luma in full range, whatever the file format: it is what JPEG
stores, and what other programs get when they turn the coloured picture grey again.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from kinemacolor.stream.media import Item, Source, SourceInfo
from kinemacolor.stream.stills.info import StillInfo
from kinemacolor.stream.stills.reader import read_still


class StillSource(Source):
    """A source of one frame for each page, whose number is its time.

    Attributes:
        info: names the file.
        frame: of the first page.
        stills: what the sink has to keep of each page that was read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.frame, still = read_still(path)
        self.stills = [still]
        self.info = SourceInfo(
            name=str(path),
            width=self.frame.width,
            height=self.frame.height,
            pix_fmt=self.frame.format.name,
            rate=Fraction(1),
            time_base=Fraction(1),
            codec=still.format.lower(),
            frames=still.pages,
            duration_seconds=float(still.pages),
        )

    @property
    def still(self) -> StillInfo:
        """What the first page holds."""
        return self.stills[0]

    def __iter__(self) -> Iterator[Item]:
        yield self.frame
        for page in range(1, self.still.pages):
            frame, still = read_still(self._path, page)
            self.stills.append(still)
            yield frame

    def close(self) -> None:
        pass
