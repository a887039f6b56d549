"""Writes the scores and sample pictures of a training run at every evaluation."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import cv2
import numpy as np
import torch
from kinemacolor.engine.color import ciede2000
from kinemacolor.export import metrics, networks
from kinemacolor.export.checkpoint import Position
from kinemacolor.export.data import Pictures, as_films_enter
from kinemacolor.export.errors import DataError
from numpy.typing import NDArray
from torch import nn

SIDE = 192  # of the square whose area the network sees, and of a sample picture
MAX_PICTURES = 300
SAMPLES = 24
PANELS = (("auc", "AuC, %"), ("ciede2000", "CIEDE2000"), ("chroma", "mean chroma"))


@dataclass(frozen=True)
class Scores:
    """Means over the held-out pictures, at the area of SIDE x SIDE and each one's shape."""

    step: int
    pictures: int
    seconds: float
    auc: float
    ciede2000: float
    chroma: float
    true_chroma: float


@torch.no_grad()
def evaluate(model: nn.Module, pictures: Pictures, out: Path, position: Position) -> Scores:
    """Scores the model, appends to curve.csv, draws it, writes samples-<pictures>.png."""
    model.eval()
    device = next(model.parameters()).device
    multiple = networks.entry(position.network).multiple
    rows: list[tuple[float, ...]] = []
    samples: list[NDArray[np.uint8]] = []
    for bgr, lab in as_films_enter(pictures, MAX_PICTURES, area=SIDE * SIDE, multiple=multiple):
        L = torch.from_numpy(np.ascontiguousarray(lab[..., 0]))[None, None].to(device)
        with torch.autocast(device.type, torch.bfloat16):
            ab = model(L)[0].float().cpu().numpy().transpose(1, 2, 0)
        full = cv2.resize(
            np.ascontiguousarray(ab), bgr.shape[1::-1], interpolation=cv2.INTER_LINEAR
        )
        ab = np.asarray(full, np.float32)
        ours = np.dstack([lab[..., :1], ab])
        rows.append(
            (
                metrics.auc(ab, lab[..., 1:]),
                float(ciede2000(ours[::2, ::2], lab[::2, ::2]).mean()),
                metrics.chroma(ab),
                metrics.chroma(lab[..., 1:]),
            )
        )
        if len(samples) < SAMPLES:
            tiles = grey(lab), to_bgr(ours), bgr
            samples.append(np.hstack([cv2.resize(tile, (SIDE, SIDE)) for tile in tiles]))
    if not rows:
        raise DataError("none of the pictures to validate on decodes")
    scores = Scores(
        position.step,
        position.pictures,
        round(position.seconds, 1),
        *(round(float(v), 4) for v in np.mean(rows, axis=0)),
    )
    _append(out / "curve.csv", scores)
    draw_curve(out / "curve.csv", out / "curve.png")
    cv2.imwrite(str(out / f"samples-{position.pictures:08d}.png"), sheet(samples, columns=3))
    return scores


def draw_curve(table: Path, out: Path) -> None:
    """Writes curve.png of a run's curve.csv; the dotted line is the truth's chroma."""
    # Matplotlib takes half a second to import, and only a training run needs it.
    from matplotlib.figure import Figure

    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    seen = [int(row["pictures"]) / 1000 for row in rows]
    figure = Figure(figsize=(12, 3.5), layout="constrained")
    for axes, (field, label) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        axes.plot(seen, [float(row[field]) for row in rows], marker=".")
        if field == "chroma":
            axes.plot(seen, [float(row["true_chroma"]) for row in rows], ":", color="grey")
        axes.set_xlabel("thousand pictures seen")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    figure.savefig(out)


def grey(lab: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Returns the BGR picture (H, W, 3) uint8 of the lightness alone."""
    return to_bgr(np.dstack([lab[..., :1], np.zeros_like(lab[..., 1:])]))


def to_bgr(lab: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Returns (H, W, 3) uint8 of a float CIELAB picture, clipped to sRGB."""
    bgr = cv2.cvtColor(np.ascontiguousarray(lab, np.float32), cv2.COLOR_Lab2BGR)
    return np.rint(np.clip(bgr, 0, 1) * 255).astype(np.uint8)


def sheet(tiles: list[NDArray[np.uint8]], *, columns: int) -> NDArray[np.uint8]:
    """Returns tiles of one size laid out in rows."""
    blank = np.zeros_like(tiles[0])
    full = tiles + [blank] * (-len(tiles) % columns)
    rows = [np.hstack(full[i : i + columns]) for i in range(0, len(full), columns)]
    return np.vstack(rows)


def _append(path: Path, scores: Scores) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Scores)])
        if new:
            writer.writeheader()
        writer.writerow(asdict(scores))
