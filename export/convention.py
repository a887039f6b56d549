"""How a foreign colorizer wants its picture, and what its answer means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from kinemacolor.engine.color import lab_to_rgb, rgb_to_lab
from kinemacolor.export.errors import BadWeights
from kinemacolor.export.networks.picture import IMAGENET_MEAN, IMAGENET_STD
from numpy.typing import NDArray

Picture = Literal["0..1", "0..255", "imagenet", "-1..1"]  # how RGB is written in numbers
Input = Literal["0..1", "0..255", "imagenet", "-1..1", "L"]
Output = Literal["rgb", "ab", "lab"]
INPUTS, OUTPUTS, PICTURES = get_args(Input), get_args(Output), get_args(Picture)
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Convention:
    """What goes into a foreign network and what comes out.

    Attributes:
        input: the grey picture, as RGB or as one plane; L: lightness, 0..100.
        output: RGB, CIELAB's a and b, or L, a and b.
        scale: of an RGB answer, how it is written; of ab, the factor that makes CIELAB units.
    """

    input: Input
    output: Output
    scale: Picture | float

    def __str__(self) -> str:
        if self.output == "rgb":
            return f"takes {self.input}, gives RGB {self.scale}"
        units = "in CIELAB units" if self.scale == 1 else f"times {self.scale:g}"
        return f"takes {self.input}, gives {self.output} {units}"


def offset_and_factor(picture: Picture) -> tuple[Array, Array]:
    """The offset (3,) and factor (3,) that make numbers of RGB 0..1: factor * RGB + offset."""
    one = np.ones(3, np.float32)
    match picture:
        case "0..1":
            return 0 * one, one
        case "0..255":
            return 0 * one, 255 * one
        case "-1..1":
            return -one, 2 * one
        case "imagenet":
            mean, std = np.array(IMAGENET_MEAN, np.float32), np.array(IMAGENET_STD, np.float32)
            return -mean / std, (1 / std).astype(np.float32)


def written(L: Array, kind: Input, channels: int) -> Array:
    """L (H, W), 0..100, as a network of this input takes it: (1, channels, H, W) float32."""
    if kind == "L":
        return np.repeat(L[None, None], channels, 1)
    lab = np.stack([L, 0 * L, 0 * L], -1)
    grey = lab_to_rgb(lab)[..., :1]
    offset, factor = offset_and_factor(kind)
    picture = grey * factor[:channels] + offset[:channels]  # (H, W, channels)
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)


def read_rgb(answer: Array, picture: Picture) -> Array:
    """An answer (3, h, w) to RGB (h, w, 3), not clipped."""
    offset, factor = offset_and_factor(picture)
    return (answer.transpose(1, 2, 0) - offset) / factor


def to_lab(rgb: Array) -> Array:
    """RGB (h, w, 3) to CIELAB (h, w, 3)."""
    return np.asarray(rgb_to_lab(np.clip(rgb, 0, 1)), np.float32)


@dataclass(frozen=True)
class Told:
    """What the user says of a foreign file; None is to be found."""

    input: Input | None = None
    output: Output | None = None
    scale: Picture | float | None = None

    @classmethod
    def of(cls, input: str | None, output: str | None, scale: str | None) -> Told:
        """Reads the command line's words. Raises BadWeights for others than there are."""
        for name, word, known in (("input", input, INPUTS), ("output", output, OUTPUTS)):
            if word is not None and word not in known:
                raise BadWeights(f"--{name} {word}: one of {', '.join(known)}")
        if scale is None or scale in PICTURES:
            return cls(input, output, scale)  # type: ignore[arg-type]
        try:
            return cls(input, output, float(scale))  # type: ignore[arg-type]
        except ValueError as error:
            raise BadWeights(
                f"--scale {scale}: one of {', '.join(PICTURES)} for rgb, or for ab the number "
                "that makes CIELAB units of it, 110 for example"
            ) from error
