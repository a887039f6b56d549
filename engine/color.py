"""The float reference for every colour conversion: sRGB, CIE Lab, Y'CbCr; matrices and ranges.

The fast paths (`stream.color.chroma`, the GPU kernels) are tested against these functions.
Sources: IEC 61966-2-1 (sRGB), CIE 15 (Lab, D65), ITU-R BT.601-7, BT.709-6, BT.2020-2,
H.273 (quantisation), Sharma, Wu and Dalal 2005 (CIEDE2000).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]
Colorspace = Literal["bt601", "bt709", "bt2020"]
ColorRange = Literal["limited", "full"]

# Linear sRGB to XYZ, IEC 61966-2-1; its rows sum to the D65 white below.
RGB_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
XYZ_TO_RGB = np.linalg.inv(RGB_TO_XYZ)
WHITE = RGB_TO_XYZ.sum(axis=1)

# The luma weights Kr and Kb; Kg is what is left of 1.
LUMA_WEIGHTS: dict[Colorspace, tuple[float, float]] = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
}

# CIE 15: where the cube root of Lab gives way to a straight line, and the slope of L* there.
EPSILON, KAPPA = 216 / 24389, 24389 / 27


@dataclass(frozen=True)
class Encoding:
    """How a frame's integer codes stand for Y', Cb and Cr."""

    colorspace: Colorspace = "bt709"
    color_range: ColorRange = "limited"
    bit_depth: int = 8

    @property
    def luma_offset(self) -> float:
        """The code of black."""
        return 16.0 * 2 ** (self.bit_depth - 8) if self.color_range == "limited" else 0.0

    @property
    def luma_scale(self) -> float:
        """Codes from black to white."""
        if self.color_range == "limited":
            return 219.0 * 2 ** (self.bit_depth - 8)
        return 2.0**self.bit_depth - 1

    @property
    def chroma_offset(self) -> float:
        """The code of neutral chroma."""
        return 2.0 ** (self.bit_depth - 1)

    @property
    def chroma_scale(self) -> float:
        """Codes from Cb = -0.5 to Cb = 0.5."""
        if self.color_range == "limited":
            return 224.0 * 2 ** (self.bit_depth - 8)
        return 2.0**self.bit_depth - 1


def srgb_to_linear(rgb: FloatArray) -> FloatArray:
    """Converts R'G'B' to linear light. Odd-symmetric below 0, so out-of-gamut values survive."""
    magnitude = np.abs(rgb)
    linear = np.where(magnitude <= 0.04045, magnitude / 12.92, ((magnitude + 0.055) / 1.055) ** 2.4)
    return np.copysign(linear, rgb)


def linear_to_srgb(linear: FloatArray) -> FloatArray:
    """Converts linear light to R'G'B', the inverse of `srgb_to_linear`."""
    magnitude = np.abs(linear)
    rgb = np.where(
        magnitude <= 0.0031308, magnitude * 12.92, 1.055 * magnitude ** (1 / 2.4) - 0.055
    )
    return np.copysign(rgb, linear)


def rgb_to_lab(rgb: FloatArray) -> FloatArray:
    """Converts R'G'B' (..., 3), 0..1, to CIELAB (..., 3)."""
    xyz = srgb_to_linear(np.asarray(rgb)) @ RGB_TO_XYZ.T / WHITE
    x, y, z = np.moveaxis(lab_curve(xyz), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def lab_to_rgb(lab: FloatArray) -> FloatArray:
    """Converts CIELAB (..., 3) to R'G'B' (..., 3); out of gamut, values lie outside 0..1."""
    lab = np.asarray(lab)
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    xyz = np.where(f**3 > EPSILON, f**3, (116 * f - 16) / KAPPA) * WHITE
    return linear_to_srgb(xyz @ XYZ_TO_RGB.T)


def luma_to_L(luma: FloatArray) -> FloatArray:
    """Returns L*, 0..100, of the greys with this luma: Y' in 0..1, any shape."""
    return 116 * lab_curve(srgb_to_linear(np.clip(luma, 0.0, 1.0))) - 16


def lab_curve(share: FloatArray) -> FloatArray:
    """Returns f(t) of CIE 15 (Lab), t being X, Y or Z as a share of white's."""
    return np.where(share > EPSILON, np.cbrt(share), (KAPPA * share + 16) / 116)


def rgb_to_ycbcr(rgb: FloatArray, colorspace: Colorspace) -> FloatArray:
    """Converts R'G'B' (..., 3) to Y' 0..1 and Cb, Cr -0.5..0.5 (..., 3)."""
    kr, kb = LUMA_WEIGHTS[colorspace]
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    y = kr * r + (1 - kr - kb) * g + kb * b
    return np.stack([y, (b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr))], axis=-1)


def ycbcr_to_rgb(ycbcr: FloatArray, colorspace: Colorspace) -> FloatArray:
    """Converts Y'CbCr (..., 3) to R'G'B', the inverse of `rgb_to_ycbcr`."""
    kr, kb = LUMA_WEIGHTS[colorspace]
    y, cb, cr = ycbcr[..., 0], ycbcr[..., 1], ycbcr[..., 2]
    r = y + 2 * (1 - kr) * cr
    b = y + 2 * (1 - kb) * cb
    return np.stack([r, (y - kr * r - kb * b) / (1 - kr - kb), b], axis=-1)


