"""The luma codes of a decoded frame, and which ones a result of other kind should have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

# AVCOL_SPC_* of libavutil/pixfmt.h, and Kr and Kb of ITU-R BT.601, BT.709 and BT.2020.
RGB_MATRIX, UNSPECIFIED = 0, 2
_BT601, _BT709, _BT2020 = (0.299, 0.114), (0.2126, 0.0722), (0.2627, 0.0593)
_WEIGHTS = {1: _BT709, 4: _BT601, 5: _BT601, 6: _BT601, 9: _BT2020, 10: _BT2020}
_LIMITED, _FULL = 1, 2  # AVCOL_RANGE_MPEG and _JPEG
_FULL_BY_NAME = ("yuvj", "gray", "ya", "mono")
# Packed formats: how many samples a pixel takes of its row, and where luma is among them.
_PACKED = {"yuyv422": (2, 0), "yvyu422": (2, 0), "uyvy422": (2, 1), "ya8": (2, 0)}
_PACKED |= {"ya16le": (2, 0), "ya16be": (2, 0), "ayuv64le": (4, 1)}


@dataclass(frozen=True, eq=False)
class Picture:
    """Codes of a frame: (H, W) luma, or (H, W, 3) R, G, B; whole numbers."""

    codes: NDArray[Any]
    bits: int
    full: bool
    weights: tuple[float, float]  # Kr, Kb

    @property
    def is_rgb(self) -> bool:
        return self.codes.ndim == 3


def picture_of(frame: av.VideoFrame) -> Picture:
    """Takes the codes out of a frame, without changing one."""
    codes, bits = _codes(frame)
    weights = _WEIGHTS.get(int(frame.colorspace), _BT601 if frame.height < 720 else _BT709)
    return Picture(codes, bits, codes.ndim == 3 or is_full(frame), weights)


def is_full(frame: av.VideoFrame) -> bool:
    """Whether black is 0. Untagged, it is what the format's name means."""
    name, tag = frame.format.name, int(frame.color_range)
    if name.startswith("yuvj") or has_rgb(frame):
        return True
    return tag == _FULL or (tag != _LIMITED and name.startswith(_FULL_BY_NAME))


def has_rgb(frame: av.VideoFrame) -> bool:
    """Whether a frame holds R, G and B, by itself or through a palette."""
    return bool(frame.format.is_rgb or frame.format.has_palette)


def expected_luma(
    source: Picture, result: Picture, *, says_full: bool
) -> tuple[NDArray[Any], float]:
    """The codes that a result should have of a source, and by how much they may differ.

    Args:
        says_full: the result's codec can say that its range is full.

    Returns:
        (H, W) codes, whole or not, and the largest difference that rounding explains.
    """
    top, bits = 2**source.bits - 1, result.bits
    if source.is_rgb:
        light = _weighted(source.codes / np.float32(top), result.weights)
        return _coded(light, bits, result.full), 1.01 if bits == 8 else 1.01 * 2 ** (bits - 8)
    if source.full and not result.full and not says_full:
        return _coded(source.codes / np.float32(top), bits, False), 1.01 * 2 ** (bits - 8)
    if source.bits == bits:
        return source.codes, 0.0
    factor = (2**bits - 1) / top if source.full else 2.0 ** (bits - source.bits)
    return np.minimum(source.codes * np.float32(factor), 2**bits - 1), 0.51


def luma_codes(result: Picture, like: Picture) -> NDArray[Any]:
    """The luma of a result: its own plane, or, of RGB, that of the source's matrix."""
    if not result.is_rgb:
        return result.codes
    weights = result.weights if like.is_rgb else like.weights
    return _weighted(result.codes.astype(np.float32), weights)


def _weighted(rgb: NDArray[Any], weights: tuple[float, float]) -> NDArray[Any]:
    kr, kb = weights
    return rgb[..., 0] * kr + rgb[..., 1] * (1 - kr - kb) + rgb[..., 2] * kb


