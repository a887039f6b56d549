"""A live picture that changes its size, for outputs that cannot."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from kinemacolor.stream.color.frames import plane_view
from kinemacolor.stream.media import Item
from kinemacolor.stream.sources.fit import fitted

from tests.media import frame_from_planes, neutral_planes


def flat(width: int, height: int, code: int, pix_fmt: str = "yuv420p") -> av.VideoFrame:
    depth = av.VideoFormat(pix_fmt).components[0].bits
    luma = np.full((height, width), code, np.uint8 if depth == 8 else np.uint16)
    frame = frame_from_planes(neutral_planes(luma, pix_fmt), pix_fmt)
    frame.pts, frame.time_base = 9, Fraction(1, 25)
    return frame


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "gray", "nv12", "yuv422p10le"])
def test_another_size_and_format_is_drawn_into_the_first(pix_fmt: str) -> None:
    code = 100 if pix_fmt != "yuv422p10le" else 400
    first, sound = flat(80, 60, 50), av.Packet(b"sound")
    items: list[Item] = [first, sound, flat(64, 64, code, pix_fmt), flat(80, 60, 70)]
    frames = list(fitted(items))
    assert (frames[0], frames[1], frames[3]) == (first, sound, items[3])
    changed = frames[2]
    assert isinstance(changed, av.VideoFrame)
    assert (changed.width, changed.height, changed.format.name) == (80, 60, "yuv420p")
    assert (changed.pts, changed.time_base) == (9, Fraction(1, 25))
    luma = plane_view(changed, 0)
    assert (luma[:, 10:70] == 100).all()  # 60 wide, in the middle
    assert (luma[:, :10] == 16).all()
    assert (luma[:, 70:] == 16).all()
    assert (plane_view(changed, 1) == 128).all()
