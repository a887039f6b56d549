"""One file per architecture; `build` chooses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kinemacolor.export.errors import ExportError, UnknownNetwork
from torch import nn


@dataclass(frozen=True)
class Entry:
    """What training and export need to know about an architecture."""

    architecture: str
    size: int  # preferred input side, pixels
    stride: int  # input size / output size
    multiple: int  # the input's sides must be multiples of this
    optimizer: Literal["adamw", "adam", "adamax"]
    learning_rate: float

    def check_sides(self, network: str, *sides: int) -> None:
        """Raises ExportError for a side, in pixels, that the network does not take."""
        if odd := [side for side in sides if side % self.multiple]:
            raise ExportError(
                f"{network} takes sides of a multiple of {self.multiple}, not of {odd[0]}"
            )


ENTRIES = {
    "kinema": Entry("EfficientNet-Lite0 U-net, 313 ab bins", 192, 4, 32, "adamw", 1e-3),
    "zhang": Entry("VGG-style, dilated, 313 ab bins (Zhang 2016)", 224, 4, 8, "adamw", 3e-4),
    "unet": Entry("encoder-decoder, regression (Wast and Kanwar)", 256, 1, 8, "adamax", 1e-3),
    "resnet18": Entry("half ResNet-18, regression (Ke, Fan, Yang)", 224, 1, 8, "adam", 1e-3),
    "fusion": Entry("VGG-16 global + local (Tunuguntla, Bhat)", 224, 4, 32, "adam", 3e-4),
}
NAMES = tuple(ENTRIES)
__all__ = ["ENTRIES", "NAMES", "Entry", "build", "entry"]


def entry(name: str) -> Entry:
    """Returns what is known about an architecture. Raises UnknownNetwork."""
    if name not in ENTRIES:
        raise UnknownNetwork(f"no network {name!r}: known are {', '.join(NAMES)}")
    return ENTRIES[name]


def build(name: str, *, pretrained: bool = True) -> nn.Module:
    """Returns an untrained network that maps L (N, 1, H, W) to ab (N, 2, h, w).

    pretrained: start an encoder from ImageNet weights where the network has them at hand.
    """
    entry(name)
    match name:
        case "kinema":
            from kinemacolor.export.networks.kinema import Kinema

            return Kinema(pretrained=pretrained)
        case "zhang":
            from kinemacolor.export.networks.zhang import Zhang

            return Zhang()
        case "unet":
            from kinemacolor.export.networks.unet import Unet

            return Unet()
        case "resnet18":
            from kinemacolor.export.networks.resnet18 import Resnet18

            return Resnet18()
        case "fusion":
            from kinemacolor.export.networks.fusion import Fusion

            return Fusion()
        case _:
            raise AssertionError(f"{name!r} has an entry, but nothing here builds it")