def _coded(light: NDArray[Any], bits: int, full: bool) -> NDArray[Any]:
    """Luma 0..1 as codes, not rounded (H.273, 8.3)."""
    if full:
        return light * (2**bits - 1)
    return (light * 219 + 16) * 2 ** (bits - 8)


def _codes(frame: av.VideoFrame) -> tuple[NDArray[Any], int]:
    pix_fmt = frame.format
    name, bits = pix_fmt.name, pix_fmt.components[0].bits
    if has_rgb(frame):
        return _rgb_codes(frame)
    if name in _PACKED:
        step, place = _PACKED[name]
        return _plane(frame, 0, bits, step)[:, place::step], bits
    if name.startswith(("p0", "p2", "p4")):
        return _plane(frame, 0, 16) >> (16 - bits), bits  # the codes are in the upper bits
    alone = [c.plane for c in pix_fmt.components].count(0) == 1
    if alone and not pix_fmt.is_bit_stream and bits <= 16:
        return _plane(frame, 0, bits), bits
    if pix_fmt.is_bit_stream:
        return _plane(frame.reformat(format="gray"), 0, 8), 8
    # The rest is packed in many ways: FFmpeg lays it out in planes, which changes no code.
    planar = frame.reformat(format="yuv444p" if bits == 8 else f"yuv444p{bits}le")
    return _plane(planar, 0, bits), bits


def _rgb_codes(frame: av.VideoFrame) -> tuple[NDArray[Any], int]:
    pix_fmt = frame.format
    bits = 8 if pix_fmt.has_palette else max(c.bits for c in pix_fmt.components)
    if pix_fmt.name.startswith(("gbrp", "gbrap")) and bits <= 16:
        return np.dstack([_plane(frame, index, bits) for index in (2, 0, 1)]), bits
    if bits == 8:
        return frame.to_ndarray(format="rgb24"), 8
    if pix_fmt.name.startswith(("rgb48", "bgr48", "rgba64", "bgra64")):
        step = 4 if "64" in pix_fmt.name else 3
        samples = _plane(frame, 0, 16, step).reshape(frame.height, -1, step)
        return samples[..., 2::-1] if pix_fmt.name.startswith("bgr") else samples[..., :3], 16
    deep = frame.reformat(format="gbrp16le")
    return np.dstack([_plane(deep, index, 16) for index in (2, 0, 1)]), 16


def alpha_of(frame: av.VideoFrame) -> tuple[NDArray[Any], int] | None:
    """The alpha codes and their bits; None where there are none."""
    pix_fmt = frame.format
    name, bits = pix_fmt.name, pix_fmt.components[-1].bits
    if name.startswith(("yuva", "gbrap")):
        return _plane(frame, 3, bits), bits
    if name in ("rgba", "bgra", "argb", "abgr"):
        place = 3 if name.endswith("a") else 0
        return _plane(frame, 0, 8, 4)[:, place::4], 8
    if name.startswith(("rgba64", "bgra64")):
        return _plane(frame, 0, 16, 4)[:, 3::4], 16
    if name.startswith("ya"):
        return _plane(frame, 0, bits, 2)[:, 1::2], bits
    return None


def _plane(frame: av.VideoFrame, index: int, bits: int, step: int = 1) -> NDArray[Any]:
    """A plane's samples, (H, W * step), in the byte order of this machine."""
    plane: Any = frame.planes[index]
    order = ">" if frame.format.is_big_endian else "<"
    dtype = np.dtype(np.uint8) if bits <= 8 else np.dtype(f"{order}u2")
    rows = np.frombuffer(plane, np.uint8)[: plane.line_size * plane.height]
    samples = rows.reshape(plane.height, plane.line_size).view(dtype)[:, : plane.width * step]
    return samples.astype(dtype.newbyteorder("="), copy=False)