def quantise(ycbcr: FloatArray, encoding: Encoding) -> NDArray[np.uint16]:
    """Rounds Y'CbCr (..., 3) to integer codes; codes stay within the bit depth."""
    scale = np.array([encoding.luma_scale, encoding.chroma_scale, encoding.chroma_scale])
    offset = np.array([encoding.luma_offset, encoding.chroma_offset, encoding.chroma_offset])
    codes = np.rint(np.asarray(ycbcr) * scale + offset)
    return np.clip(codes, 0, 2**encoding.bit_depth - 1).astype(np.uint16)


def dequantise(codes: NDArray[Any], encoding: Encoding) -> FloatArray:
    """Converts integer codes (..., 3) to Y'CbCr, the inverse of `quantise`."""
    scale = np.array([encoding.luma_scale, encoding.chroma_scale, encoding.chroma_scale])
    offset = np.array([encoding.luma_offset, encoding.chroma_offset, encoding.chroma_offset])
    return (np.asarray(codes, np.float64) - offset) / scale


def shrink_chroma(ycbcr: FloatArray, colorspace: Colorspace) -> FloatArray:
    """Scales Cb and Cr towards neutral until R'G'B' lies in 0..1; Y' and hue stay.

    A film's luma is fixed, so the only freedom left to bring a colour into gamut is its chroma.
    Per-channel clipping would change the luma and turn the hue.
    """
    luma = np.clip(ycbcr[..., :1], 0.0, 1.0)
    difference = ycbcr_to_rgb(ycbcr, colorspace) - ycbcr[..., :1]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        room = np.where(difference > 0, (1 - luma) / difference, -luma / difference)
    room = np.where(difference == 0, 1.0, room)
    factor = np.clip(room.min(axis=-1, keepdims=True), 0.0, 1.0)
    return np.concatenate([ycbcr[..., :1], ycbcr[..., 1:] * factor], axis=-1)


def ab_to_ycbcr(luma: FloatArray, ab: FloatArray, colorspace: Colorspace) -> FloatArray:
    """Returns the colour that a pixel of this luma takes on from ab.

    Args:
        luma: (...) Y' in 0..1, kept as it is.
        ab: (..., 2) CIELAB units.

    Returns:
        (..., 3) Y', Cb, Cr, within the gamut of R'G'B'. The price of the fixed luma: L* of
        the result is near, but not equal to, L* of the grey.
    """
    lab = np.concatenate([luma_to_L(luma)[..., None], ab], axis=-1)
    ycbcr = rgb_to_ycbcr(lab_to_rgb(lab), colorspace)
    ycbcr[..., 0] = luma
    return shrink_chroma(ycbcr, colorspace)


def ciede2000(lab: FloatArray, other: FloatArray) -> FloatArray:
    """Returns the colour difference (...) of two Lab (..., 3), after Sharma, Wu and Dalal 2005."""
    lab, other = np.asarray(lab, np.float64), np.asarray(other, np.float64)
    L1, a1, b1 = lab[..., 0], lab[..., 1], lab[..., 2]
    L2, a2, b2 = other[..., 0], other[..., 1], other[..., 2]
    mean_c7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    g = 0.5 * (1 - np.sqrt(mean_c7 / (mean_c7 + 25.0**7)))  # eq. 4
    a1, a2 = a1 * (1 + g), a2 * (1 + g)
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.arctan2(b1, a1) % (2 * np.pi), np.arctan2(b2, a2) % (2 * np.pi)

    turn = h2 - h1
    turn = np.where(turn > np.pi, turn - 2 * np.pi, np.where(turn < -np.pi, turn + 2 * np.pi, turn))
    turn = np.where(c1 * c2 == 0, 0.0, turn)  # eq. 10
    dL, dC, dH = L2 - L1, c2 - c1, 2 * np.sqrt(c1 * c2) * np.sin(turn / 2)

    L, c = (L1 + L2) / 2, (c1 + c2) / 2
    far = np.abs(h1 - h2) > np.pi
    h = np.where(
        far, np.where(h1 + h2 < 2 * np.pi, h1 + h2 + 2 * np.pi, h1 + h2 - 2 * np.pi), h1 + h2
    )
    h = np.where(c1 * c2 == 0, h1 + h2, h / 2)  # eq. 14
    t = (
        1
        - 0.17 * np.cos(h - np.pi / 6)
        + 0.24 * np.cos(2 * h)
        + 0.32 * np.cos(3 * h + np.pi / 30)
        - 0.20 * np.cos(4 * h - np.deg2rad(63))
    )
    sL = 1 + 0.015 * (L - 50) ** 2 / np.sqrt(20 + (L - 50) ** 2)
    sC, sH = 1 + 0.045 * c, 1 + 0.015 * c * t
    c7 = c**7
    rotation = (
        -2
        * np.sqrt(c7 / (c7 + 25.0**7))
        * np.sin(np.deg2rad(60) * np.exp(-(((np.rad2deg(h) - 275) / 25) ** 2)))
    )
    dL, dC, dH = dL / sL, dC / sC, dH / sH
    return np.sqrt(np.maximum(dL**2 + dC**2 + dH**2 + rotation * dC * dH, 0.0))
