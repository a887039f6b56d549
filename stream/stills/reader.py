"""Reads a still picture: its grey as a frame, and all else that its file holds."""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
from kinemacolor.stream.address import STILLS
from kinemacolor.stream.color.frames import plane_view
from kinemacolor.stream.errors import BadSource, SourceNotFound
from kinemacolor.stream.stills.info import StillInfo, turn
from kinemacolor.stream.stills.pillow_reader import read_with_pillow
from kinemacolor.stream.stills.tiff_reader import read_tiff
from numpy.typing import NDArray
from PIL import UnidentifiedImageError

log = logging.getLogger(__name__)

# A negative of 8x10 inches at 2400 dpi has 460 million. Colouring takes 20 bytes for each.
MOST_PIXELS = 500_000_000
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # classic, and BigTIFF
_PILLOW_FORMATS = tuple(dict.fromkeys(name for name in STILLS.values() if name != "TIFF"))
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_BT601 = 5  # AVCOL_SPC_BT470BG, which FFmpeg, too, gives a JPEG
_FULL = 2  # AVCOL_RANGE_JPEG


def read_still(path: Path, page: int = 0) -> tuple[av.VideoFrame, StillInfo]:
    """Reads a still.

    Args:
        page: of a TIFF that has several.

    Returns:
        The upright picture as a frame: yuv444p or yuv444p16le, BT.601, full range, neutral
        chroma, its page as its time; and what else the file holds. A JPEG's luma is its decoded
        Y plane.

    Raises:
        SourceNotFound: no such file.
        BadSource: no picture, a damaged one, or a kind that cannot be coloured.
    """
    if not path.exists():
        raise SourceNotFound(f"no such file: {path}")
    if path.is_file() and path.stat().st_size == 0:
        raise BadSource(f"{path} is empty (0 bytes)")

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters of them comes as an error, too
            luma, info = _read(path, page)
            return _upright(luma, info)
    except BadSource:
        raise
    except UnidentifiedImageError as error:
        raise BadSource(
            f"{path} is no JPEG, PNG, TIFF or WebP, nor another picture that can be read"
        ) from error
    except MemoryError as error:
        raise BadSource(f"{path} is too big for this machine's memory") from error
    except Exception as error:  # on a broken file, these libraries raise nearly anything
        # Pillow's words say what is wrong; those of decoders and of tifffile are for programmers.
        said = " ".join(str(error).split()) if isinstance(error, OSError | SyntaxError) else ""
        raise BadSource(
            f"{path} cannot be read as a picture: {said[:200] or 'it is damaged'}"
        ) from error


def _read(path: Path, page: int) -> tuple[NDArray[Any], StillInfo]:
    def check_size(width: int, height: int) -> None:
        if not 0 < width * height <= MOST_PIXELS:
            raise BadSource(
                f"{path} has {width}x{height} pixels, more than {MOST_PIXELS // 10**6} million:"
                " cut it, or make it smaller"
            )

    with path.open("rb") as file:
        head = file.read(12)
        file.seek(0)
        if head.startswith(_TIFF):
            return read_tiff(path, page, check_size)
        if head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS:
            _take_heic(path, head[8:12])
        return read_with_pillow(path, file, _PILLOW_FORMATS, check_size)


def _take_heic(path: Path, brand: bytes) -> None:
    """Teaches Pillow HEIC, where its package is. Raises BadSource for HEIC where it is not."""
    if find_spec("pillow_heif") is not None:
        import pillow_heif

        pillow_heif.register_heif_opener()
    elif brand not in (b"mif1", b"msf1"):  # which may be AVIF
        raise BadSource(f"{path} is HEIC: install kinemacolor[heic] to read it")


def _upright(luma: NDArray[Any], info: StillInfo) -> tuple[av.VideoFrame, StillInfo]:
    """The frame of a luma as stored, and the rest with its upright size."""
    if info.icc is not None and info.icc[16:20] != b"RGB ":
        log.info("%s: its ICC profile is not for RGB, and is left out", info.path)
        info = replace(info, icc=None)
    upright = turn(luma, info.orientation)
    height, width = upright.shape
    frame = av.VideoFrame(width, height, "yuv444p" if info.bit_depth == 8 else "yuv444p16le")
    plane_view(frame, 0)[:] = upright
    for index in (1, 2):
        plane_view(frame, index)[:] = 2 ** (info.bit_depth - 1)
    frame.colorspace, frame.color_range = _BT601, _FULL
    frame.pts, frame.time_base = info.page, Fraction(1)
    return frame, replace(info, width=width, height=height)
