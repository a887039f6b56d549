"""What networks for RGB pictures are wrapped in: L to a grey picture before, RGB to ab behind."""

from __future__ import annotations

import numpy as np
import torch
from kinemacolor.engine.color import EPSILON, KAPPA, RGB_TO_XYZ, WHITE
from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def grey(L: Tensor) -> Tensor:
    """L (N, 1, H, W), 0..100, to the sRGB value of a grey of that lightness, 0..1."""
    Y = torch.where(L > 8, ((L + 16) / 116) ** 3, L / KAPPA)
    # A rounding error below zero has no power of 1 / 2.4.
    bright = 1.055 * Y.clamp(min=1e-9) ** (1 / 2.4) - 0.055
    return torch.where(Y > 0.0031308, bright, 12.92 * Y)


def rgb_to_ab(rgb: Tensor) -> Tensor:
    """RGB (N, 3, H, W), clipped to 0..1, to CIELAB's a and b (N, 2, H, W)."""
    rgb = rgb.clamp(0, 1)
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    kernel = torch.from_numpy((RGB_TO_XYZ / WHITE[:, None]).astype(np.float32)).to(rgb)
    xyz = nn.functional.conv2d(linear, kernel[:, :, None, None])  # relative to white
    f = torch.where(xyz > EPSILON, xyz.clamp(min=1e-9) ** (1 / 3), (KAPPA * xyz + 16) / 116)
    x, y, z = f.split(1, 1)
    return torch.cat([500 * (x - y), 200 * (y - z)], 1)


def normalized(L: Tensor) -> Tensor:
    """L (N, 1, H, W), 0..100, to the grey picture (N, 3, H, W) as encoders of ImageNet take it."""
    mean, std = _imagenet(L)
    return (grey(L) - mean) / std


def denormalized(picture: Tensor) -> Tensor:
    """A picture (N, 3, H, W) as encoders of ImageNet take it to RGB, 0..1."""
    mean, std = _imagenet(picture)
    return picture * std + mean


def _imagenet(like: Tensor) -> tuple[Tensor, Tensor]:
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    return mean[None, :, None, None].to(like), std[None, :, None, None].to(like)
