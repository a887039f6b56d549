"""The virtual camera: no such device is here, so a backend of pyvirtualcam's own kind stands in."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from kinemacolor.stream.errors import BadSink
from kinemacolor.stream.sinks.open import open_sink
from kinemacolor.stream.sinks.virtualcam import VirtualCamSink
from kinemacolor.stream.sources.open import open_source

from tests.media import frame_from_planes

pyvirtualcam = pytest.importorskip("pyvirtualcam")


class Recorder:
    """Keeps what a camera would show."""

    last: Any = None

    def __init__(self, *, width: int, height: int, fps: float, **others: Any) -> None:
        self.size, self.fps, self.frames = (width, height), fps, []
        self.open = True
        Recorder.last = self

    def device(self) -> str:
        return "/dev/recorder"

    def native_fourcc(self) -> None:
        return None

    def send(self, frame: np.ndarray) -> None:
        self.frames.append(frame.copy())

    def close(self) -> None:
        self.open = False


def test_frames_become_rgb_pictures_of_a_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pyvirtualcam.camera.BACKENDS, "recorder", Recorder)
    source = open_source("test:64x48@25#1")
    sink = VirtualCamSink(source, backend="recorder")
    planes = [np.full(s, v, np.uint8) for s, v in (((48, 64), 81), ((24, 32), 90), ((24, 32), 240))]
    frame = frame_from_planes(planes, "yuv420p")  # red, in limited BT.601
    frame.pts, frame.time_base = 0, Fraction(1, 25)
    sink.write(frame)
    assert sink.description == "virtual camera /dev/recorder"
    sink.finish()
    source.close()
    camera = Recorder.last
    assert (camera.size, camera.fps, camera.open) == ((64, 48), 25, False)
    red, green, blue = camera.frames[0].reshape(48, 64, 3)[24, 32]
    assert red > 240
    assert max(green, blue) < 15


def test_without_a_virtual_camera_it_is_said_what_to_do() -> None:
    source = open_source("test:64x48@25#1")
    sink = open_sink("virtualcam:/dev/video4711", source)
    frame = frame_from_planes(
        [np.zeros(s, np.uint8) for s in ((48, 64), (24, 32), (24, 32))], "yuv420p"
    )
    with pytest.raises(BadSink, match="no virtual camera"):
        sink.write(frame)
    sink.abandon(keep=False)
    source.close()
