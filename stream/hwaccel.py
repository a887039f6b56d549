"""`--hwaccel cuda`: frames are decoded, coloured and encoded without leaving the GPU.

NVDEC's surfaces are reached by DLPack: 4:2:0, 4:2:2 and 4:4:4 of any size, as far as the GPU
decodes them. The luma stays where it is; only L at the network's size comes to the host, for
temporal smoothing, and ab goes back. The chroma is written into the surface itself: unless told
otherwise (AV_HWACCEL_FLAG_UNSAFE_OUTPUT), FFmpeg hands out a copy of the decoder's reference, so
later pictures do not suffer and any number may be held.

No GPU has run this yet; all but decoder and encoder is tested on frames of these layouts in host
memory, with the kernels built for the processor.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.codec.hwaccel import HWAccel

from engine import dlpack
from engine.cuda import Device, PyCudaDevice
from engine.driver import NoGpu, find_gpu, use_blocking_sync
from engine.kernels import ChromaRules, FrameKernels, Launch, Surface, compile_kernels
from stream.chroma import AB_SIZE, AB_STEP, EPSILON, LUMA_SIZE, RADIUS, chroma_tables
from stream.colorizer import Colorizer, Work, network_size
from stream.errors import BadSink, BadSource, SourceNotFound
from stream.frames import FrameEncoding, frame_encoding
from stream.sources import ContainerSource

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Layout:
    """How NVDEC lays a picture out, and what a copy of it is called on the processor."""

    shift: int = 0  # codes lie in the upper bits
    planar: bool = False  # Cb and Cr each have a plane; else they alternate in one
    copies: tuple[str, ...] = ()  # the same codes, the format that costs least first


_LAYOUTS = {
    "nv12": _Layout(copies=("nv12", "yuv420p")),
    "p010le": _Layout(shift=6, copies=("yuv420p10le",)),
    "nv16": _Layout(copies=("yuv422p",)),
    "p210le": _Layout(shift=6, copies=("yuv422p10le",)),
    "yuv444p": _Layout(planar=True, copies=("yuv444p",)),
    "yuv444p10msble": _Layout(shift=6, planar=True, copies=("yuv444p10le",)),
}
# What a film says it is, and what NVDEC makes of it; not every GPU decodes each of them.
_DECODED = {
    **dict.fromkeys(("yuv420p", "yuvj420p"), "nv12"),
    "yuv420p10le": "p010le",
    **dict.fromkeys(("yuv422p", "yuvj422p"), "nv16"),
    "yuv422p10le": "p210le",
    **dict.fromkeys(("yuv444p", "yuvj444p"), "yuv444p"),
    "yuv444p10le": "yuv444p10msble",
}


def why_not(path: str | Path, *, device: int = 0) -> str | None:
    """Why a film's frames cannot stay on the GPU, or None: one frame is decoded to find out.

    Raises BadSource when there is no GPU at all, SourceNotFound when there is no film.
    """
    name = _existing(path)
    try:
        with av.open(name, metadata_errors="replace") as plain:
            contexts = [stream.codec_context for stream in plain.streams.video]
            films = [(c.pix_fmt, c.width, c.height) for c in contexts]
    except av.error.FFmpegError:
        return None  # whoever opens it next says what is wrong with it
    for pix_fmt, width, height in films:
        if pix_fmt not in _DECODED:
            return f"the GPU decodes no {pix_fmt}"
        if _cropped(_DECODED[pix_fmt], width, height):
            return f"{width}x{height} needs chroma of full size"
    try:
        find_gpu(device)
    except NoGpu as error:
        raise BadSource(f"--hwaccel cuda: {error}") from error
    try:
        with _open(name, device) as container:
            codec = container.streams.video[0].codec_context
            next(container.decode(video=0), None)
            # PyAV decodes in software where NVDEC knows nothing of the codec.
            return None if codec.is_hwaccel else f"NVDEC does not decode {codec.name}"
    except (av.error.FFmpegError, NotImplementedError, RuntimeError) as error:
        return _reason(error, device)


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
    name = _existing(path)
    try:
        container = _open(name, device)
    except (av.error.FFmpegError, NotImplementedError, NoGpu) as error:
        raise BadSource(f"--hwaccel cuda cannot open {name}: {_reason(error, device)}") from error
    for stream in container.streams.video:
        if not stream.codec_context.is_hwaccel:  # PyAV would decode it in software
            codec = stream.codec_context.name
            container.close()
            raise BadSource(f"NVDEC does not decode {codec}: leave --hwaccel out")
    return ContainerSource(
        name, container, start_seconds=start_seconds, duration_seconds=duration_seconds
    )


def _existing(path: str | Path) -> str:
    if not Path(path).exists():
        raise SourceNotFound(f"no such file: {path}")
    return str(path)


def _open(name: str, device: int) -> Any:
    use_blocking_sync(device)  # TensorRT may have made the context by now
    accel = HWAccel(
        "cuda",
        device=str(device),
        is_hw_owned=True,
        allow_software_fallback=False,
        options={"primary_ctx": "1"},  # the context that TensorRT and PyCUDA use as well
    )
    return av.open(name, hwaccel=accel, metadata_errors="replace")


def nvenc_problem(codec: str = "h264", device: int = 0, pix_fmt: str = "yuv420p") -> str | None:
    """Why NVENC cannot be used, or None. Data-centre GPUs decode, but have no encoder.

    Args:
        pix_fmt: of the film; 4:2:2 and 4:4:4 are not for every GPU.
    """
    try:
        context: Any = av.CodecContext.create(f"{codec}_nvenc", "w")
        context.width, context.height = 256, 256
        context.pix_fmt = _DECODED.get(pix_fmt, "yuv420p")
        context.time_base = Fraction(1, 25)
        context.open()
    except (av.error.FFmpegError, ValueError) as error:
        return _reason(error, device)
    return None


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
            device = PyCudaDevice(self.index)
            with device.current():
                launch = device.kernels(compile_kernels(gpu.compute_capability))
        self._device, self._launch = device, launch
        with device.current():
            # FFmpeg works in the default stream, and a blocking one waits for it.
            self._cuda_stream = device.cuda_stream(blocking=True)
        self._kernels: FrameKernels | None = None
        self._geometry: object = None
        self._L: Any = None  # device and pinned memory for one picture, in and out
        self._ab: Any = None
        self._L_host = self._ab_host = np.empty(0, np.float32)

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
        if _cropped(_layout(frame), frame.width, frame.height):
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


def _cropped(layout: str, width: int, height: int) -> bool:
    """Whether an encoder that takes whole chroma samples only would lose a row or a column."""
    pix_fmt = av.VideoFormat(layout)
    return bool(width % (4 // pix_fmt.chroma_width(4)) or height % (4 // pix_fmt.chroma_height(4)))


def _layout(frame: av.VideoFrame) -> str:
    return (frame.sw_format or frame.format).name


def _surfaces(frame: av.VideoFrame, memory: list[dlpack.Tensor]) -> list[Surface]:
    """Y, Cb and Cr of a frame whose planes lie at these places."""
    name = _layout(frame)
    layout, pix_fmt = _LAYOUTS[name], av.VideoFormat(name, frame.width, frame.height)
    surfaces = []
    for number, component in enumerate(pix_fmt.components):
        tensor = memory[component.plane]
        second = number == 2 and not layout.planar
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


def _reason(error: Exception, device: int) -> str:
    """FFmpeg says "Operation not permitted" for every way in which there is no GPU."""
    if not isinstance(error, PermissionError | NotImplementedError):
        return str(error)
    try:
        gpu = find_gpu(device)
    except NoGpu as missing:
        return str(missing)
    return f"{gpu.name} has no hardware for this codec"
