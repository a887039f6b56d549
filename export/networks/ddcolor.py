"""ddcolor: the network of "DDColor: Towards Photo-Realistic Image Colorization", Kang et al. 2023.

Only for its public weights. A ConvNeXt encoder; a U-shaped pixel decoder; a colour decoder whose
queries (100) look at three scales of it, nine times, and each become a mask over the pixels.
Submodules are named as in the public files, spectral norm folded away.

Parameters: 55,005,104 (tiny) and about 228 million (large).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from kinemacolor.export.networks.color_decoder import ColorDecoder
from kinemacolor.export.networks.convnext import ConvNeXt
from kinemacolor.export.networks.picture import normalized
from kinemacolor.export.networks.shuffle import Shuffle, shuffled
from kinemacolor.export.weights import Weights
from torch import Tensor, nn

UNUSED = ("mean", "std", "encoder.arch.norm.", "encoder.arch.head")  # in files, not in answers


@dataclass(frozen=True)
class Plan:
    """How large the parts are."""

    depths: tuple[int, ...]  # blocks in each stage of the encoder
    channels: tuple[int, ...]  # of each stage
    width: int  # channels of the pixel decoder
    hidden: int  # channels of a query
    queries: int
    layers: int  # of the colour decoder
    inner: int  # channels within a feed-forward layer

    @classmethod
    def of(cls, weights: Weights) -> Plan:
        """Reads the sizes from names and shapes. Raises KeyError for a tensor that is missing."""
        stages, decoder = "encoder.arch.stages", "decoder.color_decoder"
        last = weights["decoder.layers.2.conv.2.weight"]
        queries, hidden = weights[f"{decoder}.query_feat.weight"].shape
        return cls(
            depths=tuple(_count(weights, f"{stages}.{i}") for i in range(4)),
            channels=tuple(len(weights[f"encoder.arch.norm{i}.weight"]) for i in range(4)),
            width=2 * len(last),
            hidden=hidden,
            queries=queries,
            layers=_count(weights, f"{decoder}.transformer_ffn_layers"),
            inner=len(weights[f"{decoder}.transformer_ffn_layers.0.linear1.bias"]),
        )


def _count(weights: Weights, prefix: str) -> int:
    """How many numbered submodules there are below a prefix."""
    dot = prefix + "."
    places = {n.removeprefix(dot).split(".")[0] for n in weights if n.startswith(dot)}
    return len(places)


class Rise(nn.Module):
    """Doubles the size of the coarse features and joins the encoder's finer ones."""

    def __init__(self, channels: int, skip: int, out: int) -> None:
        super().__init__()
        self.shuf = Shuffle(channels, out)
        self.bn = nn.BatchNorm2d(skip)
        self.conv = nn.Sequential(
            nn.Conv2d(out + skip, out, 3, padding=1, bias=False), nn.ReLU(), nn.BatchNorm2d(out)
        )

    def forward(self, x: Tensor, finer: Tensor) -> Tensor:
        """x (N, channels, h, w), finer (N, skip, 2h, 2w). Returns (N, out, 2h, 2w)."""
        return self.conv(torch.relu(torch.cat([self.shuf(x), self.bn(finer)], 1)))


class Decoder(nn.Module):
    """The two decoders, and the pixels' last step to the size of the picture."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        finest, finer, coarser, coarsest = plan.channels
        half = plan.width // 2
        self.layers = nn.ModuleList(
            [
                Rise(coarsest, coarser, plan.width),
                Rise(plan.width, finer, plan.width),
                Rise(plan.width, finest, half),
            ]
        )
        self.last_shuf = nn.ModuleDict({"conv": nn.Sequential(nn.Conv2d(half, half * 16, 1))})
        self.color_decoder = ColorDecoder(
            (plan.width, plan.width, half),
            hidden=plan.hidden,
            queries=plan.queries,
            layers=plan.layers,
            inner=plan.inner,
            out=half,
        )


class DDColor(nn.Module):
    """L (N, 1, H, W), 0..100, to ab (N, 2, H, W), CIELAB units; sides are multiples of 32."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.encoder = nn.ModuleDict({"arch": ConvNeXt(plan.depths, plan.channels)})
        self.decoder = Decoder(plan)
        self.refine_net = nn.Sequential(nn.Sequential(nn.Conv2d(plan.queries + 3, 2, 1)))

    def forward(self, L: Tensor) -> Tensor:
        """L (N, 1, H, W) float32, 0..100. Returns ab (N, 2, H, W), CIELAB units."""
        picture = normalized(L)
        features = self.encoder["arch"](picture)
        scales = [features[-1]]
        for rise, finer in zip(self.decoder.layers, features[-2::-1], strict=True):
            scales.append(rise(scales[-1], finer))
        pixels = torch.relu(self.decoder.last_shuf["conv"](scales[-1]))  # (N, 16 C, H/4, W/4)
        colors = self.decoder.color_decoder(scales[1:])  # (N, queries, C)
        return self._mix(colors, pixels, picture)

    def _mix(self, colors: Tensor, pixels: Tensor, picture: Tensor) -> Tensor:
        """The masks of the queries, weighed by the last convolution.

        Masks, shuffle and blur are linear, so the weights go through the queries first: two
        planes of full size are made instead of C and of one for each query.
        """
        last: Any = self.refine_net.get_submodule("0.0")
        weight = last.weight.flatten(1)  # (2, queries + 3)
        queries = colors.shape[1]
        mixed = weight[:, :queries] @ colors  # (N, 2, C)
        count, _, height, width = pixels.shape
        planes = mixed @ pixels.reshape(count, mixed.shape[2], -1)  # (N, 2, 16 h w)
        planes = shuffled(planes.reshape(count, 32, height, width), 4)  # (N, 2, H, W)
        kernel = torch.cat([torch.eye(2).to(weight), weight[:, queries:]], 1)  # (2, 2 + 3)
        both = torch.cat([planes, picture], 1)
        return nn.functional.conv2d(both, kernel[:, :, None, None], last.bias)
