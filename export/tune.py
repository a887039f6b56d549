"""Measures what can still be chosen after training: temperature, rebalancing and saturation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from kinemacolor.engine.color import ciede2000
from kinemacolor.export import bins, checkpoint, metrics, networks
from kinemacolor.export.data import Pictures, as_films_enter
from kinemacolor.export.errors import DataError, ExportError
from kinemacolor.export.networks.head import BinHead
from kinemacolor.export.validation import to_bgr
from numpy.typing import NDArray
from torch import Tensor

SATURATIONS = 0.9, 1.0, 1.1, 1.2, 1.3


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
    temperatures: Sequence[float] = (bins.TEMPERATURE,),
    rebalances: Sequence[float] = (0.0,),
    saturations: Sequence[float] = SATURATIONS,
    limit: int = 100,
    side: int | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[Setting]:
    """Scores every combination on held-out pictures, "grey" (saturation 0) too if asked.

    Args:
        source: checkpoint.safetensors of a network with bins, or its run's folder.
        data: pictures to choose on; never those that the result is reported on.
        side: of the square whose area the network sees, pixels; default: the network's own.
        report: called with settings done, settings in all.

    Raises ExportError: a network without bins, pictures of which none decodes.
    """
    position, model = checkpoint.load_average(checkpoint.file_of(source))
    model.eval()
    head = getattr(model, "head", None)
    if not isinstance(head, BinHead):
        raise ExportError(f"{position.network!r} has nothing to tune")
    entry = networks.entry(position.network)
    area = (side or entry.size) ** 2
    kept: list[tuple[Tensor, NDArray[np.float32]]] = []
    pictures = Pictures(data)
    for _, lab in as_films_enter(pictures, limit, area=area, multiple=entry.multiple):
        height, width = lab.shape[:2]
        L = torch.from_numpy(np.ascontiguousarray(lab[..., 0]))[None, None]
        coarse = width // entry.stride, height // entry.stride
        small = cv2.resize(lab, coarse, interpolation=cv2.INTER_AREA)
        kept.append((model.logits(L).half(), np.asarray(small, np.float32)))  # type: ignore[operator]
    pictures.close()
    if not kept:
        raise DataError("none of the pictures decodes")
    choices = list(itertools.product(temperatures, rebalances, saturations))
    settings = []
    for done, choice in enumerate(choices, 1):
        settings.append(_score(head, kept, *choice))
        report(done, len(choices))
    return settings


def table(settings: Sequence[Setting]) -> str:
    """Returns the settings as a Markdown table."""
    head = (
        "| temperature | rebalance | saturation | AuC | rebalanced AuC | CIEDE2000 "
        "| colorfulness of truth's | chroma of dark greys |\n" + "|--:" * 8 + "|\n"
    )
    return head + "\n".join(
        f"| {s.temperature:g} | {s.rebalance:g} | {s.saturation:g} | {s.auc:.2f} "
        f"| {s.auc_rebalanced:.2f} | {s.ciede2000:.2f} | {s.colorfulness_of_truth:.2f} "
        f"| {s.dark_chroma:.1f} |"
        for s in settings
    )


def _score(
    head: BinHead, kept: Sequence[tuple[Tensor, NDArray[np.float32]]], *choice: float
) -> Setting:
    temperature, rebalance, saturation = choice
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
                float(ciede2000(ours, truth).mean()),
                metrics.colorfulness(to_bgr(ours)),
                metrics.colorfulness(to_bgr(truth)),
            )
        )
        shadow = (truth[..., 0] < 25) & (np.linalg.norm(true_ab, axis=-1) < 8)
        dark.append(np.linalg.norm(ab[shadow], axis=-1))
    *scores, ours_color, true_color = np.mean(rows, axis=0)
    dark_chroma = np.concatenate(dark).mean() if any(map(len, dark)) else 0.0
    scores += [ours_color / true_color, dark_chroma]
    return Setting(*choice, *(round(float(score), 3) for score in scores))
