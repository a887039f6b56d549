"""The fast chroma path against the float reference, and colour that stops at edges."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from kinemacolor.engine import color
from kinemacolor.engine.color import ColorRange, Colorspace, Encoding
from kinemacolor.stream.color.chroma import (
    chroma_guide,
    chroma_planes,
    extract_L,
    lightness_table,
    resize,
)
from skimage import data

# CIEDE2000: 1 is what an eye can just tell apart. The promise of the fast path.
MEAN_LIMIT, P99_LIMIT = 1.0, 3.0
PICTURES = ["astronaut", "coffee", "chelsea", "rocket"]
ENCODINGS = [
    Encoding(colorspace, color_range, bit_depth)
    for colorspace in ("bt601", "bt709", "bt2020")
    for color_range in ("limited", "full")
    for bit_depth in (8, 10)
]


def luma_and_ab(
    name: str, encoding: Encoding, size: tuple[int, int] = (160, 120)
) -> tuple[np.ndarray, np.ndarray]:
    """A photograph's luma codes (H, W) and its ab (2, H, W)."""
    rgb = cv2.resize(getattr(data, name)()[..., :3], size, interpolation=cv2.INTER_AREA) / 255.0
    codes = color.quantise(color.rgb_to_ycbcr(rgb, encoding.colorspace), encoding)[..., 0]
    ab = color.rgb_to_lab(rgb)[..., 1:].transpose(2, 0, 1).astype(np.float32)
    return codes.astype(np.uint8 if encoding.bit_depth == 8 else np.uint16), ab


def reference(luma: np.ndarray, ab: np.ndarray, encoding: Encoding) -> np.ndarray:
    """Y', Cb, Cr (H, W, 3), unquantised, as `engine.color` has it."""
    normal = (luma.astype(float) - encoding.luma_offset) / encoding.luma_scale
    return color.ab_to_ycbcr(normal, ab.transpose(1, 2, 0), encoding.colorspace)


def difference(
    luma: np.ndarray, planes: tuple[np.ndarray, np.ndarray], wanted: np.ndarray, encoding: Encoding
) -> np.ndarray:
    got = color.dequantise(np.stack([luma, *planes], axis=-1), encoding)
    labs = [
        color.rgb_to_lab(np.clip(color.ycbcr_to_rgb(ycbcr, encoding.colorspace), 0, 1))
        for ycbcr in (got, wanted)
    ]
    return color.ciede2000(*labs)


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
def test_the_table_is_near_the_reference_on_photographs(encoding: Encoding) -> None:
    """ab at chroma size already, so that only the arithmetic is compared, not the enlarging."""
    errors = []
    for name in PICTURES:
        luma, ab = luma_and_ab(name, encoding)
        planes = chroma_planes(luma, ab, encoding, upsample="bilinear")
        errors.append(difference(luma, planes, reference(luma, ab, encoding), encoding).ravel())
    pooled = np.concatenate(errors)
    assert pooled.mean() < MEAN_LIMIT
    assert np.percentile(pooled, 99) < P99_LIMIT


@pytest.mark.parametrize("encoding", ENCODINGS[:2], ids=str)
def test_the_enlarged_colours_are_those_that_the_reference_gives(encoding: Encoding) -> None:
    """The same enlarging in float: what is left is the table's error alone."""
    luma, ab = luma_and_ab("coffee", encoding)
    small = np.stack([cv2.resize(plane, (40, 30), interpolation=cv2.INTER_AREA) for plane in ab])
    planes = chroma_planes(luma, small, encoding, upsample="bilinear")
    big = np.stack([cv2.resize(plane, (160, 120)) for plane in small])
    errors = difference(luma, planes, reference(luma, big, encoding), encoding)
    assert errors.mean() < MEAN_LIMIT
    assert np.percentile(errors, 99) < P99_LIMIT


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
def test_any_ab_at_all_stays_in_gamut(encoding: Encoding) -> None:
    """Far outside of sRGB, too: chroma is shrunk, not clipped per channel or wrapped around."""
    dice = np.random.default_rng(3)
    top = 2**encoding.bit_depth
    luma = dice.integers(0, top, (64, 64)).astype(np.uint8 if top == 256 else np.uint16)
    ab = dice.uniform(-300, 300, (2, 64, 64)).astype(np.float32)
    planes = chroma_planes(luma, ab, encoding, upsample="bilinear")
    got = color.dequantise(np.stack([luma, *planes], axis=-1), encoding)
    got[..., 0] = np.clip(got[..., 0], 0, 1)
    rgb = color.ycbcr_to_rgb(got, encoding.colorspace)
    # Between two luma levels of the table, and rounded: three 8-bit codes.
    assert rgb.min() > -3.5 / 255 * 2
    assert rgb.max() < 1 + 3.5 / 255 * 2


