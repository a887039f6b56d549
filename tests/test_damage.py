"""Damaged films: no hang, no traceback, never more frames than the source holds.

Of 500 inputs with a fixed seed 30 run always; the others are `nightly`.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from kinemacolor.stream.options import Options
from kinemacolor.stream.run.job import Job
from kinemacolor.stream.run.run import Run, open_network

from kinemacolor.errors import KinemacolorError
from tests import media
from tests.models import write_model

ALWAYS, ALL = 30, 500
FRAMES = 16
LONGEST_SECONDS = 60
KINDS = [
    ("c.mkv", "libx264", "aac"),
    ("c.ts", "mpeg2video", "aac"),
    ("c.mkv", "ffv1", "flac"),
    ("c.avi", "mjpeg", "pcm_s16le"),
    ("c.mp4", "libx265", "aac"),
    ("c.mov", "prores_ks", "pcm_s16le"),
]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    made = []
    for number, (name, codec, audio) in enumerate(KINDS):
        pix_fmt = {"prores_ks": "yuv422p10le", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
        options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
        path = folder / f"{number}{Path(name).suffix}"
        media.write_clip(
            path, codec=codec, audio=audio, frames=FRAMES, pix_fmt=pix_fmt, options=options
        )
        made.append(path)
    write_model(folder / "tiny.onnx")
    return made


def damaged(clip: Path, target: Path, seed: int) -> None:
    """Flips bits, cuts the end off, or swaps blocks."""
    dice = random.Random(seed)
    data = bytearray(clip.read_bytes())
    match seed % 3:
        case 0:
            for _ in range(dice.choice((1, 10, 100, 1000))):
                data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        case 1:
            del data[dice.randrange(len(data)) :]
        case _:
            for _ in range(dice.choice((1, 4, 16))):
                length = dice.choice((16, 188, 1000))
                a, b = (dice.randrange(max(1, len(data) - length)) for _ in range(2))
                one, other = data[a : a + length], data[b : b + length]
                if len(one) == len(other):
                    data[a : a + length], data[b : b + length] = other, one
    target.write_bytes(data)


PARAMS = [
    pytest.param(seed, marks=[pytest.mark.nightly] if seed >= ALWAYS else []) for seed in range(ALL)
]


@pytest.mark.parametrize("seed", PARAMS)
def test_a_damaged_film(
    clips: list[Path], tmp_path: Path, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    clip = clips[seed % len(clips)]
    broken = tmp_path / clip.name
    damaged(clip, broken, seed)
    options = Options.of(
        model=str(clips[0].parent / "tiny.onnx"),
        backend="onnxruntime",
        steady="off",
        codec="ffv1",
    )
    with open_network(options) as network:
        run = Run(Job.of(str(broken), str(tmp_path / "out.mkv")), options, network)
        run.start()
        failure: KinemacolorError | None = None
        try:
            run.join(LONGEST_SECONDS)  # TimeoutError: it hangs
        except KinemacolorError as error:
            failure = error
    if failure is not None:
        assert len(str(failure).splitlines()) == 1
        assert not (tmp_path / "out.mkv").exists()
        return
    report = run.report
    assert report is not None
    # A transport stream's repeated packets decode again; nothing else may.
    assert 0 < report["frames_out"] <= FRAMES + (clip.suffix == ".ts") * 2
    assert len(media.ffmpeg_luma_hashes(tmp_path / "out.mkv")) == report["frames_out"]
