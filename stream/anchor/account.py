"""Where each known picture was used, for the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

NOTHING = 0.005  # of the picture: less than that is no use
FITS = 0.02  # of the picture, in the best frame: less than that, and it fits nothing
SMALL = 0.02  # times as much of either, for a hint


@dataclass
class Use:
    """What one reference or hint was good for.

    Attributes:
        frames: in how many it was used.
        share: sum over those frames of the part of the picture that it coloured, 0..1.
        most: the largest such part.
        small: whether it is a hint, which may lie on a small thing.
        note: why it was not used as it was meant.
    """

    name: str
    small: bool = False
    first: int | None = None
    last: int | None = None
    frames: int = 0
    share: float = 0.0
    most: float = 0.0
    note: str | None = None

    def count(self, frame: int, share: float) -> None:
        """Adds a frame of the film."""
        self.most = max(self.most, share)
        if share < NOTHING * (SMALL if self.small else 1):
            return
        self.first = frame if self.first is None else self.first
        self.last = frame
        self.frames += 1
        self.share += share

    @property
    def fits(self) -> bool:
        """Whether it coloured anything worth mentioning."""
        return self.most >= FITS * (SMALL if self.small else 1)

    def report(self) -> dict[str, Any]:
        """What `--report` says of it."""
        said = {
            "name": self.name,
            "frames": self.frames,
            "first_frame": self.first,
            "last_frame": self.last,
            "mean_share": round(self.share / self.frames, 4) if self.frames else 0.0,
            "largest_share": round(self.most, 4),
        }
        return said if self.note is None else {**said, "note": self.note}
