"""The encoder of DeOldify: ResNet (He et al. 2016), features before each halving.

Submodules are numbered and named as in the public files: 0 and 1 the stem, 4 to 7 the stages.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Basic(nn.Module):
    """Two 3x3 convolutions."""

    expansion = 1

    def __init__(self, channels: int, inner: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, inner, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        if stride > 1 or channels != inner:
            self.downsample = _shortcut(channels, inner, stride)
        self.shorten = stride > 1 or channels != inner

    def forward(self, x: Tensor) -> Tensor:
        """x (N, channels, h, w). Returns (N, inner, h / stride, w / stride)."""
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return torch.relu(y + (self.downsample(x) if self.shorten else x))


class Bottleneck(nn.Module):
    """1x1, 3x3 with the stride, and 1x1 to four times the channels."""

    expansion = 4

    def __init__(self, channels: int, inner: int, stride: int) -> None:
        super().__init__()
        out = inner * self.expansion
        self.conv1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        if stride > 1 or channels != out:
            self.downsample = _shortcut(channels, out, stride)
        self.shorten = stride > 1 or channels != out

    def forward(self, x: Tensor) -> Tensor:
        """x (N, channels, h, w). Returns (N, 4 inner, h / stride, w / stride)."""
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return torch.relu(y + (self.downsample(x) if self.shorten else x))


def _shortcut(channels: int, out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out)
    )


class ResNet(nn.Sequential):
    """A picture (N, 3, H, W) to features at 1/2, 1/4, 1/8, 1/16 and 1/32, finest first."""

    def __init__(self, depths: Sequence[int], channels: Sequence[int], *, bottleneck: bool) -> None:
        """channels: of the stem, and within the blocks of each stage."""
        kind = Bottleneck if bottleneck else Basic
        stem = channels[0]
        stages, self_widths, width = [], [stem], stem
        for i, (depth, inner) in enumerate(zip(depths, channels[1:], strict=True)):
            blocks: list[nn.Module] = []
            for block in range(depth):
                blocks.append(kind(width, inner, 2 if block == 0 and i > 0 else 1))
                width = inner * kind.expansion
            stages.append(nn.Sequential(*blocks))
            self_widths.append(width)
        super().__init__(
            nn.Conv2d(3, stem, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(stem),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
            *stages,
        )
        self.widths = self_widths  # channels of the features

    def forward(self, x: Tensor) -> list[Tensor]:  # type: ignore[override]
        features = []
        for i, layer in enumerate(self):
            x = layer(x)
            if i in (2, 4, 5, 6, 7):
                features.append(x)
        return features
