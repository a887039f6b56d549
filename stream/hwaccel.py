"""`--hwaccel cuda`: frames are decoded, coloured and encoded without leaving the GPU.

NVDEC's surfaces are reached by DLPack. The luma stays where it is; only L at the network's size
comes to the host, for temporal smoothing, and ab goes back. The chroma is written into the
surface itself: unless told otherwise (AV_HWACCEL_FLAG_UNSAFE_OUTPUT), FFmpeg hands out a copy of
the decoder's reference, so later pictures do not suffer and any number may be held.

No GPU has run this yet; all but decoder and encoder is tested on NV12 and P010 frames in host
memory, with the kernels built for the processor.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.codec.hwaccel import HWAccel

from engine import dlpack
from engine.backend import Backend
from engine.cuda import Device, PyCudaDevice
from engine.driver import NoGpu, find_gpu
from engine.kernels import ChromaRules, FrameKernels, Launch, Surface, compile_kernels
from stream.chroma import AB_SIZE, AB_STEP, EPSILON, LUMA_SIZE, RADIUS, Upsample, chroma_tables
from stream.colorizer import Colorizer, Work, network_size
from stream.errors import BadSink, BadSource, SourceNotFound
from stream.frames import FrameEncoding, frame_encoding, new_frame
from stream.sources import ContainerSource
from stream.steady import Steady

log = logging.getLogger(__name__)

_LAYOUTS = {"nv12": 0, "p010le": 6}  # and how far their codes are shifted up


def open_cuda_source(
    path: str | Path,
    *,
    device: int = 0,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
) -> ContainerSource:
    """Opens a film whose frames NVDEC decodes and keeps on the GPU.

    Raises:
        SourceNotFound: no such file.
        BadSource: no NVIDIA driver, or NVDEC does not decode this codec.
    """
    name = str(path)
    if not Path(name).exists():
        raise SourceNotFound(f"no such file: {name}")
    accel = HWAccel(
        "cuda",
        device=str(device),
        is_hw_owned=True,
        allow_software_fallback=False,
        options={"primary_ctx": "1"},  # the context that TensorRT and PyCUDA use as well
    )
    try:
        container = av.open(name, hwaccel=accel, metadata_errors="replace")
    except (av.error.FFmpegError, NotImplementedError) as error:
        raise BadSource(f"--hwaccel cuda cannot open {name}: {_reason(error, device)}") from error
    for stream in container.streams.video:
        if not stream.codec_context.is_hwaccel:  # PyAV would decode it in software
            codec = stream.codec_context.name
            container.close()
            raise BadSource(f"NVDEC does not decode {codec}: leave --hwaccel out")
    return ContainerSource(
        name, container, start_seconds=start_seconds, duration_seconds=duration_seconds
    )


def nvenc_problem(codec: str = "h264", device: int = 0) -> str | None:
    """Why NVENC cannot be used, or None. Data-centre GPUs decode, but have no encoder."""
    try:
        context: Any = av.CodecContext.create(f"{codec}_nvenc", "w")
        context.width, context.height, context.pix_fmt = 256, 256, "yuv420p"
        context.time_base = Fraction(1, 25)
        context.open()
    except (av.error.FFmpegError, ValueError) as error:
        return _reason(error, device)
    return None


@dataclass
class DeviceWork(Work):
    """One frame on the GPU on its way through the colorizer."""

    luma: dlpack.Tensor | None = None  # hold the surface's memory
    chroma: dlpack.Tensor | None = None


class CudaColorizer(Colorizer):
    """`Colorizer` for frames on the GPU: kernels take L from them and write their chroma.

    Args:
        device, launch: None opens GPU `index` and compiles the kernels for it.
        pix_fmts: what the sink takes. With `cuda` among them (NVENC), or anything at all
            (`null:`), frames stay on the GPU; else each is copied to the host once.

    Raises BackendUnavailable: no GPU, no PyCUDA, or no nvcc to compile the kernels with.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        steady: Steady | None = None,
        saturation: float = 1.0,
        upsample: Upsample = "guided",
        compare: bool = False,
        pix_fmts: Iterable[str] = (),
        overlap: int = 3,
        index: int = 0,
        device: Device | None = None,
        launch: Launch | None = None,
    ) -> None:
        if compare:
            raise BadSink("--compare does not work with --hwaccel cuda: leave one of them out")
        super().__init__(
            backend,
            steady=steady,
            saturation=saturation,
            upsample=upsample,
            pix_fmts=pix_fmts,
            overlap=overlap,
        )
        if device is None or launch is None:
            gpu = find_gpu(index)
            device = PyCudaDevice(index)
            with device.current():
                launch = device.kernels(compile_kernels(gpu.compute_capability))
        self._device, self._launch = device, launch
        with device.current():
            # FFmpeg works in the default stream, and a plain cuda_stream waits for it.
            self._cuda_stream = device.cuda_stream()
        self._kernels: FrameKernels | None = None
        self._geometry: object = None
        self._L: Any = None  # device and pinned memory for one picture, in and out
        self._ab: Any = None
        self._L_host = self._ab_host = np.empty(0, np.float32)

    def begin(self, frame: av.VideoFrame) -> DeviceWork:
        """Takes L from a frame on the GPU and hands it to the network."""
        encoding = self._encoding(frame)
        luma, chroma = (dlpack.read(plane) for plane in frame.planes)
        height, width, turns = self._network_size(frame)
        kernels = self._kernels_for(encoding, chroma.shape[:2], (height, width))
        with self._device.current():
            kernels.extract_L(_surface(luma, encoding), int(self._L))
            self._device.download(self._L_host, self._L, self._cuda_stream)
            self._cuda_stream.synchronize()
        L = np.rot90(self._L_host.reshape(height, width), turns).copy()
        pending = self.backend.submit(L[None, None]) if self.steady.wants(L) else None
        return DeviceWork(frame, encoding, L[:0], L, turns, pending, None, luma, chroma)

    def finish(self, work: Work) -> av.VideoFrame:
        """Writes the chroma into the frame's own surface; the luma is not touched."""
        assert isinstance(work, DeviceWork)
        assert work.ab is not None
        assert work.luma is not None
        assert work.chroma is not None
        ab = np.rot90(work.ab, -work.turns, axes=(1, 2)) if work.turns else work.ab
        height, width, _ = self._network_size(work.frame)
        kernels = self._kernels_for(work.encoding, work.chroma.shape[:2], (height, width))
        cb, cr = (_surface(work.chroma, work.encoding, component=i) for i in (0, 1))
        with self._device.current():
            self._ab_host[: ab.size] = ab.ravel()
            self._device.upload(self._ab, self._ab_host[: ab.size], self._cuda_stream)
            luma = _surface(work.luma, work.encoding)
            kernels.write_chroma(luma, int(self._ab), ab.shape[1:], cb, cr)
            self._cuda_stream.synchronize()  # encoder and download come from other streams
        work.luma = work.chroma = None
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
        wide = _layout(frame) == "p010le"
        wanted = ("yuv420p10le",) if wide else ("nv12", "yuv420p")
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
        if layout not in _LAYOUTS or frame.width % 2 or frame.height % 2:
            raise BadSource(
                f"--hwaccel cuda takes 4:2:0 of even size in 8 or 10 bit, not {layout} at "
                f"{frame.width}x{frame.height}: leave --hwaccel out"
            )
        encoding = frame_encoding(new_frame(frame, layout, 16))  # its tags, on a readable format
        if encoding != self.encoding:
            log.info("read as %s", encoding)
        self.encoding = encoding
        return encoding

    def _network_size(self, frame: av.VideoFrame) -> tuple[int, int, int]:
        """(H, W) of L as the frame lies, and the quarter turns that set it upright."""
        turns = round(frame.rotation / 90) % 4
        height, width = network_size(self.backend.spec, frame.width, frame.height, turns)
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
            self._L, self._ab = self._device.alloc(4 * area), self._device.alloc(8 * area)
            self._L_host = self._device.pinned((area,), np.float32)
            self._ab_host = self._device.pinned((2 * area,), np.float32)
        self._geometry = geometry
        return self._kernels

    def _release(self) -> None:
        if self._kernels is not None:
            self._kernels.close()
            self._device.free(self._L)
            self._device.free(self._ab)
        self._kernels = self._geometry = self._L = self._ab = None


def _layout(frame: av.VideoFrame) -> str:
    return (frame.sw_format or frame.format).name


def _surface(tensor: dlpack.Tensor, encoding: FrameEncoding, *, component: int = 0) -> Surface:
    """The luma plane (H, W), or one component of the chroma plane (H/2, W/2, 2)."""
    wide = tensor.item_bytes == 2
    return Surface(
        tensor.address + component * tensor.item_bytes,
        tensor.strides[0] * tensor.item_bytes,
        width=tensor.shape[1],
        height=tensor.shape[0],
        wide=wide,
        shift=16 - encoding.encoding.bit_depth if wide else 0,
        step=tensor.strides[1],
    )


def _reason(error: Exception, device: int) -> str:
    """FFmpeg says "Operation not permitted" for every way in which there is no GPU."""
    if not isinstance(error, PermissionError | NotImplementedError):
        return str(error)
    try:
        gpu = find_gpu(device)
    except NoGpu as missing:
        return str(missing)
    return f"{gpu.name} has no hardware for this codec"
