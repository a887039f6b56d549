"""Measures models on colour clips: how right and how steady their colours are, frame by frame.

The network alone is measured, without the smoothing of the pipeline, beside "grey" and "truth".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from engine.outputs import check_writable
from export import metrics
from export.data import to_lab
from export.errors import DataError
from export.evaluate import Predict, backend_prediction
from export.video_metrics import measure_motion, score_video

WIDTH = 320  # clips are measured at this width or their own, whichever is less


@dataclass(frozen=True)
class ClipScores:
    """One model on one clip: means over its frames."""

    name: str
    clip: str
    frames: int
    auc: float
    ciede2000: float
    colorfulness_of_truth: float
    warp_error: float  # CIELAB units squared, lower is steadier
    cdc: float


def evaluate_video(
    models: Sequence[Path],
    clips: Sequence[Path],
    *,
    json_file: Path | None = None,
    max_frames: int = 120,
    backend: str = "auto",
    report: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> list[ClipScores]:
    """Scores models, "grey" and "truth" on the first frames of colour clips.

    Raises DataError for a clip that cannot be read or has fewer than two frames; OSError, before
    the work, where `json_file` cannot be written.
    """
    if json_file:
        check_writable(json_file)
    predictions = [backend_prediction(path, backend) for path in models]
    results: list[ClipScores] = []
    for number, clip in enumerate(clips):
        lab = read_clip(clip, max_frames=max_frames)
        L = np.ascontiguousarray(lab[..., 0])
        truth = np.ascontiguousarray(lab[..., 1:].transpose(0, 3, 1, 2))
        ways = {"grey": np.zeros_like(truth), "truth": truth}
        ways |= {name: _colored(predict, L) for predict, name in predictions}
        motion = measure_motion(L)
        scores = {name: score_video(L, ab, truth, motion) for name, ab in ways.items()}
        for name, ab in ways.items():
            pairs = zip(ab.transpose(0, 2, 3, 1), lab[..., 1:], strict=True)
            results.append(
                ClipScores(
                    name,
                    clip.stem,
                    len(L),
                    round(float(np.mean([metrics.auc(a, b) for a, b in pairs])), 3),
                    round(scores[name].ciede2000, 3),
                    round(scores[name].colorfulness / max(scores["truth"].colorfulness, 1e-9), 3),
                    round(scores[name].warp_error, 3),
                    round(scores[name].cdc, 5),
                )
            )
        report(clip.stem, number + 1, len(clips))
    if json_file:
        json_file.write_text(json.dumps([asdict(row) for row in results], indent=1) + "\n")
    return results


def read_clip(clip: Path, *, max_frames: int) -> NDArray[np.float32]:
    """Returns (T, H, W, 3) float32 CIELAB of a clip's first frames, at most WIDTH wide."""
    frames: list[NDArray[np.float32]] = []
    try:
        with av.open(str(clip)) as container:
            for frame in container.decode(video=0):
                scale = min(1.0, WIDTH / frame.width)
                size = (round(frame.width * scale), round(frame.height * scale))
                bgr = cv2.resize(
                    frame.to_ndarray(format="bgr24"), size, interpolation=cv2.INTER_AREA
                )
                frames.append(to_lab(np.asarray(bgr, np.uint8)))
                if len(frames) == max_frames:
                    break
    except (av.error.FFmpegError, IndexError) as error:
        raise DataError(f"{clip} is not a readable video: {error}") from error
    if len(frames) < 2:
        raise DataError(f"{clip} has {len(frames)} frames; at least two are needed")
    return np.stack(frames)


def _colored(predict: Predict, L: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns (T, 2, H, W) float32."""
    empty = np.zeros((*L.shape[1:], 2), np.float32)
    return np.stack([predict(plane, empty).transpose(2, 0, 1) for plane in L])


def table(results: Sequence[ClipScores]) -> str:
    """Returns the scores as a Markdown table, by clip."""
    head = (
        "| clip | model | frames | AuC | CIEDE2000 | colorfulness of truth's | warp error | CDC |\n"
        "|---|---|--:|--:|--:|--:|--:|--:|\n"
    )
    return head + "\n".join(
        f"| {r.clip} | {r.name} | {r.frames} | {r.auc:.2f} | {r.ciede2000:.2f} "
        f"| {r.colorfulness_of_truth:.2f} | {r.warp_error:.2f} | {r.cdc:.5f} |"
        for r in results
    )
