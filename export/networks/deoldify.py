"""deoldify: the U-nets of J. Antic's DeOldify: artistic over ResNet-34, stable and video over -101.

Only for their public weights. Submodules are numbered and named as fastai 1 did in the public
files; spectral and weight norm are folded away.

Parameters: 63,645,681 (artistic) and 218,221,173 (stable, video), once the norms are folded.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from kinemacolor.export.networks.picture import denormalized, normalized, rgb_to_ab
from kinemacolor.export.networks.resnet import ResNet
from kinemacolor.export.networks.shuffle import Shuffle
from kinemacolor.export.weights import Weights
from torch import Tensor, nn

REACH = 3.0  # the answer lies within -3..3 of ImageNet's standard deviations
PARTS = 4  # in which places look: at once, TensorRT needs over 2 GB for eight pictures
ATTENTIVE = 1  # the second of the decoder's four steps looks at all places


@dataclass(frozen=True)
class Plan:
    """How large the parts are."""

    depths: tuple[int, ...]  # blocks in each stage of the encoder
    channels: tuple[int, ...]  # of the stem, and within the blocks of each stage
    bottleneck: bool  # ResNet-50 and larger have blocks of three convolutions
    deep: bool  # two convolutions in each step of the decoder; else one
    widths: tuple[int, ...]  # channels that each step of the decoder gives

    @classmethod
    def of(cls, weights: Weights) -> Plan:
        """Reads the sizes from names and shapes. Raises KeyError for a tensor that is missing."""
        deep = any(name.startswith("layers.4.conv2.") for name in weights)
        last = "conv2" if deep else "conv"
        return cls(
            depths=tuple(_count(weights, f"layers.0.{stage}") for stage in range(4, 8)),
            channels=(
                len(weights["layers.0.1.weight"]),
                *(len(weights[f"layers.0.{stage}.0.bn1.weight"]) for stage in range(4, 8)),
            ),
            bottleneck="layers.0.4.0.bn3.weight" in weights,
            deep=deep,
            widths=tuple(len(weights[f"layers.{step}.{last}.2.weight"]) for step in range(4, 8)),
        )


def _count(weights: Weights, prefix: str) -> int:
    dot = prefix + "."
    return len({n.removeprefix(dot).split(".")[0] for n in weights if n.startswith(dot)})


class Glance(nn.Module):
    """Self-attention over all places (Zhang et al. 2019)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv1d(channels, channels // 8, 1, bias=False)
        self.key = nn.Conv1d(channels, channels // 8, 1, bias=False)
        self.value = nn.Conv1d(channels, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """x (N, channels, h, w). Returns the same shape."""
        flat = x.flatten(2)  # (N, channels, h w)
        # Places that look are named key there, and those that are looked at query.
        looking, seen = self.key(flat).transpose(1, 2), self.query(flat)
        value = self.value(flat).transpose(1, 2)  # (N, h w, channels)
        parts = [torch.softmax(some @ seen, 2) @ value for some in looking.chunk(PARTS, 1)]
        return (self.gamma * torch.cat(parts, 1).transpose(1, 2)).reshape(x.shape) + x


def _conv(channels: int, out: int, *, attentive: bool = False) -> nn.Sequential:
    layers = [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.ReLU(), nn.BatchNorm2d(out)]
    return nn.Sequential(*layers, *([Glance(out)] if attentive else []))


class Rise(nn.Module):
    """Doubles the size of the coarse features and joins the encoder's finer ones."""

    def __init__(
        self, channels: int, raised: int, skip: int, out: int, *, deep: bool, attentive: bool
    ) -> None:
        super().__init__()
        self.shuf = Shuffle(channels, raised)
        self.bn = nn.BatchNorm2d(skip)
        if deep:
            self.conv1 = _conv(raised + skip, out)
            self.conv2 = _conv(out, out, attentive=attentive)
            self.convs = [self.conv1, self.conv2]
        else:
            self.conv = _conv(raised + skip, out, attentive=attentive)
            self.convs = [self.conv]

    def forward(self, x: Tensor, finer: Tensor) -> Tensor:
        """x (N, channels, h, w), finer (N, skip, 2h, 2w). Returns (N, out, 2h, 2w)."""
        x = torch.relu(torch.cat([self.shuf(x), self.bn(finer)], 1))
        for conv in self.convs:
            x = conv(x)
        return x


class Residual(nn.Module):
    """Two convolutions, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU())
                for _ in range(2)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class DeOldify(nn.Module):
    """L (N, 1, H, W), 0..100, to ab (N, 2, H, W), CIELAB units; sides are multiples of 32."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        encoder = ResNet(plan.depths, plan.channels, bottleneck=plan.bottleneck)
        *skips, top = encoder.widths
        rises: list[nn.Module] = []
        channels = top
        for i, (skip, out) in enumerate(zip(reversed(skips), plan.widths, strict=True)):
            raised = channels // 2 if plan.deep else out
            rises.append(
                Rise(channels, raised, skip, out, deep=plan.deep, attentive=i == ATTENTIVE)
            )
            channels = out
        self.layers = nn.ModuleList(
            [
                encoder,
                nn.BatchNorm2d(top),
                nn.ReLU(),
                nn.Sequential(_conv(top, top * 2), _conv(top * 2, top)),
                *rises,
                Shuffle(channels, channels, norm=False),
                nn.Identity(),  # the picture joins
                Residual(channels + 3),
                nn.Sequential(nn.Conv2d(channels + 3, 3, 1)),
            ]
        )

    def rgb(self, L: Tensor) -> Tensor:
        """L (N, 1, H, W) float32, 0..100. Returns RGB (N, 3, H, W), about 0..1."""
        picture = normalized(L)
        encoder, norm, relu, middle, *rises, up, _, residual, last = self.layers
        *finer, x = encoder(picture)
        x = middle(relu(norm(x)))
        for rise in rises:
            x = rise(x, finer.pop())
        x = torch.cat([up(x), picture], 1)
        x = torch.sigmoid(last(residual(x))) * (2 * REACH) - REACH
        return denormalized(x)

    def forward(self, L: Tensor) -> Tensor:
        """L (N, 1, H, W) float32, 0..100. Returns ab (N, 2, H, W), CIELAB units."""
        return rgb_to_ab(self.rgb(L))
