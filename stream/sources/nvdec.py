"""Opens films that NVDEC decodes onto the GPU, and says whether NVENC can encode the result.

No GPU has run this yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.codec.hwaccel import HWAccel
from kinemacolor.engine.cuda import dlpack
from kinemacolor.engine.cuda.driver import NoGpu, find_gpu, missing_library, use_blocking_sync
from kinemacolor.engine.errors import EngineError
from kinemacolor.stream.address import file_url
from kinemacolor.stream.errors import BadSource, SourceNotFound
from kinemacolor.stream.sinks.encode import hardware_encoder
from kinemacolor.stream.sources.film import ContainerSource, films_in

# What a film says it is, and what NVDEC makes of it. PyAV 18.1 lets nobody reach the surfaces of
# other layouts (VideoPlane.__dlpack__ knows nv12, p010le and p016le).
DECODED = {"yuv420p": "nv12", "yuvj420p": "nv12", "yuv420p10le": "p010le"}
_ERRORS = (av.error.FFmpegError, NotImplementedError, RuntimeError, EngineError)


@dataclass(frozen=True)
class _Film:
    """What a container says of the film in it."""

    pix_fmt: str | None
    width: int
    height: int


def why_not(path: str | Path, *, device: int = 0) -> str | None:
    """Says why a film's frames cannot stay on the GPU, or None; decodes a frame to find out.

    Raises BadSource when there is no GPU at all, SourceNotFound when there is no film.
    """
    if Path(path).exists() and not Path(path).is_file():
        return "it is no film file"  # a named pipe, which can be read once
    name = _existing(path)
    try:
        film = _look_into(name)
    except av.error.FFmpegError:
        return None  # whoever opens it next says what is wrong with it
    if film is None:
        return "there is no film in it that can be decoded"
    if film.pix_fmt not in DECODED:
        return f"frames of {film.pix_fmt} cannot be reached on the GPU"
    if is_cropped(DECODED[film.pix_fmt], film.width, film.height):
        return f"{film.width}x{film.height} needs chroma of full size"
    try:
        find_gpu(device)
    except NoGpu as error:
        raise BadSource(f"--hwaccel cuda: {error}") from error
    missing = missing_library("NVDEC")
    if missing is not None:
        return missing
    try:
        with _open(name, device) as container:
            video = films_in(container)[0]
            if not video.codec_context.is_hwaccel:
                return f"NVDEC does not decode {video.codec_context.name}"
            frame = next(container.decode(video), None)
            for plane in () if frame is None else frame.planes:
                dlpack.read(plane)
    except _ERRORS as error:
        return _reason(error, device, "NVDEC")
    return None


def open_cuda_source(
    path: str | Path,
    *,
    device: int = 0,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    copy_times: bool = False,
) -> ContainerSource:
    """Opens a film whose frames NVDEC decodes and keeps on the GPU.

    Raises:
        SourceNotFound: no such file.
        BadSource: no NVIDIA driver, or NVDEC does not decode this codec.
    """
    name = _existing(path)
    try:
        film = _look_into(name)
        container = _open(name, device)
    except _ERRORS as error:
        reason = _reason(error, device, "NVDEC")
        raise BadSource(f"--hwaccel cuda cannot open {name}: {reason}") from error
    context = next((film.codec_context for film in films_in(container)), None)
    if context is not None and not context.is_hwaccel:  # PyAV would decode it in software
        container.close()
        raise BadSource(f"NVDEC does not decode {context.name}: leave --hwaccel out")
    return ContainerSource(
        name,
        container,
        pix_fmt=None if film is None else film.pix_fmt,
        start_seconds=start_seconds,
        duration_seconds=duration_seconds,
        from_zero=start_seconds > 0 and not copy_times,
    )


def nvenc_problem(
    codec: str | None = None, device: int = 0, pix_fmt: str = "yuv420p"
) -> str | None:
    """Says why NVENC cannot be used, or None. Data-centre GPUs decode, but have no encoder.

    Args:
        codec: as users name it; None is the default, H.264.
        pix_fmt: of the film; not every GPU encodes 10 bit in every codec.
    """
    try:
        nvenc_context(codec, device, pix_fmt).open()
    except (av.error.FFmpegError, ValueError) as error:
        return _reason(error, device, "NVENC")
    return None


def nvenc_context(codec: str | None, device: int, pix_fmt: str) -> Any:
    """Makes an encoder for such frames; it is not open yet. Raises ValueError: there is none."""
    context: Any = av.CodecContext.create(hardware_encoder(codec, "nvenc"), "w")
    context.width, context.height = 256, 256
    context.pix_fmt = DECODED.get(pix_fmt, "nv12")
    context.time_base = Fraction(1, 25)
    context.options = {"gpu": str(device)}
    return context


def is_cropped(layout: str, width: int, height: int) -> bool:
    """Whether an encoder that takes whole chroma samples only would lose a row or a column."""
    pix_fmt = av.VideoFormat(layout)
    return bool(width % (4 // pix_fmt.chroma_width(4)) or height % (4 // pix_fmt.chroma_height(4)))


def _existing(path: str | Path) -> str:
    if not Path(path).is_file():
        raise SourceNotFound(f"no such file: {Path(path).name}")  # of a URL, no password
    return str(path)


def _look_into(name: str) -> _Film | None:
    """Finds the film that `ContainerSource` would take; None where it cannot be decoded."""
    with av.open(file_url(name), metadata_errors="replace") as container:
        films = films_in(container)
        context = films[0].codec_context if films else None
        if context is None:
            return None
        return _Film(context.pix_fmt, context.width, context.height)


def _open(name: str, device: int) -> Any:
    use_blocking_sync(device)  # TensorRT may have made the context by now
    accel = HWAccel(
        "cuda",
        device=str(device),
        is_hw_owned=True,
        allow_software_fallback=False,
        options={"primary_ctx": "1"},  # the context that TensorRT and PyCUDA use as well
    )
    container = av.open(file_url(name), hwaccel=accel, metadata_errors="replace")
    for stream in container.streams.video:
        if stream.codec_context is not None and stream.codec_context.is_hwaccel:
            on_one_thread(stream.codec_context)
    return container


def on_one_thread(context: Any) -> None:
    """Keeps NVDEC on one thread: more are no faster, and each would hold surfaces of its own."""
    context.thread_type, context.thread_count = "SLICE", 1


def _reason(error: Exception, device: int, unit: str) -> str:
    """Says why; FFmpeg says "Operation not permitted" for every way in which there is no GPU."""
    try:
        gpu = find_gpu(device)
    except NoGpu as missing:
        return str(missing)
    library = missing_library(unit)
    if library is not None:
        return library
    if isinstance(error, PermissionError | NotImplementedError):
        return f"{gpu.name} has no hardware for this codec"
    return str(error)
