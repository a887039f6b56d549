"""Pictures and films in colour whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[Any]  # (H, W, 3) uint8, R, G, B


def picture(height: int = 96, width: int = 144, seed: int = 0) -> Picture:
    """Coloured things on a coloured ground, with some texture."""
    random = np.random.default_rng(seed)
    found = np.full((height, width, 3), random.integers(60, 200, 3), np.uint8)
    for _ in range(12):
        center = tuple(int(random.integers(0, side)) for side in (width, height))
        radius = int(random.integers(4, 30) * height / 96) + 1
        color = [int(code) for code in random.integers(30, 230, 3)]
        cv2.circle(found, center, radius, color, -1, cv2.LINE_AA)
    grain = cv2.GaussianBlur(random.normal(0, 25, (height, width)).astype(np.float32), (0, 0), 1.5)
    return np.clip(found + grain[..., None], 0, 255).astype(np.uint8)


def panned(frames: int, *, height: int = 96, width: int = 144, seed: int = 0) -> list[Picture]:
    """A camera that goes slowly over a large picture."""
    whole = cv2.GaussianBlur(picture(height, width + 2 * frames, seed), (0, 0), 1)
    return [np.ascontiguousarray(whole[:, i : i + width]) for i in range(frames)]


def write_grey_film(path: Path, pictures: Sequence[Picture], *, rate: int = 25) -> Path:
    """Writes the luma of pictures, BT.601 in limited range, without loss."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=rate)
        height, width = pictures[0].shape[:2]
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number, each in enumerate(pictures):
            codes = (
                av.VideoFrame.from_ndarray(each, "rgb24").reformat(format="yuv420p").to_ndarray()
            )
            codes[height:] = 128
            frame = av.VideoFrame.from_ndarray(codes, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def chroma_of(pictures: Sequence[Picture]) -> list[NDArray[np.int64]]:
    """The chroma codes that pictures have as 4:2:0, Cb over Cr."""
    return [
        av.VideoFrame.from_ndarray(each, "rgb24")
        .reformat(format="yuv420p")
        .to_ndarray()[each.shape[0] :]
        .astype(int)
        for each in pictures
    ]


def read_chroma(path: Path) -> list[NDArray[np.int64]]:
    """The chroma codes of a film, as `chroma_of` orders them."""
    with av.open(str(path)) as container:
        return [
            frame.to_ndarray()[frame.height :].astype(int) for frame in container.decode(video=0)
        ]
