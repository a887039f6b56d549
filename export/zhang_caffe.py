"""Fills Zhang's network from the .caffemodel of any of its releases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from kinemacolor.export import bins, caffe, weights
from kinemacolor.export.errors import BadWeights
from kinemacolor.export.networks.zhang import Zhang
from torch import Tensor, nn

TEMPERATURE = 1 / 2.606  # the Scale layer in front of the published network's softmax


def load(source: Path, points: Path | None) -> Zhang:
    """Returns the network. Raises BadWeights when a layer is missing or does not fit.

    Args:
        points: pts_in_hull.npy, if the bins should come from a file.
    """
    with source.open("rb") as file:
        if reason := weights.impostor(file.read(512)):
            raise BadWeights(f"{source} is not a .caffemodel: it {reason}")
    layers = caffe.read(source)
    network = Zhang(temperature=TEMPERATURE)
    convs = [m for m in network.trunk if isinstance(m, nn.Conv2d)]
    norms = [m for m in network.trunk if isinstance(m, nn.BatchNorm2d)]
    names = [
        f"conv{b}_{i}" for b, n in enumerate((2, 2, 3, 3, 3, 3, 3), 1) for i in range(1, n + 1)
    ]
    tail: list[nn.Conv2d | nn.ConvTranspose2d] = [
        m for m in network.up if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))
    ]
    for module, name in zip(
        [*convs, *tail], [*names, "conv8_1", "conv8_2", "conv8_3", "conv8_313"], strict=True
    ):
        blobs = layers.get(name) or layers.get(f"bw_{name}")
        if blobs is None:
            raise BadWeights(f"{source} has no layer {name}: not Zhang's colorization network")
        weight, bias = blobs[0], blobs[1] if len(blobs) > 1 else None
        if name == "conv1_1":
            weight = weight * 100  # Caffe's network takes L - 50, ours (L - 50) / 100
        _fill(source, name, module.weight, weight)
        assert module.bias is not None
        _fill(source, name, module.bias, np.zeros(len(module.bias)) if bias is None else bias)
    for block, norm in enumerate(norms, 1):
        name = f"conv{block}_{3 if block > 2 else 2}norm"
        if name not in layers or len(layers[name]) < 2:
            raise BadWeights(f"{source} has no layer {name}: not Zhang's colorization network")
        mean, variance, *factor = layers[name]
        # Caffe stores running sums and the number they are to be divided by.
        divisor = float(factor[0].ravel()[0]) if factor else 1.0
        share = 1 / divisor if divisor else 0.0
        assert norm.running_mean is not None
        assert norm.running_var is not None
        _fill(source, name, norm.running_mean, mean * share)
        _fill(source, name, norm.running_var, variance * share)
    if points is not None:
        _fill(points, "points", network.points, _read_points(points))
    elif "class8_ab" in layers and layers["class8_ab"][0].size == 2 * bins.COUNT:
        stored = layers["class8_ab"][0].reshape(2, bins.COUNT)
        if np.abs(stored).max() > 1:  # the release leaves this layer to be filled by the user
            _fill(source, "class8_ab", network.points, stored.T)
    return network.eval()


def _read_points(path: Path) -> np.ndarray:
    try:
        points = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BadWeights(f"{path} is no file of bin centres: {error}") from error
    if points.shape != (bins.COUNT, 2):
        raise BadWeights(f"{path} has shape {points.shape}, expected ({bins.COUNT}, 2)")
    return np.asarray(points)


def _fill(source: Path, name: str, target: Tensor, values: np.ndarray) -> None:
    array = np.asarray(values, np.float32)
    if array.size != target.numel() or (array.ndim == 4 and array.shape != tuple(target.shape)):
        raise BadWeights(
            f"{source}: {name} has shape {array.shape}, expected {tuple(target.shape)}"
        )
    if not np.isfinite(array).all():
        raise BadWeights(
            f"{source}: {name} holds numbers that are not finite; the file is damaged, or its "
            "training failed"
        )
    with torch.no_grad():
        target.copy_(torch.from_numpy(array.reshape(target.shape).copy()))
