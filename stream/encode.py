"""Which encoder makes the output, with which settings."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import av.error
from av.codec.context import Flags

from stream.errors import BadSink

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
}
ENCODERS = ("auto", "x264", "nvenc", "qsv", "amf")
# AVI keeps no presentation times, so a reader has to guess those of H.264.
_BY_SUFFIX = {".webm": "libvpx-vp9", ".gif": "gif", ".avi": "mpeg4"}
# x264's names for speed, to the numbers that SVT-AV1 and libvpx count in.
_PRESETS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow", "placebo"),
)


_SMALLEST_SLICED = 16  # pixels; a picture of one pixel has no room for four slices
_QP_TO_LAMBDA = 118  # FF_QP2LAMBDA

# SVT-AV1 prints a page on standard error unless told to speak of errors alone.
os.environ.setdefault("SVT_LOG", "1")


@dataclass(frozen=True)
class EncodeOptions:
    """What the user chose; None is the encoder's own default."""

    codec: str | None = None
    encoder: str = "auto"
    crf: float = 18.0
    preset: str = "veryfast"
    intra_refresh: bool = False  # live: a column of intra blocks that moves, for key frames


def choose_encoder(options: EncodeOptions, suffix: str) -> str:
    """Returns FFmpeg's encoder name for an output file's suffix.

    Raises BadSink when there is no such encoder, or the hardware for it is missing.
    """
    if options.encoder not in ENCODERS:
        raise BadSink(f"unknown encoder {options.encoder!r}: one of {', '.join(ENCODERS)}")
    codec = (options.codec or "").lower()
    if options.encoder in ("nvenc", "qsv", "amf"):
        name = hardware_encoder(options.codec, options.encoder)
    elif options.encoder == "x264":
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


def hardware_encoder(codec: str | None, kind: str) -> str:
    """FFmpeg's name for a codec's encoder in hardware: `hevc_nvenc` for h265."""
    name = (codec or "").lower()
    family = {"h265": "hevc", "": "h264"}.get(name, name)
    return f"{family}_{kind}"


def supported_pix_fmts(encoder: str) -> set[str]:
    """The pixel formats an encoder takes; empty means that it does not say."""
    return {pix_fmt.name for pix_fmt in av.Codec(encoder, "w").video_formats or []}


def encoder_settings(encoder: str, options: EncodeOptions) -> dict[str, str]:
    """Private options of the encoder, from crf and preset as x264 counts them.

    Raises BadSink for an unknown preset.
    """
    if options.preset not in _PRESETS:
        raise BadSink(f"unknown preset {options.preset!r}: one of {', '.join(_PRESETS)}")
    speed = _PRESETS.index(options.preset)
    crf = f"{options.crf:g}"
    match encoder:
        case "libx264":
            return {"crf": crf, "preset": options.preset}
        case "libx265":
            return {"crf": crf, "preset": options.preset, "x265-params": "log-level=error"}
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
        if encoder == "ffv1" and min(frame.width, frame.height) < _SMALLEST_SLICED:
            settings = {k: v for k, v in settings.items() if k != "slices"}
        stream = container.add_stream(encoder, rate=rate, options=settings)
    except (ValueError, av.error.FFmpegError) as error:
        raise BadSink(f"{encoder} does not fit into {container.format.name}: {error}") from error
    context = stream.codec_context
    context.width, context.height = frame.width, frame.height
    context.pix_fmt = frame.format.name
    # Frames keep their own pts; the rate above only guides rate control. AVI alone counts in
    # frames, and would fill a finer time base with empty ones.
    time_base = 1 / rate if container.format.name == "avi" else frame.time_base
    context.time_base = stream.time_base = time_base
    # The last frame of a film ends when the source's does, not after an average frame.
    context.flags |= Flags.frame_duration
    context.colorspace, context.color_range = frame.colorspace, frame.color_range
    context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
    context.thread_type = "AUTO"
    if encoder in ("mjpeg", "mpeg4"):
        context.flags |= Flags.qscale
        context.global_quality = 2 * _QP_TO_LAMBDA
    return stream
