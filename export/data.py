"""Reads pictures from zip files and folders, and makes batches of L and ab on other threads."""

from __future__ import annotations

import logging
import zipfile
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import cv2
import numpy as np
import torch
from kinemacolor.engine.spec import size_like
from kinemacolor.export import film
from kinemacolor.export.errors import BadPicture, DataError
from numpy.typing import NDArray
from torch import Tensor

log = logging.getLogger(__name__)

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
# zipfile's for an entry that is damaged, encrypted, or packed in a way it does not know.
UNREADABLE = (zipfile.BadZipFile, zlib.error, RuntimeError, OSError, ValueError, cv2.error)


# A black-and-white photograph among colour ones teaches that such pictures have no colours. Mean
# of |a| and |b|, CIELAB units; fog and snow have more.
COLORLESS = 0.7


class Pictures:
    """The pictures of zip files and folders, by number. Any thread may read them."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Lists the pictures. Raises DataError where a path is missing, broken or empty."""
        self._places: list[tuple[zipfile.ZipFile | None, str]] = []
        self._zips: list[zipfile.ZipFile] = []
        self._lock = Lock()
        self.skipped: set[str] = set()
        for path in paths:
            self._add(path)
        if not self._places:
            where = ", ".join(str(path) for path in paths) or "nothing"
            raise DataError(f"no pictures in {where} (looked for {', '.join(sorted(SUFFIXES))})")

    def _add(self, path: Path) -> None:
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
            self._places += [(None, str(file)) for file in files]
            return
        if not path.exists():
            raise DataError(f"no zip file or folder of pictures at {path}")
        try:
            archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"{path} is neither a folder nor a readable zip: {error}") from error
        self._zips.append(archive)
        names = sorted(n for n in archive.namelist() if Path(n).suffix.lower() in SUFFIXES)
        self._places += [(archive, name) for name in names]

    def __len__(self) -> int:
        return len(self._places)

    def name(self, index: int) -> str:
        archive, name = self._places[index]
        return f"{archive.filename}:{name}" if archive else name

    def read(self, index: int) -> NDArray[np.uint8]:
        """Returns (H, W, 3) uint8, BGR. Raises BadPicture, and counts it in `skipped`."""
        archive, name = self._places[index]
        try:
            data = archive.read(name) if archive else Path(name).read_bytes()
            picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        except UNREADABLE as error:
            self._skip(index)
            raise BadPicture(f"{self.name(index)} does not decode: {error}") from error
        if picture is None or min(picture.shape[:2]) < 8:
            self._skip(index)
            raise BadPicture(f"{self.name(index)} is no picture, or smaller than 8x8")
        return np.asarray(picture, np.uint8)

    def spread(self, limit: int) -> Iterator[NDArray[np.uint8]]:
        """Yields so many pictures spread over all, less those that do not decode."""
        for index in np.linspace(0, len(self) - 1, min(limit, len(self))).astype(int):
            try:
                yield self.read(int(index))
            except BadPicture:
                continue

    def check(self) -> None:
        """Raises DataError if not one of the pictures decodes."""
        for index in range(len(self)):
            try:
                self.read(index)
            except BadPicture as error:
                last = error
            else:
                return
        raise DataError(f"none of {len(self)} pictures decodes; the last: {last}")

    def report_skipped(self) -> None:
        """Says how many pictures did not decode, if any, once the work is done."""
        if self.skipped:
            log.warning(
                "pictures that do not decode: %d of %d, left out; one of them is %s",
                len(self.skipped),
                len(self),
                min(self.skipped),
            )

    def _skip(self, index: int) -> None:
        with self._lock:
            self.skipped.add(self.name(index))

    def close(self) -> None:
        for archive in self._zips:
            archive.close()


