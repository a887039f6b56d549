"""The colour reference against scikit-image, published values, and the laws it must keep."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from kinemacolor.engine import color
from kinemacolor.engine.color import ColorRange, Colorspace, Encoding
from skimage import color as skcolor

COLORSPACES = get_args(Colorspace)
RANGES = get_args(ColorRange)
# scikit-image writes the sRGB matrix with other digits; 0.01 of a unit is far below any code.
LAB_TOLERANCE = 0.01

# Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula: implementation notes,
# supplementary test data, and mathematical observations", 2005, table 1.
SHARMA = np.array(
    [
        [50, 2.6772, -79.7751, 50, 0, -82.7485, 2.0425],
        [50, 3.1571, -77.2803, 50, 0, -82.7485, 2.8615],
        [50, 2.8361, -74.0200, 50, 0, -82.7485, 3.4412],
        [50, -1.3802, -84.2814, 50, 0, -82.7485, 1.0000],
        [50, -1.1848, -84.8006, 50, 0, -82.7485, 1.0000],
        [50, -0.9009, -85.5211, 50, 0, -82.7485, 1.0000],
        [50, 0, 0, 50, -1, 2, 2.3669],
        [50, -1, 2, 50, 0, 0, 2.3669],
        [50, 2.4900, -0.0010, 50, -2.4900, 0.0009, 7.1792],
        [50, 2.4900, -0.0010, 50, -2.4900, 0.0010, 7.1792],
        [50, 2.4900, -0.0010, 50, -2.4900, 0.0011, 7.2195],
        [50, 2.4900, -0.0010, 50, -2.4900, 0.0012, 7.2195],
        [50, -0.0010, 2.4900, 50, 0.0009, -2.4900, 4.8045],
        [50, -0.0010, 2.4900, 50, 0.0010, -2.4900, 4.8045],
        [50, -0.0010, 2.4900, 50, 0.0011, -2.4900, 4.7461],
        [50, 2.5, 0, 50, 0, -2.5, 4.3065],
        [50, 2.5, 0, 73, 25, -18, 27.1492],
        [50, 2.5, 0, 61, -5, 29, 22.8977],
        [50, 2.5, 0, 56, -27, -3, 31.9030],
        [50, 2.5, 0, 58, 24, 15, 19.4535],
        [50, 2.5, 0, 50, 3.1736, 0.5854, 1.0000],
        [50, 2.5, 0, 50, 3.2972, 0, 1.0000],
        [50, 2.5, 0, 50, 1.8634, 0.5757, 1.0000],
        [50, 2.5, 0, 50, 3.2592, 0.3350, 1.0000],
        [60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644],
        [63.0109, -31.0961, -5.8663, 62.8187, -29.7946, -4.0864, 1.2630],
        [61.2901, 3.7196, -5.3901, 61.4292, 2.2480, -4.9620, 1.8731],
        [35.0831, -44.1164, 3.7933, 35.0232, -40.0716, 1.5901, 1.8645],
        [22.7233, 20.0904, -46.6940, 23.0331, 14.9730, -42.5619, 2.0373],
        [36.4612, 47.8580, 18.3852, 36.2715, 50.5065, 21.2231, 1.4146],
        [90.8027, -2.0831, 1.4410, 91.1528, -1.6435, 0.0447, 1.4441],
        [90.9257, -0.5406, -0.9208, 88.6381, -0.8985, -0.7239, 1.5381],
        [6.7747, -0.2908, -2.4247, 5.8714, -0.0985, -2.2286, 0.6377],
        [2.0776, 0.0795, -1.1350, 0.9033, -0.0636, -0.5514, 0.9082],
    ]
)

# The Lab values of sRGB's corners, D65 (the well-known ones, to one decimal).
CORNERS = [
    ((1, 0, 0), (53.2, 80.1, 67.2)),
    ((0, 1, 0), (87.7, -86.2, 83.2)),
    ((0, 0, 1), (32.3, 79.2, -107.9)),
    ((1, 1, 0), (97.1, -21.6, 94.5)),
    ((0, 1, 1), (91.1, -48.1, -14.1)),
    ((1, 0, 1), (60.3, 98.2, -60.8)),
]

pixels = arrays(np.float64, (5, 3), elements=st.floats(0, 1))
chroma = arrays(np.float64, (5, 2), elements=st.floats(-0.5, 0.5))
colorspaces = st.sampled_from(COLORSPACES)
encodings = st.builds(
    Encoding, colorspaces, st.sampled_from(RANGES), st.sampled_from([8, 10, 12, 16])
)


def test_lab_is_that_of_scikit_image() -> None:
    rgb = np.random.default_rng(1).random((4000, 3))
    np.testing.assert_allclose(color.rgb_to_lab(rgb), skcolor.rgb2lab(rgb), atol=LAB_TOLERANCE)
    lab = skcolor.rgb2lab(rgb)
    np.testing.assert_allclose(color.lab_to_rgb(lab), rgb, atol=LAB_TOLERANCE / 10)


@pytest.mark.parametrize(("rgb", "lab"), CORNERS)
def test_lab_of_the_corners_is_the_published_one(rgb: tuple, lab: tuple) -> None:
    np.testing.assert_allclose(color.rgb_to_lab(np.array(rgb, float)), lab, atol=0.06)


def test_grey_has_no_ab_and_white_is_100() -> None:
    grey = np.repeat(np.linspace(0, 1, 256)[:, None], 3, axis=1)
    lab = color.rgb_to_lab(grey)
    np.testing.assert_allclose(lab[:, 1:], 0, atol=1e-9)
    np.testing.assert_allclose(lab[[0, -1], 0], [0, 100], atol=1e-9)
    np.testing.assert_allclose(color.luma_to_L(grey[:, 0]), lab[:, 0], atol=1e-9)


@pytest.mark.parametrize("row", range(len(SHARMA)))
def test_ciede2000_of_the_published_pairs(row: int) -> None:
    one, other, difference = SHARMA[row, :3], SHARMA[row, 3:6], SHARMA[row, 6]
    assert color.ciede2000(one, other) == pytest.approx(difference, abs=1e-4)
    assert color.ciede2000(other, one) == pytest.approx(difference, abs=1e-4)


def test_ciede2000_is_that_of_scikit_image() -> None:
    dice = np.random.default_rng(2)
    one, other = dice.uniform([0, -100, -100], [100, 100, 100], (2, 5000, 3))
    np.testing.assert_allclose(
        color.ciede2000(one, other), skcolor.deltaE_ciede2000(one, other), atol=1e-6
    )


@pytest.mark.parametrize(
    ("colorspace", "rgb", "codes"),
    [
        # 100 % colour bars: the codes every broadcast engineer's chart names.
        ("bt601", (1, 0, 0), (81, 90, 240)),
        ("bt601", (0, 1, 0), (145, 54, 34)),
        ("bt601", (0, 0, 1), (41, 240, 110)),
        ("bt601", (1, 1, 0), (210, 16, 146)),
        ("bt709", (1, 0, 0), (63, 102, 240)),
        ("bt709", (0, 1, 0), (173, 42, 26)),
        ("bt709", (0, 0, 1), (32, 240, 118)),
        ("bt709", (1, 1, 0), (219, 16, 138)),
    ],
)
def test_colour_bars_have_their_published_codes(
    colorspace: Colorspace, rgb: tuple, codes: tuple
) -> None:
    ycbcr = color.rgb_to_ycbcr(np.array(rgb, float), colorspace)
    assert tuple(color.quantise(ycbcr, Encoding(colorspace, "limited", 8))) == codes


@pytest.mark.parametrize(
    ("color_range", "bit_depth", "black", "white", "neutral", "least", "most"),
    [
        # H.273, 8.3: VideoFullRangeFlag 0 and 1.
        ("limited", 8, 16, 235, 128, 16, 240),
        ("limited", 10, 64, 940, 512, 64, 960),
        ("limited", 12, 256, 3760, 2048, 256, 3840),
        ("full", 8, 0, 255, 128, 0, 255),
        ("full", 10, 0, 1023, 512, 0, 1023),
    ],
)
def test_ranges_are_those_of_the_standard(
    color_range: ColorRange,
    bit_depth: int,
    black: int,
    white: int,
    neutral: int,
    least: int,
    most: int,
) -> None:
    encoding = Encoding("bt709", color_range, bit_depth)
    extremes = np.array([[0, 0, -0.5], [1, 0, 0.5]])
    codes = color.quantise(extremes, encoding)
    assert codes[:, 0].tolist() == [black, white]
    assert codes[:, 1].tolist() == [neutral, neutral]
    # Full range: -0.5 stands at code 0.5 (rounded to even), 0.5 half a code above the highest.
    assert codes[:, 2].tolist() == [least, most]


@given(pixels)
def test_rgb_comes_back_from_lab(rgb: np.ndarray) -> None:
    # Where the line of the sRGB curve meets its power, the standard's own constants leave 3e-8.
    np.testing.assert_allclose(color.lab_to_rgb(color.rgb_to_lab(rgb)), rgb, atol=1e-7)
    np.testing.assert_allclose(color.linear_to_srgb(color.srgb_to_linear(rgb)), rgb, atol=1e-7)


@given(pixels, colorspaces)
def test_rgb_comes_back_from_ycbcr(rgb: np.ndarray, colorspace: Colorspace) -> None:
    ycbcr = color.rgb_to_ycbcr(rgb, colorspace)
    assert (np.abs(ycbcr[:, 1:]) <= 0.5 + 1e-9).all()
    np.testing.assert_allclose(color.ycbcr_to_rgb(ycbcr, colorspace), rgb, atol=1e-9)


@given(st.data(), encodings)
def test_codes_come_back_from_what_they_stand_for(data: st.DataObject, encoding: Encoding) -> None:
    top = 2**encoding.bit_depth - 1
    codes = data.draw(arrays(np.uint16, (8, 3), elements=st.integers(0, top)))
    again = color.quantise(color.dequantise(codes, encoding), encoding)
    np.testing.assert_array_equal(again, codes)


@given(pixels, colorspaces, st.sampled_from(RANGES))
def test_quantising_is_off_by_half_a_code_at_most(
    rgb: np.ndarray, colorspace: Colorspace, color_range: ColorRange
) -> None:
    encoding = Encoding(colorspace, color_range, 10)
    ycbcr = color.rgb_to_ycbcr(rgb, colorspace)
    error = np.abs(color.dequantise(color.quantise(ycbcr, encoding), encoding) - ycbcr)
    assert (error[:, 0] * encoding.luma_scale <= 0.5 + 1e-6).all()
    assert (error[:, 1:] * encoding.chroma_scale <= 0.5 + 1e-6).all()


@given(arrays(np.float64, (5, 1), elements=st.floats(0, 1)), chroma, colorspaces)
def test_shrunk_chroma_is_in_gamut_and_keeps_luma_and_hue(
    luma: np.ndarray, cbcr: np.ndarray, colorspace: Colorspace
) -> None:
    ycbcr = np.concatenate([luma, cbcr], axis=1)
    shrunk = color.shrink_chroma(ycbcr, colorspace)
    rgb = color.ycbcr_to_rgb(shrunk, colorspace)
    assert rgb.min() >= -1e-9
    assert rgb.max() <= 1 + 1e-9
    np.testing.assert_array_equal(shrunk[:, 0], ycbcr[:, 0])
    # The same hue: parallel in (Cb, Cr), pointing the same way, not longer.
    cross = shrunk[:, 1] * cbcr[:, 1] - shrunk[:, 2] * cbcr[:, 0]
    np.testing.assert_allclose(cross, 0, atol=1e-12)
    assert ((shrunk[:, 1:] * cbcr).sum(axis=1) >= 0).all()
    assert (np.hypot(*shrunk[:, 1:].T) <= np.hypot(*cbcr.T) + 1e-12).all()


@given(pixels, colorspaces)
def test_a_colour_in_gamut_is_not_shrunk(rgb: np.ndarray, colorspace: Colorspace) -> None:
    ycbcr = color.rgb_to_ycbcr(rgb, colorspace)
    np.testing.assert_allclose(color.shrink_chroma(ycbcr, colorspace), ycbcr, atol=1e-9)


@given(
    arrays(np.float64, 6, elements=st.floats(0, 1)),
    arrays(np.float64, (6, 2), elements=st.floats(-120, 120)),
    colorspaces,
)
def test_any_ab_on_any_luma_gives_a_colour_of_that_luma(
    luma: np.ndarray, ab: np.ndarray, colorspace: Colorspace
) -> None:
    ycbcr = color.ab_to_ycbcr(luma, ab, colorspace)
    np.testing.assert_array_equal(ycbcr[:, 0], luma)
    rgb = color.ycbcr_to_rgb(ycbcr, colorspace)
    assert rgb.min() >= -1e-9
    assert rgb.max() <= 1 + 1e-9


@pytest.mark.parametrize("colorspace", COLORSPACES)
def test_neutral_ab_gives_neutral_chroma(colorspace: Colorspace) -> None:
    luma = np.linspace(0, 1, 33)
    ycbcr = color.ab_to_ycbcr(luma, np.zeros((33, 2)), colorspace)
    np.testing.assert_allclose(ycbcr[:, 1:], 0, atol=1e-9)
