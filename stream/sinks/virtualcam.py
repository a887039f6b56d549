"""Shows the result as a camera that Zoom, OBS and Meet can choose: `virtualcam:`."""

from __future__ import annotations

import sys
from typing import Any

import av
from kinemacolor.stream.errors import BadSink
from kinemacolor.stream.media import Item, Sink, Source, is_frame

_HINT = {
    "linux": "load the kernel module v4l2loopback",
    "win32": "install OBS, which brings a virtual camera",
    "darwin": "install OBS, which brings a virtual camera",
}


class VirtualCamSink(Sink):
    """Sends frames to a virtual camera; sound is not part of one.

    Args:
        device: its name; empty takes the first there is.

    Raises BadSink when the extra or the camera is not there; the latter at the first frame,
    which tells the size.
    """

    def __init__(self, source: Source, device: str = "", *, backend: str | None = None) -> None:
        try:
            import pyvirtualcam
        except ImportError as error:
            raise BadSink(
                "virtualcam: needs pyvirtualcam: pip install 'kinemacolor[virtualcam]'"
            ) from error
        self._module: Any = pyvirtualcam
        self._rate = float(source.info.rate)
        self._device, self._backend = device or None, backend
        self._camera: Any = None
        self.pix_fmts = frozenset(("yuv420p", "yuv422p", "yuv444p"))
        self.description = "virtual camera"

    def write(self, item: Item) -> None:
        if not is_frame(item):
            return
        if self._camera is None:
            self._camera = self._open(item)
            self.description = f"virtual camera {self._camera.device}"
        self._camera.send(item.to_ndarray(format="rgb24"))

    def finish(self) -> None:
        if self._camera is not None:
            self._camera.close()
            self._camera = None

    def _open(self, frame: av.VideoFrame) -> Any:
        try:
            return self._module.Camera(
                frame.width,
                frame.height,
                self._rate,
                fmt=self._module.PixelFormat.RGB,
                device=self._device,
                backend=self._backend,
            )
        except RuntimeError as error:
            hint = _HINT.get(sys.platform, "is there one?")
            raise BadSink(f"no virtual camera ({hint}): {error}") from error
