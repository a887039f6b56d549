"""How far do colours go that the user knows: references and hints, against the truth of clips.

    python -m benchmarks.references CLIPS [--cases true,user,other,unrelated,hints]
        [--only cups,bmx] [--out FOLDER]

Every clip's luma goes through the whole path (network, known colours, steady colour for films,
chroma planes) and comes back to be compared: CIEDE2000 at half size, warp error, colorfulness as a
share of the truth's. The network alone is measured beside it. With --out: sheets to look at
(truth, network, result) and a JSON file.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from kinemacolor.engine.backend import Backend
from kinemacolor.engine.color import ciede2000
from kinemacolor.engine.load import load
from kinemacolor.export.video_metrics import colorfulness, measure_motion, to_rgb, warp_error
from kinemacolor.stream.anchor.given import sort_given
from kinemacolor.stream.anchor.hints import Hint
from kinemacolor.stream.anchor.learn import Eyes
from kinemacolor.stream.anchor.reference import Reference
from kinemacolor.stream.anchor.stage import Stage, Timing
from kinemacolor.stream.color.colorizer import Colorizer
from kinemacolor.stream.color.host_painter import HostCanvas, HostPainter
from kinemacolor.stream.measure.stats import Stats
from kinemacolor.stream.media import is_frame
from kinemacolor.stream.steady.smoothing import make_steady
from numpy.typing import NDArray

Picture = NDArray[Any]  # (H, W, 3) uint8, R, G, B
# What is asked of the true first frame, so many frames later: (frames, mean CIEDE2000).
ASKED = {
    "cups": (200, 3.0),
    "juggle": (200, 2.8),
    "face": (200, 1.8),
    "signer": (88, 2.2),
    "bedroom": (199, 3.3),
    "city": (33, 2.0),
}
WORSE_BY_USERS = 1.3
FRAMES = 201


@dataclass
class Clip:
    """A colour clip: its pictures, and the same without colour as frames."""

    name: str
    pictures: list[Picture]
    frames: list[av.VideoFrame] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.frames = [_grey(picture, i) for i, picture in enumerate(self.pictures)]


def read_clip(path: Path) -> Clip:
    with av.open(str(path)) as container:
        pictures = []
        for frame in container.decode(video=0):
            pictures.append(frame.to_ndarray(format="rgb24"))
            if len(pictures) == FRAMES:
                break
    return Clip(path.stem.removeprefix("color-"), pictures)


def _grey(picture: Picture, number: int) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuv420p")
    codes = frame.to_ndarray()
    codes[picture.shape[0] :] = 128
    grey = av.VideoFrame.from_ndarray(codes, "yuv420p")
    grey.pts, grey.time_base = number, Fraction(1, 25)
    grey.colorspace, grey.color_range = frame.colorspace, frame.color_range
    return grey


def colorize(
    clip: Clip,
    network: Backend,
    references: Sequence[Reference] = (),
    hints: Sequence[Hint] = (),
) -> tuple[list[Picture], Stage | None, Stats]:
    """Sends a clip's luma through the path. Returns pictures in colour."""

    def reopen(seconds: float) -> Iterator[HostCanvas]:
        painter = HostPainter()
        for frame in clip.frames[max(0, math.ceil(seconds * 25)) :]:
            yield painter.look(frame, network.spec)

    stage = None
    if references or hints:
        timing = Timing(period_seconds=0.04, reopen=reopen)
        stage = Stage(sort_given(references, hints), Eyes(network, network), timing=timing)
    stats = Stats()
    colorizer = Colorizer(network, steady=make_steady("film"), known=stage)
    found = [
        item.to_ndarray(format="rgb24")
        for item in colorizer.colorize(clip.frames, stats)
        if is_frame(item)
    ]
    return found, stage, stats


def lab(picture: Picture) -> tuple[NDArray[Any], NDArray[Any]]:
    """L (h, w) and ab (2, h, w) at half size."""
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    found = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    return found[..., 0], np.ascontiguousarray(found[..., 1:].transpose(2, 0, 1))


def error(result: Picture, truth: Picture) -> float:
    """Mean CIEDE2000, from every fourth point of half the size."""
    (own, ab), (_, true_ab) = lab(result), lab(truth)
    every = np.s_[::2, ::2]
    one = np.dstack([own[every], *(plane[every] for plane in ab)])
    other = np.dstack([own[every], *(plane[every] for plane in true_ab)])
    return float(ciede2000(one, other).mean())


