"""Proves that an exported file computes what the network computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from kinemacolor.engine.load import load
from kinemacolor.export.errors import ExportError
from torch import nn

# float16 weights: rounding by 2^-11 moves ab by less than this on noise, the hardest input.
MEAN_TOLERANCE = 0.25  # CIELAB units
MAX_TOLERANCE = 4.0


def check(model: nn.Module, file: Path, *, fixed: bool = False) -> tuple[float, float]:
    """Compares ONNX Runtime with PyTorch on smooth and on noisy pictures of several sizes.

    Returns the mean and the largest difference in ab, CIELAB units. Raises ExportError when they
    are over the tolerances.
    """
    backend = load(file, backend="onnxruntime", precision="fp32")
    preferred = (1, backend.spec.height, backend.spec.width)
    sizes = [preferred] if fixed else [(1, 96, 128), (2, 64, 64)]
    random = np.random.default_rng(0)
    means, largest = [], 0.0
    for count, height, width in sizes:
        ramp = np.linspace(0, 100, width, dtype=np.float32) * np.ones((height, 1), np.float32)
        noise = random.uniform(0, 100, (height, width)).astype(np.float32)
        for plane in (ramp, noise):
            L = np.repeat(plane[None, None], count, 0)
            ours = backend(L)
            with torch.no_grad():
                theirs = model(torch.from_numpy(L)).numpy()
            if ours.shape != theirs.shape:
                raise ExportError(f"{file.name}: shape {ours.shape}, PyTorch says {theirs.shape}")
            difference = np.abs(ours - theirs)
            means.append(float(difference.mean()))
            largest = max(largest, float(difference.max()))
    backend.close()
    mean = max(means)
    if not (mean <= MEAN_TOLERANCE and largest <= MAX_TOLERANCE):
        raise ExportError(
            f"{file.name} differs from PyTorch by {mean:.3f} ab on average and {largest:.2f} "
            f"at most; allowed are {MEAN_TOLERANCE} and {MAX_TOLERANCE}"
        )
    return mean, largest
