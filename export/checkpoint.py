"""What training needs to go on after a kill: weights, averaged weights, optimizer, position."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from kinemacolor.engine.outputs import replacing
from kinemacolor.engine.spec import WEIGHTS
from kinemacolor.export import networks
from kinemacolor.export.errors import CheckpointError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

FORMAT = "kinemacolor-1"
FILE = "checkpoint.safetensors"


@dataclass
class Position:
    """Where training stands."""

    network: str
    step: int = 0
    pictures: int = 0
    seconds: float = 0.0


def file_of(source: Path) -> Path:
    """Returns the checkpoint of a run's folder; a file is returned as it is."""
    return source / FILE if source.is_dir() else source


def save(
    path: Path,
    position: Position,
    network: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Writes a checkpoint beside the last one and only then replaces it.

    Raises CheckpointError when it cannot be written; the previous file is then untouched.
    """
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    state = optimizer.state_dict()["state"]
    tensors |= {f"optimizer.{i}.{k}": v for i, slot in state.items() for k, v in slot.items()}
    metadata = {"format": FORMAT, "position": json.dumps(asdict(position))}
    whole = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    try:
        with replacing(path) as partial:
            save_file(whole, partial, metadata)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"checkpoint {path} cannot be written ({error}); the previous one is kept"
        ) from error


def read(path: Path, *, network: str | None = None) -> tuple[Position, dict[str, Tensor]]:
    """Returns the position and all tensors of a checkpoint.

    Raises CheckpointError when it is none, or belongs to another network than the named one.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        foreign = path.suffix.lower() in WEIGHTS and path.suffix != Path(FILE).suffix
        if path.is_file() and foreign:
            raise CheckpointError(
                f"{path} holds weights of another program: kinemacolor models import {path} "
                "-o FILE.onnx makes a model of it"
            ) from error
        raise CheckpointError(f"{path} is not a readable checkpoint: {error}") from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} holds tensors, but is no checkpoint of this program: kinemacolor models "
            f"import {path} takes those of public networks"
        )
    try:
        position = Position(**json.loads(metadata["position"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is a checkpoint of another version: {error}") from error
    if network is not None and position.network != network:
        raise CheckpointError(
            f"{path} is a checkpoint of {position.network!r}, not of {network!r}: "
            "give another output folder"
        )
    return position, tensors


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Returns the tensors below a prefix, such as `average`."""
    dot = prefix + "."
    return {k.removeprefix(dot): v for k, v in tensors.items() if k.startswith(dot)}


def load_average(path: Path, *, network: str | None = None) -> tuple[Position, nn.Module]:
    """Returns the position, and the network with the averaged weights.

    Raises CheckpointError, also when it belongs to another network than the named one.
    """
    position, tensors = read(path, network=network)
    model = networks.build(position.network, pretrained=False)
    with _fitting(path, position.network):
        model.load_state_dict(part(tensors, "average"))
    return position, model


def restore(
    path: Path, name: str, network: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer
) -> Position:
    """Loads a checkpoint into all three and returns its position. Raises CheckpointError."""
    position, tensors = read(path, network=name)
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in part(tensors, "optimizer").items():
        index, _, field = key.partition(".")
        slots.setdefault(int(index), {})[field] = value
    with _fitting(path, name):
        network.load_state_dict(part(tensors, "network"))
        average.load_state_dict(part(tensors, "average"))
        optimizer.load_state_dict(optimizer.state_dict() | {"state": slots})
    return position


@contextmanager
def _fitting(path: Path, name: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path} does not fit network {name!r}: {reason}") from error
