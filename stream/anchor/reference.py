"""Colour stills that the user gives: whose frame they are, and what they show."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from kinemacolor.engine.color import LUMA_WEIGHTS, Colorspace, luma_to_L
from kinemacolor.stream.address import STILLS
from kinemacolor.stream.anchor.known import Known
from kinemacolor.stream.errors import BadReference
from numpy.typing import NDArray
from PIL import Image, ImageOps

MOST = 1000  # references of one film; what is known of one takes a quarter of a megabyte
ASPECT = 0.03  # by how much a still's shape may differ from the film's
GREY = 2.0  # CIELAB chroma that hardly any point of a grey picture has
LEAST_SIDE = 16  # pixels
CONTACT_SHEET = "contact-sheet"  # what `stills` calls it: no reference

_FRAME = re.compile(r"frame[-_ ]?(\d{1,9})(?!\d)", re.IGNORECASE)
_TIME = re.compile(r"(?:(\d{1,3})h)?(?:(\d{1,3})m)?(\d{1,5}(?:\.\d{1,9})?)s(?![a-z0-9])", re.I)


@dataclass(frozen=True, eq=False)
class Reference:
    """A picture in colour, of a frame of the film or of something that is in it.

    Attributes:
        picture: a file, or (H, W, 3) or (H, W, 4) uint8 or uint16, R, G, B and alpha. Where alpha
            is 0 the reference has no opinion.
        frame: whose colours it shows, counted from 0 at the film's start; None: see `time`.
        time: the same in seconds; None, too: a picture of something that is in the film.

    Raises BadReference: both are given, or one is below 0.
    """

    picture: Path | str | NDArray[Any]
    frame: int | None = None
    time: float | None = None

    def __post_init__(self) -> None:
        if self.frame is not None and self.time is not None:
            raise BadReference(f"{self.name} has a frame and a time: one of them says it")
        number = self.frame if self.time is None else self.time
        if number is not None and not (math.isfinite(number) and number >= 0):
            raise BadReference(f"{self.name} cannot belong to frame or time {number}")

    @classmethod
    def of_file(cls, path: Path) -> Reference:
        """Reads from a file's name which frame it is: `frame-000120.png`, `00h01m20.5s.jpg`."""
        if found := _FRAME.match(path.stem):
            return cls(path, frame=int(found[1]))
        if found := _TIME.match(path.stem):
            hours, minutes, seconds = (float(part or 0) for part in found.groups())
            return cls(path, time=hours * 3600 + minutes * 60 + seconds)
        return cls(path)

    @property
    def name(self) -> str:
        """What it is called in messages."""
        if isinstance(self.picture, Path | str):
            return str(self.picture)
        place = self.frame if self.time is None else f"{self.time:g} s"
        return "a picture without a frame" if place is None else f"the picture of {place}"

    @property
    def belongs(self) -> bool:
        """Whether it is of one frame of the film."""
        return self.frame is not None or self.time is not None

    def read(self) -> NDArray[np.float32]:
        """Returns (H, W, 4) float32, 0..1: R, G, B, alpha, upright. Raises BadReference."""
        return _samples_of(self._stored())

    def check(self) -> tuple[int, int]:
        """Returns its (H, W), upright. Raises BadReference for what `read` cannot use."""
        height, width = self._stored().shape[:2]
        return height, width

    def _stored(self) -> NDArray[Any]:
        stored = _read(self.picture, self.name)
        _check_stored(self.name, stored)
        return stored


def check_shape(name: str, size: tuple[int, int], width: int, height: int) -> None:
    """Raises BadReference where a still of a frame, of (H, W), has another shape than the film."""
    rows, columns = size
    if abs(math.log(columns / rows * height / width)) > ASPECT:
        raise BadReference(
            f"{name} is {columns}x{rows}, and the film is {width}x{height}: a still of a frame"
            " shows all of it, in the same shape"
        )


def shown(samples: NDArray[np.float32], size: tuple[int, int], colorspace: Colorspace) -> Known:
    """Returns a still at a size.

    Args:
        samples: (H, W, 4), as `Reference.read` gives them.
        size: (h, w).
        colorspace: whose luma its lightness is, so that it compares with the film's.
    """
    height, width = size
    picture = samples
    if picture.shape[:2] != size:
        way = cv2.INTER_AREA if height <= picture.shape[0] else cv2.INTER_CUBIC
        picture = cv2.resize(picture, (width, height), interpolation=way).clip(0, 1)
    rgb = np.ascontiguousarray(picture[..., :3])
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2Lab)
    kr, kb = LUMA_WEIGHTS[colorspace]
    luma = rgb @ np.array([kr, 1 - kr - kb, kb], np.float32)
    ab = np.ascontiguousarray(lab[..., 1:].transpose(2, 0, 1))
    return Known(luma_to_L(luma).astype(np.float32), ab, np.ascontiguousarray(picture[..., 3]))


