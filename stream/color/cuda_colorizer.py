"""`--hwaccel cuda`: frames are decoded, coloured and encoded without leaving the GPU.

NVDEC's surfaces are reached by DLPack: 4:2:0 in 8 or 10 bit, of any size. The luma stays where it
is; only L at the network's size comes to the host, for temporal smoothing, and ab goes back. The
chroma is written into the surface itself: unless told otherwise (AV_HWACCEL_FLAG_UNSAFE_OUTPUT),
FFmpeg hands out a copy of the decoder's reference, so later pictures do not suffer and any number
may be held.

No GPU has run this yet; all but decoder and encoder is tested on frames of these layouts in host
memory, with the kernels built for the processor.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np
from kinemacolor.engine.cuda import dlpack
from kinemacolor.engine.cuda.device import Device, PyCudaDevice
from kinemacolor.engine.cuda.driver import find_gpu
from kinemacolor.engine.cuda.kernels import (
    ChromaRules,
    FrameKernels,
    Launch,
    Surface,
    compile_kernels,
)
from kinemacolor.stream.color.chroma import (
    AB_SIZE,
    AB_STEP,
    EPSILON,
    LUMA_SIZE,
    RADIUS,
    chroma_tables,
)
from kinemacolor.stream.color.colorizer import Colorizer, Work
from kinemacolor.stream.color.frames import FrameEncoding, frame_encoding
from kinemacolor.stream.errors import BadSink, BadSource
from kinemacolor.stream.sources.nvdec import is_cropped

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Layout:
    """How NVDEC lays a picture out, and what a copy of it is called on the processor."""

    shift: int  # codes lie in the upper bits
    copies: tuple[str, ...]  # the same codes, the format that costs least first


_LAYOUTS = {
    "nv12": _Layout(0, ("nv12", "yuv420p")),
    "p010le": _Layout(6, ("yuv420p10le",)),
}


_NOTHING = np.empty(0, np.float32)


@dataclass
class DeviceWork(Work):
    """One frame on the GPU on its way through the colorizer."""

    luma: Surface | None = None
    chroma: tuple[Surface, Surface] | None = None  # Cb and Cr
    memory: list[dlpack.Tensor] = field(default_factory=list)  # holds the surfaces' own


@dataclass(kw_only=True, eq=False, repr=False)
class CudaColorizer(Colorizer):
    """`Colorizer` for frames on the GPU: kernels take L from them and write their chroma.

    Args:
        device, launch: None opens GPU `index` and compiles the kernels for it.
        pix_fmts: what the sink takes. With `cuda` among them (NVENC), or anything at all
            (`null:`), frames stay on the GPU; else each is copied to the host once.

    Raises BackendUnavailable: no GPU, no PyCUDA, or no nvcc to compile the kernels with.
    """

    index: int = 0
    device: Device | None = None
    launch: Launch | None = None

    def __post_init__(self) -> None:
        if self.compare:
            raise BadSink("--compare does not work with --hwaccel cuda: leave one of them out")
        assert self.degrade is None  # live sources are not decoded on the GPU
        device, launch = self.device, self.launch
        if device is None or launch is None:
            gpu = find_gpu(self.index)
            cubin = compile_kernels(gpu.compute_capability)
            device = PyCudaDevice(self.index)
            with device.current():
                launch = device.kernels(cubin)
        self._device, self._launch = device, launch
        with device.current():
            # FFmpeg works in the default stream, and a blocking one waits for it.
            self._cuda_stream = device.cuda_stream(blocking=True)
        self._kernels: FrameKernels | None = None
        self._geometry: object = None
        self._L: Any = None  # device and pinned memory for one picture, in and out
        self._ab: Any = None
        self._L_host = self._ab_host = _NOTHING

    def begin(self, frame: av.VideoFrame) -> DeviceWork:
        """Takes L from a frame on the GPU and hands it to the network."""
        encoding = self._encoding(frame)
        memory = [dlpack.read(plane) for plane in frame.planes]
        luma, *chroma = _surfaces(frame, memory)
        height, width, turns = self._network_size(frame)
        chroma_size = (chroma[0].height, chroma[0].width)
        kernels = self._kernels_for(encoding, chroma_size, (height, width))
        with self._device.current():
            kernels.extract_L(luma, int(self._L))
            self._device.download(self._L_host, self._L, self._cuda_stream)
            self._cuda_stream.synchronize()
        L = np.rot90(self._L_host.reshape(height, width), turns).copy()
        pending, _ = self._submit(L, lambda share: L)
        cb, cr = chroma
        return DeviceWork(frame, encoding, L[:0], L, turns, pending, None, luma, (cb, cr), memory)

    def finish(self, work: Work) -> av.VideoFrame:
        """Writes the chroma into the frame's own surface; the luma is not touched."""
        assert isinstance(work, DeviceWork)
        assert work.ab is not None
        assert work.luma is not None
        assert work.chroma is not None
        ab = np.rot90(work.ab, -work.turns, axes=(1, 2)) if work.turns else work.ab
        height, width, _ = self._network_size(work.frame)
        cb, cr = work.chroma
        kernels = self._kernels_for(work.encoding, (cb.height, cb.width), (height, width))
        with self._device.current():
            self._ab_host[: ab.size] = ab.ravel()
            self._device.upload(self._ab, self._ab_host[: ab.size], self._cuda_stream)
            kernels.write_chroma(work.luma, int(self._ab), ab.shape[1:], cb, cr)
            self._cuda_stream.synchronize()  # encoder and download come from other streams
        work.memory.clear()
        return self._deliver(work.frame)

    def close(self) -> None:
        """Frees what is on the GPU; the backend is the caller's."""
        with self._device.current():
            self._cuda_stream.synchronize()
            self._release()
            self._cuda_stream = None
        self._device.close()

    def _deliver(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The frame as the sink takes it: as it is, or downloaded once."""
        if not self.pix_fmts or frame.format.name in self.pix_fmts:
            return frame
        if is_cropped(_layout(frame), frame.width, frame.height):
            raise BadSink(
                f"the encoder takes no {frame.width}x{frame.height} with half-size chroma: "
                "leave --hwaccel out"
            )
        wanted = _LAYOUTS[_layout(frame)].copies
        pix_fmt = next((name for name in wanted if name in self.pix_fmts), None)
        if pix_fmt is None:
            raise BadSink(
                f"the encoder takes no {wanted[0]}, which is what comes from the GPU: "
                "take another encoder, or leave --hwaccel out"
            )
        copied = frame.reformat(format=pix_fmt)
        copied.pts, copied.time_base, copied.duration = frame.pts, frame.time_base, frame.duration
        copied.colorspace, copied.color_range = frame.colorspace, frame.color_range
        copied.color_primaries, copied.color_trc = frame.color_primaries, frame.color_trc
        return copied

    def _encoding(self, frame: av.VideoFrame) -> FrameEncoding:
        layout = _layout(frame)
        if layout not in _LAYOUTS:
            raise BadSource(
                f"--hwaccel cuda takes {', '.join(_LAYOUTS)}, and NVDEC gives {layout}: "
                "leave --hwaccel out"
            )
        tagged = av.VideoFrame(16, frame.height, layout)  # `cuda` has no components to read
        tagged.colorspace, tagged.color_range = frame.colorspace, frame.color_range
        encoding = frame_encoding(tagged)
        if encoding != self.encoding:
            log.info("read as %s", encoding)
        self.encoding = encoding
        return encoding

    def _network_size(self, frame: av.VideoFrame) -> tuple[int, int, int]:
        """(H, W) of L as the frame lies, and the quarter turns that set it upright."""
        turns = round(frame.rotation / 90) % 4
        height, width = self.backend.spec.input_size(frame.width, frame.height, turns=turns)
        return (width, height, turns) if turns % 2 else (height, width, turns)

    def _kernels_for(
        self, encoding: FrameEncoding, chroma_size: tuple[int, ...], size: tuple[int, int]
    ) -> FrameKernels:
        """The kernels and buffers for frames like this one; made anew when they change."""
        geometry = (encoding, chroma_size, size)
        if self._kernels is not None and geometry == self._geometry:
            return self._kernels
        cb_table, cr_table = chroma_tables(encoding.encoding)
        rules = ChromaRules(
            encoding.encoding,
            cb_table,
            cr_table,
            levels=LUMA_SIZE,
            ab_step=AB_STEP,
            ab_origin=(AB_SIZE - 1) / 2,
            radius=RADIUS if self.upsample == "guided" else -1,
            epsilon=EPSILON,
            saturation=self.saturation,
        )
        area = size[0] * size[1]
        with self._device.current():
            self._cuda_stream.synchronize()
            self._release()
            self._kernels = FrameKernels(
                self._device,
                self._launch,
                rules,
                self._cuda_stream,
                chroma_size=(chroma_size[0], chroma_size[1]),
                network_size=size,
            )
            self._L = self._device.alloc(4 * area)
            self._ab = self._device.alloc(8 * area)
            self._L_host = self._device.pinned((area,), np.float32)
            self._ab_host = self._device.pinned((2 * area,), np.float32)
        self._geometry = geometry
        return self._kernels

    def _release(self) -> None:
        if self._kernels is not None:
            self._kernels.close()
        for memory in (self._L, self._ab):  # the GPU may have had no room for them
            if memory is not None:
                self._device.free(memory)
        self._kernels = self._geometry = self._L = self._ab = None
        self._L_host = self._ab_host = _NOTHING  # pinned memory goes with its context


def _layout(frame: av.VideoFrame) -> str:
    return (frame.sw_format or frame.format).name


def _surfaces(frame: av.VideoFrame, memory: list[dlpack.Tensor]) -> list[Surface]:
    """Y, Cb and Cr of a frame whose planes lie at these places."""
    name = _layout(frame)
    layout, pix_fmt = _LAYOUTS[name], av.VideoFormat(name, frame.width, frame.height)
    surfaces = []
    for number, component in enumerate(pix_fmt.components):
        tensor = memory[component.plane]
        second = number == 2  # Cb and Cr alternate
        surfaces.append(
            Surface(
                tensor.address + second * tensor.item_bytes,
                tensor.strides[0] * tensor.item_bytes,
                # PyAV 18.1 halves an odd side downwards; the last sample is there all the same.
                width=component.width,
                height=component.height,
                wide=tensor.item_bytes == 2,
                shift=layout.shift,
                step=tensor.strides[1],
            )
        )
    return surfaces
