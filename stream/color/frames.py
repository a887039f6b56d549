"""Views of a frame's planes, what its codes mean, and the frame that takes the colour."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from kinemacolor.engine.color import ColorRange, Colorspace, Encoding
from kinemacolor.stream.errors import BadSink
from kinemacolor.stream.media import has_alpha
from numpy.typing import NDArray

# AVCOL_SPC_* of libavutil/pixfmt.h; those left out are read by the size rule.
_COLORSPACES: dict[int, Colorspace] = {
    1: "bt709",
    4: "bt601",  # FCC, within a few thousandths of BT.601
    5: "bt601",  # bt470bg
    6: "bt601",  # smpte170m
    9: "bt2020",
    10: "bt2020",
}
_RGB = 0  # AVCOL_SPC_RGB
_CODES: dict[Colorspace, int] = {"bt601": 6, "bt709": 1, "bt2020": 9}
UNSPECIFIED = 2  # AVCOL_SPC_, AVCOL_PRI_ and AVCOL_TRC_UNSPECIFIED
_RANGES: dict[int, ColorRange] = {1: "limited", 2: "full"}  # AVCOL_RANGE_MPEG, _JPEG
LIMITED, _FULL = 1, 2


@dataclass(frozen=True)
class FrameEncoding:
    """What a frame's codes mean, and which of it had to be guessed."""

    encoding: Encoding
    guessed_colorspace: bool
    guessed_range: bool

    def __str__(self) -> str:
        e = self.encoding
        matrix = f"{e.colorspace}{' (guessed by size)' if self.guessed_colorspace else ''}"
        extent = f"{e.color_range} range{' (guessed by format)' if self.guessed_range else ''}"
        return f"{matrix}, {extent}, {e.bit_depth} bit"


def has_luma_plane(pix_fmt: av.VideoFormat) -> bool:
    """Whether plane 0 holds native-endian luma codes and nothing else."""
    if pix_fmt.is_rgb or pix_fmt.has_palette or pix_fmt.is_bit_stream:
        return False
    # Big-endian, packed, and P010 (codes in the upper bits) are brought to planar first.
    if pix_fmt.is_big_endian or pix_fmt.name.startswith(("p0", "p2", "p4", "xyz")):
        return False
    return [c.plane for c in pix_fmt.components].count(0) == 1 and pix_fmt.components[0].bits <= 16


def is_left_sited(pix_fmt: av.VideoFormat) -> bool:
    """Whether chroma samples of two columns lie on the left one, as untagged video means it.

    JPEG's lie between the columns. The tag itself, which says what MPEG-1 does, PyAV hides.
    """
    return not pix_fmt.name.startswith("yuvj")


def to_luma_format(frame: av.VideoFrame) -> av.VideoFrame:
    """Returns the frame itself, or its one conversion where plane 0 is no luma plane.

    RGB becomes full-range BT.709 4:4:4, so that no code of 8-bit grey is lost; packed Y'CbCr is
    only rearranged.
    """
    pix_fmt = frame.format
    if has_luma_plane(pix_fmt):
        return frame
    depth = max(c.bits for c in pix_fmt.components)
    depth = next(d for d in (8, 10, 12, 16) if d >= min(depth, 16))
    suffix = "" if depth == 8 else f"{depth}le"
    if pix_fmt.is_rgb or pix_fmt.has_palette:
        alpha = "a" if has_alpha(pix_fmt.name) else ""
        converted = frame.reformat(
            format=f"yuv{alpha}444p{suffix}",
            src_color_range="JPEG",
            dst_color_range="JPEG",
            dst_colorspace="ITU709",
        )
        converted.color_range, converted.colorspace = 2, 1
    elif pix_fmt.is_bit_stream or len(pix_fmt.components) < 3:
        converted = frame.reformat(format="gray" if depth == 8 else f"gray{depth}le")
    else:
        converted = frame.reformat(format=f"yuv{_layout(pix_fmt)}p{suffix}")
    converted.pts, converted.time_base = frame.pts, frame.time_base
    converted.duration = frame.duration
    return converted


def frame_encoding(frame: av.VideoFrame) -> FrameEncoding:
    """Reads the tags of a frame with a luma plane; untagged ones are guessed by rule.

    Without a matrix: BT.601 below 720 lines, else BT.709. Without a range: full for gray and
    yuvj formats (as swscale reads them), else limited.
    """
    colorspace = _COLORSPACES.get(int(frame.colorspace))
    color_range = _RANGES.get(int(frame.color_range))
    name = frame.format.name
    if name.startswith("yuvj"):
        color_range = "full"
    guessed_range: ColorRange = "full" if name.startswith(("gray", "ya")) else "limited"
    return FrameEncoding(
        Encoding(
            colorspace or ("bt601" if frame.height < 720 else "bt709"),
            color_range or guessed_range,
            frame.format.components[0].bits,
        ),
        guessed_colorspace=colorspace is None,
        guessed_range=color_range is None,
    )


