"""fusion: global features of a VGG-16 trunk joined with local ones, after Tunuguntla and Bhat.

Parameters: 15,187,522.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)  # 0: pool
GLOBAL = 128  # channels of the global features


class Fusion(nn.Module):
    """L (N, 1, H, W), 0..100, to ab (N, 2, H/4, W/4); sides are multiples of 32.

    The global features see the whole picture and are the same at every place. Published for
    32x32 (CIFAR) and 224x224; the trunk's mean makes one network serve both.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for out in VGG16:
            if out:
                layers += [nn.Conv2d(channels, out, 3, padding=1), nn.ReLU(inplace=True)]
                channels = out
            else:
                layers.append(nn.MaxPool2d(2))
        self.trunk = nn.Sequential(*layers)  # (N, 512, H/32, W/32)
        self.summary = nn.Linear(512, GLOBAL)
        self.local = nn.Sequential(
            *_block(1, 64), nn.MaxPool2d(2), *_block(64, 128), nn.MaxPool2d(2), *_block(128, 128)
        )  # (N, 128, H/4, W/4)
        self.join = nn.Sequential(
            nn.Conv2d(128 + GLOBAL, 64, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(64, 2, 3, padding=1),
            nn.Tanh(),
        )
        for layer in self.trunk:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, L: Tensor) -> Tensor:
        """L (N, 1, H, W) float32, 0..100. Returns ab (N, 2, H/4, W/4), CIELAB units."""
        x = L / 50 - 1
        local = self.local(x)
        summary = torch.relu(self.summary(self.trunk(x).mean((2, 3))))
        summary = summary[:, :, None, None] + torch.zeros_like(local[:, :GLOBAL])
        return self.join(torch.cat([local, summary], 1)) * 128


def _block(channels: int, out: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
