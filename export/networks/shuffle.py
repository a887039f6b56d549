"""Upsampling without checkerboards: pixel shuffle, then a blur over 2x2 (Aitken et al. 2017)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def shuffled(x: Tensor, scale: int) -> Tensor:
    """x (N, C * scale**2, h, w). Returns (N, C, h * scale, w * scale)."""
    x = F.pixel_shuffle(x, scale)
    return F.avg_pool2d(F.pad(x, (1, 0, 1, 0), mode="replicate"), 2, stride=1)


class Shuffle(nn.Module):
    """A 1x1 convolution, ReLU, pixel shuffle and blur: twice the size."""

    def __init__(self, channels: int, out: int, *, norm: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, out * 4, 1, bias=not norm)]
        self.conv = nn.Sequential(*layers, *([nn.BatchNorm2d(out * 4)] if norm else []))

    def forward(self, x: Tensor) -> Tensor:
        """x (N, channels, h, w). Returns (N, out, 2h, 2w)."""
        return shuffled(torch.relu(self.conv(x)), 2)
