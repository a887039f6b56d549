"""Trains one network on pictures: a run can be killed at any time and goes on where it was."""

from __future__ import annotations

import ctypes
import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from kinemacolor.export import checkpoint, exported, networks, validation
from kinemacolor.export.data import Batches, Pictures, Shape
from kinemacolor.export.errors import ExportError
from kinemacolor.export.learner import Budget, Learner
from kinemacolor.export.losses import BinLoss, MeanSquaredLoss
from kinemacolor.export.networks.head import BinHead
from kinemacolor.export.parallel import SplitStep
from torch import nn

# Width and height in pixels, pictures.
CROPS = (
    (224, 224, 18), (256, 192, 18), (192, 256, 18), (288, 192, 16), (256, 224, 16), (256, 256, 14),
)  # fmt: skip


@dataclass(frozen=True)
class Progress:
    """What a run reports after every step."""

    step: int
    pictures: int
    seconds: float
    share: float  # of the whole run, 0..1
    loss: float  # mean of the last 100 steps
    scores: validation.Scores | None = None  # on the steps that evaluate


def train(
    network: str,
    data: Sequence[Path],
    out: Path,
    *,
    validate_on: Sequence[Path] = (),
    hours: float | None = None,
    pictures: int | None = None,
    crops: Sequence[tuple[int, int, int]] = CROPS,
    learning_rate: float | None = None,
    rebalance: float | None = None,
    vivid: float = 0.0,
    saturation: float = 1.0,
    film_share: float = 0.4,
    seed: int = 0,
    start: Path | None = None,
    resume: bool = True,
    checkpoint_seconds: float = 150,
    evaluate_seconds: float = 480,
    device: str = "auto",
    workers: int = 1,
    threads: int | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Path:
    """Trains until the time or the number of pictures is used up; returns the last checkpoint.

    Args:
        network: one of `networks.NAMES`.
        data: zip files and folders of colour pictures.
        out: folder of the run: checkpoint, curve, sample pictures.
        validate_on: like data, for the scores and samples of every evaluation.
        hours: budget of wall-clock time, over all resumed runs; the learning rate follows a
            cosine over it.
        pictures: budget of pictures seen. One of both is needed.
        crops: batches to draw from, each as (width, height, pictures). The default's several
            shapes make a network serve several shapes. Smaller crops train faster, but show things
            at a smaller scale than a whole picture at the network's own size: with most crops at
            128, colours at 256x256 became worse with training.
        learning_rate: peak; default: the network's own.
        rebalance: power of the rare-colour weights, for networks that predict bins; default: 0.3
            for kinema, 0 for zhang; 1 is Zhang et al.'s class rebalancing.
        vivid, saturation: see `BinLoss`; for networks that predict bins.
        film_share: share of pictures that are made to look like old film.
        start: what a new run begins with: the averaged weights of a checkpoint of the same
            network, or those of an .onnx file that was exported from it.
        threads: CPU cores to use; default: all.
        resume: go on from `out`'s checkpoint if there is one.

    Raises ExportError: no data, a checkpoint of another network, a full disk, NaN.
    """
    entry = networks.entry(network)
    budget = Budget(hours=hours, pictures=pictures)
    if learning_rate is not None and not learning_rate > 0:
        raise ExportError(f"the learning rate must be more than 0, got {learning_rate}")
    device = usable_device(device)
    keep_freed_memory()
    torch.manual_seed(seed)
    source = Pictures(data)
    held_out = Pictures(validate_on) if validate_on else None
    for given in filter(None, (source, held_out)):
        given.check()
    if odd := [side for crop in crops for side in crop[:2] if side % entry.multiple]:
        raise ExportError(
            f"{network} takes crops with sides of a multiple of {entry.multiple}, not of {odd[0]}"
        )
    shapes = [Shape(*crop, entry.stride) for crop in crops]
    batches = Batches(source, shapes, seed=seed, film_share=film_share, workers=workers)
    model = networks.build(network)
    if start is not None and start.suffix == ".onnx":
        exported.load(start, model, batches.make(0)[0])
    elif start is not None:
        model.load_state_dict(checkpoint.load_average(start, network=network)[1].state_dict())
    loss_of = make_loss(model, rebalance, vivid=vivid, saturation=saturation).to(device)
    path = out / checkpoint.FILE
    learner = Learner(network, model, budget, path, learning_rate=learning_rate, device=device)
    if resume and path.exists():
        learner.restore()
    out.mkdir(parents=True, exist_ok=True)

    position = learner.position
    started = time.monotonic() - position.seconds
    saved = evaluated = position.seconds
    losses: deque[float] = deque(maxlen=100)

    def tell(scores: validation.Scores | None = None) -> None:
        loss = sum(losses) / len(losses) if losses else math.nan
        seen = position.step, position.pictures, position.seconds
        report(Progress(*seen, learner.share, loss, scores))

    cores = 1 if device == "cuda" else threads or os.cpu_count() or 1
    if device == "cpu":
        torch.set_num_threads(1)
    with batches, SplitStep(model, loss_of, threads=cores) as split:
        for L, ab in batches.from_step(position.step):
            if learner.share >= 1:
                break
            losses.append(learner.learn(split, L, ab))
            position.seconds = time.monotonic() - started
            if position.seconds - saved > checkpoint_seconds:
                learner.save()
                saved = position.seconds
            scores = None
            if held_out and position.seconds - evaluated > evaluate_seconds:
                scores = validation.evaluate(learner.average, held_out, out, position)
                evaluated = time.monotonic() - started
            tell(scores)
    learner.save()
    source.report_skipped()
    if held_out:
        tell(validation.evaluate(learner.average, held_out, out, position))
        held_out.report_skipped()
    return path


def usable_device(name: str) -> str:
    """Returns "cpu" or "cuda"; auto is a GPU where there is one. Raises ExportError."""
    there = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    if name != "auto" and name not in there:
        raise ExportError(f"no device {name!r} to train on: auto, {', '.join(there)}")
    return there[-1] if name == "auto" else name


def make_loss(
    model: nn.Module, rebalance: float | None, *, vivid: float, saturation: float
) -> nn.Module:
    """Returns the loss that the network was published with, or ours for ours.

    Args:
        rebalance, vivid, saturation: see `train`; other than the defaults only for bins.
    """
    if not hasattr(model, "logits"):
        if rebalance or vivid:
            raise ExportError("--rebalance and --vivid are for networks that predict bins")
        return MeanSquaredLoss()
    if isinstance(getattr(model, "head", None), BinHead):
        power = 0.3 if rebalance is None else rebalance
        return BinLoss(power=power, vivid=vivid, saturation=saturation)
    # Zhang et al. minimise the cross-entropy alone.
    return BinLoss(
        power=rebalance or 0.0, vivid=vivid, saturation=saturation, mean_weight=0, norm_weight=0
    )


def keep_freed_memory() -> None:
    """Tells glibc to keep large freed blocks: giving them back cost a third of a training step."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(-4, 0)  # M_MMAP_MAX: no block of its own mapping
            libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
            libc.mallopt(-2, 256 << 20)  # M_TOP_PAD