def steadiness(pictures: Sequence[Picture], truth: Sequence[Picture]) -> tuple[float, float]:
    """Warp error of both, along the truth's motion, over the first 60 frames."""
    planes, true_planes = [lab(p) for p in pictures[:60]], [lab(p) for p in truth[:60]]
    motions = measure_motion(np.array([L for L, _ in true_planes]))

    def mean(found: list[Any]) -> float:
        pairs = zip(found[:-1], found[1:], motions, strict=False)
        return float(np.mean([warp_error(a[1], b[1], motion) for a, b, motion in pairs]))

    return mean(planes), mean(true_planes)


def vividness(pictures: Sequence[Picture], truth: Sequence[Picture]) -> float:
    """Colorfulness as a share of the truth's, every twentieth frame."""
    shares = []
    for result, true in zip(pictures[1::20], truth[1::20], strict=True):
        shares.append(colorfulness(to_rgb(*lab(result))) / colorfulness(to_rgb(*lab(true))))
    return float(np.mean(shares))


def as_users_make_them(picture: Picture) -> Picture:
    """320x180, another gamma, two pixels off, JPEG."""
    height, width = picture.shape[:2]
    found = (np.power(picture / 255, 0.85) * 255 * 0.97).astype(np.uint8)
    move = np.array([[1, 0, 2 * width / 427], [0, 1, 1]], np.float32)
    found = cv2.warpAffine(found, move, (width, height), borderMode=cv2.BORDER_REPLICATE)
    found = cv2.resize(found, (round(180 * width / height), 180), interpolation=cv2.INTER_AREA)
    coded = cv2.imencode(".jpg", found[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
    return np.ascontiguousarray(cv2.imdecode(coded, 1)[..., ::-1])


def with_cut(clip: Clip) -> Clip:
    """Two shots: the first 20 frames, then the last 40, seen mirrored and nearer."""

    def nearer(picture: Picture) -> Picture:
        height, width = picture.shape[:2]
        part = picture[height // 8 : -height // 8, width // 8 : -width // 8][:, ::-1]
        return cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC)

    return Clip(clip.name, [*clip.pictures[:20], *map(nearer, clip.pictures[-40:])])


def worst_places(result: Picture, truth: Picture, number: int) -> list[Hint]:
    """Hints where a picture errs most, one after the other, each far from the others."""
    gap = np.linalg.norm(lab(result)[1] - lab(truth)[1], axis=0).astype(np.float32)
    gap = cv2.GaussianBlur(gap, (0, 0), 6)
    height, width = gap.shape
    hints = []
    for _ in range(number):
        row, column = np.unravel_index(gap[6:-6, 6:-6].argmax(), (height - 12, width - 12))
        y, x = int(row) + 6, int(column) + 6
        patch = truth[2 * y - 5 : 2 * y + 7, 2 * x - 5 : 2 * x + 7].reshape(-1, 3)
        r, g, b = np.median(patch, 0).astype(int)
        color = f"#{r:02x}{g:02x}{b:02x}"
        hints.append(Hint(x=(x + 0.5) / width, y=(y + 0.5) / height, color=color, frame=0))
        cv2.circle(gap, (x, y), height // 10, 0.0, -1)
    return hints


def write_sheet(path: Path, columns: dict[str, Sequence[Picture]], frames: Sequence[int]) -> None:
    rows = []
    for frame in frames:
        row = []
        for name, pictures in columns.items():
            cell = pictures[frame].copy()
            cv2.putText(cell, f"{name} {frame}", (8, 28), 0, 0.9, (0, 0, 0), 4)
            cv2.putText(cell, f"{name} {frame}", (8, 28), 0, 0.9, (255, 255, 255), 2)
            row.append(cell)
        rows.append(np.hstack(row))
    cv2.imwrite(str(path), np.vstack(rows)[..., ::-1])


class Bench:
    """The cases, clip by clip."""

    def __init__(self, network: Backend, clips: dict[str, Clip], out: Path | None) -> None:
        self.network, self.clips, self.out = network, clips, out
        self.rows: list[dict[str, Any]] = []
        self._alone: dict[str, list[Picture]] = {}

    def alone(self, clip: Clip) -> list[Picture]:
        """What the network says of a clip without anything known."""
        if clip.name not in self._alone:
            self._alone[clip.name] = colorize(clip, self.network)[0]
        return self._alone[clip.name]

    def note(self, case: str, clip: Clip, asked: float | None = None, **values: Any) -> None:
        row = {"case": case, "clip": clip.name, **values, "asked": asked}
        self.rows.append(row)
        words = [f"{k} {v:.2f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()]
        print("  ".join(words[1:]), flush=True)

    def true(self, clip: Clip, *, case: str = "true", picture: Picture | None = None) -> None:
        """The true first frame; bmx gets three."""
        first = clip.pictures[0] if picture is None else picture
        references = [Reference(first, frame=0)]
        if clip.name == "bmx":
            others = [clip.pictures[i] for i in (40, 79)]
            if picture is not None:
                others = [as_users_make_them(each) for each in others]
            references += [Reference(p, frame=i) for p, i in zip(others, (40, 79), strict=True)]
        found, _, stats = colorize(clip, self.network, references)
        own, true_own = steadiness(found, clip.pictures)
        errors = [error(f, t) for f, t in zip(found[1::4], clip.pictures[1::4], strict=True)]
        at, asked = ASKED.get(clip.name, (None, 5.0))
        values: dict[str, Any] = {"mean": float(np.mean(errors))}
        if at is not None:
            at = min(at, len(found) - 1)
            values["at_frame"], values["error"] = at, error(found[at], clip.pictures[at])
        if picture is not None:
            asked *= WORSE_BY_USERS
        self.note(
            case, clip, asked, **values, warp=own, warp_of_truth=true_own,
            colorfulness=vividness(found, clip.pictures),
            ms=stats.seconds["steady"] * 1000 / len(found),
        )  # fmt: skip
        if self.out is not None:
            last = len(found) - 1
            columns = {"truth": clip.pictures, "network": self.alone(clip), "known": found}
            write_sheet(self.out / f"{case}-{clip.name}.png", columns, [10, last // 2, last])

    def user(self, clip: Clip) -> None:
        """The same as users make them."""
        self.true(clip, case="user", picture=as_users_make_them(clip.pictures[0]))

    def other(self, clip: Clip) -> None:
        """A reference of another shot: the network's error less 35 %."""
        cut = with_cut(clip)
        found, _, _ = colorize(cut, self.network, [Reference(cut.pictures[0], frame=0)])
        alone, _, _ = colorize(cut, self.network)
        own, network = (
            float(np.mean([error(p[i], cut.pictures[i]) for i in range(20, len(cut.pictures), 6)]))
            for p in (found, alone)
        )
        self.note("other", clip, 0.65, error=own, network=network, ratio=own / network)
        if self.out is not None:
            columns = {"truth": cut.pictures, "network": alone, "known": found}
            write_sheet(self.out / f"other-{clip.name}.png", columns, [10, 22, len(found) - 1])

    def unrelated(self, clip: Clip) -> None:
        """A reference of another film: at most 0.3 worse."""
        others = [each for name, each in self.clips.items() if name != clip.name]
        if not others:
            return
        short = Clip(clip.name, clip.pictures[:40])
        found, _, _ = colorize(short, self.network, [Reference(others[0].pictures[0])])
        alone, _, _ = colorize(short, self.network)
        every = range(0, len(alone), 6)
        own, network = (
            float(np.mean([error(p[i], short.pictures[i]) for i in every])) for p in (found, alone)
        )
        self.note("unrelated", clip, 0.3, of=others[0].name, worse=own - network)

    def hints(self, clip: Clip) -> None:
        """Hints at the worst places of the first frame: 1 and 10."""
        short = Clip(clip.name, clip.pictures[:30])
        alone, _, _ = colorize(short, self.network)
        every = range(0, len(alone), 6)
        network = float(np.mean([error(alone[i], short.pictures[i]) for i in every]))
        values: dict[str, Any] = {"network": network}
        for number in (1, 10):
            hints = worst_places(alone[0], short.pictures[0], number)
            found, _, _ = colorize(short, self.network, hints=hints)
            own = float(np.mean([error(found[i], short.pictures[i]) for i in every]))
            values[f"with_{number}"] = own
        self.note("hints", clip, 0.7, **values, ratio=values["with_10"] / network)
        if self.out is not None:
            columns = {"truth": short.pictures, "network": alone, "10 hints": found}
            write_sheet(self.out / f"hints-{clip.name}.png", columns, [0, len(found) - 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path)
    parser.add_argument("--cases", default="true,user,other,unrelated,hints")
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    paths = sorted(arguments.clips.glob("color-*"))
    wanted = set(filter(None, arguments.only.split(",")))
    clips = {c.name: c for c in map(read_clip, paths) if not wanted or c.name in wanted}
    if not clips:
        sys.exit(f"no color-*.mp4 in {arguments.clips}")
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
    network = load()
    try:
        bench = Bench(network, clips, arguments.out)
        for case in arguments.cases.split(","):
            print(f"-- {case}: {getattr(Bench, case).__doc__}", flush=True)
            for clip in clips.values():
                getattr(bench, case)(clip)
    finally:
        network.close()
    if arguments.out is not None:
        (arguments.out / "references.json").write_text(json.dumps(bench.rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
