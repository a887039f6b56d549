"""Frames as NVDEC hands them out, in host memory: reached by DLPack alone, and written late."""

from __future__ import annotations

from typing import Any

import av
import numpy as np

from tests.fake_tensorrt import FakeDevice


class CudaFrame:
    """A frame that refuses what PyAV refuses of one on a GPU.

    Its format is `cuda`, which has no components, and its planes are no buffers. FFmpeg copies
    the picture into it in the default stream: who does not wait for that sees zeros.

    Args:
        host: the frame as it is laid out; a test reads it there.
    """

    __class__ = av.VideoFrame  # type: ignore[assignment]  # isinstance() asks for this

    def __init__(self, host: av.VideoFrame, device: FakeDevice) -> None:
        self.host = host
        self.format = av.VideoFormat("cuda", host.width, host.height)
        self.sw_format = host.format
        self.planes = tuple(CudaPlane(plane, host.format.name) for plane in host.planes)
        for plane in host.planes:
            codes = np.frombuffer(memoryview(plane), np.uint8)
            picture = codes.copy()
            codes[:] = 0
            device.default.add(lambda codes=codes, picture=picture: np.copyto(codes, picture))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.host, name)  # size, times, tags

    def reformat(self, *, format: str) -> av.VideoFrame:
        """Downloads the frame, then converts it."""
        assert format != "cuda"
        return self.host.reformat(format=format)


class CudaPlane:
    """A plane in device memory. It is no buffer, and PyAV 18.1 exports three layouts only."""

    def __init__(self, plane: Any, layout: str) -> None:
        self._plane, self._layout = plane, layout

    def __dlpack__(self) -> Any:
        if self._layout not in ("nv12", "p010le", "p016le"):
            raise NotImplementedError("unsupported sw_format for DLPack export")
        return self._plane.__dlpack__()
