"""The grey of samples of any kind, computed for the proof alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from kinemacolor.stream.proof.held import Held
from numpy.typing import NDArray

_BAND = 256  # rows at once, to bound the memory of a big scan
_BT601 = (0.299, 0.587, 0.114)
CHROMA_TOLERANCE = 3.0  # codes of 8 bits, where inks or Lab went through a profile


@dataclass(frozen=True, eq=False)
class Shown:
    """The grey of a picture, upright, and what is needed to compare it.

    Attributes:
        luma: (H, W) BT.601 codes: whole ones of grey, else float32, not rounded.
        bits: 8 or 16; what the samples are scaled to.
        tolerance: by how much a right result's luma may differ, in codes.
        alpha: (H, W) codes of `bits`, upright.
    """

    luma: NDArray[Any]
    bits: int
    held: Held
    tolerance: float = 0.0
    alpha: NDArray[Any] | None = None
    alpha_kind: int = 2  # TIFF's ExtraSamples: 1 premultiplied, 2 not, 0 unspecified


def weighted(rgb: NDArray[Any], factor: float = 1.0) -> NDArray[np.float32]:
    """(H, W, 3) codes to their BT.601 luma, not rounded, times a factor."""
    luma = np.empty(rgb.shape[:2], np.float32)
    for row in range(0, len(rgb), _BAND):
        band = rgb[row : row + _BAND].astype(np.float64)
        luma[row : row + _BAND] = band @ np.array(_BT601) * factor
    return luma


def scaled(codes: NDArray[Any], factor: float) -> NDArray[Any]:
    """Whole codes of another depth."""
    return codes if factor == 1 else np.rint(codes * np.float32(factor))


def ink_luma(inks: NDArray[Any], icc: bytes | None) -> NDArray[np.float32]:
    """Inks (H, W, 4) to the luma of sRGB: through their profile, else as light less the ink."""
    if icc is not None and is_for(icc, b"CMYK"):
        srgb = imagecodecs.cms_profile("srgb")
        rgb = imagecodecs.cms_transform(
            np.ascontiguousarray(inks), icc, srgb, colorspace="cmyk", outcolorspace="rgb", intent=1
        )
        return weighted(rgb)
    top = np.float32(np.iinfo(inks.dtype).max)
    light = top - inks
    return weighted(light[..., :3] * light[..., 3:] / top)


def ink_tolerance(icc: bytes | None, bits: int) -> float:
    unit = 1 if bits == 8 else 257
    return CHROMA_TOLERANCE * unit if is_for(icc, b"CMYK") else 1.6


def is_for(icc: bytes | None, space: bytes) -> bool:
    return icc is not None and icc[16:20] == space


def lab_luma(samples: NDArray[Any], photometric: int) -> NDArray[np.float32]:
    """CIELAB of D50 to the luma 0..1 of sRGB, by LittleCMS."""
    deep = samples.dtype == np.uint16
    lab = samples.astype(np.float64) / (257 if deep and photometric == 8 else 256 if deep else 1)
    lightness = lab[..., :1] * (100 / 255)
    if photometric == 8:
        signed: Any = np.int16 if deep else np.int8
        chroma = np.ascontiguousarray(samples[..., 1:]).view(signed) / (256 if deep else 1)
    else:
        chroma = lab[..., 1:] - 128
    lab = np.ascontiguousarray(np.concatenate([lightness, chroma], axis=-1))
    profile = imagecodecs.cms_profile("lab4")  # of D50
    srgb = imagecodecs.cms_profile("srgb")
    rgb = imagecodecs.cms_transform(
        lab, profile, srgb, colorspace="lab", outcolorspace="rgb", intent=1
    )
    return weighted(np.clip(rgb, 0, 1))
