"""Every architecture has the layers it was published with: counted, measured and felt."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from kinemacolor.export import networks
from kinemacolor.export.networks.siggraph17 import Siggraph17
from torch import Tensor, nn


def conv(channels: int, out: int, size: int = 3, *, groups: int = 1, bias: bool = True) -> int:
    return size**2 * (channels // groups) * out + out * bias


def norm(channels: int) -> int:
    return 2 * channels


def vgg(channels: int, widths: tuple[int, ...]) -> int:
    """3x3 convolutions one after another."""
    pairs = zip((channels, *widths), widths, strict=False)
    return sum(conv(before, after) for before, after in pairs)


def bottleneck(channels: int, out: int, size: int, expand: int) -> int:
    """A mobile inverted bottleneck; batch norm gives each convolution its scale and bias."""
    wide = expand * channels
    widen = conv(channels, wide, 1, bias=False) + norm(wide) if expand > 1 else 0
    depthwise = conv(wide, wide, size, groups=wide, bias=False) + norm(wide)
    return widen + depthwise + conv(wide, out, 1, bias=False) + norm(out)


def merge(coarse: int, skip: int, out: int) -> int:
    sides = conv(coarse, out, 1, bias=False) + conv(skip, out, 1, bias=False) + norm(out)
    return sides + conv(out, out, bias=False) + norm(out)


VGG_BLOCKS = (64, 64), (128, 128), (256,) * 3, (512,) * 3
ZHANG = VGG_BLOCKS + ((512,) * 3,) * 3
# EfficientNet-Lite0 (Tan and Le 2019, table 1): channels in and out, kernel, expansion, repeats
LITE0 = (
    (32, 16, 3, 1, 1), (16, 24, 3, 6, 2), (24, 40, 5, 6, 2), (40, 80, 3, 6, 3), (80, 112, 5, 6, 3),
    (112, 192, 5, 6, 4), (192, 320, 3, 6, 1),
)  # fmt: skip
PARAMETERS = {
    "kinema": conv(1, 32, bias=False) + norm(32)
    + sum(
        bottleneck(into if i == 0 else out, out, kernel, expand)
        for into, out, kernel, expand, repeats in LITE0
        for i in range(repeats)
    )
    + conv(320, 96, 1)
    + merge(320, 112, 96) + merge(96, 40, 64) + merge(64, 24, 48)
    + conv(48, 48, bias=False) + norm(48)
    + conv(48, 313, 1),
    "zhang": vgg(1, sum(ZHANG, ())) + sum(norm(block[-1]) for block in ZHANG)
    + conv(512, 256, 4) + vgg(256, (256, 256)) + conv(256, 313, 1),
    "unet": vgg(
        1, (64, 128, 128, 256, 256, 512, 512, 256, 128, 64, 32, 16, 2)
    ),
    "resnet18": conv(1, 64, 7, bias=False) + norm(64)
    + 4 * (conv(64, 64, bias=False) + norm(64))
    + conv(64, 128, bias=False) + 3 * conv(128, 128, bias=False) + 4 * norm(128)
    + conv(64, 128, 1, bias=False) + norm(128)
    + vgg(128, (128, 64, 64, 32, 2)) + norm(128) + 2 * norm(64) + norm(32),
    "fusion": vgg(1, sum(VGG_BLOCKS, ()) + (512,) * 3)
    + conv(512, 128, 1)
    + vgg(1, (64, 128, 128)) + norm(64) + 2 * norm(128)
    + vgg(256, (64, 64, 2)),
}  # fmt: skip


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", networks.NAMES)
def test_parameters_are_those_of_the_published_layers(name: str) -> None:
    with torch.device("meta"):
        model = networks.build(name, pretrained=False)
    assert count(model) == PARAMETERS[name]


def test_published_totals() -> None:
    """Those that are quoted: of the released Caffe file, of Keras' summary, of our own README."""
    assert PARAMETERS["zhang"] == 32_235_385
    assert PARAMETERS["unet"] == 6_219_410
    assert PARAMETERS["kinema"] == 3_221_033


def test_siggraph17_has_the_parameters_of_its_layers() -> None:
    blocks = ((64,) * 2, *ZHANG[1:])
    down = vgg(4, sum(blocks, ())) + sum(norm(block[-1]) for block in blocks)
    up = conv(512, 256, 4) + conv(256, 256) + vgg(256, (256, 256)) + norm(256)
    up += conv(256, 128, 4) + conv(128, 128) + vgg(128, (128,)) + norm(128)
    up += conv(128, 128, 4) + conv(64, 128) + vgg(128, (128,))
    with torch.device("meta"):
        assert count(Siggraph17()) == down + up + conv(256, 529, 1) + conv(128, 2, 1)


def test_unet_is_the_published_table() -> None:
    """Channels and sides of every convolution's output, for 256x256 in."""
    with torch.device("meta"):
        model = networks.build("unet")
    rows: list[tuple[int, int, int]] = []
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.kernel_size == (3, 3)
            layer.register_forward_hook(lambda _, __, out: rows.append(tuple(out.shape[1:])))
    ab = model(torch.empty(1, 1, 256, 256, device="meta"))
    assert rows == [
        (channels, side, side)
        for channels, side in (
            (64, 128), (128, 128), (128, 64), (256, 64), (256, 32), (512, 32), (512, 32),
            (256, 32), (128, 32), (64, 64), (32, 128), (16, 128), (2, 128),
        )
    ]  # fmt: skip
    assert ab.shape == (1, 2, 256, 256)


def test_unet_has_relu_between_layers_and_pads_as_keras_does() -> None:
    """Computed a second time; a stride of 2 pads the far side alone, as Keras' "same" does."""
    torch.manual_seed(0)
    model = networks.build("unet").eval()
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    L = torch.rand(1, 1, 32, 32) * 100
    x = L / 100
    with torch.no_grad():
        for i, layer in enumerate(layers):
            if i in (0, 2, 4):
                x = F.conv2d(F.pad(x, (0, 1, 0, 1)), layer.weight, layer.bias, stride=2)
            else:
                x = F.conv2d(x, layer.weight, layer.bias, padding=1)
            x = torch.relu(x) if i < 12 else torch.tanh(x)
            if i in (8, 9, 12):
                x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        torch.testing.assert_close(model(L), 128 * x)


@pytest.mark.parametrize("name", ["unet", "fusion"])
def test_tanh_bounds_the_color(name: str) -> None:
    model = networks.build(name).eval()
    last = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)][-1]
    assert last.bias is not None
    nn.init.constant_(last.bias, 1000)
    with torch.no_grad():
        assert bool((model(torch.rand(1, 1, 32, 32) * 100) == 128).all())


# Pixels from where no convolution's view reaches the first column (425 + 32 pixels for kinema's
# encoder and decoder, 22 for fusion's local branch), and the picture's width.
FAR = {"kinema": (512, 640), "fusion": (32, 64)}


@pytest.mark.parametrize("name", FAR)
def test_what_is_far_away_changes_the_colors_here(name: str) -> None:
    """The global features see the whole picture; without them no change would come through."""
    torch.manual_seed(0)
    model = networks.build(name, pretrained=False).eval()
    far, width = FAR[name]
    L = torch.rand(1, 1, 32, width) * 100
    other = L.clone()
    L[..., far:], other[..., far:] = 0, 100
    predict = getattr(model, "logits", model)

    def here(picture: Tensor) -> Tensor:
        return predict(picture)[..., 0]

    with torch.no_grad():
        assert float((here(other) - here(L)).abs().mean()) > 1e-5
