"""Measures colours on clips whose own are known: how right and how steady they are.

Of a model the network alone is measured, without the smoothing of the pipeline. A coloured file
is measured as it is, whatever made it. Both stand beside "grey" and "truth".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from kinemacolor.engine.outputs import check_writable
from kinemacolor.export.data import to_lab
from kinemacolor.export.errors import DataError
from kinemacolor.export.evaluate import Predict, backend_prediction, picture_scores
from kinemacolor.export.validation import to_bgr
from kinemacolor.export.video_metrics import measure_motion, score_video
from numpy.typing import NDArray

WIDTH = 320  # clips are measured at this width or their own, whichever is less
SMALLEST = 16  # pixels: the optical flow needs as much


@dataclass(frozen=True)
class ClipScores:
    """One model on one clip: means over its frames."""

    name: str
    clip: str
    frames: int
    auc: float
    auc_rebalanced: float
    ciede2000: float
    ab_mse: float
    keras_accuracy: float
    psnr: float
    colorfulness_of_truth: float
    warp_error: float  # CIELAB units squared, lower is steadier
    cdc: float
    uncovered_error: float  # CIEDE2000 where motion has just uncovered something: ghosts


def evaluate_video(
    models: Sequence[Path],
    clips: Sequence[Path],
    *,
    colored: Sequence[Path] = (),
    json_file: Path | None = None,
    max_frames: int = 120,
    backend: str = "auto",
    report: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> list[ClipScores]:
    """Scores models, coloured files, "grey" and "truth" on the first frames of colour clips.

    Args:
        colored: the one clip, coloured by whatever is to be measured: as many frames, or more
            than are measured.

    Raises DataError for a clip that cannot be read or has fewer than two frames; OSError, before
    the work, where `json_file` cannot be written.
    """
    if json_file:
        check_writable(json_file)
    if colored and len(clips) != 1:
        raise DataError("coloured files are measured against one clip")
    predictions = [backend_prediction(path, backend) for path in models]
    results: list[ClipScores] = []
    for number, clip in enumerate(clips):
        lab = read_clip(clip, max_frames=max_frames)
        L = np.ascontiguousarray(lab[..., 0])
        truth = np.ascontiguousarray(lab[..., 1:].transpose(0, 3, 1, 2))
        ways = {"grey": np.zeros_like(truth), "truth": truth}
        ways |= {name: _colored(predict, L) for predict, name in predictions}
        ways |= {file.stem: _read_ab(file, truth) for file in colored}
        motion = measure_motion(L)
        scores = {name: score_video(L, ab, truth, motion) for name, ab in ways.items()}
        for name, ab in ways.items():
            means = np.mean([_frame_scores(*frame) for frame in zip(ab, lab, strict=True)], axis=0)
            score = scores[name]
            share = score.colorfulness / max(scores["truth"].colorfulness, 1e-9)
            steadiness = (score.warp_error, 3), (score.cdc, 5), (score.uncovered_error, 3)
            rounded = [(mean, 4) for mean in means] + [(share, 3), *steadiness]
            values = [round(float(value), digits) for value, digits in rounded]
            results.append(ClipScores(name, clip.stem, len(L), *values))
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
                if not frames:  # one that changes its size later is brought to that of the first
                    scale = min(1.0, WIDTH / frame.width)
                    size = (round(frame.width * scale), round(frame.height * scale))
                    if min(size) < SMALLEST:
                        raise DataError(f"{clip} is {size[0]}x{size[1]}, too small for its motion")
                bgr = cv2.resize(
                    frame.to_ndarray(format="bgr24"), size, interpolation=cv2.INTER_AREA
                )
                frames.append(to_lab(np.asarray(bgr, np.uint8)))
                if len(frames) == max_frames:
                    break
    except (av.error.FFmpegError, IndexError) as error:
        reason = getattr(error, "strerror", None) or "it has no video stream"
        raise DataError(f"{clip} is not a readable video: {reason}") from error
    if len(frames) < 2:
        raise DataError(f"{clip} has {len(frames)} frames; at least two are needed")
    return np.stack(frames)


def _colored(predict: Predict, L: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns (T, 2, H, W) float32."""
    empty = np.zeros((*L.shape[1:], 2), np.float32)
    return np.stack([predict(plane, empty).transpose(2, 0, 1) for plane in L])


def _read_ab(file: Path, truth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns (T, 2, H, W) float32 of a coloured file; `truth` has the shape that is wanted."""
    ab = read_clip(file, max_frames=len(truth))[..., 1:].transpose(0, 3, 1, 2)
    if ab.shape != truth.shape:
        (frames, _, *size), (ours, _, *other) = truth.shape, ab.shape
        raise DataError(f"{file} has {ours} frames of {other}, its clip {frames} of {size}")
    return np.ascontiguousarray(ab)


def _frame_scores(ab: NDArray[np.float32], truth: NDArray[np.float32]) -> tuple[float, ...]:
    """Returns the first six of `picture_scores`, of ab (2, H, W) and CIELAB (H, W, 3)."""
    ours = np.dstack([truth[..., 0], *ab])
    return picture_scores(ours, truth, to_bgr(ours), to_bgr(truth))[:6]


def table(results: Sequence[ClipScores]) -> str:
    """Returns the scores as a Markdown table, by clip."""
    heads = ["clip", "model", "frames", "AuC", "rebalanced AuC", "CIEDE2000", "ab MSE", "accuracy"]
    heads += ["PSNR", "colorfulness of truth's", "warp error", "CDC", "CIEDE2000 where uncovered"]
    lines = [
        f"| {r.clip} | {r.name} | {r.frames} | {r.auc:.2f} | {r.auc_rebalanced:.2f} "
        f"| {r.ciede2000:.2f} | {r.ab_mse:.5f} | {r.keras_accuracy:.1f} | {r.psnr:.2f} "
        f"| {r.colorfulness_of_truth:.2f} | {r.warp_error:.2f} | {r.cdc:.5f} "
        f"| {r.uncovered_error:.2f} |"
        for r in results
    ]
    return "\n".join([f"| {' | '.join(heads)} |", "|---|---|" + "--:|" * 11, *lines])
