"""What stands beside a picture (field order, HDR, captions, alpha, range), and who can write it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
from av.codec.context import Flags
from av.sidedata.sidedata import Type
from kinemacolor.stream.color.carrier import notes_of
from kinemacolor.stream.media import FieldOrder

# Encoders that mark each picture's fields in their stream, and the flags that tell them to.
_FIELDS = {
    "libx264": (Flags.interlaced_dct,),
    "prores_ks": (Flags.interlaced_dct,),
    "mpeg2video": (Flags.interlaced_dct, Flags.interlaced_me),
    "mpeg4": (Flags.interlaced_dct, Flags.interlaced_me),
    "ffv1": (),
}
_FIELD_CONTAINERS = frozenset(("matroska", "webm", "mov", "mp4", "mxf"))
_LINES = {"libx264": 4}  # of which an interlaced picture's height is a multiple
_CODES: dict[str, int] = {"tff": 4, "bff": 5}  # AV_FIELD_TB and _BT, as FFmpeg writes frames
_CAPTIONED = ("libx264", "libx265", "mpeg2video", "h264_nvenc", "hevc_nvenc")
# Encoders whose planes of alpha FFmpeg writes and reads; libvpx's only in Matroska.
_ALPHA = {"prores_ks": None, "ffv1": None, "utvideo": None, "libvpx-vp9": ("matroska", "webm")}
# Codecs without a word for full range, which Matroska has for them; and those whose decoders take
# limited range for granted.
_SILENT = ("mpeg4", "libvpx", "utvideo")
_LIMITED = ("mpeg2video", "mpeg1video", "prores_ks", "dnxhd")
_FIXED = 50_000  # units of a chromaticity in SMPTE ST 2086
_CANDELA = 10_000  # units of a luminance


def keeps_alpha(encoder: str, container: str) -> bool:
    """Whether an encoder's alpha plane is kept."""
    kept = _ALPHA.get(encoder, ())
    return kept is None or container in kept


def says_full_range(encoder: str, container: str) -> bool:
    """Whether a player is told that luma runs from 0 to the highest code."""
    if encoder in _LIMITED:
        return False
    if container in ("matroska", "webm"):
        return True
    return encoder not in _SILENT and not (encoder == "ffv1" and container != "mp4")


def loses_aspect(encoder: str, container: str) -> bool:
    """Whether neither codec nor container can say that pixels are not square."""
    codec = encoder in ("libx264", "libx265", "mpeg2video", "mpeg4")
    return not codec and container not in ("mov", "mp4", "ipod", "matroska", "webm")


def set_field_order(context: Any, order: FieldOrder, container: str) -> str:
    """Tells an encoder in which order fields come. Returns what nobody would be told, in words."""
    if order == "progressive":
        return ""
    context.field_order = _CODES[order]
    encoder = context.codec.name
    marks = encoder in _FIELDS and context.height % _LINES.get(encoder, 1) == 0
    for flag in _FIELDS[encoder] if marks else ():
        context.flags |= flag
    if marks or (container in _FIELD_CONTAINERS and encoder != "dnxhd"):
        return ""
    return f"field order ({order}): {encoder} in {container} cannot say it"


def lost_notes(frame: av.VideoFrame, encoder: str, *, hdr: bool) -> Iterator[str]:
    """Names what a frame's notes say and an encoder does not write.

    Args:
        hdr: the encoder or the container is told of the mastering display.
    """
    kinds = {note.type for note in notes_of(frame)}
    if Type.A53_CC in kinds and encoder not in _CAPTIONED:
        yield f"closed captions: {encoder} takes none; h264, hevc and mpeg2video do"
    if not hdr and kinds & {Type.MASTERING_DISPLAY_METADATA, Type.CONTENT_LIGHT_LEVEL}:
        yield f"HDR mastering data: {encoder} takes none; h264, hevc and av1 do"
    if Type.DYNAMIC_HDR_PLUS in kinds:
        yield f"HDR10+ metadata: {encoder} is not told of it here"


def hdr_settings(encoder: str, frame: av.VideoFrame) -> dict[str, str]:
    """Returns an encoder's options for the mastering display and the light level of a frame."""
    words: list[str] = []
    names = {
        "libx264": ("x264-params", "mastering-display", "cll"),
        "libx265": ("x265-params", "master-display", "max-cll"),
        "libsvtav1": ("svtav1-params", "mastering-display", "content-light"),
    }.get(encoder)
    if names is None:
        return {}
    as_floats = encoder == "libsvtav1"
    for note in notes_of(frame):
        if note.type is Type.MASTERING_DISPLAY_METADATA:
            words.append(f"{names[1]}={_display(bytes(note), as_floats=as_floats)}")
        elif note.type is Type.CONTENT_LIGHT_LEVEL:
            most, average = struct.unpack("=2I", bytes(note)[:8])
            words.append(f"{names[2]}={most},{average}")
    return {names[0]: ":".join(words)} if words else {}


def _display(data: bytes, *, as_floats: bool) -> str:
    """AVMasteringDisplayMetadata in x265's words: G(x,y)B(x,y)R(x,y)WP(x,y)L(max,min)."""
    numbers = struct.unpack("=20i", data[:80])
    values = [Fraction(n, d or 1) for n, d in zip(numbers[::2], numbers[1::2], strict=True)]

    def pair(first: Fraction, second: Fraction, unit: int) -> str:
        if as_floats:
            return f"({float(first):.6g},{float(second):.6g})"
        return f"({round(first * unit)},{round(second * unit)})"

    red, green, blue, white = (pair(values[i], values[i + 1], _FIXED) for i in (0, 2, 4, 6))
    light = pair(values[9], values[8], _CANDELA)
    return f"G{green}B{blue}R{red}WP{white}L{light}"
