"""unet: the Keras encoder-decoder of Wast and Kanwar, rebuilt layer by layer.

Parameters: 6,219,410.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Output channels of each 3x3 convolution; "/2" halves the size, "x2" doubles it (nearest).
LAYERS = (
    64, "/2", 128, 128, "/2", 256, 256, "/2", 512, 512, 256, 128, "x2", 64, "x2", 32, 16, 2, "x2",
)  # fmt: skip


class Unet(nn.Module):
    """L (N, 1, H, W), 0..100, to ab (N, 2, H, W), CIELAB units; sides are multiples of 8."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList()
        self.after: list[str] = []  # "", "/2" (this convolution's stride) or "x2"
        channels = 1
        for item in LAYERS:
            if isinstance(item, int):
                self.convs.append(nn.Conv2d(channels, item, 3, padding=1))
                self.after.append("")
                channels = item
            else:
                self.after[-1] = item
                if item == "/2":  # Keras' "same" pads a stride of 2 at the far side only
                    conv = self.convs[-1]
                    assert isinstance(conv, nn.Conv2d)
                    conv.stride, conv.padding = (2, 2), (0, 0)
        for conv in self.convs:  # Keras' default
            assert isinstance(conv, nn.Conv2d)
            nn.init.xavier_uniform_(conv.weight)
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)

    def forward(self, L: Tensor) -> Tensor:
        """L (N, 1, H, W) float32, 0..100. Returns ab (N, 2, H, W), CIELAB units."""
        x = L / 100
        last = len(self.convs) - 1
        for i, (conv, after) in enumerate(zip(self.convs, self.after, strict=True)):
            x = conv(F.pad(x, (0, 1, 0, 1)) if after == "/2" else x)
            x = torch.tanh(x) if i == last else F.relu(x)
            if after == "x2":
                x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return x * 128