def to_lab(bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns (H, W, 3) float32 CIELAB (sRGB, D65) of an 8-bit BGR picture."""
    return np.asarray(cv2.cvtColor(bgr.astype(np.float32) / 255, cv2.COLOR_BGR2Lab), np.float32)


def as_films_enter(
    pictures: Pictures, limit: int, *, area: int, multiple: int
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """Yields pictures spread over all, at the size at which a film of their shape is coloured.

    Those that do not decode are left out.

    Args:
        limit: so many at most.
        area: of the network's input, pixels.
        multiple: of which the network's sides must be.

    Yields BGR (H, W, 3) uint8 and its CIELAB (H, W, 3) float32.
    """
    for bgr in pictures.spread(limit):
        height, width = size_like(bgr.shape[1], bgr.shape[0], area=area, multiple=multiple)
        bgr = np.asarray(cv2.resize(bgr, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        yield bgr, to_lab(bgr)


@dataclass(frozen=True)
class Shape:
    """How one batch looks."""

    width: int  # of the crop, pixels
    height: int
    count: int  # pictures
    stride: int = 1  # input size / output size of the network


def crop(
    picture: NDArray[np.uint8], width: int, height: int, random: np.random.Generator
) -> NDArray[np.uint8]:
    """Returns a random part (height, width), mirrored or not.

    It is 40 % to all of the largest part that has this shape, squeezed by a fifth at most: things
    look as they do in a whole picture that keeps its aspect ratio, a little nearer at times.
    """
    rows, columns = picture.shape[:2]
    aspect = width / height * np.exp(random.uniform(-0.2, 0.2))
    largest = min(columns, rows * aspect)
    w = largest * np.sqrt(random.uniform(0.4, 1.0))
    h = int(np.clip(round(w / aspect), min(8, rows), rows))
    w = int(np.clip(round(w), min(8, columns), columns))
    y, x = random.integers(rows - h + 1), random.integers(columns - w + 1)
    part = picture[y : y + h, x : x + w]
    if random.random() < 0.5:
        part = part[:, ::-1]
    if h > height and w > width:
        method = cv2.INTER_AREA
    else:  # sharper or softer: enlarged pictures are soft, the films that come later may be sharp
        method = cv2.INTER_CUBIC if random.random() < 0.5 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(part, (width, height), interpolation=method), np.uint8)


class Batches:
    """Random batches in an order that depends on the seed and the step alone.

    The same step gives the same batch, whether training ran through or was resumed. Use as a
    context manager: it owns the worker threads.
    """

    def __init__(
        self,
        pictures: Pictures,
        shapes: Sequence[Shape],
        *,
        seed: int = 0,
        film_share: float = 0.4,
        workers: int = 1,
        ahead: int = 4,
    ) -> None:
        """shapes: the batch of step i has one of these, drawn at random."""
        self.pictures = pictures
        self.shapes = list(shapes)
        self.seed = seed
        self.film_share = film_share
        self._pool = ThreadPoolExecutor(workers, "pictures")
        self._ahead = ahead

    def __enter__(self) -> Batches:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def from_step(self, step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields L (N, 1, H, W) and ab (N, 2, H/stride, W/stride), float32, for ever."""
        waiting: deque[Future[tuple[Tensor, Tensor]]] = deque()
        while True:
            while len(waiting) < self._ahead:
                waiting.append(self._pool.submit(self.make, step + len(waiting)))
            yield waiting.popleft().result()
            step += 1

    def make(self, step: int) -> tuple[Tensor, Tensor]:
        """Returns the batch of one step. Raises DataError when hardly any picture decodes."""
        random = np.random.default_rng((self.seed, step))
        shape = self.shapes[random.integers(len(self.shapes))]
        L = np.empty((shape.count, 1, shape.height, shape.width), np.float32)
        small = shape.width // shape.stride, shape.height // shape.stride
        ab = np.empty((shape.count, 2, *small[::-1]), np.float32)
        failures = uncolored = 0
        i = 0
        while i < shape.count:
            try:
                picture = self.pictures.read(int(random.integers(len(self.pictures))))
            except BadPicture as error:
                failures += 1
                if failures > 4 * shape.count:
                    raise DataError(f"most pictures do not decode; the last: {error}") from error
                continue
            part = crop(picture, shape.width, shape.height, random)
            lab = to_lab(part)
            if np.abs(lab[..., 1:]).mean() < COLORLESS and uncolored < 4 * shape.count:
                uncolored += 1
                continue
            if random.random() < self.film_share:
                L[i, 0] = film.age(part, lab[..., 0], random)
            else:
                L[i, 0] = lab[..., 0]
            chroma = np.ascontiguousarray(lab[..., 1:])
            if shape.stride > 1:
                chroma = np.asarray(
                    cv2.resize(chroma, small, interpolation=cv2.INTER_AREA), np.float32
                )
            ab[i] = chroma.transpose(2, 0, 1)
            i += 1
        return torch.from_numpy(L), torch.from_numpy(ab)
