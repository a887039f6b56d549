"""What travels from stage to stage, and what every source and every sink can do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import av

if TYPE_CHECKING:
    from typing_extensions import TypeIs

# What a stage hands to the next: a picture, or a packet of another stream that is only copied.
Item = av.VideoFrame | av.Packet

# Which of a picture's two fields is shown first; progressive pictures have none.
FieldOrder = Literal["progressive", "tff", "bff"]


def is_frame(item: object) -> TypeIs[av.VideoFrame]:
    """Whether an item is a picture, and not a packet."""
    return isinstance(item, av.VideoFrame)


def is_cover(stream: Any) -> bool:
    """Whether a stream is one picture for the shelf, not a film."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def has_alpha(pix_fmt: str) -> bool:
    """Whether a pixel format has a plane of alpha, or a component."""
    kind = av.VideoFormat(pix_fmt)
    names = {"yuva", "rgba", "bgra", "argb", "abgr", "gbrap", "ya8", "ya16"}
    return len(kind.components) in (2, 4) and pix_fmt.startswith(tuple(names))


@dataclass(frozen=True)
class SourceInfo:
    """What is known of a source before its first frame."""

    name: str  # as it may be shown: without a password
    width: int
    height: int
    pix_fmt: str
    rate: Fraction  # guides the encoder only; every frame keeps its own pts
    time_base: Fraction
    codec: str
    frames: int | None = None  # an estimate where the container keeps no count
    duration_seconds: float | None = None
    field_order: FieldOrder | None = None  # None: as the first frame's flags say


State = Literal["whole", "resumed", "stopped", "failed"]


@dataclass(frozen=True)
class Outcome:
    """What became of one output.

    Attributes:
        state: "resumed" failed, and went on elsewhere or later: some frames are nowhere.
        cause: of what is not whole.
        files: what of it lies on the disk and is not, or not whole, under the output's own name.
    """

    output: str  # its address, as it may be shown
    state: State
    cause: str | None = None
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class BrokenOff:
    """How much of a film came, and how much its container promised."""

    seconds: float
    promised_seconds: float


class Source(Protocol):
    """Yields frames in order, with the packets of the other streams between them."""

    info: SourceInfo
    live: bool = False  # frames come when they come, and are late when nobody takes them
    container: Any = None  # av.container.InputContainer: streams, chapters and tags to copy
    video: Any = None  # av.VideoStream
    display_matrix: tuple[int, ...] | None = None  # FFmpeg's nine; known from the first frame
    damaged: int = 0  # packets that did not decode
    repaired: int = 0  # frames whose time was missing or ran backwards
    dropped: int = 0  # frames of a live source that nobody took in time
    broken_off: BrokenOff | None = None  # the film ended before its end
    reconnects: int = 0  # times that a live source was lost and came back

    def __iter__(self) -> Iterator[Item]: ...

    def now(self) -> float:
        """Returns the time on a live source's timeline; less `frame.time`, it is a frame's age."""
        raise TypeError("a source that is not live has no clock")

    def close(self) -> None:
        """Gives back what the source holds. By default it holds nothing."""


class Sink(Protocol):
    """Takes frames in order. `finish` makes the output whole; `abandon` ends it early."""

    description: str = ""  # "libx264 crf 18 veryfast, yuv420p"
    pix_fmts: frozenset[str] = frozenset()  # what frames may be in; empty means anything
    full_range: bool = True  # players are told that luma runs from 0 to the highest code
    follows_size: bool = False  # frames may change their size and format on the way

    @property
    def left_out(self) -> Sequence[str]:
        """Streams of the source that this sink does not take, in words."""
        return ()

    @property
    def worth_keeping(self) -> bool:
        """Whether enough is written that losing it would hurt."""
        return False

    @property
    def dropped(self) -> Mapping[str, int]:
        """Frames of a live source that an output was too slow for, by its description."""
        return {}

    @property
    def outcomes(self) -> Sequence[Outcome]:
        """What became of each of several outputs; empty for one, which is the run's own."""
        return ()

    def write(self, item: Item) -> None: ...

    def finish(self) -> None:
        """Makes the output whole. By default there is nothing to do."""
        return

    def abandon(self, *, keep: bool) -> Path | None:
        """Ends an output that is not whole. Returns where the part that plays was kept."""
        self.finish()
        return None
