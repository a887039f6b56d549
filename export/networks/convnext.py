"""The encoder of DDColor: ConvNeXt (Liu et al. 2022), with a norm behind each of its stages.

Submodules are named as in the public files. `timm` has the network too, but loads torchvision,
whose compiled operators fit one build of PyTorch only.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-6


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (N, C, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """Depthwise 7x7, norm, four times as wide and back, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=EPS)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """x (N, channels, h, w). Returns the same shape."""
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))  # (N, h, w, channels)
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))
        return x + y.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """Features at 1/4, 1/8, 1/16 and 1/32 of a picture (N, 3, H, W), finest first."""

    def __init__(self, depths: Sequence[int], channels: Sequence[int]) -> None:
        super().__init__()
        steps: list[nn.Module] = [
            nn.Sequential(nn.Conv2d(3, channels[0], 4, stride=4), ChannelNorm(channels[0], eps=EPS))
        ]
        for before, after in pairwise(channels):
            steps.append(
                nn.Sequential(ChannelNorm(before, eps=EPS), nn.Conv2d(before, after, 2, stride=2))
            )
        self.downsample_layers = nn.ModuleList(steps)
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(c) for _ in range(depth)))
            for depth, c in zip(depths, channels, strict=True)
        )
        self.norm0, self.norm1, self.norm2, self.norm3 = (ChannelNorm(c, eps=EPS) for c in channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        norms = (self.norm0, self.norm1, self.norm2, self.norm3)
        for step, stage, norm in zip(self.downsample_layers, self.stages, norms, strict=True):
            x = stage(step(x))
            features.append(norm(x))
        return features
