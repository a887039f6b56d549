"""From small ab planes to the chroma planes of a frame: edges from the luma, colours in gamut.

The arithmetic in order: a local linear model of ab over luma is solved at the network's size,
its coefficients are enlarged to the chroma size and applied to the frame's own luma there, and
(luma, a, b) is looked up in a table of chroma codes that was filled by `engine.color`.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import cv2
import numpy as np
from kinemacolor.engine.color import Encoding, ab_to_ycbcr, luma_to_L, quantise
from kinemacolor.stream.options import Upsample
from numpy.typing import NDArray

# ab is sampled every 4 units from -112 to 112 (sRGB reaches from -108 to 98), luma at 256 levels.
AB_STEP = 4.0
AB_SIZE = 57
LUMA_SIZE = 256
_AB_ORIGIN = 28.0  # index of a = 0

# The window of the linear model: 5 x 5 cells of the network's ab grid.
RADIUS = 2
# Luma variance (on 0..1) below which a window counts as flat: (1 % of white) squared.
EPSILON = 1e-4


@lru_cache(maxsize=4)
def chroma_tables(encoding: Encoding) -> tuple[NDArray[Any], NDArray[Any]]:
    """Cb and Cr codes over (luma, b, a), each as one tall picture for `cv2.remap`.

    Returns:
        Two of (LUMA_SIZE * AB_SIZE, AB_SIZE) uint8 or uint16; row `i * AB_SIZE + j` holds luma
        level i and b level j.
    """
    steps = (np.arange(AB_SIZE) - _AB_ORIGIN) * AB_STEP
    ab = np.stack(np.meshgrid(steps, steps), axis=-1)  # (b, a, 2)
    levels = np.linspace(0, 2**encoding.bit_depth - 1, LUMA_SIZE)
    luma = ((levels - encoding.luma_offset) / encoding.luma_scale).clip(0, 1)
    dtype = np.uint8 if encoding.bit_depth == 8 else np.uint16
    tables = np.empty((2, LUMA_SIZE, AB_SIZE, AB_SIZE), dtype)
    few = 8  # levels at a time, so that the temporaries stay in the cache
    shape = (few, AB_SIZE, AB_SIZE)
    for i in range(0, LUMA_SIZE, few):
        y = np.broadcast_to(luma[i : i + few, None, None], shape)
        colors = ab_to_ycbcr(y, np.broadcast_to(ab, (*shape, 2)), encoding.colorspace)
        tables[:, i : i + few] = np.moveaxis(quantise(colors, encoding)[..., 1:], -1, 0)
    cb, cr = tables.reshape(2, LUMA_SIZE * AB_SIZE, AB_SIZE)
    return cb, cr


@lru_cache(maxsize=4)
def lightness_table(encoding: Encoding) -> NDArray[np.float32]:
    """L of every luma code. Returns (2 ** bit_depth,) float32, 0..100."""
    codes = np.arange(2**encoding.bit_depth)
    return luma_to_L((codes - encoding.luma_offset) / encoding.luma_scale).astype(np.float32)


def resize(plane: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """Brings a plane to (height, width): area average down, bilinear up. Same dtype.

    Returns the plane itself where the size is the same.
    """
    if plane.shape == (height, width):
        return plane
    down = plane.shape[0] >= height and plane.shape[1] >= width
    method = cv2.INTER_AREA if down else cv2.INTER_LINEAR
    return cv2.resize(plane, (width, height), interpolation=method)


def chroma_guide(
    luma: NDArray[Any], width: int, height: int, *, left_sited: bool = True
) -> NDArray[Any]:
    """The luma codes where the chroma samples lie.

    Args:
        luma: (H, W) uint8 or uint16.
        width, height: of the chroma planes.
        left_sited: a chroma sample of two columns lies on the left one, which is what H.264 and
            its kin mean (ITU-T H.264, figure E-1, type 0), and not between them, as in JPEG.

    Returns:
        (height, width), of luma's dtype: the mean of the columns around a sample, 1:2:1 or 1:1,
        and of its rows. The border's column is repeated.
    """
    between = resize(luma, width, height)
    if not left_sited or luma.shape[1] != 2 * width:
        return between
    before = np.empty_like(between)  # the means of columns -1 and 0, 1 and 2, ...
    before[:, :1] = resize(np.repeat(luma[:, :1], 2, axis=1), 1, height)
    if width > 1:
        before[:, 1:] = resize(luma[:, 1:-1], width - 1, height)
    return cv2.addWeighted(between, 0.5, before, 0.5, -0.25)  # the mean, halves down


def extract_L(luma: NDArray[Any], encoding: Encoding) -> NDArray[Any]:
    """Luma codes (any shape) to L, float32, 0..100."""
    return _look_up(luma, lightness_table(encoding))


def chroma_planes(
    guide: NDArray[Any],
    ab: NDArray[np.float32],
    encoding: Encoding,
    *,
    upsample: Upsample = "guided",
    saturation: float = 1.0,
    out: tuple[NDArray[Any], NDArray[Any]] | None = None,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The chroma samples of one frame.

    Args:
        guide: (H, W) uint8 or uint16, the frame's luma codes at the chroma samples.
        ab: (2, h, w) float32, CIELAB units; taken as it is where it has the guide's size.
        encoding: of the guide and of the result.
        upsample: `guided` stops colour at luma edges, `bilinear` does not.
        saturation: ab is multiplied by this.
        out: where to write the result, two of (H, W); rows may be padded.

    Returns:
        Cb and Cr codes: two of (H, W), of the guide's dtype.
    """
    enlarge = partial(cv2.resize, dsize=guide.shape[::-1], interpolation=cv2.INTER_LINEAR)
    # From here on ab is counted in table steps, so that what is enlarged is the table's index.
    target = cv2.merge([ab[0], ab[1]]) * np.float32(saturation / AB_STEP) + np.float32(_AB_ORIGIN)
    if upsample == "bilinear" or ab.shape[1:] == guide.shape:
        column, row = cv2.split(enlarge(target))
    else:
        small = resize(guide, ab.shape[2], ab.shape[1]).astype(np.float32)
        top = np.float32(2**encoding.bit_depth - 1)
        slope, offset = linear_model(small / top, target, EPSILON)
        slope /= top
        column, row = (
            cv2.add(cv2.multiply(enlarge(factor), guide, dtype=cv2.CV_32F), enlarge(summand))
            for factor, summand in zip(cv2.split(slope), cv2.split(offset), strict=True)
        )
    # Past its side edges the table's border is replicated by `remap`; past its upper and lower
    # edges lie the neighbouring luma levels, so rows are clamped.
    np.clip(row, 0.0, AB_SIZE - 1.0, out=row)
    cv2.add(row, _look_up(guide, _first_rows(encoding.bit_depth)), dst=row)
    # One table a component: OpenCV's remap of two channels at once is the slower of the two.
    replicate = cv2.BORDER_REPLICATE
    cb, cr = (
        cv2.remap(table, column, row, cv2.INTER_LINEAR, dst=target, borderMode=replicate)
        for table, target in zip(chroma_tables(encoding), out or (None, None), strict=True)
    )
    return cb, cr


