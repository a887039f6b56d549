"""A still picture is a film of one frame: JPEG, PNG, TIFF and WebP in and out.

The grey of a still is its BT.601 luma in full range, whatever the file format: it is what JPEG
stores, and what other programs get when they turn the coloured picture grey again.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from kinemacolor.stream.media import Item, Source, SourceInfo
from kinemacolor.stream.stills.reader import read_still


class StillSource(Source):
    """A source of one frame. `info` names the file; `still` holds what the sink has to keep."""

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
