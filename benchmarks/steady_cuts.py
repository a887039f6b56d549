"""Are cuts found, and only cuts, and is the old shot's colour gone after one?

    python -m benchmarks.steady_cuts CLIP... [--rounds N] [--model kinema] [--json FILE]

Parts of the clips are joined in random order, most by hard cuts, the others by 12-frame dissolves;
in every other part the exposure jumps for 3 frames. Precision and recall count the hard cuts; a
flash that was taken for one is taken back when it is over, and "precision at once" counts it.
Recovery is the number of frames after a hard cut until the colour error is within 10 % of
per-frame inference, and the error beside it that of the third frame of a shot.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from kinemacolor.engine.backend import Backend
from kinemacolor.engine.load import load
from kinemacolor.export.video_metrics import color_errors
from kinemacolor.stream.color.chroma import resize
from kinemacolor.stream.steady.smoothing import make_steady

from benchmarks.steady import Clip, enlarge, read_clip

DISSOLVE_FRAMES, DISSOLVE_SHARE = 12, 0.3
JUMP_FRAMES, JUMP_GAINS = 3, (0.5, 0.6, 0.7, 1.4, 1.6, 2.0)
SHOT_FRAMES = (16, 40)
SIZE = (320, 192)  # of L: all clips are brought to one shape


@dataclass
class Reel:
    """Shots joined to one film, and how they are joined."""

    frames: list[tuple[Any, Any]] = field(default_factory=list)  # L (H, W), true ab (2, H, W)
    cuts: list[int] = field(default_factory=list)
    dissolves: list[int] = field(default_factory=list)
    jumps: list[int] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIP")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--model", default="kinema")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    backend = load(arguments.model)
    clips = [_one_shape(read_clip(path, backend.spec)) for path in arguments.clips]

    totals = {mode: _Count() for mode in ("live", "film")}
    for seed in range(arguments.rounds):
        reel = join(clips, shots=20, seed=seed)
        # Recovery takes inference, so only some of the rounds measure it.
        off = _infer(reel, backend) if seed < 2 else None
        for mode, total in totals.items():
            total.add(reel, mode, off)
    results: dict[str, Any] = {mode: total.summary() for mode, total in totals.items()}
    for mode, result in results.items():
        print(mode, ", ".join(f"{name} {value}" for name, value in result.items()))
    if arguments.json:
        results["model"] = f"{backend.spec.name} {backend.spec.version}"
        results["clips"] = [path.stem for path in arguments.clips]
        results["rounds"] = arguments.rounds
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


def frames_to_recover(errors: Sequence[float], reference: Sequence[float], cut: int) -> int:
    """Frames after a cut until the error is within 10 % of per-frame inference; 0: at once.

    Args:
        errors: mean colour error of every frame of the result.
        reference: the same of per-frame inference.
        cut: number of the frame that starts the shot.
    """
    for frame in range(cut, len(errors)):
        if errors[frame] <= 1.1 * reference[frame]:
            return frame - cut
    return len(errors) - cut


def join(clips: list[Clip], *, shots: int, seed: int) -> Reel:
    """Joins random parts of the clips, never two of the same clip in a row."""
    chance = random.Random(seed)
    reel = Reel()
    last = -1
    for _ in range(shots):
        length = chance.randint(*SHOT_FRAMES)
        fits = [i for i, clip in enumerate(clips) if i != last and len(clip.L) >= length]
        last = chance.choice(fits)
        first = chance.randrange(len(clips[last].L) - length + 1)
        part = slice(first, first + length)
        shot = list(zip(clips[last].L[part], clips[last].truth[part], strict=True))
        start = len(reel.frames)
        if reel.frames and chance.random() < DISSOLVE_SHARE:
            start -= DISSOLVE_FRAMES
            reel.dissolves.append(start)
            for step in range(DISSOLVE_FRAMES):
                share = np.float32((step + 1) / (DISSOLVE_FRAMES + 1))
                (old_L, old_ab), (L, ab) = reel.frames[start + step], shot[step]
                mixed = (old_L + share * (L - old_L), old_ab + share * (ab - old_ab))
                reel.frames[start + step] = mixed
            shot = shot[DISSOLVE_FRAMES:]
            start += DISSOLVE_FRAMES
        elif reel.frames:
            reel.cuts.append(start)
        if chance.random() < 0.5 and len(shot) > 12:
            at, gain = chance.randrange(4, len(shot) - 6), chance.choice(JUMP_GAINS)
            reel.jumps.append(start + at)
            for t in range(at, at + JUMP_FRAMES):
                shot[t] = ((shot[t][0] * np.float32(gain)).clip(0, 100), shot[t][1])
        reel.frames += shot
    return reel


class _Count:
    """What was found in all reels."""

    def __init__(self) -> None:
        self.hits = self.misses = self.false_alarms = self.declared = 0
        self.dissolves = self.jumps = 0
        self.recovery: list[int] = []
        self.third: list[float] = []  # error of the third frame of a shot, of per-frame inference

    def add(self, reel: Reel, mode: str, off: list[Any] | None) -> None:
        steady = make_steady(mode)  # type: ignore[arg-type]
        height, width = reel.frames[0][0].shape
        empty = np.zeros((2, height // 4, width // 4), np.float32)
        planes = []
        declared: set[int] = set()
        for number, (L, _) in enumerate(reel.frames):
            planes += steady.push(L, empty if off is None else off[number])
            declared |= set(steady.cuts)
        planes += steady.flush()
        found, true = set(steady.cuts), set(reel.cuts)
        self.declared += len(declared)
        self.hits += len(found & true)
        self.misses += len(true - found)
        self.false_alarms += len(found - true)
        self.dissolves += len(reel.dissolves)
        self.jumps += len(reel.jumps)
        if off is None:
            return
        L, truth = (np.array(part) for part in zip(*reel.frames, strict=True))
        errors = [float(e.mean()) for e in color_errors(L, enlarge(L, planes), truth)]
        reference = [float(e.mean()) for e in color_errors(L, enlarge(L, off), truth)]
        self.recovery += [frames_to_recover(errors, reference, cut) for cut in reel.cuts]
        self.third += [errors[cut + 2] / reference[cut + 2] for cut in reel.cuts]

    def summary(self) -> dict[str, float]:
        return {
            "cuts": self.hits + self.misses,
            "dissolves": self.dissolves,
            "exposure jumps": self.jumps,
            "precision": round(self.hits / max(1, self.hits + self.false_alarms), 4),
            "precision at once": round(self.hits / max(1, self.declared), 4),
            "recall": round(self.hits / max(1, self.hits + self.misses), 4),
            "frames to recover, mean": round(float(np.mean(self.recovery)), 3),
            "frames to recover, most": max(self.recovery),
            "error of the third frame, mean": round(float(np.mean(self.third)), 4),
            "error of the third frame, most": round(max(self.third), 4),
        }


def _one_shape(clip: Clip) -> Clip:
    L = [resize(frame, *SIZE) for frame in clip.L]
    truth = [[resize(np.ascontiguousarray(p), *SIZE) for p in planes] for planes in clip.truth]
    return Clip(np.array(L), np.array(truth))


def _infer(reel: Reel, backend: Backend) -> list[Any]:
    return [backend(L[None, None])[0] for L, _ in reel.frames]


if __name__ == "__main__":
    main()
