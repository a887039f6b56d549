"""A hundred damaged pictures: no hang, no traceback, a line for each that cannot be read."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.command import kinemacolor
from tests.models import write_model
from tests.stills import grey

SEED = 1908
COUNT = 100


def save_all(folder: Path) -> list[Path]:
    """A good picture of every format, and of TIFF of several kinds."""
    picture, deep = grey(90, 70), grey(90, 70, 16)
    rgb = np.dstack([picture, picture[::-1], picture[:, ::-1]])
    for name in ("a.jpg", "b.png", "c.tif", "d.webp", "e.bmp", "f.jp2", "g.avif"):
        Image.fromarray(rgb).save(folder / name)
    Image.fromarray(deep).save(folder / "h.png")
    Image.fromarray(rgb).convert("CMYK").save(folder / "i.jpg")
    kinds: list[dict[str, Any]] = [
        {"tile": (16, 16), "compression": "lzw"},
        {"bigtiff": True, "compression": "zlib"},
        {"rowsperstrip": 9, "compression": "packbits"},
        {"compression": "jpeg"},
    ]
    for number, options in enumerate(kinds):
        tifffile.imwrite(folder / f"j{number}.tif", rgb, photometric="rgb", **options)
    tifffile.imwrite(folder / "k.tif", np.stack([deep, deep[::-1]]), photometric="minisblack")
    return sorted(folder.iterdir())


def flipped(data: bytes, dice: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(dice.choice([1, 4, 30])):
        damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
    return bytes(damaged)


def cut(data: bytes, dice: random.Random) -> bytes:
    return data[: dice.randrange(1, len(data))]


def swapped(data: bytes, dice: random.Random) -> bytes:
    size = max(1, len(data) // 8)
    first, second = sorted(dice.sample(range(8), 2))
    blocks = [data[at : at + size] for at in range(0, 8 * size, size)]
    blocks[first], blocks[second] = blocks[second], blocks[first]
    return b"".join(blocks) + data[8 * size :]


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    good = save_all(tmp_path_factory.mktemp("good"))
    folder, dice = tmp_path_factory.mktemp("damaged"), random.Random(SEED)
    for number in range(COUNT):
        path = good[number % len(good)]
        change = (flipped, cut, swapped)[number % 3]
        target = folder / f"{number:03}-{change.__name__}{path.suffix}"
        target.write_bytes(change(path.read_bytes(), dice))
    return folder


def test_a_folder_of_damaged_pictures_ends_with_a_line_for_each(
    damaged: Path, tmp_path: Path
) -> None:
    model = write_model(tmp_path / "tiny.onnx")
    options = ("--model", model, "--backend", "onnxruntime", "--no-progress")
    done = kinemacolor(damaged, "-o", tmp_path / "out", *options)
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    assert "╭" not in said  # the frame around Rich's tracebacks
    written = {path.name for path in (tmp_path / "out").iterdir()}
    failed = re.findall(r"^failed: .*?(\d{3}-\w+\.\w+)", done.stderr, re.MULTILINE)
    assert sorted([*written, *failed]) == sorted(path.name for path in damaged.iterdir())
    assert len(set(failed)) == len(failed)
    assert done.returncode == (1 if failed else 0)
    assert failed  # some of them were damaged enough
    assert written
