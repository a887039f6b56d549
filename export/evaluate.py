"""Scores any file that keeps the model contract on colour pictures."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from kinemacolor.engine.color import ciede2000
from kinemacolor.engine.load import load
from kinemacolor.engine.outputs import check_writable
from kinemacolor.export import metrics
from kinemacolor.export.data import Pictures, to_lab
from kinemacolor.export.errors import BadPicture, DataError
from kinemacolor.export.validation import grey, sheet, to_bgr
from numpy.typing import NDArray

Array = NDArray[np.float32]
Predict = Callable[[Array, Array], Array]  # L (H, W) and true ab (H, W, 2) to ab (H, W, 2)
REFERENCES: dict[str, Predict] = {
    "grey": lambda L, truth: np.zeros_like(truth),
    "truth": lambda L, truth: truth,
}
SHEET_SIDE = 160


@dataclass(frozen=True)
class Scores:
    """Means over the pictures. AuC, accuracy in percent; ab in CIELAB units; PSNR in dB."""

    name: str
    pictures: int
    auc: float
    auc_rebalanced: float
    ciede2000: float
    ab_mse: float
    keras_accuracy: float
    psnr: float
    colorfulness: float
    colorfulness_of_truth: float  # ours / truth's, the ratio of the means
    chroma: float
    mean_a: float
    mean_b: float
    latency_ms: Mapping[str, float] | None = None  # by backend, one picture, preferred size


def evaluate(
    models: Sequence[Path],
    data: Sequence[Path],
    *,
    json_file: Path | None = None,
    contact_sheet: Path | None = None,
    limit: int | None = None,
    backend: str = "auto",
    backends_timed: Sequence[str] = (),
    sheet_pictures: int = 24,
    report: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> list[Scores]:
    """Scores models, and the rows "grey" and "truth", on the same pictures.

    The network gets L as it does in films: at its preferred area and the picture's aspect ratio, if
    it takes any size. ab is scaled to the picture's size bilinearly and compared there.

    Args:
        models: .onnx files that keep the contract.
        data: zip files and folders.
        json_file: where the scores are written, with the versions of what made them.
        contact_sheet: PNG of grey, each model, truth, for pictures spread over the data.
        limit: measure on that many pictures, spread over the data.
        backends_timed: names of backends for `latency_ms`.
        report: called with the model's name, pictures done, pictures in all.

    Raises DataError when no picture decodes or the sheet's suffix is no picture's, EngineError for
    a model that breaks the contract, OSError, before the work, where a file cannot be written.
    """
    for file in filter(None, (json_file, contact_sheet)):
        check_writable(file)
    if contact_sheet and not cv2.haveImageWriter(str(contact_sheet)):
        raise DataError(f"{contact_sheet}: no picture format has that suffix; .png will do")
    pictures = Pictures(data)
    chosen = np.linspace(0, len(pictures) - 1, min(limit or len(pictures), len(pictures)))
    indices = [int(i) for i in chosen]
    shown = set(indices[:: max(1, len(indices) // sheet_pictures)][:sheet_pictures])
    columns: list[dict[int, NDArray[np.uint8]]] = []
    results = []
    for name, predict in REFERENCES.items():
        scores, tiles = _score(name, predict, pictures, indices, shown, report)
        results.append(scores)
        columns.append(tiles)
    for path in models:
        predict, name = backend_prediction(path, backend)
        scores, tiles = _score(name, predict, pictures, indices, shown, report)
        timed = {b: latency_ms(path, b) for b in backends_timed}
        results.append(replace(scores, latency_ms=timed or None))
        columns.insert(-1, tiles)
    truth = next(s for s in results if s.name == "truth")
    results = [
        replace(s, colorfulness_of_truth=round(s.colorfulness / max(truth.colorfulness, 1e-9), 4))
        for s in results
    ]
    if contact_sheet:
        rows = [np.hstack([column[i] for column in columns]) for i in sorted(columns[0])]
        cv2.imwrite(str(contact_sheet), sheet(rows, columns=max(1, 8 // len(columns))))
    pictures.report_skipped()
    pictures.close()
    if json_file:
        json_file.write_text(json.dumps(_document(results, data, pictures), indent=1) + "\n")
    return results


def backend_prediction(path: Path, backend: str) -> tuple[Predict, str]:
    """Returns a function that colours one picture with a model file, and the model's name."""
    loaded = load(path, backend=backend)  # type: ignore[arg-type]

    def predict(L: Array, truth: Array) -> Array:
        height, width = loaded.spec.input_size(L.shape[1], L.shape[0])
        shrinks = height < L.shape[0] and width < L.shape[1]
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        small = cv2.resize(L, (width, height), interpolation=method)
        ab = loaded(np.ascontiguousarray(small[None, None], np.float32))[0]  # (2, h, w)
        planes = np.ascontiguousarray(ab.transpose(1, 2, 0), np.float32)
        full = cv2.resize(planes, (L.shape[1], L.shape[0]), interpolation=cv2.INTER_LINEAR)
        return np.asarray(full, np.float32)

    return predict, loaded.spec.name


