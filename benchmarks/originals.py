"""Do imported networks compute what their authors' own code computes?

    python -m benchmarks.originals fetch FOLDER      the authors' code, by pip and git
    python -m benchmarks.originals golden FOLDER     tests/golden, from tiny variants
    python -m benchmarks.originals compare FOLDER    every network at full size, and a table

The authors' code runs in a process of its own with random weights (`tests/seeded.py`); what it
gives is compared with our import of the same weights. `FOLDER` is filled by `fetch`, and
`pytest -m nightly` compares too where KINEMACOLOR_ORIGINALS names it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import skimage.data
from kinemacolor.engine.color import luma_to_L
from kinemacolor.engine.graphs.color_error import sample_pictures
from kinemacolor.engine.load import load
from kinemacolor.export.import_weights import import_model
from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "golden"
NAMES = ("eccv16", "siggraph17", "ddcolor-tiny", "ddcolor", "deoldify-artistic", "deoldify-stable")
TINY = ("ddcolor-mini", "deoldify-deep-mini", "deoldify-wide-mini", "eccv16", "siggraph17")
SIDE = 256
FILES = ("astronaut", "chelsea", "coffee", "rocket", "camera", "moon", "motorcycle_left", "retina")
WHEELS = {
    "zhang": ["rz-colorization==1.0.5"],
    # DeOldify's wheel has its own fastai 1, which needs these and no newer setuptools.
    "deoldify": [
        "deoldify==0.0.1", "fastprogress==1.0.3", "setuptools<80", "pyyaml", "pandas", "numexpr",
        "bottleneck", "requests", "urllib3", "idna", "certifi", "charset-normalizer", "pytz", "six",
        "torchvision==0.28.0", "ipython", "decorator", "traitlets", "matplotlib-inline", "jedi",
        "parso", "pexpect", "ptyprocess", "prompt-toolkit", "wcwidth", "pygments", "stack-data",
        "executing", "asttokens", "pure-eval",
    ],
}  # fmt: skip
DDCOLOR = "https://github.com/piddnad/DDColor"


def fetch(folder: Path) -> None:
    """Puts the authors' code into folders of its own; nothing of it is installed."""
    for name, packages in WHEELS.items():
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target"]
        subprocess.run([*pip, str(folder / name), *packages], check=True)
    git = ["git", "clone", "-q", "--depth", "1", DDCOLOR, str(folder / "ddcolor")]
    subprocess.run(git, check=True)


def answers(
    folder: Path, name: str, pictures: NDArray[np.float32], out: Path, nesting: str = ""
) -> tuple[Path, NDArray[np.float32]]:
    """Runs the authors' code on L (N, 1, H, W). Returns the file of weights, and ab (N, 2, H, W).

    Args:
        out: folder for both.
        nesting: of the file: "params", "model" and so on, "module." for a prefix.
    """
    np.save(out / "pictures.npy", pictures)
    script = ROOT / "tests" / "authors_code.py"
    command = [sys.executable, str(script), str(folder), name, str(out), nesting]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr.strip().splitlines()[-1]}")
    return out / f"{name}.pth", np.load(out / "ab.npy")


def pictures(side: int = SIDE) -> NDArray[np.float32]:
    """Eight of scikit-image's photographs: L (8, 1, side, side)."""
    planes = []
    for name in FILES:
        picture = getattr(skimage.data, name)() if hasattr(skimage.data, name) else None
        if picture is None:  # a file without a function of its own
            folder = Path(skimage.data.__file__).parent
            picture = skimage.io.imread(next(folder.glob(f"{name}.*")))
        grey = (
            picture if picture.ndim == 2 else picture[..., :3] @ np.float32([0.299, 0.587, 0.114])
        )
        rows, columns = (np.linspace(0, n - 1, side).astype(int) for n in grey.shape)
        planes.append(luma_to_L(grey[rows][:, columns] / 255))
    return np.float32(planes)[:, None]


def difference(
    file: Path, pictures: NDArray[np.float32], ab: NDArray[np.float32]
) -> tuple[float, float]:
    """Imports a file of weights. Returns the mean and the largest difference in ab."""
    made = import_model(file, file.with_suffix(".onnx"), side=pictures.shape[-1])
    backend = load(made.path, backend="onnxruntime", precision="fp32")
    ours = np.concatenate([backend(L[None]) for L in pictures])
    backend.close()
    made.path.unlink()
    return float(np.abs(ours - ab).mean()), float(np.abs(ours - ab).max())


def compare(folder: Path, names: list[str], out: Path) -> None:
    asked = pictures()
    print(f"{'network':<20}{'spread of ab':>14}{'mean difference':>17}{'largest':>10}")
    for name in names:
        file, ab = answers(folder, name, asked, out)
        mean, largest = difference(file, asked, ab)
        print(f"{name:<20}{ab.std():>14.2f}{mean:>17.6f}{largest:>10.5f}", flush=True)
        file.unlink()


def golden(folder: Path, out: Path) -> None:
    """Writes names, shapes and answers; weights and pictures are made again from them."""
    asked = np.float32(sample_pictures(64, 64)[:2])[:, None]
    for name in TINY:
        _, ab = answers(folder, name, asked, out)
        shapes = (out / "shapes.json").read_text()
        np.savez_compressed(GOLDEN / f"{name}.npz", shapes=np.array(shapes), ab=ab)
        print(f"{name}: {(GOLDEN / f'{name}.npz').stat().st_size / 1e3:.0f} kB, ab {ab.std():.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", choices=["fetch", "golden", "compare"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", default=list(NAMES), choices=NAMES)
    options = parser.parse_args()
    out = options.folder / "made" / options.work
    out.mkdir(parents=True, exist_ok=True)
    match options.work:
        case "fetch":
            fetch(options.folder)
        case "golden":
            golden(options.folder, out)
        case _:
            compare(options.folder, options.only, out)


if __name__ == "__main__":
    main()
