"""Compares two still pictures: their grey, page by page, and what their files say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from kinemacolor.stream.proof.check import LOWEST_PSNR, Check, is_shifted, psnr_of
from kinemacolor.stream.proof.grey import Shown
from kinemacolor.stream.proof.held import Held
from kinemacolor.stream.proof.pictures import picture_places, shown
from numpy.typing import NDArray

_BAND = 256  # rows at once, to bound the memory of a big scan
_WITHOUT_ALPHA = ("JPEG", "BMP")
_EIGHT_BITS = ("JPEG", "WEBP", "BMP", "AVIF", "HEIF")
_HOLD_NO_EXIF = ("BMP", "HEIF")  # HEIC's cannot be read here
_HOLD_NO_ICC = ("BMP", "JPEG2000", "HEIF")
_STORED_UPRIGHT = ("BMP", "JPEG2000", "HEIF")  # which hold no orientation
_HOLD_NO_RESOLUTION = ("HEIF",)


def compare_stills(source: Path, result: Path) -> Iterator[Check]:
    """Yields a check for each property. Raises BadSource when one of them cannot be read."""
    ours, theirs = picture_places(source), picture_places(result)
    if len(ours) > 1 or len(theirs) > 1:
        same = len(ours) == len(theirs)
        yield Check("pages", same, f"{len(ours)} against {len(theirs)}")
    found: dict[str, list[Check]] = {}
    for number, (place, other) in enumerate(zip(ours, theirs, strict=False)):
        for check in _compare(shown(source, place), shown(result, other)):
            named = f"page {number + 1}: {check.detail}" if len(ours) > 1 else check.detail
            found.setdefault(check.name, []).append(Check(check.name, check.passed, named))
    for checks in found.values():
        yield next((check for check in checks if not check.passed), checks[0])


def _compare(ours: Shown, theirs: Shown) -> Iterator[Check]:
    yield _luma(ours, theirs)
    if ours.alpha is not None and (ours.alpha < 2**ours.bits - 1).any():
        yield _alpha(ours, theirs)
    differing = [*_tags(ours.held, theirs.held)]
    yield Check("tags", not differing, ", ".join(differing) or "the same")


def _luma(ours: Shown, theirs: Shown) -> Check:
    found = _right_half(ours.luma, theirs.luma)
    if ours.luma.shape != found.shape:
        return Check("luma", False, f"{_size(ours.luma)} against {_size(theirs.luma)}")
    wanted, tolerance = ours.luma, ours.tolerance
    if ours.bits != theirs.bits:
        if theirs.held.format not in _EIGHT_BITS or theirs.bits > ours.bits:
            return Check("luma", False, f"{ours.bits} bits became {theirs.bits}")
        wanted, tolerance = wanted / np.float32(257), max(tolerance / 257, 0.51)
    if ours.alpha_kind == 1 and theirs.alpha_kind != 1 and theirs.alpha is not None:
        # A format whose colours are not multiplied by alpha: multiplied again, they are the same.
        share = _right_half(ours.luma, theirs.alpha) / np.float32(2**theirs.bits - 1)
        found = found * share
        tolerance = max(tolerance, 1.6)
    elif theirs.tolerance:
        found = np.rint(found)  # RGB, whose luma is promised to the nearest code
    return _verdict(wanted, found, tolerance, theirs)


def _verdict(wanted: NDArray[Any], found: NDArray[Any], tolerance: float, theirs: Shown) -> Check:
    """What the differences of luma, in bands to bound the memory, come to."""
    outside, worst, squared, shift = 0, 0.0, 0.0, 0.0
    for row in range(0, len(wanted), _BAND):
        difference = found[row : row + _BAND].astype(np.float64) - wanted[row : row + _BAND]
        size = np.abs(difference)
        outside += int((size > tolerance + 1e-3).sum())
        worst = max(worst, float(size.max(initial=0)))
        squared += float(np.sum(difference**2))
        shift += float(np.sum(difference))
    if not outside:
        return Check("luma", True, "identical")
    samples, unit = wanted.size, 2 ** (theirs.bits - 8)
    brighter = is_shifted(shift / samples / unit, squared / samples / unit**2)
    detail = f"{outside / samples:.2%} of samples differ, by at most {max(round(worst), 1)}"
    if brighter:
        detail += f"; by {abs(shift) / samples / unit:.1f} codes brighter or darker"
    psnr = psnr_of(squared, samples, theirs.bits)
    return Check("luma", theirs.held.lossy and psnr >= LOWEST_PSNR and not brighter, detail)


def _right_half(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[Any]:
    """Of a side-by-side result, the coloured half."""
    if theirs.shape == (ours.shape[0], 2 * ours.shape[1]):
        return theirs[:, ours.shape[1] :]
    return theirs


def _size(picture: NDArray[Any]) -> str:
    height, width = picture.shape
    return f"{width}x{height}"


def _alpha(ours: Shown, theirs: Shown) -> Check:
    """Transparency, of a source in which something is transparent."""
    wanted, name = ours.alpha, theirs.held.format
    assert wanted is not None
    if theirs.alpha is None:
        lost = name not in _WITHOUT_ALPHA
        return Check("alpha", not lost, "lost" if lost else f"{name} holds no transparency")
    found = _right_half(wanted, theirs.alpha)
    if wanted.shape != found.shape:
        return Check("alpha", False, f"{_size(wanted)} against {_size(found)}")
    difference = np.abs(found / (2**theirs.bits - 1) - wanted / (2**ours.bits - 1)) * 255
    exact = ours.bits == theirs.bits and not theirs.held.lossy
    most = 0.0 if exact else 0.51 if not theirs.held.lossy else 8.0
    if float(difference.max(initial=0)) > most + 1e-6:
        return Check("alpha", False, f"differs by up to {difference.max():.2f} of 255")
    if name == ours.held.format == "TIFF" and ours.alpha_kind != theirs.alpha_kind:
        return Check("alpha", False, f"ExtraSamples {ours.alpha_kind} became {theirs.alpha_kind}")
    return Check("alpha", True, "identical" if exact else "the same but for rounding")


def _tags(before: Held, after: Held) -> Iterator[str]:
    """What differs, in words."""
    if before.orientation != after.orientation and after.format not in _STORED_UPRIGHT:
        yield "orientation"
    if after.format not in _HOLD_NO_RESOLUTION and not _near(before.dpi, after.dpi):
        yield f"resolution {_dots(before.dpi)} became {_dots(after.dpi)}"
    if after.format not in _HOLD_NO_EXIF:
        changed = [key for key, value in before.exif.items() if after.exif.get(key) != value]
        if changed:
            yield f"EXIF ({', '.join(str(key[-1]) for key in changed[:5])})"
    if after.format not in _HOLD_NO_ICC:
        wanted = before.icc if before.icc is not None and before.icc[16:20] == b"RGB " else None
        if wanted != after.icc:
            yield "ICC profile" if wanted is not None else "a new ICC profile"
    if after.format not in _HOLD_NO_EXIF and before.xmp is not None and before.xmp != after.xmp:
        yield "XMP"
    if before.format == after.format and not set(before.texts) <= set(after.texts):
        yield "texts"


def _near(before: Any, after: Any) -> bool:
    """Whether two resolutions are the same: PNG counts dots a metre, JPEG whole ones an inch."""
    if before is None or after is None:
        return before is after
    return all(abs(a - b) <= max(0.51, 0.001 * a) for a, b in zip(before, after, strict=True))


def _dots(dpi: tuple[float, float] | None) -> str:
    return "none" if dpi is None else f"{dpi[0]:g}x{dpi[1]:g} dpi"