@pytest.mark.parametrize("upsample", ["guided", "bilinear"])
@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
def test_no_ab_and_no_saturation_are_neutral(encoding: Encoding, upsample: str) -> None:
    luma, ab = luma_and_ab("coffee", encoding)
    small = np.stack([cv2.resize(plane, (40, 30)) for plane in ab])
    neutral = int(encoding.chroma_offset)
    for colors, saturation in ((np.zeros_like(small), 1.0), (small, 0.0)):
        planes = chroma_planes(
            luma,
            colors,
            encoding,
            upsample=upsample,  # type: ignore[arg-type]
            saturation=saturation,
        )
        for plane in planes:
            assert (plane == neutral).all()


def test_saturation_multiplies_the_colour() -> None:
    encoding = Encoding("bt709", "limited", 10)
    luma, ab = luma_and_ab("coffee", encoding)
    small = np.stack([cv2.resize(plane, (40, 30)) for plane in ab]) * 0.3
    half, whole = (
        chroma_planes(luma, small, encoding, upsample="bilinear", saturation=s) for s in (0.5, 1.0)
    )
    for less, more in zip(half, whole, strict=True):
        strength = [np.abs(plane.astype(float) - 512).mean() for plane in (less, more)]
        assert strength[0] / strength[1] == pytest.approx(0.5, abs=0.06)


