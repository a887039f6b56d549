"""What frames of one geometry need on a GPU: kernels, and memory for L out and ab in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from kinemacolor.engine.cuda.device import Device
from kinemacolor.engine.cuda.kernels import ChromaRules, FrameKernels, Launch, Surface
from kinemacolor.stream.color import chroma as reference
from kinemacolor.stream.color.frames import FrameEncoding
from kinemacolor.stream.color.painter import Style
from numpy.typing import NDArray


@dataclass(frozen=True)
class Geometry:
    """What frames must share to be painted with the same buffers; sizes are (H, W)."""

    encoding: FrameEncoding
    chroma_size: tuple[int, int]
    network_size: tuple[int, int]  # of L as the frame lies


class Buffers:
    """The kernels for frames of one geometry, and memory for one picture in and out.

    Use it inside `device.current()`. Raises EngineError where the GPU has no room.
    """

    def __init__(
        self, device: Device, launch: Launch, cuda_stream: Any, geometry: Geometry
    ) -> None:
        self.geometry = geometry
        self._device, self._cuda_stream = device, cuda_stream
        self._kernels = FrameKernels(
            device,
            launch,
            _rules(geometry.encoding),
            cuda_stream,
            chroma_size=geometry.chroma_size,
            network_size=geometry.network_size,
        )
        area = geometry.network_size[0] * geometry.network_size[1]
        self._memory: list[Any] = []  # L, ab
        try:
            for size_bytes in (4 * area, 8 * area):
                self._memory.append(device.alloc(size_bytes))
            self._L = device.pinned((area,), np.float32)
            self._ab = device.pinned((2 * area,), np.float32)
        except Exception:
            self.close()
            raise

    def extract_L(self, luma: Surface) -> NDArray[np.float32]:
        """L (H, W) of a frame as it lies; valid until the next call."""
        there = self._memory[0]
        self._kernels.extract_L(luma, int(there))
        self._device.download(self._L, there, self._cuda_stream)
        self._cuda_stream.synchronize()
        return self._L.reshape(self.geometry.network_size)

    def write_chroma(
        self, luma: Surface, ab: NDArray[np.float32], chroma: tuple[Surface, Surface], style: Style
    ) -> None:
        """Writes Cb and Cr of a frame from ab (2, h, w); returns when they are there."""
        there = self._memory[1]
        self._ab[: ab.size] = ab.ravel()
        self._device.upload(there, self._ab[: ab.size], self._cuda_stream)
        self._kernels.write_chroma(
            luma,
            int(there),
            (ab.shape[1], ab.shape[2]),
            *chroma,
            radius=reference.RADIUS if style.upsample == "guided" else -1,
            saturation=style.saturation,
        )
        self._cuda_stream.synchronize()  # encoder and download come from other streams

    def close(self) -> None:
        """Frees the memory; the cuda_stream must have come to rest."""
        self._kernels.close()
        for memory in self._memory:  # the GPU may have had no room for all of it
            self._device.free(memory)
        self._memory.clear()


def _rules(encoding: FrameEncoding) -> ChromaRules:
    return ChromaRules(
        encoding.encoding,
        *reference.chroma_tables(encoding.encoding),
        levels=reference.LUMA_SIZE,
        ab_step=reference.AB_STEP,
        ab_origin=(reference.AB_SIZE - 1) / 2,
        epsilon=reference.EPSILON,
    )
