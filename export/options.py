"""Every option of a training run and of an export, once: the command line and Python take both."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kinemacolor.checked import Checked, option
from kinemacolor.errors import BadOption

Crop = tuple[int, int, int]  # width and height in pixels, pictures

CROPS: tuple[Crop, ...] = (
    (224, 224, 18), (256, 192, 18), (192, 256, 18), (288, 192, 16), (256, 224, 16), (256, 256, 14),
)  # fmt: skip


def parse_crop(text: str) -> Crop:
    """Reads "256x192:18" or "192:24" as (width, height, pictures). Raises BadOption."""
    match = re.fullmatch(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?:([1-9]\d{0,4})", text)
    if match is None:
        raise BadOption(f"{text!r} is no crop: give WIDTHxHEIGHT:BATCH, for example 256x192:18")
    width, height, count = match.groups()
    return int(width), int(height or width), int(count)


@dataclass(frozen=True)
class TrainOptions(Checked):
    """How a network is trained.

    Attributes:
        validate_on: zip files and folders of colour pictures, for the scores and samples of every
            evaluation.
        hours: budget of wall-clock time, over all resumed runs; the learning rate follows a
            cosine over it.
        pictures: budget of pictures seen. One of both is needed.
        crops: batches to draw from. The default's several shapes make a network serve several
            shapes. Smaller crops train faster, but show things at a smaller scale than a whole
            picture at the network's own size: with most crops at 128, colours at 256x256 became
            worse with training.
        rebalance: for networks that predict bins; default: 0.3 for kinema, 0 for zhang; 1 is Zhang
            et al.'s class rebalancing.
        vivid, saturation: see `BinLoss`; for networks that predict bins.
        start: the averaged weights of a checkpoint of the same network, or those of an .onnx
            model that was exported from it; a path, or the name of a packaged model.
        learning_rate: default: the network's own.
        threads: default: all.
        film_share: share of pictures that are made to look like old film.
        checkpoint_seconds: from one checkpoint to the next.
    """

    validate_on: tuple[Path, ...] = option(
        (), "Held-out pictures for scores and samples.", metavar="PATH", parse=Path
    )
    hours: float | None = option(None, "Budget of time.", low=0.0)
    pictures: int | None = option(None, "Budget of pictures seen.", low=1)
    crops: tuple[Crop, ...] = option(
        CROPS,
        "Crops to draw, 128:32 for a square; default: six shapes around 224x224.",
        "--crop",
        metavar="WIDTHxHEIGHT:BATCH",
        parse=parse_crop,
    )
    rebalance: float | None = option(
        None, "Power of the rare-colour weights; kinema 0.3, zhang 0; paper's: 1."
    )
    vivid: float = option(0.0, "Least share of the truth's colorfulness; 0 is off.", low=0.0)
    saturation: float = option(1.0, "Factor on ab that the export will have, for --vivid.", low=0.0)
    start: str | Path | None = option(
        None, "What a new run begins with: a checkpoint, an .onnx model, or kinema."
    )
    learning_rate: float | None = option(None, "Peak of the cosine.")
    seed: int = option(0, "Of crops and first weights.")
    device: str = option("auto", "auto, cpu, cuda")
    threads: int | None = option(None, "CPU cores to use.", low=1)
    film_share: float = 0.4
    checkpoint_seconds: float = 150.0


@dataclass(frozen=True)
class ExportOptions(Checked):
    """What an exported model computes and says of itself.

    Attributes:
        temperature, saturation, rebalance: see `BinHead.tune`, which has the defaults; zhang has
            the temperature only, the networks without bins none.
        side: of the square whose area is the preferred one; default: the network's own.
    """

    name: str | None = option(None, "Of the model, in its file; the network's.")
    version: str = option("1", "Kept in the file.")
    temperature: float | None = option(
        None, "Of the annealed mean, 0.38; 1 is the mean, towards 0 the mode."
    )
    saturation: float | None = option(None, "Factor on ab, 1.")
    rebalance: float | None = option(None, "Power of the rare-colour weights, 0.")
    side: int | None = option(
        None, "Of the square whose area it prefers, pixels.", low=32, high=1024
    )
    license: str = option("not stated", "Kept in the file.")
    training_data: str = option("", "What it was trained on, kept in the file.")
