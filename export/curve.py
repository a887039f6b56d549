"""Draws the scores of a run over the pictures it has seen."""

from __future__ import annotations

import csv
from pathlib import Path

PANELS = (("auc", "AuC, %"), ("ciede2000", "CIEDE2000"), ("chroma", "mean chroma"))


def draw(table: Path, out: Path) -> None:
    """Writes curve.png of a run's curve.csv; the dotted line is the truth's chroma."""
    # Matplotlib takes half a second to import, and only a training run needs it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    seen = [int(row["pictures"]) / 1000 for row in rows]
    figure = Figure(figsize=(12, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (field, label) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        axes.plot(seen, [float(row[field]) for row in rows], marker=".")
        if field == "chroma":
            axes.plot(seen, [float(row["true_chroma"]) for row in rows], ":", color="grey")
        axes.set_xlabel("thousand pictures seen")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    figure.savefig(out)
