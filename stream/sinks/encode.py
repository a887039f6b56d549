"""Chooses the encoder of an output, and its settings."""

from __future__ import annotations

import logging
import os
from fractions import Fraction
from typing import Any, get_args

import av
import av.error
from av.codec.context import Flags
from kinemacolor.stream.errors import BadSink
from kinemacolor.stream.options import EncodeOptions, Preset

log = logging.getLogger(__name__)

# Codec names as FFmpeg's users say them, to its software encoders.
SOFTWARE = {
    "h264": "libx264",
    "hevc": "libx265",
    "h265": "libx265",
    "av1": "libsvtav1",
    "vp9": "libvpx-vp9",
    "vp8": "libvpx",
    "prores": "prores_ks",
    "dnxhr": "dnxhd",
}
_DNXHR = {"yuv422p": "dnxhr_hq", "yuv422p10le": "dnxhr_hqx", "yuv444p10le": "dnxhr_444"}
# Containers that count in frames: a finer time base would be filled with empty ones, or refused.
CONSTANT = ("avi", "mxf")
# AVI keeps no presentation times, so a reader has to guess those of H.264.
_BY_SUFFIX = {".webm": "libvpx-vp9", ".avi": "mpeg4"}
# Encoders in hardware take chroma interleaved; their codes are the same.
_INTERLEAVED = {"yuv420p": "nv12", "yuv420p10le": "p010le"}
# x264's names for speed, to the numbers that SVT-AV1 and libvpx count in.
_PRESETS = get_args(Preset)
_SMALLEST_SLICED = 16  # pixels; a picture of one pixel has no room for four slices
_QP_TO_LAMBDA = 118  # FF_QP2LAMBDA

# SVT-AV1 prints a page on standard error unless told to speak of errors alone.
os.environ.setdefault("SVT_LOG", "1")


def choose_encoder(options: EncodeOptions, suffix: str) -> str:
    """Returns FFmpeg's encoder name for an output file's suffix.

    Raises BadSink when there is no such encoder, or the hardware for it is missing.
    """
    codec = (options.codec or "").lower()
    if suffix.lower() == ".gif":
        raise BadSink("a GIF has no room for luma beside colour: use .mp4, .mkv or .webm")
    if options.encoder in ("nvenc", "qsv", "amf"):
        name = hardware_encoder(options.codec, options.encoder)
        _check_hardware(name, codec, options.encoder)
    elif options.encoder == "x264":
        if codec not in ("", "h264", "avc", "libx264"):
            raise BadSink(f"--encoder x264 makes h264, not {codec}: leave one of them out")
        name = "libx264"
    elif codec:
        name = SOFTWARE.get(codec, codec)
    else:
        name = _BY_SUFFIX.get(suffix.lower(), "libx264")
    try:
        codec_info = av.Codec(name, "w")
    except Exception as error:  # PyAV raises a ValueError of its own module
        known = ", ".join(sorted([*SOFTWARE, "ffv1", "mjpeg", "rawvideo"]))
        raise BadSink(f"no encoder {name!r}: try one of {known}") from error
    if codec_info.type != "video":
        raise BadSink(f"{name} is no video encoder")
    return name


def _check_hardware(name: str, codec: str, kind: str) -> None:
    """Raises BadSink where a kind of hardware has no encoder for a codec."""
    if name in av.codecs_available:
        return
    end = f"_{kind}"
    known = sorted(n.removesuffix(end) for n in av.codecs_available if n.endswith(end))
    if not known:
        raise BadSink(f"this build of FFmpeg has no {kind}: use --encoder auto")
    raise BadSink(f"{kind} has no {codec}: --codec {', '.join(known)}, or --encoder auto")


def hardware_encoder(codec: str | None, kind: str) -> str:
    """Returns FFmpeg's name for a codec's encoder in hardware: `hevc_nvenc` for h265."""
    name = (codec or "").lower()
    family = {"h265": "hevc", "": "h264"}.get(name, name)
    return f"{family}_{kind}"


def supported_pix_fmts(encoder: str) -> set[str]:
    """Returns the pixel formats in which frames may come; none where the encoder does not say."""
    names = {pix_fmt.name for pix_fmt in av.Codec(encoder, "w").video_formats or []}
    return names | {planar for planar, other in _INTERLEAVED.items() if other in names}


def encoder_pix_fmt(encoder: str, pix_fmt: str) -> str:
    """Returns the format in which an encoder takes frames of this one; PyAV rearranges them."""
    names = {pix_fmt.name for pix_fmt in av.Codec(encoder, "w").video_formats or []}
    other = _INTERLEAVED.get(pix_fmt)
    return other if other in names and pix_fmt not in names else pix_fmt


