"""Weights made of names and shapes, the same everywhere: nobody's real ones can be part of a test.

Statistics of batch norm are far from trivial, norms of weights as their training leaves them.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

Shapes = Mapping[str, Sequence[int]]


def state(shapes: Shapes) -> dict[str, Tensor]:
    """Returns a state dictionary with the names and shapes."""
    made = {name: torch.from_numpy(_values(name, tuple(shape))) for name, shape in shapes.items()}
    for name in made:
        if name.endswith(".weight_orig"):
            _settle_spectral_norm(made, name.removesuffix("_orig"))
    return made


def _values(name: str, shape: tuple[int, ...]) -> np.ndarray:
    random = np.random.default_rng(zlib.crc32(name.encode()))
    normal = random.standard_normal(shape, np.float32)
    last = name.rpartition(".")[2]
    if last == "num_batches_tracked":
        return np.array(1)
    if name in ("mean", "std"):  # ImageNet's, which DDColor's files hold
        values = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}[name]
        return np.float32(values).reshape(shape)
    if last == "running_mean":
        return normal * np.float32(0.5)
    if last == "running_var":
        return random.uniform(0.5, 2, shape).astype(np.float32)
    if last == "gamma":  # of attention and of ConvNeXt
        return random.uniform(0.2, 0.8, shape).astype(np.float32)
    if last.endswith("bias"):
        return normal * np.float32(0.1)
    if (len(shape) < 2 and last == "weight") or last == "weight_g":
        return random.uniform(0.5, 1.5, shape).astype(np.float32)
    if "query_" in name or "level_embed" in name:
        return normal
    return normal * np.float32(np.sqrt(2 / max(1, np.prod(shape[1:]))))


def _settle_spectral_norm(made: dict[str, Tensor], weight: str) -> None:
    """Sets u and v to what power iteration ends in; training leaves them there."""
    matrix = made[f"{weight}_orig"].flatten(1).double()
    v = made[f"{weight}_v"].double()
    for _ in range(10):
        u = torch.nn.functional.normalize(matrix @ v, dim=0)
        v = torch.nn.functional.normalize(matrix.T @ u, dim=0)
    if weight.startswith("refine_net"):
        u = u / 40  # DDColor's last layer: ab of the size of colours
    made[f"{weight}_u"], made[f"{weight}_v"] = u.float(), v.float()
