"""Reads numbered pictures as one film: DPX, EXR, TIFF, PNG."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.video.frame import supported_np_pix_fmts
from kinemacolor.engine.color import LUMA_WEIGHTS
from kinemacolor.stream.address import PICTURES, ImageSequence, file_url
from kinemacolor.stream.color.frames import plane_view
from kinemacolor.stream.errors import BadSource, SourceNotFound
from kinemacolor.stream.media import Item, Source, SourceInfo

log = logging.getLogger(__name__)

USUAL_RATE = Fraction(24)
_RED, _BLUE = LUMA_WEIGHTS["bt709"]
_WEIGHTS = np.array((_RED, 1 - _RED - _BLUE, _BLUE), np.float32)
_BT709, _FULL = 1, 2  # AVCOL_SPC_BT709, AVCOL_RANGE_JPEG
# EXR holds light; the network and every encoder here are used to sRGB's codes for it.
_DECODER_OPTIONS = {".exr": {"apply_trc": "iec61966_2_1"}}
_BROKEN = (av.error.FFmpegError, OSError, IndexError, StopIteration)


@dataclass(frozen=True)
class _Picture:
    number: int
    path: Path


class PicturesSource(Source):
    """Yields a film whose frames are files of their own. Missing numbers leave gaps in time.

    Args:
        rate: frames a second; None is 24, and said.
        start_seconds, duration_seconds: the part that is read.
        from_zero: a part's times count from its own start.
    """

    def __init__(
        self,
        address: ImageSequence,
        *,
        rate: Fraction | None = None,
        start_seconds: float = 0.0,
        duration_seconds: float | None = None,
        from_zero: bool = False,
    ) -> None:
        found = [_Picture(*pair) for pair in address.files()]
        if not found:
            raise SourceNotFound(f"no pictures are named {address}")
        if rate is None:
            log.warning(
                "%s: played at %s frames a second; --fps says otherwise", address, USUAL_RATE
            )
            rate = USUAL_RATE
        missing = found[-1].number + 1 - len(found)
        if missing:
            log.warning(
                "%s: %d numbers are missing: their frames are gaps in time", address, missing
            )
        end = None if duration_seconds is None else start_seconds + duration_seconds - 1e-6
        self._pictures = [
            picture
            for picture in found
            if start_seconds - 1e-6 <= picture.number / rate
            and (end is None or picture.number / rate < end)
        ]
        if not self._pictures:
            raise BadSource(f"{address} ends before --start {start_seconds:g}")
        self._shift = round(start_seconds * rate) if from_zero else 0
        first = self._pictures[0].path
        try:
            self.container = _open(first)
            self.video = self.container.streams.video[0]
            context: Any = self.video.codec_context
        except _BROKEN as error:
            raise BadSource(f"cannot read {first}: {error}") from error
        self.info = SourceInfo(
            name=str(address),
            width=context.width,
            height=context.height,
            pix_fmt=context.pix_fmt,
            rate=rate,
            time_base=1 / rate,
            codec=context.name,
            frames=len(self._pictures),
            duration_seconds=float(len(self._pictures) / rate),
        )

    def __iter__(self) -> Iterator[Item]:
        for picture in self._pictures:
            frame = self._read(picture.path)
            if frame is not None:
                frame.pts, frame.time_base = picture.number - self._shift, self.info.time_base
                frame.duration = 1
                yield frame

    def close(self) -> None:
        self.container.close()

    def _read(self, path: Path) -> av.VideoFrame | None:
        """Decodes one picture; None for one that is broken, which is counted and named."""
        try:
            with _open(path) as container:
                frame = next(container.decode(container.streams.video[0]))
        except _BROKEN as error:
            self.damaged += 1
            log.warning("%s cannot be read, and is left out: %s", path, error)
            return None
        return _grey(frame)


def _grey(frame: av.VideoFrame) -> av.VideoFrame:
    """Returns the BT.709 luma of RGB, in full range and in its own depth; other frames as is.

    FFmpeg's scaler is off by a code or two in 10 bit.
    """
    if not frame.format.is_rgb:
        return frame
    bits = frame.format.components[0].bits
    known = frame.format.name in supported_np_pix_fmts
    rgb = frame.to_ndarray() if known else frame.to_ndarray(format="rgb48le")
    top = 1.0 if rgb.dtype.kind == "f" else 2.0 ** (bits if known else 16) - 1
    bits = next(b for b in (8, 10, 12, 16) if b >= min(bits if known else 16, 16))
    light = np.clip(rgb[..., :3].astype(np.float32) @ _WEIGHTS / top, 0, 1)
    codes = np.rint(light * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)
    grey = av.VideoFrame(frame.width, frame.height, "gray" if bits == 8 else f"gray{bits}le")
    plane_view(grey, 0)[:] = codes
    grey.colorspace, grey.color_range = _BT709, _FULL
    grey.color_primaries, grey.color_trc = frame.color_primaries, frame.color_trc
    return grey


def _open(path: Path) -> Any:
    container = av.open(file_url(path))
    for stream in container.streams.video:
        stream.codec_context.options = _DECODER_OPTIONS.get(path.suffix.lower(), {})
    return container


def pictures_in(folder: Path) -> ImageSequence:
    """The pictures of a folder as one film: those of its commonest suffix. Raises BadSource."""
    suffixes = Counter(p.suffix for p in folder.iterdir() if p.suffix.lower() in PICTURES)
    if not suffixes:
        raise BadSource(f"no picture in the folder {folder}")
    name = f"*{suffixes.most_common(1)[0][0]}"
    return ImageSequence(str(folder), folder, name)
