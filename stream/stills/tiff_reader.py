"""Reads a page of a TIFF by tifffile: tiles, planes, palettes, inks, any number of bits."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from kinemacolor.stream.errors import BadSource
from kinemacolor.stream.stills.ifd import Tag, read_directory
from kinemacolor.stream.stills.info import AlphaKind, StillInfo
from kinemacolor.stream.stills.samples import cmyk_to_rgb, lab_to_srgb, scaled, to_luma
from kinemacolor.stream.stills.tags import PHOTOSHOP, kept_tags, orientation_of, resolution_of
from numpy.typing import NDArray

log = logging.getLogger(__name__)
# What tifffile logs of a damaged file, it raises as well, or is looked at here.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

_ALPHA: dict[int, AlphaKind] = {0: "unspecified", 1: "premultiplied", 2: "straight"}
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _INKS, _YCBCR = 0, 1, 2, 3, 5, 6
_LAB = (8, 9, 10)  # CIE's, ICC's and ITU's, which differ in where a and b have their zero
_COLORS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _PALETTE: 1, _INKS: 4}
_HOW = "convert it to grey or RGB of 8 or 16 bit"


def read_tiff(
    path: Path, page: int, check_size: Callable[[int, int], None]
) -> tuple[NDArray[Any], StillInfo]:
    """Reads a page.

    Args:
        page: counts pictures; thumbnails and masks are none.
        check_size: raises BadSource for a width and height that are too much.

    Returns:
        The luma as stored, (H, W) uint8 or uint16, and what else the page holds.
    """
    with path.open("rb") as file, tifffile.TiffFile(file) as tiff:
        pages = _pictures(tiff)
        if not pages:
            raise BadSource(f"{path} cannot be read as a picture: it breaks off, or is damaged")
        if page >= len(pages):
            raise BadSource(f"{path} has no page {page + 1}")
        stored = pages[page]
        _check_kind(path, stored)
        check_size(stored.imagewidth, stored.imagelength)
        _check_whole(path, stored, path.stat().st_size)
        samples = _samples(path, stored)
        tags = read_directory(file, stored.offset)
        icc = _data(tags.get(34675))
        luma, alpha, alpha_kind = _grey(path, stored, samples, icc)
    kept = kept_tags(tags)
    resources = _data(tags.get(PHOTOSHOP))
    info = StillInfo(
        path=path,
        format="TIFF",
        width=luma.shape[1],
        height=luma.shape[0],
        page=page,
        pages=len(pages),
        bit_depth=8 * luma.dtype.itemsize,
        orientation=orientation_of(tags),
        dpi=resolution_of(tags),
        exif=kept,
        icc=icc,
        xmp=_data(tags.get(700)),
        iptc=None if resources is None else b"Photoshop 3.0\0" + resources,
        alpha=alpha,
        alpha_kind=alpha_kind,
    )
    return luma, replace(info, icc=None) if stored.photometric in (_INKS, *_LAB) else info


def _pictures(tiff: Any) -> list[Any]:
    """The pages that are pictures: a thumbnail or a mask is not one, unless there is no other."""
    pages = [page.aspage() for page in tiff.pages]
    shown = [page for page in pages if not (page.subfiletype & 5 or _old_kind(page) == 2)]
    return shown or pages[:1]


def _old_kind(page: Any) -> int:
    tag = page.tags.get(255)  # SubfileType, before TIFF 6.0; 2 is a reduced picture
    return 0 if tag is None else tag.value


def _check_kind(path: Path, page: Any) -> None:
    """Raises BadSource for samples of which nobody can say what is black and what is white."""
    format_number, bits = int(page.sampleformat), page.bitspersample
    if isinstance(bits, tuple):
        bits = max(bits)
    kind = None
    if format_number == 3:
        kind = f"a {bits}-bit floating-point"
    elif format_number not in (1, 4) or bits > 16:  # 4 is "undefined", which is read as numbers
        kind = f"a {bits}-bit{' signed' if format_number == 2 else ''}"
    elif page.photometric not in (*_COLORS, _RGB, _YCBCR, *_LAB):
        name = getattr(page.photometric, "name", page.photometric)
        kind = f"a camera's or instrument's own ({name})"
    elif page.imagedepth != 1:
        kind = "a volume, no flat"
    if kind is not None:
        raise BadSource(f"{path} is {kind} picture: {_HOW}")


def _check_whole(path: Path, page: Any, size: int) -> None:
    """Raises BadSource where samples lie outside the file: tifffile would read them as black."""
    places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    wanted = int(np.prod(page.chunked)) if page.chunks else 0
    if len(places) < wanted or any(
        at <= 0 or count <= 0 or at + count > size for at, count in places
    ):
        raise BadSource(f"{path} cannot be read as a picture: it breaks off, or is damaged")
    plain = page.compression == 1 and not page.is_tiled and page.photometric != _YCBCR
    row = -(-page.imagewidth * page.samplesperpixel * page.bitspersample // 8)
    if plain and sum(count for _, count in places) < page.imagelength * row:
        raise BadSource(f"{path} cannot be read as a picture: samples are missing")


def _samples(path: Path, page: Any) -> NDArray[Any]:
    """The samples as stored: (H, W, n), whole numbers."""
    try:
        samples = page.asarray(maxworkers=1)
    except (ValueError, NotImplementedError) as error:
        if page.photometric != _YCBCR:
            raise
        raise BadSource(f"{path} is YCbCr in a form that is not read: {_HOW} ({error})") from error
    if page.planarconfig == 2 and samples.ndim == 3:
        samples = samples.transpose(1, 2, 0)
    samples = samples.reshape(page.imagelength, page.imagewidth, -1)
    return samples.view(np.uint8) if samples.dtype == bool else samples


def _grey(
    path: Path, page: Any, samples: NDArray[Any], icc: bytes | None
) -> tuple[NDArray[Any], NDArray[Any] | None, AlphaKind]:
    """Luma, alpha and its kind, of samples (H, W, n)."""
    bits, photometric = page.bitspersample, int(page.photometric)
    colors = min(_COLORS.get(photometric, 3), samples.shape[2])
    extra = samples.shape[2] - colors
    if extra > 1:
        log.warning("%s: %d further channels beside alpha are left out", path, extra - 1)
    kinds = page.extrasamples or (0,)
    alpha = scaled(samples[..., colors], bits) if extra else None
    return (
        _luma(path, photometric, samples[..., :colors], bits, page, icc),
        alpha,
        _ALPHA.get(int(kinds[0]), "unspecified"),
    )


def _luma(
    path: Path, photometric: int, samples: NDArray[Any], bits: int, page: Any, icc: bytes | None
) -> NDArray[Any]:
    if photometric == _PALETTE:
        return to_luma(_palette(page.colormap)[samples[..., 0]])
    if photometric in _LAB:
        return _lab_luma(samples, photometric)
    codes = scaled(samples, bits)
    if photometric == _INKS:
        if samples.shape[2] != 4 or number(page, 332, 1) != 1:
            raise BadSource(f"{path} is of inks other than CMYK: {_HOW}")
        return to_luma(cmyk_to_rgb(codes, _if_for(b"CMYK", icc)))
    luma = codes[..., 0] if codes.shape[2] < 3 else to_luma(codes)
    return np.iinfo(luma.dtype).max - luma if photometric == _WHITE_IS_ZERO else luma


def number(page: Any, tag: int, default: int) -> int:
    found = page.tags.get(tag)
    return default if found is None else int(found.value)


def _palette(colormap: NDArray[np.uint16]) -> NDArray[Any]:
    """(n, 3) colours of a palette: of 8 bits, if no more were needed to write them down."""
    colors = colormap.T
    if (colors < 256).all() and colors.any():  # some writers forget that a map has 16 bits
        return colors.astype(np.uint8)
    if (colors % 257 == 0).all() or (colors % 256 == 0).all():
        return (colors >> 8).astype(np.uint8)
    return np.ascontiguousarray(colors)


def _lab_luma(samples: NDArray[Any], photometric: int) -> NDArray[Any]:
    """TIFF 6.0 section 23 and its supplement 2: L* from 0 to the highest code, a* and b* signed.

    ICC's Lab holds a* and b* from a middle code on.
    """
    top = np.iinfo(samples.dtype).max
    unit = 1.0 if top == 255 else 256.0
    luma = np.empty(samples.shape[:2], samples.dtype)
    for row in range(0, len(samples), 256):
        band = samples[row : row + 256]
        lab = band.astype(np.float32)
        lab[..., 0] *= 100 / (top if photometric == 8 or top == 255 else 65280)
        if photometric == 8:
            signed: Any = np.int8 if top == 255 else np.int16
            lab[..., 1:] = band[..., 1:].astype(samples.dtype).view(signed) / unit
        else:
            lab[..., 1:] = lab[..., 1:] / unit - 128
        luma[row : row + 256] = to_luma(np.rint(lab_to_srgb(lab) * top).astype(samples.dtype))
    return luma


def _if_for(space: bytes, icc: bytes | None) -> bytes | None:
    return icc if icc is not None and icc[16:20] == space else None


def _data(tag: object) -> bytes | None:
    return tag.data if isinstance(tag, Tag) else None