def plane_view(frame: av.VideoFrame, index: int) -> NDArray[Any]:
    """A plane's samples, without a copy.

    Returns:
        (H, W) uint8 or uint16; valid as long as the frame. Read only by agreement when the
        frame came from a decoder: it may be the reference for the frames to come.
    """
    plane = frame.planes[index]
    dtype: Any = np.uint8 if frame.format.components[0].bits == 8 else np.uint16
    samples: NDArray[Any] = np.frombuffer(memoryview(plane), dtype)
    rows = samples.reshape(plane.height, plane.line_size // samples.itemsize)
    return rows[:, : plane.width]


def colored_pix_fmt(
    pix_fmt: av.VideoFormat, supported: Collection[str], width: int, height: int
) -> str:
    """The format in which an encoder takes this luma, and chroma at least as fine.

    Args:
        pix_fmt: of the source; gray counts as 4:2:0.
        supported: what the encoder takes; an empty set means anything.

    Returns:
        A planar Y'CbCr format of the same bit depth where there is one, else of the nearest
        higher, else lower depth that the encoder takes; with alpha where both have it.

    Raises BadSink when there is none.
    """
    depth = pix_fmt.components[0].bits
    layout = "420" if len(pix_fmt.components) < 3 else _layout(pix_fmt)
    if supported:
        # H.264 and its kin crop whole chroma samples only: an odd picture needs finer chroma.
        if layout != "444" and width % 2:
            layout = "444"
        elif layout == "420" and height % 2:
            layout = "422"
    layouts = {"420": ("420", "422", "444"), "422": ("422", "444"), "444": ("444",)}[layout]
    lower = [d for d in (14, 12, 10, 9, 8) if d < depth]
    higher = [d for d in (9, 10, 12, 14, 16) if d > depth]
    if has_alpha(pix_fmt.name):
        for d in (depth, *higher, *lower):
            names = [f"yuva{c}p" + ("" if d == 8 else f"{d}le") for c in (*layouts, "422", "420")]
            kept = next((name for name in names if name in supported), None)
            if kept is not None:
                return kept
    for d in (depth, *higher, *lower):
        for candidate in (*layouts, "422", "420"):
            name = f"yuv{candidate}p" + ("" if d == 8 else f"{d}le")
            if not supported or name in supported:
                return name
            if d == 8 and f"yuvj{candidate}p" in supported:
                return f"yuvj{candidate}p"
    raise BadSink(f"the encoder takes no planar Y'CbCr, only {', '.join(sorted(supported))}")


def _layout(pix_fmt: av.VideoFormat) -> str:
    chroma = (pix_fmt.chroma_width(4), pix_fmt.chroma_height(4))
    return {(2, 2): "420", (2, 4): "422", (4, 4): "444"}.get(chroma, "444")


def new_frame(
    like: av.VideoFrame,
    pix_fmt: str,
    width: int | None = None,
    *,
    blank: av.VideoFrame | None = None,
) -> av.VideoFrame:
    """An empty frame with the time and colour tags of another.

    Full range that only the format told (gray, yuvj) is written as a tag: the new format says
    nothing of it, and a player would take it for limited. RGB is no matrix of Y'CbCr.

    Args:
        blank: the frame that gets them, where it is made already.
    """
    frame = blank or av.VideoFrame(width or like.width, like.height, pix_fmt)
    copy_tags(like, frame)
    if int(frame.colorspace) == _RGB:
        frame.colorspace = _CODES[frame_encoding(like).encoding.colorspace]
    if frame_encoding(like).encoding.color_range == "full":
        frame.color_range = _FULL
    return frame


def copy_tags(source: av.VideoFrame, target: av.VideoFrame) -> None:
    """Copies a frame's time and its colour tags."""
    target.pts, target.time_base, target.duration = source.pts, source.time_base, source.duration
    target.colorspace, target.color_range = source.colorspace, source.color_range
    target.color_primaries, target.color_trc = source.color_primaries, source.color_trc


def luma_at_depth(frame: av.VideoFrame, bit_depth: int, *, limited: bool = False) -> NDArray[Any]:
    """The luma codes of a frame, as they are or brought to another bit depth.

    Limited range is shifted and full range is scaled, both with rounding.

    Args:
        limited: codes of full range become codes of limited range.

    Returns:
        (H, W) uint8 or uint16; the frame's own plane where nothing changes.
    """
    luma, bits = plane_view(frame, 0), frame.format.components[0].bits
    full = frame_encoding(frame).encoding.color_range == "full"
    if bits == bit_depth and not (full and limited):
        return luma
    white, offset = 2.0**bit_depth - 1, 0.0
    if full and limited:
        white, offset = 219.0 * 2 ** (bit_depth - 8), 16.0 * 2 ** (bit_depth - 8)
    factor = white / (2**bits - 1) if full else 2.0 ** (bit_depth - bits)
    scaled = np.minimum(np.rint(luma * np.float32(factor) + offset), 2**bit_depth - 1)
    return scaled.astype(np.uint8 if bit_depth == 8 else np.uint16)


def copy_luma(source: av.VideoFrame, target: av.VideoFrame) -> None:
    """Copies the luma plane into the left of the target: bit for bit when the depths are equal."""
    room = plane_view(target, 0)[:, : source.width]
    limited = target.color_range == LIMITED
    np.copyto(room, luma_at_depth(source, target.format.components[0].bits, limited=limited))


def copy_alpha(source: av.VideoFrame, target: av.VideoFrame) -> None:
    """Copies the plane of alpha, where both frames have one; it is of full range."""
    if len(target.planes) < 4:
        return
    bits = target.format.components[0].bits
    opaque = 2**bits - 1
    whole = plane_view(target, 3)
    room = whole[:, : source.width]
    whole[:, source.width :] = opaque
    if len(source.planes) < 4:
        room[:] = opaque
        return
    alpha, had = plane_view(source, 3), source.format.components[0].bits
    np.copyto(room, alpha if bits == had else np.rint(alpha * (opaque / (2**had - 1))), "unsafe")
