"""`--hwaccel cuda`: frames are decoded, painted and encoded without leaving the GPU.

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
from collections.abc import Collection
from dataclasses import dataclass

import av
import numpy as np
from kinemacolor.engine.cuda import dlpack
from kinemacolor.engine.cuda.device import Device, PyCudaDevice
from kinemacolor.engine.cuda.driver import find_gpu
from kinemacolor.engine.cuda.kernels import Launch, Surface, compile_kernels
from kinemacolor.engine.spec import ModelSpec
from kinemacolor.stream.color.cuda_buffers import Buffers, Geometry
from kinemacolor.stream.color.frames import FrameEncoding, copy_tags, frame_encoding
from kinemacolor.stream.color.painter import Canvas, Painter, Style, quarter_turns, size_as_it_lies
from kinemacolor.stream.errors import BadSink, BadSource
from kinemacolor.stream.sources.nvdec import is_cropped
from numpy.typing import NDArray

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Layout:
    """How NVDEC lays a picture out, and what a copy of it is called on the processor."""

    shift: int  # codes lie in the upper bits
    copies: tuple[str, ...]  # the same codes, the format that costs least first


LAYOUTS = {"nv12": Layout(0, ("nv12", "yuv420p")), "p010le": Layout(6, ("yuv420p10le",))}


@dataclass(frozen=True, eq=False)
class CudaCanvas(Canvas):
    """A frame on the GPU that was looked at."""

    luma: Surface
    chroma: tuple[Surface, Surface]  # Cb and Cr
    geometry: Geometry
    memory: list[dlpack.Tensor]  # the surfaces' own is held until the frame is painted


class CudaPainter(Painter[CudaCanvas]):
    """Paints frames on the GPU: kernels take L from them and write their chroma.

    Args:
        pix_fmts: what the sink takes. With `cuda` among them (NVENC), or anything at all
            (`null:`), frames stay on the GPU; else each is copied to the host once.
        index: of the GPU.
        device, launch: None opens the GPU and compiles the kernels for it.

    Raises BackendUnavailable: no GPU, no PyCUDA, or no nvcc to compile the kernels with.
    """

    def __init__(
        self,
        pix_fmts: Collection[str] = frozenset(),
        *,
        index: int = 0,
        device: Device | None = None,
        launch: Launch | None = None,
    ) -> None:
        if device is None or launch is None:
            gpu = find_gpu(index)
            cubin = compile_kernels(gpu.compute_capability)
            device = PyCudaDevice(index)
            with device.current():
                launch = device.kernels(cubin)
        self._pix_fmts = frozenset(pix_fmts)
        self._device, self._launch = device, launch
        with device.current():
            # FFmpeg works in the default stream, and a blocking one waits for it.
            self._cuda_stream = device.cuda_stream(blocking=True)
        self._buffers: Buffers | None = None

    def look(self, frame: av.VideoFrame, spec: ModelSpec) -> CudaCanvas:
        encoding = encoding_of(frame)
        if encoding != self.encoding:
            log.info("read as %s", encoding)
        self.encoding = encoding
        memory = [dlpack.read(plane) for plane in frame.planes]
        luma, cb, cr = surfaces(frame, memory)
        geometry = Geometry(encoding, (cb.height, cb.width), size_as_it_lies(frame, spec))
        turns = quarter_turns(frame)
        with self._device.current():
            L = np.rot90(self._buffers_for(geometry).extract_L(luma), turns).copy()
        return CudaCanvas(frame, encoding, L, turns, luma, (cb, cr), geometry, memory)

    def paint(self, canvas: CudaCanvas, ab: NDArray[np.float32], style: Style) -> av.VideoFrame:
        """Writes the chroma into the frame's own surface; the luma is not touched.

        Raises BadSink: side by side, or a format that the sink does not take.
        """
        if style.compare:
            raise BadSink("--compare does not work with --hwaccel cuda: leave one of them out")
        with self._device.current():
            buffers = self._buffers_for(canvas.geometry)
            buffers.write_chroma(canvas.luma, canvas.as_it_lies(ab), canvas.chroma, style)
        canvas.memory.clear()
        return self._deliver(canvas.frame)

    def close(self) -> None:
        """Frees what is on the GPU."""
        with self._device.current():
            self._cuda_stream.synchronize()
            self._release()
            self._cuda_stream = None
        self._device.close()

    def _buffers_for(self, geometry: Geometry) -> Buffers:
        """The buffers for frames like this one; made anew when they change."""
        if self._buffers is None or self._buffers.geometry != geometry:
            self._cuda_stream.synchronize()
            self._release()
            self._buffers = Buffers(self._device, self._launch, self._cuda_stream, geometry)
        return self._buffers

    def _release(self) -> None:
        if self._buffers is not None:
            self._buffers.close()
            self._buffers = None  # pinned memory goes with its context

    def _deliver(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The frame as the sink takes it: as it is, or downloaded once."""
        if not self._pix_fmts or frame.format.name in self._pix_fmts:
            return frame
        if is_cropped(layout_name(frame), frame.width, frame.height):
            raise BadSink(
                f"the encoder takes no {frame.width}x{frame.height} with half-size chroma: "
                "leave --hwaccel out"
            )
        wanted = LAYOUTS[layout_name(frame)].copies
        pix_fmt = next((name for name in wanted if name in self._pix_fmts), None)
        if pix_fmt is None:
            raise BadSink(
                f"the encoder takes no {wanted[0]}, which is what comes from the GPU: "
                "take another encoder, or leave --hwaccel out"
            )
        copied = frame.reformat(format=pix_fmt)
        copy_tags(frame, copied)
        return copied


def layout_name(frame: av.VideoFrame) -> str:
    """The format of a frame's samples, wherever they lie."""
    return (frame.sw_format or frame.format).name


def encoding_of(frame: av.VideoFrame) -> FrameEncoding:
    """Reads the tags of a frame on the GPU. Raises BadSource for a layout that no kernel takes."""
    layout = layout_name(frame)
    if layout not in LAYOUTS:
        raise BadSource(
            f"--hwaccel cuda takes {', '.join(LAYOUTS)}, and NVDEC gives {layout}: "
            "leave --hwaccel out"
        )
    tagged = av.VideoFrame(16, frame.height, layout)  # `cuda` has no components to read
    tagged.colorspace, tagged.color_range = frame.colorspace, frame.color_range
    return frame_encoding(tagged)


def surfaces(frame: av.VideoFrame, memory: list[dlpack.Tensor]) -> list[Surface]:
    """Y, Cb and Cr of a frame whose planes lie at these places."""
    name = layout_name(frame)
    pix_fmt = av.VideoFormat(name, frame.width, frame.height)
    found = []
    for number, component in enumerate(pix_fmt.components):
        tensor = memory[component.plane]
        second = number == 2  # Cb and Cr alternate
        found.append(
            Surface(
                tensor.address + second * tensor.item_bytes,
                tensor.strides[0] * tensor.item_bytes,
                # PyAV 18.1 halves an odd side downwards; the last sample is there all the same.
                width=component.width,
                height=component.height,
                wide=tensor.item_bytes == 2,
                shift=LAYOUTS[name].shift,
                step=tensor.strides[1],
            )
        )
    return found
