"""The clock in the picture survives coding, and damage is noticed."""

from __future__ import annotations

import av
import numpy as np
import pytest

from benchmarks import timecode


@pytest.mark.parametrize("number", [0, 1, 123_456_789, 2**32 - 1])
@pytest.mark.parametrize("crf", ["18", "40"])
def test_a_number_survives_coding(number: int, crf: str) -> None:
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 640, 480, "yuv420p"
    frame = timecode.picture(640, 480, 7, number)
    assert frame.time_base is not None
    encoder.time_base = frame.time_base
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": crf}
    frame.pts = 0
    decoder = av.CodecContext.create("h264", "r")
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    frames = [f for packet in packets for f in decoder.decode(packet)] + decoder.decode(None)
    assert timecode.read(timecode.plane(frames[0], 0)) == number


def test_a_damaged_clock_is_not_believed() -> None:
    frame = timecode.picture(640, 480, 0, 123_456)
    luma = timecode.plane(frame, 0)
    luma[:, 16:32] = 255 - luma[:, 16:32]
    assert timecode.read(luma) is None
    assert timecode.read(np.full((480, 640), 128, np.uint8)) is None