def encoder_settings(encoder: str, options: EncodeOptions) -> dict[str, str]:
    """Returns the encoder's private options for crf and preset as x264 counts them."""
    speed = _PRESETS.index(options.preset)
    crf = f"{options.crf:g}"
    match encoder:
        case "libx264":
            return {"crf": crf, "preset": options.preset}
        case "libx265":
            quiet = {"x265-params": "log-level=error", "a53cc": "1"}  # captions, as x264 has them
            return {"crf": crf, "preset": options.preset, **quiet}
        case "libsvtav1":
            return {"crf": str(round(options.crf * 63 / 51)), "preset": str(max(1, 12 - speed))}
        case "libvpx-vp9" | "libvpx":
            used = str(max(0, 8 - speed))
            return {"crf": crf, "b:v": "0", "deadline": "good", "cpu-used": used, "row-mt": "1"}
        case "mjpeg":
            return {"strict": "unofficial"}  # limited range, which JPEG itself does not know
        case "ffv1":
            return {"level": "3", "slices": "4", "slicecrc": "1"}
        case _ if encoder.endswith("_nvenc"):
            return {"rc": "vbr", "cq": crf, "preset": f"p{min(7, 1 + speed)}"}
        case _ if encoder.endswith("_qsv"):
            return {"global_quality": crf}
        case _:
            return {}


def with_params(settings: dict[str, str], more: dict[str, str]) -> dict[str, str]:
    """Adds options; those that are lists of an encoder's own parameters become longer."""
    joined = {k: f"{settings[k]}:{v}" if k in settings else v for k, v in more.items()}
    return {**settings, **joined}


def add_video_stream(
    container: Any, encoder: str, frame: av.VideoFrame, rate: Fraction, settings: dict[str, str]
) -> Any:
    """Adds the video stream for frames like this one; times and colour tags are the frame's.

    Raises BadSink when the container does not take the codec.
    """
    try:
        if container.format.name == "avi" and encoder in ("libx264", "libx265"):
            settings = {**settings, "bf": "0"}  # AVI keeps no times: reordered frames come late
        if encoder == "libx265" and (frame.width % 2 or frame.height % 2):
            # x265 writes past its buffers for some of them (33x100, 37x53 in 4:4:4).
            raise BadSink(
                f"libx265 takes no picture of odd size ({frame.width}x{frame.height}): "
                "use --codec h264 or ffv1"
            )
        if encoder == "dnxhd":  # its older kind knows a few sizes only
            settings = {**settings, "profile": _DNXHR.get(frame.format.name, "dnxhr_hq")}
        if encoder == "libvpx-vp9" and frame.format.name.startswith("yuva"):
            settings = {**settings, "auto-alt-ref": "0"}  # which alpha does not go with
        if encoder == "ffv1" and min(frame.width, frame.height) < _SMALLEST_SLICED:
            settings = {k: v for k, v in settings.items() if k != "slices"}
        stream = container.add_stream(encoder, rate=rate, options=settings)
    except (ValueError, av.error.FFmpegError) as error:
        raise BadSink(f"{encoder} does not fit into {container.format.name}: {error}") from error
    context = stream.codec_context
    tag(context, frame)
    context.pix_fmt = encoder_pix_fmt(encoder, frame.format.name)
    # Frames keep their own pts; the rate above only guides rate control. AVI, MXF and MPEG-1 and
    # -2 alone count in frames.
    rates = av.Codec(encoder, "w").frame_rates
    time_base = 1 / rate if rates or container.format.name in CONSTANT else frame.time_base
    if rates:
        if rate not in rates:
            raise BadSink(f"{encoder} knows no {float(rate):g} frames a second: use --codec h264")
        log.warning("%s lays frames at one constant rate; h264 keeps the time of each", encoder)
    context.time_base = stream.time_base = time_base
    # The last frame of a film ends when the source's does, not after an average frame.
    context.flags |= Flags.frame_duration
    context.thread_type = "AUTO"
    if encoder in ("mjpeg", "mpeg4"):
        context.flags |= Flags.qscale
        context.global_quality = 2 * _QP_TO_LAMBDA
    return stream


def tag(context: Any, frame: av.VideoFrame) -> None:
    """Sets an encoder to a frame's size and color."""
    context.width, context.height = frame.width, frame.height
    context.colorspace, context.color_range = frame.colorspace, frame.color_range
    context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
