"""Does steady colour stop the flicker, what does it cost, and is it paid for with colour?

    python -m benchmarks.steady CLIP... [--film FILM] [--frames N] [--every N] [--late N]
        [--model kinema] [--out FOLDER]

Every clip is taken as grey, colorized frame by frame, and smoothed live and as a film, on every
frame and on key frames only. All are scored against the clip's own colours, beside these ("truth")
and beside no colours at all ("grey"), after the guided enlargement to the size of L. Prints one
table and writes it as steady.json; with --film also steady-film.png: one column of that film's
pixels over time, from left to right, off, live and film; beside it the colours alone.

With --late, also live as with a slow network: what it says of a key frame comes N frames later,
and the first frame of a shot gets colours of a smaller input.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from kinemacolor.engine.backend import Backend
from kinemacolor.engine.load import load
from kinemacolor.engine.spec import ModelSpec
from kinemacolor.export.video_metrics import VideoScores, measure_motion, score_video, to_rgb
from kinemacolor.stream.color.asking import FIRST_LOOK
from kinemacolor.stream.color.chroma import EPSILON, extract_L, linear_model, resize
from kinemacolor.stream.color.frames import frame_encoding, plane_view, to_luma_format
from kinemacolor.stream.steady.keyframes import Want
from kinemacolor.stream.steady.smoothing import BLOCK, Steady, SteadyMode, make_steady

Planes = np.ndarray[Any, Any]
Ways = dict[str, tuple[SteadyMode, int, int | None]]  # mode, every, late
BURST = BLOCK  # frames
SCORES = ("warp_error", "colorfulness", "ciede2000", "uncovered_error", "cdc")


@dataclass(frozen=True)
class Clip:
    L: Planes  # (T, H, W) float32, 0..100, at the network's size
    truth: Planes  # (T, 2, H, W) float32, CIELAB units; zeros if not asked for


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIP")
    parser.add_argument("--film", type=Path)
    parser.add_argument("--column", type=float, default=0.5, help="of the film's width, 0 to 1")
    parser.add_argument("--frames", type=int, default=None, help="of each clip; default: all")
    parser.add_argument("--every", type=int, default=5, help="longest way between key frames")
    parser.add_argument("--late", type=int, help="frames that an inference takes")
    parser.add_argument("--model", default="kinema")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    backend = load(arguments.model)
    every, late = arguments.every, arguments.late
    ways: Ways = {"live": ("live", 1, None), "film": ("film", 1, None)}
    for mode in ("live", "film"):
        ways[f"{mode}, every {every}"] = (mode, every, None)
    if late is not None:
        ways[f"live, {late} late"] = ("live", every, late)
    arguments.out.mkdir(parents=True, exist_ok=True)

    scores: dict[str, dict[str, VideoScores]] = {}
    times: dict[str, list[float]] = {}
    keys: dict[str, list[bool]] = {}
    for path in arguments.clips:
        clip = read_clip(path, backend.spec, frames=arguments.frames)
        scores[path.stem] = compare(clip, backend, ways, times, keys)
        print(f"{path.stem}: {len(clip.L)} frames", flush=True)
    cost = {name: typical_ms(values) for name, values in times.items()}
    shares = {name: float(np.mean(asked)) for name, asked in keys.items()}
    print(table(scores, cost, shares))

    document = {
        "model": f"{backend.spec.name} {backend.spec.version}",
        "backend": backend.description,
        "machine": f"{platform.machine()}, {cv2.getNumThreads()} threads",
        "median_ms": cost,
        "share_inferred": shares,
        "clips": {
            clip: {way: asdict(score) for way, score in ways.items()}
            for clip, ways in scores.items()
        },
    }
    (arguments.out / "steady.json").write_text(json.dumps(document, indent=1) + "\n")
    if arguments.film:
        film = read_clip(arguments.film, backend.spec, frames=arguments.frames)
        picture = slices(film, backend, arguments.column)
        cv2.imwrite(str(arguments.out / "steady-film.png"), picture)


def read_clip(path: Path, spec: ModelSpec, *, frames: int | None = None) -> Clip:
    """Reads a clip as the product does: L comes from the luma plane; the truth from the colours."""
    L, truth = [], []
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == frames:
                break
            height, width = spec.input_size(frame.width, frame.height)
            grey = to_luma_format(frame)
            luma = resize(plane_view(grey, 0), width, height)
            L.append(extract_L(luma, frame_encoding(grey).encoding))
            rgb = resize(frame.to_ndarray(format="rgb24"), width, height)
            lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
            truth.append(lab[..., 1:].transpose(2, 0, 1))
    return Clip(np.stack(L), np.stack(truth))


def compare(
    clip: Clip,
    backend: Backend,
    ways: Ways,
    times: dict[str, list[float]],
    keys: dict[str, list[bool]],
) -> dict[str, VideoScores]:
    """Scores every way of colorizing one clip; adds seconds a frame to `times`."""
    off = list(infer(clip.L, backend, times.setdefault("off", [])))
    motion = measure_motion(clip.L)
    colors = {"truth": clip.truth, "grey": np.zeros_like(clip.truth), "off": enlarge(clip.L, off)}
    for name, (mode, every, late) in ways.items():
        steady, asked = make_steady(mode, every=every), keys.setdefault(name, [])
        if late is None:
            planes = smooth(clip.L, off, steady, times.setdefault(name, []), asked)
        else:
            planes = smooth_late(clip.L, backend, steady, late, asked)
        colors[name] = enlarge(clip.L, planes)
    return {name: score_video(clip.L, ab, clip.truth, motion) for name, ab in colors.items()}


def typical_ms(seconds: list[float]) -> float:
    """The median over means of eight: film works in bursts of eight, so all are taken so."""
    whole = np.array(seconds[: len(seconds) // BURST * BURST]).reshape(-1, BURST)
    return float(np.median(whole.mean(1))) * 1000


def infer(L: Planes, backend: Backend, times: list[float]) -> Iterator[Planes]:
    backend(L[:1, None])  # the first call of a shape compiles
    for frame in L:
        begin = time.perf_counter()
        ab = backend(frame[None, None])[0]
        times.append(time.perf_counter() - begin)
        yield ab


def smooth(
    L: Planes, off: list[Planes], steady: Steady, times: list[float], asked: list[bool]
) -> list[Planes]:
    ready: list[Planes] = []
    for frame, ab in zip(L, off, strict=True):
        begin = time.perf_counter()
        asked.append(bool(steady.wants(frame)))
        final = steady.push(frame, ab if asked[-1] else None)
        times.append(time.perf_counter() - begin)
        ready += final
    return ready + steady.flush()


def smooth_late(
    L: Planes, backend: Backend, steady: Steady, late: int, asked: list[bool]
) -> list[Planes]:
    """Live, with an inference that takes `late` frames, as `stream.color.colorizer` does it."""
    height, width = L.shape[1:]
    small = backend.spec.input_size(width, height, share=FIRST_LOOK)
    ready: list[Planes] = []
    key: int | None = None  # the frame that the network is at
    for t, frame in enumerate(L):
        if key is not None and t > key + late:
            steady.late(backend(L[key][None, None])[0])
            key = None
        want, ab = steady.wants(frame, busy=key is not None), None
        asked.append(want is not Want.NOTHING)
        if want is Want.NOW:
            key = None
            ab = backend(resize(frame, *small[::-1])[None, None])[0]
        elif want is Want.SOON:
            key = t
        ready += steady.push(frame, ab, rough=want is Want.NOW)
    return ready


def enlarge(L: Planes, planes: list[Planes]) -> Planes:
    """Returns (T, 2, H, W): ab at the size of L, as `stream.color.chroma` enlarges it."""
    height, width = L.shape[1:]
    big = []
    for frame, ab in zip(L, planes, strict=True):
        guide = resize(frame, ab.shape[2], ab.shape[1]) / 100
        slope, offset = linear_model(guide, cv2.merge(list(ab)), EPSILON)
        slope, offset = (cv2.resize(part, (width, height)) for part in (slope, offset))
        big.append((slope * (frame / 100)[..., None] + offset).transpose(2, 0, 1))
    return np.array(big, np.float32)


def table(
    scores: dict[str, dict[str, VideoScores]], cost: dict[str, float], shares: dict[str, float]
) -> str:
    """Means over clips, each clip counting the same, as percent of per-frame inference."""

    def mean(way: str, score: str) -> float:
        return float(np.mean([getattr(ways[way], score) for ways in scores.values()]))

    names = [*shares, "off", "truth", "grey"]
    lines = [
        "                 warp error  colorfulness  CIEDE2000  uncovered  CDC of truth's"
        "  inferred  ms a frame"
    ]
    for name in names:
        of_off = [100 * mean(name, score) / mean("off", score) for score in SCORES[:4]]
        cdc = mean(name, "cdc") / mean("truth", "cdc")
        ms = f"{cost[name]:10.2f}" if name in cost else " " * 10
        share = f"{100 * shares[name]:7.0f} %" if name in shares else " " * 9
        columns = "  ".join(f"{value:9.1f} %" for value in of_off)
        lines.append(f"{name:15}  {columns}  {cdc:12.2f}  {share}  {ms}")
    return "\n".join(lines)


def slices(film: Clip, backend: Backend, column: float) -> Planes:
    """Returns BGR: one column of pixels over time, off above live above film.

    On the left as it is, on the right the colours alone: at one lightness, three times as strong.
    """
    x = round(column * (film.L.shape[2] - 1))
    off = list(infer(film.L, backend, []))
    L = film.L[:, :, x : x + 1]  # (T, H, 1)
    strips = []
    for mode in ("off", "live", "film"):
        ab = enlarge(film.L, smooth(film.L, off, make_steady(mode), [], []))[..., x : x + 1]
        halves = [
            np.hstack([to_rgb(*frame) for frame in zip(L, ab, strict=True)]),
            np.hstack([to_rgb(*frame) for frame in zip(0 * L + 60, 3 * ab, strict=True)]),
        ]
        strip = np.hstack([cv2.resize(h, None, fx=3, fy=2, interpolation=0) for h in halves])
        cv2.putText(strip, mode, (6, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 2)
        strips += [strip, np.full((6, strip.shape[1], 3), 255, np.uint8)]
    return np.vstack(strips[:-1])[..., ::-1]


if __name__ == "__main__":
    main()
