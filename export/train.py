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
from kinemacolor.engine.spec import find_model
from kinemacolor.export import checkpoint, exported, networks, validation
from kinemacolor.export.data import Batches, Pictures, Shape
from kinemacolor.export.errors import ExportError
from kinemacolor.export.learner import Budget, Learner
from kinemacolor.export.losses import BinLoss, MeanSquaredLoss
from kinemacolor.export.networks.head import BinHead
from kinemacolor.export.options import TrainOptions
from kinemacolor.export.parallel import SplitStep
from torch import nn

EVALUATE_SECONDS = 480.0  # from one evaluation to the next


@dataclass(frozen=True)
class Progress:
    """What a run reports after every step."""

    step: int
    pictures: int
    seconds: float
    share: float  # of the whole run, 0..1
    loss: float  # mean of the last 100 steps
    scores: validation.Scores | None = None  # on the steps that evaluate


Report = Callable[[Progress], None]


def train(
    network: str,
    data: Sequence[Path],
    out: Path,
    options: TrainOptions,
    *,
    report: Report = lambda progress: None,
) -> Path:
    """Trains until the time or the number of pictures is used up; returns the last checkpoint.

    Args:
        network: one of `networks.NAMES`.
        data: zip files and folders of colour pictures.
        out: folder of the run: checkpoint, curve, sample pictures. A run that is there goes on.

    Raises ExportError: no data, a checkpoint of another network, a full disk, NaN.
    """
    entry = networks.entry(network)
    budget = Budget(hours=options.hours, pictures=options.pictures)
    rate, device = options.learning_rate, usable_device(options.device)
    if rate is not None and not rate > 0:
        raise ExportError(f"the learning rate must be more than 0, got {rate}")
    entry.check_sides(network, *(side for crop in options.crops for side in crop[:2]))
    keep_freed_memory()
    torch.manual_seed(options.seed)
    source = Pictures(data)
    held_out = Pictures(options.validate_on) if options.validate_on else None
    for given in filter(None, (source, held_out)):
        given.check()
    shapes = [Shape(*crop, entry.stride) for crop in options.crops]
    batches = Batches(source, shapes, seed=options.seed, film_share=options.film_share)
    model = _first_weights(network, options.start, batches)
    loss_of = make_loss(
        model, options.rebalance, vivid=options.vivid, saturation=options.saturation
    ).to(device)
    path = out / checkpoint.FILE
    learner = Learner(network, model, budget, path, learning_rate=rate, device=device)
    if path.exists():
        learner.restore()
    out.mkdir(parents=True, exist_ok=True)
    cores = 1 if device == "cuda" else options.threads or os.cpu_count() or 1
    if device == "cpu":
        torch.set_num_threads(1)
    with batches, SplitStep(model, loss_of, threads=cores) as split:
        _learn(learner, batches, split, held_out, options.checkpoint_seconds, report)
    for given in filter(None, (source, held_out)):
        given.report_skipped()
    return path


def _first_weights(network: str, start: str | Path | None, batches: Batches) -> nn.Module:
    """Returns a network that is new, or has the weights of a checkpoint or a model."""
    model = networks.build(network)
    file = None if start is None else find_model(start)
    if file is not None and file.suffix == ".onnx":
        exported.load(file, model, batches.make(0)[0])
    elif file is not None:
        model.load_state_dict(checkpoint.load_average(file, network=network)[1].state_dict())
    return model


def _learn(
    learner: Learner,
    batches: Batches,
    split: SplitStep,
    held_out: Pictures | None,
    checkpoint_seconds: float,
    report: Report,
) -> None:
    """Takes steps until the budget is used up; saves, evaluates and reports now and then."""
    position = learner.position
    started = time.monotonic() - position.seconds
    saved = evaluated = position.seconds
    losses: deque[float] = deque(maxlen=100)

    def tell(*, evaluate: bool) -> None:
        scores = None
        if held_out and evaluate:
            scores = validation.evaluate(learner.average, held_out, learner.path.parent, position)
        loss = sum(losses) / len(losses) if losses else math.nan
        seen = position.step, position.pictures, position.seconds
        report(Progress(*seen, learner.share, loss, scores))

    for L, ab in batches.from_step(position.step):
        if learner.share >= 1:
            break
        losses.append(learner.learn(split, L, ab))
        position.seconds = time.monotonic() - started
        if position.seconds - saved > checkpoint_seconds:
            learner.save()
            saved = position.seconds
        due = position.seconds - evaluated > EVALUATE_SECONDS
        tell(evaluate=due)
        if due:
            evaluated = time.monotonic() - started
    learner.save()
    if held_out:
        tell(evaluate=True)


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
        rebalance, vivid, saturation: see `TrainOptions`; only networks that predict bins take
            others than the defaults.
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
