"""Makes film.mp4 and still.jpg, a grey film and a grey picture, from free photographs.

The photographs are those that scikit-image carries in its package; README.md beside this file
names their origins and licences. Run it with the `test` extra installed:

    python samples/make_sample.py

The same versions of PyAV and scikit-image write the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import skimage.data
from kinemacolor.engine.color import Encoding, quantise, rgb_to_ycbcr
from numpy.typing import NDArray
from PIL import Image

HERE = Path(__file__).parent
WIDTH, HEIGHT = 854, 480
RATE = Fraction(24)
FRAMES_PER_SHOT = 48
GRAIN = 0.005  # of white: a fine-grained negative, and enough to keep skies from banding
BT601 = 6  # H.273: SMPTE 170M, for the matrix, the primaries and the transfer function alike
SAMPLE_RATE = 48000


@dataclass(frozen=True)
class Shot:
    """A move over a photograph: what the camera frames at first and at last."""

    photograph: str
    start: tuple[float, float, float]  # centre x, centre y and width of the view, in pixels
    end: tuple[float, float, float]


SHOTS = (
    Shot("camera", start=(262, 170, 420), end=(256, 222, 506)),
    Shot("astronaut", start=(250, 290, 500), end=(222, 130, 380)),
    Shot("coffee", start=(330, 170, 400), end=(300, 200, 594)),
    Shot("chelsea", start=(225, 150, 446), end=(250, 145, 330)),
    Shot("rocket", start=(320, 250, 500), end=(330, 200, 630)),
)


def luma_of(photograph: str) -> NDArray[np.float32]:
    """Returns (H, W) float32, BT.601 luma 0..1."""
    picture = getattr(skimage.data, photograph)().astype(np.float64) / 255
    luma = picture if picture.ndim == 2 else rgb_to_ycbcr(picture, "bt601")[..., 0]
    return luma.astype(np.float32)


def play(shot: Shot) -> Iterator[NDArray[np.float32]]:
    """Yields the shot's frames: (HEIGHT, WIDTH) float32, luma 0..1."""
    luma = luma_of(shot.photograph)
    for index in range(FRAMES_PER_SHOT):
        eased = 0.5 - 0.5 * np.cos(np.pi * index / (FRAMES_PER_SHOT - 1))
        x, y, width = np.array(shot.start) * (1 - eased) + np.array(shot.end) * eased
        scale = width / WIDTH  # below 1: the photographs are smaller than the film
        view = np.array([[scale, 0, x - width / 2], [0, scale, y - scale * HEIGHT / 2]])
        yield cv2.warpAffine(
            luma,
            view,
            (WIDTH, HEIGHT),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )


def frames() -> Iterator[av.VideoFrame]:
    """Yields the film's frames: yuv420p, limited range, neutral chroma."""
    dice = np.random.default_rng(1908)
    pictures = (picture for shot in SHOTS for picture in play(shot))
    for index, picture in enumerate(pictures):
        luma = np.clip(picture + dice.normal(0, GRAIN, picture.shape), 0, 1)
        grey = np.stack([luma, np.zeros_like(luma), np.zeros_like(luma)], axis=-1)
        codes = quantise(grey, Encoding("bt601", "limited"))[..., 0]
        planes = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
        planes[:HEIGHT] = codes
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = index, 1 / RATE
        frame.colorspace, frame.color_range = BT601, 1
        yield frame


def sound(seconds: float) -> Iterator[av.AudioFrame]:
    """Yields a quiet chord for every shot, swelling and fading with it."""
    length = FRAMES_PER_SHOT / float(RATE)
    chords = ((220, 262, 330), (175, 220, 262), (196, 247, 294), (165, 196, 247), (220, 277, 330))
    step = SAMPLE_RATE // 10
    for start in range(0, round(seconds * SAMPLE_RATE), step):
        t = np.arange(start, start + step) / SAMPLE_RATE
        chord = chords[min(int(t[0] / length), len(chords) - 1)]
        swell = np.sin(np.pi * (t % length) / length) ** 2
        wave = sum(np.sin(2 * np.pi * note * t) for note in chord) * swell * 0.05
        samples = np.rint(wave * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, start
        frame.time_base = Fraction(1, SAMPLE_RATE)
        yield frame


def write_film(path: Path) -> None:
    """H.264 and AAC in MP4."""
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(str(path), "w", options=options) as container:
        container.metadata["title"] = "Five free photographs"
        container.metadata["copyright"] = "Public domain and CC0, see samples/README.md"
        video: Any = container.add_stream("libx264", rate=RATE, width=WIDTH, height=HEIGHT)
        video.pix_fmt = "yuv420p"
        video.codec_context.thread_count = 1  # more threads, other bytes
        video.options = {"crf": "20", "preset": "veryslow", "flags": "+bitexact"}
        video.codec_context.colorspace = BT601
        video.codec_context.color_primaries = BT601
        video.codec_context.color_trc = BT601
        video.codec_context.color_range = 1  # limited
        audio: Any = container.add_stream("aac", rate=SAMPLE_RATE, options={"flags": "+bitexact"})
        audio.layout, audio.bit_rate = "mono", 64000
        for frame in frames():
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for chunk in sound(len(SHOTS) * FRAMES_PER_SHOT / float(RATE)):
            container.mux(audio.encode(chunk))
        container.mux(audio.encode(None))


def write_still(path: Path) -> None:
    """A grey JPEG of one component, with a resolution and EXIF tags, as a scanner writes it."""
    picture = Image.fromarray(np.rint(luma_of("coffee") * 255).astype(np.uint8))
    exif = Image.Exif()
    exif[0x010E] = "A cup of coffee on a wooden table"  # ImageDescription
    exif[0x013B] = "Rachel Michetti"  # Artist
    exif[0x8298] = "CC0"  # Copyright
    picture.save(path, quality=92, dpi=(300, 300), exif=exif)


if __name__ == "__main__":
    write_film(HERE / "film.mp4")
    write_still(HERE / "still.jpg")