def latency_ms(path: Path, backend: str, *, seconds: float = 2.0) -> float:
    """Returns the median time of one picture at the preferred size, alone on the machine."""
    times: list[float] = []
    with closing(load(path, backend=backend, batch=1)) as loaded:  # type: ignore[arg-type]
        size = loaded.spec.height, loaded.spec.width
        L = np.random.default_rng(0).uniform(0, 100, (1, 1, *size)).astype(np.float32)
        for _ in range(3):
            loaded(L)
        started = time.perf_counter()
        while time.perf_counter() - started < seconds or len(times) < 5:
            before = time.perf_counter()
            loaded(L)
            times.append(time.perf_counter() - before)
    return round(1000 * float(np.median(times)), 3)


def _score(
    name: str,
    predict: Predict,
    pictures: Pictures,
    indices: Sequence[int],
    shown: set[int],
    report: Callable[[str, int, int], None],
) -> tuple[Scores, dict[int, NDArray[np.uint8]]]:
    rows: list[tuple[float, ...]] = []
    tiles: dict[int, NDArray[np.uint8]] = {}
    for done, i in enumerate(indices, 1):
        try:
            bgr = pictures.read(i)
        except BadPicture:
            report(name, done, len(indices))
            continue
        lab = to_lab(bgr)
        truth = np.ascontiguousarray(lab[..., 1:])
        ab = predict(np.ascontiguousarray(lab[..., 0]), truth)
        ours = np.dstack([lab[..., :1], ab])
        picture = to_bgr(ours)
        rows.append(picture_scores(ours, lab, picture, bgr))
        if i in shown:
            shape = (SHEET_SIDE, SHEET_SIDE)
            small = cv2.resize(picture if name != "grey" else grey(lab), shape)
            tiles[i] = np.asarray(small, np.uint8)
        report(name, done, len(indices))
    if not rows:
        raise DataError("none of the pictures decodes")
    means = [round(float(v), 6) for v in np.mean(rows, axis=0)]
    auc, rare, delta, mse, accuracy, psnr, colorfulness, chroma, a, b = means
    return Scores(
        name, len(rows), auc, rare, delta, mse, accuracy, psnr, colorfulness, 0.0, chroma, a, b
    ), tiles


def picture_scores(
    lab: Array, truth: Array, bgr: NDArray[np.uint8], bgr_truth: NDArray[np.uint8]
) -> tuple[float, ...]:
    """Returns one picture's scores in the order of `Scores`' fields from `auc` on."""
    ab, true_ab = lab[..., 1:], truth[..., 1:]
    return (
        metrics.auc(ab, true_ab),
        metrics.auc(ab, true_ab, metrics.rare_color_weights(true_ab)),
        float(ciede2000(lab, truth).mean()),
        metrics.ab_mse(ab, true_ab),
        metrics.keras_accuracy(ab, true_ab),
        metrics.psnr(bgr, bgr_truth),
        metrics.colorfulness(bgr),
        metrics.chroma(ab),
        float(ab[..., 0].mean()),
        float(ab[..., 1].mean()),
    )


def table(results: Sequence[Scores]) -> str:
    """Returns the scores, and the times where there are any, as a Markdown table."""
    timed = list(dict.fromkeys(b for s in results for b in s.latency_ms or ()))
    heads = ["model", "AuC", "rebalanced AuC", "CIEDE2000", "ab MSE", "accuracy", "PSNR"]
    heads += ["colorfulness", "of truth's", "mean a, b", *(f"{b}, ms" for b in timed)]
    lines = [
        f"| {s.name} | {s.auc:.2f} | {s.auc_rebalanced:.2f} | {s.ciede2000:.2f} | {s.ab_mse:.5f} "
        f"| {s.keras_accuracy:.1f} | {s.psnr:.2f} | {s.colorfulness:.1f} "
        f"| {s.colorfulness_of_truth:.2f} | {s.mean_a:.1f}, {s.mean_b:.1f} |"
        + "".join(f" {s.latency_ms[b]:.1f} |" if s.latency_ms else " |" for b in timed)
        for s in results
    ]
    rule = "|---|" + "--:|" * (len(heads) - 1)
    return "\n".join([f"| {' | '.join(heads)} |", rule, *lines])


def _document(
    results: Sequence[Scores], data: Sequence[Path], pictures: Pictures
) -> dict[str, object]:
    return {
        "data": [path.name for path in data],
        "pictures_skipped": sorted(pictures.skipped),
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "opencv": cv2.__version__,
        "scores": [asdict(s) for s in results],
    }
