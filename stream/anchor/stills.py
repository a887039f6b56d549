"""Chooses the frames of a film that are worth painting, and writes them as stills.

One frame of each shot, and another wherever much has come to sight that the last one does not
show. Their names say which frames they are, so that `--references` takes them back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from kinemacolor.engine.color import dequantise, ycbcr_to_rgb
from kinemacolor.stream.anchor.carry import Tracker, Trail, view_for_motion
from kinemacolor.stream.anchor.known import Known, Plane
from kinemacolor.stream.anchor.reference import CONTACT_SHEET
from kinemacolor.stream.color.frames import frame_encoding, plane_view, to_luma_format
from kinemacolor.stream.errors import SinkError, SinkExists
from kinemacolor.stream.steady.cuts import ShotLinker
from numpy.typing import NDArray

SETTLED = 3  # frames after a cut: the first ones are often mixed with the shot before
MUCH_NEW = 0.5  # of the picture
PAUSE = 12  # frames at least from one still of a shot to the next
TILE_WIDTH, COLUMNS = 320, 4  # of a contact sheet, pixels and pictures


def worth_painting(planes: Iterable[Plane]) -> Iterator[int]:
    """Yields the numbers of the frames that are worth painting, as soon as each is known.

    Args:
        planes: (h, w) float32, 0..100: the L of every frame, at the points where colours are
            carried.
    """
    linker = ShotLinker()
    tracker: Tracker | None = None
    known: Known | None = None
    trail: Trail | None = None
    began = chosen = last = -1

    def choose(number: int, L: Plane) -> None:
        nonlocal known, trail, chosen
        assert tracker is not None
        known = Known(L, np.zeros((2, *L.shape), np.float32), np.ones_like(L))
        trail, chosen = tracker.start(), number

    for number, L in enumerate(planes):
        last = number
        if tracker is None or tracker.grid.shape[:2] != L.shape:
            tracker = Tracker(*L.shape)
        link = linker.link(view_for_motion(L))
        if link.parent is None:
            if chosen < began:
                yield number - 1  # of a shot that was over before it had settled
            began, known, trail = number, None, None
        elif known is not None and trail is not None:
            trail = tracker.step(known, trail, tracker.see(L, link))
        if known is None:
            if number - began == SETTLED:
                choose(number, L)
                yield number
        elif number - chosen >= PAUSE and (trail is None or trail.sure.mean() < 1 - MUCH_NEW):
            choose(number, L)
            yield number
    if began >= 0 and chosen < began:
        yield last


def rgb_of(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Returns a frame (H, W, 3) in R, G, B, as its tags mean it."""
    frame = to_luma_format(frame)
    encoding = frame_encoding(frame).encoding
    luma = plane_view(frame, 0)
    height, width = luma.shape
    if len(frame.format.components) >= 3:
        chroma = [
            cv2.resize(plane_view(frame, i).astype(np.float32), (width, height)) for i in (1, 2)
        ]
    else:
        chroma = [np.full(luma.shape, encoding.chroma_offset, np.float32)] * 2
    ycbcr = dequantise(np.dstack([luma.astype(np.float32), *chroma]), encoding)
    rgb = ycbcr_to_rgb(ycbcr, encoding.colorspace)
    return np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)


def grey_of(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Returns a frame (H, W, 3) in R, G, B, without colour."""
    frame = to_luma_format(frame)
    encoding = frame_encoding(frame).encoding
    luma = (plane_view(frame, 0) - encoding.luma_offset) / encoding.luma_scale
    code = np.rint(np.clip(luma, 0, 1) * 255).astype(np.uint8)
    return np.repeat(code[..., None], 3, axis=2)


class Folder:
    """Where stills go. Raises SinkExists for one that is there, unless it may be overwritten."""

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        self.path, self._overwrite = path, overwrite
        self.written: list[Path] = []
        self._tiles: list[NDArray[np.uint8]] = []
        path.mkdir(parents=True, exist_ok=True)

    def write(self, number: int, picture: NDArray[np.uint8]) -> None:
        """Writes the still of a frame."""
        name = f"frame-{number:06d}"
        self._save(f"{name}.png", picture)
        height, width = picture.shape[:2]
        size = (TILE_WIDTH, max(1, round(TILE_WIDTH * height / width)))
        tile: NDArray[Any] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        for color, thick in (((0, 0, 0), 4), ((255, 255, 255), 1)):
            cv2.putText(tile, name, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, color, thick)
        self._tiles.append(tile)

    def write_contact_sheet(self) -> None:
        """Writes all of them as one picture."""
        if not self._tiles:
            return
        height = max(tile.shape[0] for tile in self._tiles)
        count = -(-len(self._tiles) // COLUMNS) * COLUMNS
        sheet = np.zeros((count // COLUMNS * height, COLUMNS * TILE_WIDTH, 3), np.uint8)
        for index, tile in enumerate(self._tiles):
            y, x = index // COLUMNS * height, index % COLUMNS * TILE_WIDTH
            sheet[y : y + tile.shape[0], x : x + TILE_WIDTH] = tile
        self._save(f"{CONTACT_SHEET}.jpg", sheet)

    def _save(self, name: str, picture: NDArray[Any]) -> None:
        path = self.path / name
        if path.exists() and not self._overwrite:
            raise SinkExists(f"{path} exists: --overwrite replaces it")
        coded = cv2.imencode(path.suffix, picture[..., ::-1])[1]
        try:
            path.write_bytes(coded.tobytes())
        except OSError as error:
            raise SinkError(f"cannot write {path}: {error.strerror or error}") from error
        self.written.append(path)
