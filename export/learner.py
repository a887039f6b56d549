"""A network that learns: its weights, their average, its optimizer, and where it stands."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from kinemacolor.export import checkpoint, networks
from kinemacolor.export.errors import ExportError, TrainingDiverged
from kinemacolor.export.parallel import SplitStep
from torch import Tensor, nn

WARM_UP = 200  # steps
DECAY = 0.998  # of the averaged weights, a step


@dataclass(frozen=True)
class Budget:
    """What a run may use: hours of wall-clock time or a number of pictures.

    Raises ExportError unless it is one of both, and more than nothing.
    """

    hours: float | None = None
    pictures: int | None = None

    def __post_init__(self) -> None:
        if (self.hours is None) == (self.pictures is None):
            raise ExportError("give a budget: either hours or pictures")
        if (self.hours or self.pictures or 0) <= 0:
            raise ExportError("the budget must be more than nothing")

    def share(self, position: checkpoint.Position) -> float:
        """Returns how much of it is used up, 0 to 1 and a little more."""
        if self.hours is not None:
            return position.seconds / (self.hours * 3600)
        assert self.pictures is not None
        return position.pictures / self.pictures


class Learner:
    """One run's state. Its learning rate warms up, then follows a cosine over the budget."""

    def __init__(
        self,
        name: str,
        model: nn.Module,
        budget: Budget,
        path: Path,
        *,
        learning_rate: float | None = None,
        device: str = "cpu",
    ) -> None:
        """Moves the model to the device.

        Args:
            path: of the run's checkpoint.
            learning_rate: peak; default: the network's own.
        """
        entry = networks.entry(name)
        self.path = path
        self.position = checkpoint.Position(name)
        self.model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.model).eval()
        self.optimizer = make_optimizer(entry, self.model, learning_rate or entry.learning_rate)
        self._peaks = [group["lr"] for group in self.optimizer.param_groups]
        self._budget = budget
        self._device = device

    @property
    def share(self) -> float:
        """How much of the run is done."""
        return self._budget.share(self.position)

    def learn(self, split: SplitStep, L: Tensor, ab: Tensor) -> float:
        """Takes one step of the optimizer on a batch; returns its loss.

        Args:
            L: (N, 1, H, W) float32, 0..100.
            ab: (N, 2, h, w) float32, CIELAB units.

        Raises TrainingDiverged for a loss that is no number; the weights are as they were.
        """
        step = self.position.step
        for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * rate(step, self.share)
        loss = split.backward(L.to(self._device), ab.to(self._device))
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        if not (math.isfinite(loss) and bool(torch.isfinite(norm))):
            raise self._diverged(f"the loss of step {step} is {loss if norm.isfinite() else norm}")
        self.optimizer.step()
        blend(self.average, self.model, decay=min(DECAY, (1 + step) / (20 + step)))
        self.position.step += 1
        self.position.pictures += len(L)
        return loss

    def save(self) -> None:
        """Writes the checkpoint.

        Raises CheckpointError when it cannot be written, and TrainingDiverged for weights that
        are no numbers; the previous file is then untouched.
        """
        if not all(bool(torch.isfinite(p).all()) for p in self.model.parameters()):
            raise self._diverged(f"weights are not finite after step {self.position.step}")
        checkpoint.save(self.path, self.position, self.model, self.average, self.optimizer)

    def restore(self) -> None:
        """Goes on from the checkpoint. Raises CheckpointError."""
        self.position = checkpoint.restore(
            self.path, self.position.network, self.model, self.average, self.optimizer
        )

    def _diverged(self, what: str) -> TrainingDiverged:
        there = self.path.exists()
        kept = f"the last good checkpoint is {self.path}" if there else "no checkpoint was made yet"
        return TrainingDiverged(f"{what}; {kept}. A smaller --learning-rate may help")


def make_optimizer(
    entry: networks.Entry, model: nn.Module, learning_rate: float
) -> torch.optim.Optimizer:
    """Returns the optimizer that the network was published with, or AdamW for ours."""
    match entry.optimizer:
        case "adamw":
            return torch.optim.AdamW(parameter_groups(model, learning_rate), betas=(0.9, 0.98))
        case "adam":
            return torch.optim.Adam(model.parameters(), lr=learning_rate)
        case "adamax":
            return torch.optim.Adamax(model.parameters(), lr=learning_rate)


def rate(step: int, share: float) -> float:
    """Factor on the learning rate: WARM_UP steps, then a cosine down to 1 %."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
    return min(1.0, (step + 1) / WARM_UP) * (0.01 + 0.99 * cosine)


def parameter_groups(model: nn.Module, learning_rate: float) -> list[dict[str, object]]:
    """Splits the parameters: a pretrained encoder learns slower, vectors do not decay."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        key = (name.startswith("encoder."), parameter.ndim > 1)
        groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": learning_rate * (0.3 if encoder else 1.0),
            "weight_decay": 0.02 if decays else 0.0,
        }
        for (encoder, decays), parameters in groups.items()
    ]


@torch.no_grad()
def blend(average: nn.Module, model: nn.Module, *, decay: float) -> None:
    """Moves the averaged weights a little towards the trained ones."""
    ours, theirs = _floats(average), _floats(model)
    torch._foreach_lerp_(ours, theirs, 1 - decay)


def _floats(model: nn.Module) -> list[Tensor]:
    state: Iterable[Tensor] = model.state_dict().values()
    return [tensor for tensor in state if tensor.is_floating_point()]