def leak(upsample: str, *, cell: int = 8, offset: int = 3) -> float:
    """How far a is from the dark side's own, 3 px past a black-and-white edge."""
    encoding = Encoding("bt709", "full", 8)
    width, height, edge = 256, 128, 124  # inside a cell of the network's grid
    luma = np.full((height, width), 60, np.uint8)
    luma[:, edge:] = 200
    side = np.zeros((2, height, width), np.float32)
    side[0, :, :edge], side[0, :, edge:] = 40, -40
    ab = np.stack(
        [cv2.resize(p, (width // cell, height // cell), interpolation=cv2.INTER_AREA) for p in side]
    )
    planes = chroma_planes(luma, ab, encoding, upsample=upsample)  # type: ignore[arg-type]
    far = planes[1][height // 2, 20].astype(float)  # what the side looks like far from the edge
    other = planes[1][height // 2, width - 20].astype(float)
    near = planes[1][height // 2, edge - offset].astype(float)
    return abs(near - far) / abs(other - far)


@pytest.mark.parametrize("offset", [3, 5])
def test_colour_stops_at_an_edge(offset: int) -> None:
    guided, bilinear = (leak(kind, offset=offset) for kind in ("guided", "bilinear"))
    assert bilinear > 0.15
    assert guided < 0.1 * bilinear


def test_colour_without_an_edge_is_smooth() -> None:
    """Where luma says nothing, the guided filter is a smooth enlarging like the bilinear one."""
    encoding = Encoding("bt709", "limited", 8)
    luma = np.full((96, 128), 120, np.uint8)
    ab = np.zeros((2, 24, 32), np.float32)
    ab[0] = np.linspace(-30, 30, 32)
    guided, bilinear = (
        chroma_planes(luma, ab, encoding, upsample=kind) for kind in ("guided", "bilinear")
    )
    inside = (slice(None), slice(24, -24))
    for ours, theirs in zip(guided, bilinear, strict=True):
        assert np.abs(ours[inside].astype(int) - theirs[inside]).max() <= 1


@pytest.mark.parametrize("upsample", ["guided", "bilinear"])
@pytest.mark.parametrize("bit_depth", [8, 10])
def test_the_result_is_written_in_place_into_padded_planes(upsample: str, bit_depth: int) -> None:
    encoding = Encoding("bt709", "limited", bit_depth)
    luma, ab = luma_and_ab("coffee", encoding, (75, 50))
    small = np.stack([cv2.resize(plane, (24, 16)) for plane in ab])
    wide = [np.full((50, 96), 7, luma.dtype) for _ in range(2)]
    out = (wide[0][:, :75], wide[1][:, :75])
    written = chroma_planes(luma, small, encoding, upsample=upsample, out=out)  # type: ignore[arg-type]
    alone = chroma_planes(luma, small, encoding, upsample=upsample)  # type: ignore[arg-type]
    for room, plane, whole, wanted in zip(out, written, wide, alone, strict=True):
        assert np.shares_memory(plane, whole)
        np.testing.assert_array_equal(room, wanted)
        assert (whole[:, 75:] == 7).all()


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
def test_lightness_of_every_code(encoding: Encoding) -> None:
    table = lightness_table(encoding)
    codes = np.arange(2**encoding.bit_depth)
    normal = (codes - encoding.luma_offset) / encoding.luma_scale
    np.testing.assert_allclose(table, color.luma_to_L(normal), atol=1e-4)
    luma = codes.astype(np.uint8 if encoding.bit_depth == 8 else np.uint16).reshape(16, -1)
    np.testing.assert_array_equal(extract_L(luma, encoding).ravel(), table)
    assert table[int(encoding.luma_offset)] == 0
    assert table[int(encoding.luma_offset + encoding.luma_scale)] == pytest.approx(100)


def test_a_code_above_the_depth_does_not_end_a_film() -> None:
    """A damaged 10-bit frame can hold codes of 16 bits."""
    encoding = Encoding("bt709", "limited", 10)
    luma = np.full((8, 8), 65535, np.uint16)
    assert (extract_L(luma, encoding) == 100).all()
    planes = chroma_planes(luma, np.zeros((2, 4, 4), np.float32), encoding)
    assert all((plane == 512).all() for plane in planes)


@pytest.mark.parametrize(("colorspace", "color_range"), [("bt709", "limited"), ("bt601", "full")])
def test_one_pixel_is_enough(colorspace: Colorspace, color_range: ColorRange) -> None:
    encoding = Encoding(colorspace, color_range, 8)
    luma = np.full((1, 1), 120, np.uint8)
    ab = np.full((2, 8, 8), 20, np.float32)
    guided, bilinear = (
        chroma_planes(luma, ab, encoding, upsample=kind) for kind in ("guided", "bilinear")
    )
    assert guided[0].shape == guided[1].shape == (1, 1)
    assert abs(int(guided[1][0, 0]) - int(bilinear[1][0, 0])) <= 1


def test_resize_averages_down_and_keeps_what_fits() -> None:
    plane = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert resize(plane, 8, 8) is plane
    half = resize(plane, 4, 4)
    wanted = plane.reshape(4, 2, 4, 2).mean(axis=(1, 3))
    assert np.abs(half - wanted).max() <= 0.5
    assert resize(plane, 4, 16).shape == (16, 4)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("height", [6, 3])
def test_left_sited_chroma_sees_the_luma_around_its_own_column(dtype: type, height: int) -> None:
    """4:2:0 and 4:2:2: weights 1:2:1 across the even column, the border repeated."""
    top = 255 if dtype is np.uint8 else 1023
    luma = np.random.default_rng(0).integers(0, top + 1, (6, 20)).astype(dtype)
    wide = np.pad(luma, ((0, 0), (1, 0)), mode="edge").astype(float)
    across = (wide[:, 0:-1:2] + 2 * wide[:, 1::2][:, :10] + wide[:, 2::2]) / 4
    expected = across.reshape(height, 6 // height, 10).mean(1)
    guide = chroma_guide(luma, 10, height)
    assert guide.dtype == dtype
    assert np.abs(guide - expected).max() <= 1


def test_jpeg_chroma_lies_between_two_columns() -> None:
    luma = np.tile(np.array([0, 0, 200, 200, 0, 0], np.uint8), (4, 1))
    assert chroma_guide(luma, 3, 2, left_sited=False)[0].tolist() == [0, 200, 0]
    assert chroma_guide(luma, 3, 2)[0].tolist() == [0, 150, 50]


def test_a_plane_of_two_columns_has_a_guide() -> None:
    luma = np.array([[40, 80], [40, 80]], np.uint8)
    assert chroma_guide(luma, 1, 1).tolist() == [[50]]