def find_references(paths: Iterable[Path]) -> list[Reference]:
    """Returns the references of files and folders, one level deep.

    Raises BadReference: nothing is there, too many, or two are of one frame.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = sorted(p for p in path.iterdir() if _is_still(p))
            if not found:
                raise BadReference(f"no picture in the folder of references {path}")
            files += found
        elif path.exists():
            files.append(path)
        else:
            raise BadReference(f"no such reference: {path}")
    if len(files) > MOST:
        raise BadReference(f"{len(files)} references are too many: {MOST} is the most")
    references = [Reference.of_file(path) for path in files]
    check_different(references)
    return references


def check_different(references: Sequence[Reference]) -> None:
    """Raises BadReference where two are of one frame."""
    owners: dict[tuple[int | None, float | None], Reference] = {}
    for reference in references:
        place = reference.frame, reference.time
        if reference.belongs and place in owners:
            raise BadReference(
                f"{owners[place].name} and {reference.name} are of one frame: leave one of them out"
            )
        owners[place] = reference


def _is_still(path: Path) -> bool:
    return (
        path.is_file()
        and path.suffix.lower() in STILLS
        and not path.name.startswith(".")
        and path.stem != CONTACT_SHEET
    )


def _read(picture: Path | str | NDArray[Any], name: str) -> NDArray[Any]:
    """Returns (H, W, 3) or (H, W, 4) as stored, upright. Raises BadReference."""
    if not isinstance(picture, Path | str):
        return np.asarray(picture)
    try:
        with Path(picture).open("rb") as file, Image.open(file) as opened:
            return _samples(Path(picture), opened, name)
    except BadReference:
        raise
    except Exception as error:  # on a broken file, Pillow raises nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadReference(f"{name} cannot be read as a picture: {reason}") from error


def _samples(path: Path, opened: Any, name: str) -> NDArray[Any]:
    mode = opened.mode
    if mode in ("CMYK", "YCCK", "LAB", "HSV"):
        raise BadReference(f"{name} is a {mode} picture: convert it to RGB")
    if mode in ("1", "L", "LA", "F") or mode.startswith("I"):
        raise BadReference(f"{name} is grey: a reference has to be in colour")
    deep = _deep(path) if opened.format in ("PNG", "TIFF") else None
    if deep is not None:  # Pillow cuts colour of 16 bits a sample to 8
        return deep
    transparent = mode in ("RGBA", "PA") or "transparency" in opened.info
    upright = ImageOps.exif_transpose(opened)
    return np.asarray(upright.convert("RGBA" if transparent else "RGB"))


def _deep(path: Path) -> NDArray[Any] | None:
    """The samples of a picture of 16 bits a sample; None for others."""
    data = np.fromfile(path, np.uint8)
    if bytes(data[:8]) == b"\x89PNG\r\n\x1a\n" and data[24] != 16:
        return None
    stored = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if stored is None or stored.dtype != np.uint16 or stored.ndim != 3:
        return None
    return cv2.cvtColor(stored, cv2.COLOR_BGRA2RGBA if stored.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def _check_stored(name: str, stored: NDArray[Any]) -> None:
    """Raises BadReference for samples that are no picture in colour."""
    kinds = (np.uint8, np.uint16)
    if stored.ndim != 3 or stored.shape[2] not in (3, 4) or stored.dtype not in kinds:
        raise BadReference(
            f"{name} is {stored.dtype} {stored.shape}: expected (H, W, 3) or (H, W, 4) of uint8 or"
            " uint16"
        )
    rows, columns = stored.shape[:2]
    if min(rows, columns) < LEAST_SIDE:
        raise BadReference(f"{name} is {columns}x{rows}: {LEAST_SIDE} pixels a side are the least")
    scale = min(1.0, 128 / max(rows, columns))
    small = cv2.resize(stored, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    samples = _samples_of(small)
    if not samples[..., 3].any():
        raise BadReference(f"{name} is transparent everywhere")
    lab = cv2.cvtColor(np.ascontiguousarray(samples[..., :3]), cv2.COLOR_RGB2Lab)
    chroma = np.hypot(lab[..., 1], lab[..., 2])[samples[..., 3] > 0.1]
    if chroma.size and np.percentile(chroma, 99) < GREY:
        raise BadReference(f"{name} is grey: a reference has to be in colour")


def _samples_of(stored: NDArray[Any]) -> NDArray[np.float32]:
    """Returns (H, W, 4) float32, 0..1."""
    rows, columns, channels = stored.shape
    samples = np.ones((rows, columns, 4), np.float32)
    np.multiply(stored, np.float32(1 / np.iinfo(stored.dtype).max), out=samples[..., :channels])
    return samples
