"""resnet18: the first half of ResNet-18 and a small decoder, after Ke, Fan and Yang.

The trunk is conv1 to conv3_x (He et al. 2016). It starts from random weights.

Parameters: 954,722.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Residual(nn.Module):
    """Two 3x3 convolutions with batch norm, and the input added; torchvision's names."""

    def __init__(self, channels: int, out: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample = (
            nn.Sequential(
                nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out)
            )
            if stride != 1
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """x (N, channels, h, w). Returns (N, out, h / stride, w / stride)."""
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class Resnet18(nn.Module):
    """L (N, 1, H, W), 0..100, to ab (N, 2, H, W), CIELAB units; sides are multiples of 8."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential()
        self.encoder.add_module("conv1", nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False))
        self.encoder.add_module("bn1", nn.BatchNorm2d(64))
        self.encoder.add_module("relu", nn.ReLU(inplace=True))
        self.encoder.add_module("maxpool", nn.MaxPool2d(3, stride=2, padding=1))
        self.encoder.add_module("layer1", nn.Sequential(Residual(64, 64), Residual(64, 64)))
        self.encoder.add_module(
            "layer2", nn.Sequential(Residual(64, 128, stride=2), Residual(128, 128))
        )  # (N, 128, H/8, W/8)
        self.decoder = nn.Sequential(
            _conv(128, 128),
            nn.Upsample(scale_factor=2.0, mode="nearest"),
            _conv(128, 64),
            _conv(64, 64),
            nn.Upsample(scale_factor=2.0, mode="nearest"),
            _conv(64, 32),
            nn.Conv2d(32, 2, 3, padding=1),
            nn.Upsample(scale_factor=2.0, mode="nearest"),
        )

    def forward(self, L: Tensor) -> Tensor:
        """L (N, 1, H, W) float32, 0..100. Returns ab (N, 2, H, W), CIELAB units."""
        # ImageNet's mean and deviation of grey.
        return self.decoder(self.encoder((L / 100 - 0.449) / 0.226)) * 128


def _conv(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(inplace=True)
    )