def linear_model(
    guide: NDArray[Any], target: NDArray[Any], epsilon: float, radius: int = RADIUS
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The guided filter's coefficients: target = slope * guide + offset in every window.

    He and Sun, "Fast Guided Filter", 2015, algorithm 2, on the grid where ab lives, so that an
    edge inside a cell mixes luma and colour by the same share and costs no accuracy.

    Args:
        guide: (h, w), 0..1.
        target: (h, w, 2).

    Returns:
        slope and offset: (h, w, 2) float32, averaged over the windows that hold each cell.
    """
    window = (2 * radius + 1, 2 * radius + 1)
    guide2 = cv2.merge([guide, guide])
    mean_guide = cv2.blur(guide2, window)
    mean_target = cv2.blur(target, window)
    variance = cv2.blur(guide2 * guide2, window) - mean_guide * mean_guide
    covariance = cv2.blur(guide2 * target, window) - mean_guide * mean_target
    slope = covariance / (np.maximum(variance, 0) + np.float32(epsilon))
    offset = mean_target - slope * mean_guide
    return cv2.blur(slope, window), cv2.blur(offset, window)


@lru_cache(maxsize=2)
def _first_rows(bit_depth: int) -> NDArray[np.float32]:
    """The chroma table's first row for each luma code."""
    codes = np.arange(2**bit_depth)
    level = np.rint(codes * ((LUMA_SIZE - 1) / codes[-1]))
    return (level * AB_SIZE).astype(np.float32)


def _look_up(codes: NDArray[Any], table: NDArray[np.float32]) -> NDArray[Any]:
    """The table's number for each code; past its end that is the last."""
    if codes.dtype == np.uint8:
        return cv2.LUT(codes, table)
    return table[np.minimum(codes, table.size - 1)]
