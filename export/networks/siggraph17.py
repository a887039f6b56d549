"""siggraph17: the network of "Real-Time User-Guided Image Colorization", Zhang et al. 2017.

Only for its public weights, in automatic mode: no user's colour, so the hint planes are zero.
Submodules are named as in the public file, so that its state loads as it is.

Parameters: 34,187,283, the classification head of 529 bins included, which automatic mode ignores.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Siggraph17(nn.Module):
    """L (N, 1, H, W), 0..100, to ab (N, 2, H, W), CIELAB units; sides are multiples of 8."""

    def __init__(self) -> None:
        super().__init__()
        self.model1 = _block(4, 64, 2)
        self.model2 = _block(64, 128, 2)
        self.model3 = _block(128, 256, 3)
        self.model4 = _block(256, 512, 3)
        self.model5 = _block(512, 512, 3, dilation=2)
        self.model6 = _block(512, 512, 3, dilation=2)
        self.model7 = _block(512, 512, 3)
        self.model8up = nn.Sequential(nn.ConvTranspose2d(512, 256, 4, stride=2, padding=1))
        self.model3short8 = nn.Sequential(nn.Conv2d(256, 256, 3, padding=1))
        self.model8 = nn.Sequential(nn.ReLU(), *_block(256, 256, 2))
        self.model9up = nn.Sequential(nn.ConvTranspose2d(256, 128, 4, stride=2, padding=1))
        self.model2short9 = nn.Sequential(nn.Conv2d(128, 128, 3, padding=1))
        self.model9 = nn.Sequential(nn.ReLU(), *_block(128, 128, 1))
        self.model10up = nn.Sequential(nn.ConvTranspose2d(128, 128, 4, stride=2, padding=1))
        self.model1short10 = nn.Sequential(nn.Conv2d(64, 128, 3, padding=1))
        self.model10 = nn.Sequential(
            nn.ReLU(), nn.Conv2d(128, 128, 3, padding=1), nn.LeakyReLU(0.2)
        )
        self.model_class = nn.Sequential(nn.Conv2d(256, 529, 1))
        self.model_out = nn.Sequential(nn.Conv2d(128, 2, 1), nn.Tanh())

    def forward(self, L: Tensor) -> Tensor:
        """L (N, 1, H, W) float32, 0..100. Returns ab (N, 2, H, W), CIELAB units."""
        lightness = (L - 50) / 100
        hints = torch.zeros_like(lightness).expand(-1, 3, -1, -1)  # a, b and the mask
        full = self.model1(torch.cat([lightness, hints], 1))  # (N, 64, H, W)
        half = self.model2(full[:, :, ::2, ::2])
        quarter = self.model3(half[:, :, ::2, ::2])
        x = self.model4(quarter[:, :, ::2, ::2])  # (N, 512, H/8, W/8)
        x = self.model7(self.model6(self.model5(x)))
        x = self.model8(self.model8up(x) + self.model3short8(quarter))
        x = self.model9(self.model9up(x) + self.model2short9(half))
        x = self.model10(self.model10up(x) + self.model1short10(full))
        return self.model_out(x) * 110


def _block(channels: int, out: int, count: int, *, dilation: int = 1) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(count):
        layers += [nn.Conv2d(channels, out, 3, padding=dilation, dilation=dilation), nn.ReLU()]
        channels = out
    return nn.Sequential(*layers, nn.BatchNorm2d(out))
