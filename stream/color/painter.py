"""The brush: looks at a frame for the network, and paints on it what the network says.

Two painters do so: `HostPainter` in memory, `CudaPainter` on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

import av
import numpy as np
from kinemacolor.engine.spec import ModelSpec
from kinemacolor.stream.color.frames import FrameEncoding
from kinemacolor.stream.options import Upsample
from numpy.typing import NDArray


@dataclass(frozen=True)
class Style:
    """How colours are painted. It may change from frame to frame."""

    saturation: float = 1.0  # multiplies ab; 1 is the network's own colour
    upsample: Upsample = "guided"  # `guided` stops colour at luma edges, `bilinear` does not
    compare: bool = False  # frames of double width, grey on the left and colour on the right


@dataclass(frozen=True, eq=False)
class Canvas:
    """A frame that was looked at, until it is painted on."""

    frame: av.VideoFrame
    encoding: FrameEncoding
    L: NDArray[np.float32]  # (H, W), 0..100: the picture upright, at the network's size
    turns: int  # quarter turns counter-clockwise that set the picture upright

    def as_it_lies(self, ab: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turns ab (2, h, w) of the upright picture to where the frame's own samples lie."""
        turned = np.rot90(ab, -self.turns, axes=(1, 2)) if self.turns else ab
        return np.ascontiguousarray(turned)


C = TypeVar("C", bound=Canvas)


class Painter(Protocol[C]):
    """Takes L out of frames, and gives them their chroma. Use it on one thread."""

    encoding: FrameEncoding | None = None  # of the frame that was looked at last

    def look(self, frame: av.VideoFrame, spec: ModelSpec) -> C:
        """Takes L out of a frame, at the size that a model wants.

        Raises BadSource or BadSink for frames that cannot be coloured.
        """

    def paint(self, canvas: C, ab: NDArray[np.float32], style: Style) -> av.VideoFrame:
        """Returns the frame with the source's luma, bit for bit, and new chroma.

        A canvas is painted once.

        Args:
            ab: (2, h, w) float32, CIELAB units, of the upright picture.
        """

    def close(self) -> None:
        """Frees what the painter holds."""
        return


def quarter_turns(frame: av.VideoFrame) -> int:
    """Quarter turns counter-clockwise that set a frame's picture upright: 0 to 3."""
    return round(frame.rotation / 90) % 4


def size_as_it_lies(frame: av.VideoFrame, spec: ModelSpec) -> tuple[int, int]:
    """(H, W) of the network's input, turned as the frame's samples lie."""
    turns = quarter_turns(frame)
    height, width = spec.input_size(frame.width, frame.height, turns=turns)
    return (width, height) if turns % 2 else (height, width)
