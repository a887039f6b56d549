"""Measures what can still be chosen after training: temperature, rebalancing and saturation."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export import checkpoint, metrics, networks
from export.data import Pictures, to_lab
from export.errors import BadPicture, ExportError
from export.networks.head import BinHead
from export.validation import to_bgr


@dataclass(frozen=True)
class Setting:
    """One choice and its scores, at the size of the network's output."""

    temperature: float
    rebalance: float
    saturation: float
    auc: float
    auc_rebalanced: float
    ciede2000: float
    colorfulness_of_truth: float
    dark_chroma: float  # mean chroma where L < 25 and the truth is nearly grey: red shadows


@torch.no_grad()
def measure(
    source: Path,
    data: Sequence[Path],
    *,
    temperatures: Sequence[float] = (0.3, 0.38, 0.5),
    rebalances: Sequence[float] = (-0.25, 0.0, 0.25, 0.5),
    saturations: Sequence[float] = (1.0, 1.15, 1.3),
    limit: int = 100,
    side: int = 192,
) -> list[Setting]:
    """Scores every combination on held-out pictures.

    Args:
        source: checkpoint.safetensors of a network with bins.
        data: pictures to choose on; never those that the result is reported on.
    """
    position, model = checkpoint.load_average(source)
    model.eval()
    head = getattr(model, "head", None)
    if not isinstance(head, BinHead):
        raise ExportError(f"{position.network!r} has nothing to tune")
    stride = networks.entry(position.network).stride
    kept: list[tuple[Tensor, NDArray[np.float32]]] = []
    pictures = Pictures(data)
    for i in np.linspace(0, len(pictures) - 1, min(limit, len(pictures))).astype(int):
        try:
            bgr = cv2.resize(pictures.read(int(i)), (side, side), interpolation=cv2.INTER_AREA)
        except BadPicture:
            continue
        lab = to_lab(np.asarray(bgr, np.uint8))
        L = torch.from_numpy(np.ascontiguousarray(lab[..., 0]))[None, None]
        small = cv2.resize(lab, (side // stride,) * 2, interpolation=cv2.INTER_AREA)
        kept.append((model.logits(L).half(), np.asarray(small, np.float32)))  # type: ignore[operator]
    return [
        _score(head, kept, *choice)
        for choice in itertools.product(temperatures, rebalances, saturations)
    ]


def _score(
    head: BinHead,
    kept: Sequence[tuple[Tensor, NDArray[np.float32]]],
    temperature: float,
    rebalance: float,
    saturation: float,
) -> Setting:
    head.tune(temperature=temperature, rebalance=rebalance, saturation=saturation)
    rows, dark = [], []
    for logits, truth in kept:
        ab = head.annealed_mean(logits.float())[0].numpy().transpose(1, 2, 0)
        ours = np.dstack([truth[..., :1], ab]).astype(np.float32)
        true_ab = np.ascontiguousarray(truth[..., 1:])
        rows.append(
            (
                metrics.auc(ab, true_ab),
                metrics.auc(ab, true_ab, metrics.rare_color_weights(true_ab)),
                float(metrics.ciede2000(ours, truth).mean()),
                metrics.colorfulness(to_bgr(ours)),
                metrics.colorfulness(to_bgr(truth)),
            )
        )
        shadow = (truth[..., 0] < 25) & (np.linalg.norm(true_ab, axis=-1) < 8)
        dark.append(np.linalg.norm(ab[shadow], axis=-1))
    auc, rare, delta, ours_color, true_color = np.mean(rows, axis=0)
    return Setting(
        temperature,
        rebalance,
        saturation,
        round(float(auc), 3),
        round(float(rare), 3),
        round(float(delta), 3),
        round(float(ours_color / true_color), 3),
        round(float(np.concatenate(dark).mean()), 3) if any(len(d) for d in dark) else 0.0,
    )
