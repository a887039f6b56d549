"""Stored samples of any kind become grey: scaled to 8 or 16 bits, RGB, and BT.601 luma of it."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
from kinemacolor.engine.color import LUMA_WEIGHTS, linear_to_srgb
from numpy.typing import NDArray
from PIL import Image, ImageCms

_BAND = 256  # rows at once, to bound the memory of a big scan
# IEC 61966-2-1's primaries adapted to the white of D50 (Bradford), as ICC profiles hold them.
_D50 = np.array([0.9642, 1.0, 0.8249])
_XYZ_D50_TO_RGB = np.array(
    [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
)


def scaled(samples: NDArray[Any], bits: int) -> NDArray[Any]:
    """Codes of any depth to 8 bits, or, from 9 bits on, to 16: white stays white.

    Args:
        samples: whole numbers from 0 to 2**bits - 1.
    """
    if bits in (8, 16):
        return samples.astype(np.uint8 if bits == 8 else np.uint16, copy=False)
    top = 2**bits - 1
    target: Any = np.uint8 if bits < 8 else np.uint16
    table = np.rint(np.arange(top + 1) * (np.iinfo(target).max / top)).astype(target)
    return table[np.minimum(samples, top)]


def to_luma(rgb: NDArray[Any]) -> NDArray[Any]:
    """(H, W, 3) codes to their BT.601 luma, rounded, of the same type; grey stays as it is."""
    kr, kb = LUMA_WEIGHTS["bt601"]
    weights = np.array([[kr, 1 - kr - kb, kb]], np.float32)
    luma = np.empty(rgb.shape[:2], rgb.dtype)
    for row in range(0, len(rgb), _BAND):
        band = np.ascontiguousarray(rgb[row : row + _BAND])
        luma[row : row + _BAND] = cv2.transform(band, weights).reshape(band.shape[:2])
    return luma


def cmyk_to_rgb(cmyk: NDArray[Any], icc: bytes | None) -> NDArray[Any]:
    """Inks to RGB of sRGB: by the picture's own profile, else as one less the ink.

    Args:
        cmyk: (H, W, 4) uint8 or uint16; full ink is the highest code.
        icc: a profile for CMYK. LittleCMS takes 8 bits through it.

    Returns:
        (H, W, 3) of the same type; uint8 through a profile.
    """
    if icc is not None:
        narrow = cmyk if cmyk.dtype == np.uint8 else np.rint(cmyk / 257).astype(np.uint8)
        picture = Image.fromarray(np.ascontiguousarray(narrow), "CMYK")
        inks = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        srgb = ImageCms.createProfile("sRGB")
        relative = ImageCms.Intent.RELATIVE_COLORIMETRIC
        turned = ImageCms.profileToProfile(picture, inks, srgb, relative, outputMode="RGB")
        return np.asarray(turned)
    top = int(np.iinfo(cmyk.dtype).max)
    rgb = np.empty((*cmyk.shape[:2], 3), cmyk.dtype)
    for row in range(0, len(cmyk), _BAND):
        light = top - cmyk[row : row + _BAND].astype(np.float32)
        rgb[row : row + _BAND] = np.rint(light[..., :3] * light[..., 3:] / top)
    return rgb


def lab_to_srgb(lab: NDArray[np.float32]) -> NDArray[np.float32]:
    """CIELAB of D50 (H, W, 3), as TIFF and ICC mean it, to R'G'B' 0..1 of sRGB, clipped."""
    f = np.empty_like(lab)
    f[..., 1] = (lab[..., 0] + 16) / 116
    f[..., 0] = f[..., 1] + lab[..., 1] / 500
    f[..., 2] = f[..., 1] - lab[..., 2] / 200
    delta = 6 / 29  # CIE 15: where the cube gives way to a straight line
    xyz = np.where(f > delta, f**3, 3 * delta**2 * (f - 4 / 29)) * _D50
    return linear_to_srgb(np.clip(xyz @ _XYZ_D50_TO_RGB.T, 0, 1)).astype(np.float32)
