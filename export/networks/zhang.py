"""zhang: the VGG-style network of "Colorful Image Colorization", Zhang, Isola and Efros 2016.

Eight blocks of 3x3 convolutions with ReLU, batch norm at each block's end, strides instead of
pooling, dilation instead of a third octave; 313 ab bins at a quarter of the input size.

Parameters: 32,235,385.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from kinemacolor.export import bins
from torch import Tensor, nn


class Block(NamedTuple):
    """Convolutions of one block; the last has the stride."""

    convolutions: int
    channels: int
    stride: int = 1
    dilation: int = 1


BLOCKS = (
    Block(2, 64, 2),
    Block(2, 128, 2),
    Block(3, 256, 2),
    Block(3, 512),
    Block(3, 512, dilation=2),
    Block(3, 512, dilation=2),
    Block(3, 512),
)


class Zhang(nn.Module):
    """L (N, 1, H, W), 0..100, to ab (N, 2, H/4, W/4); H and W are multiples of 8."""

    def __init__(self, *, temperature: float = bins.TEMPERATURE) -> None:
        super().__init__()
        self.temperature = temperature
        layers: list[nn.Module] = []
        channels = 1
        for block in BLOCKS:
            for i in range(block.convolutions):
                stride = block.stride if i == block.convolutions - 1 else 1
                layers += [
                    nn.Conv2d(
                        channels,
                        block.channels,
                        3,
                        stride=stride,
                        padding=block.dilation,
                        dilation=block.dilation,
                    ),
                    nn.ReLU(inplace=True),
                ]
                channels = block.channels
            layers.append(nn.BatchNorm2d(channels))
        self.trunk = nn.Sequential(*layers)  # (N, 512, H/8, W/8)
        self.up = nn.Sequential(
            nn.ConvTranspose2d(512, 256, 4, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, bins.COUNT, 1),
        )
        self.register_buffer("points", torch.from_numpy(bins.centers()))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    points: Tensor  # (313, 2) float32, the bins' ab; public weights bring their own
    choices = ("temperature",)  # what `tune` takes; the published network has nothing else

    def tune(self, *, temperature: float = bins.TEMPERATURE) -> None:
        """Sets the temperature of the annealed mean."""
        self.temperature = temperature

    def logits(self, L: Tensor) -> Tensor:
        """L (N, 1, H, W) float32, 0..100. Returns logits (N, 313, H/4, W/4)."""
        return self.up(self.trunk((L - 50) / 100))  # (N, 313, H/4, W/4)

    def forward(self, L: Tensor) -> Tensor:
        """L (N, 1, H, W) float32, 0..100. Returns ab (N, 2, H/4, W/4), CIELAB units."""
        share = torch.softmax(self.logits(L) / self.temperature, dim=1)
        return nn.functional.conv2d(share, self.points.T[:, :, None, None])
