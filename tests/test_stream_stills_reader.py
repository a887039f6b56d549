"""Stills of every kind are read as they are, and bad files are refused in one line."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from kinemacolor.stream.address import is_still
from kinemacolor.stream.color.frames import plane_view
from kinemacolor.stream.errors import BadSource, SourceError, SourceNotFound
from kinemacolor.stream.stills.reader import read_still
from kinemacolor.stream.stills.writer import write_still
from numpy.typing import NDArray
from PIL import Image, ImageCms

from tests.stills import (
    SUFFIXES,
    grey,
    icc_cmyk,
    luma_of,
    save_grey,
)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_rgb_is_read_in_16_bits(tmp_path: Path, suffix: str, orientation: int) -> None:
    rgb = np.dstack([grey(bit_depth=16), grey(bit_depth=16)[::-1], grey(bit_depth=16)[:, ::-1]])
    path = tmp_path / f"in{suffix}"
    if suffix == ".tif":
        tags = [(274, "H", 1, orientation, True)]
        tifffile.imwrite(path, rgb, photometric="rgb", extratags=tags)
    else:
        cv2.imwrite(str(path), rgb[..., ::-1])
        orientation = 1
    frame, info = read_still(path)
    assert info.bit_depth == 16
    expected = luma_of(rgb) if orientation == 1 else np.rot90(luma_of(rgb), -1)
    np.testing.assert_allclose(plane_view(frame, 0), expected, atol=1)
    write_still(tmp_path / f"out{suffix}", frame, info)
    if suffix == ".tif":
        stored = tifffile.imread(tmp_path / "out.tif")
        np.testing.assert_allclose(luma_of(stored), luma_of(rgb), atol=1)


def test_a_jpeg_that_stores_rgb(tmp_path: Path) -> None:
    rgb = np.dstack([grey(), grey()[::-1], grey()[:, ::-1]])
    source = save_grey(tmp_path / "in.jpg", rgb, keep_rgb=True, quality=100, subsampling=0)
    frame, info = read_still(source)
    assert np.abs(plane_view(frame, 0) - luma_of(rgb)).max() <= 3
    write_still(tmp_path / "out.jpg", frame, info)


def test_a_phones_jpeg_with_a_second_picture(tmp_path: Path) -> None:
    first, second = Image.fromarray(grey()), Image.fromarray(grey()[::-1])
    first.save(tmp_path / "in.jpg", "MPO", save_all=True, append_images=[second])
    frame, info = read_still(tmp_path / "in.jpg")
    assert info.format == "JPEG"
    assert np.abs(plane_view(frame, 0).astype(int) - grey()).mean() < 5


@pytest.mark.parametrize("mode", ["P", "1"])
def test_palettes_and_bitmaps_are_read(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(grey()).convert(mode)
    picture.save(tmp_path / "in.png")
    frame, _ = read_still(tmp_path / "in.png")
    np.testing.assert_array_equal(plane_view(frame, 0), np.asarray(picture.convert("L")))


def test_what_is_a_still() -> None:
    assert is_still("a/Scan 1.TIFF")
    assert not is_still("film.mkv")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="no such file"):
        read_still(tmp_path / "missing.jpg")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_empty_and_not_a_picture(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"in{suffix}"
    path.touch()
    with pytest.raises(BadSource, match="empty"):
        read_still(path)
    path.write_text("this is no picture" * 100)
    with pytest.raises(BadSource, match=r"no JPEG, PNG, TIFF or WebP"):
        read_still(path)


@pytest.mark.parametrize("bit_depth", [8, 16])
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("keep", [0.02, 0.5, 0.9])
def test_truncated(tmp_path: Path, suffix: str, keep: float, bit_depth: int) -> None:
    path = tmp_path / f"in{suffix}"
    if bit_depth == 16 and suffix in (".png", ".tif"):
        cv2.imwrite(str(path), np.dstack([grey(200, 200, 16)] * 3))
    else:
        save_grey(path, grey(200, 200))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(BadSource) as caught:
        read_still(path)
    assert "\n" not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(suffix=st.sampled_from(SUFFIXES), seed=st.integers(0, 2**32 - 1))
def test_flipped_bits_give_a_picture_or_one_clear_error(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, seed: int
) -> None:
    dice = np.random.default_rng(seed)
    path = save_grey(tmp_path_factory.mktemp("flipped") / f"in{suffix}")
    data = np.frombuffer(path.read_bytes(), np.uint8).copy()
    places = dice.integers(0, len(data), 8)
    data[places] ^= (1 << dice.integers(0, 8, 8)).astype(np.uint8)
    path.write_bytes(data.tobytes())
    try:
        frame, info = read_still(path)
    except SourceError:
        return
    write_still(path.with_name("out.png"), frame, info)


@pytest.mark.parametrize(("mode", "suffix"), [("F", ".tif"), ("I", ".tif")])
def test_kinds_that_cannot_be_coloured_say_so(tmp_path: Path, mode: str, suffix: str) -> None:
    Image.fromarray(grey()).convert(mode).save(tmp_path / f"in{suffix}")
    with pytest.raises(BadSource, match="convert it"):
        read_still(tmp_path / f"in{suffix}")


def test_a_moving_picture_is_refused(tmp_path: Path) -> None:
    pictures = [Image.fromarray(grey()), Image.fromarray(grey()[::-1])]
    pictures[0].save(tmp_path / "in.webp", save_all=True, append_images=pictures[1:])
    with pytest.raises(BadSource, match="holds 2 pictures"):
        read_still(tmp_path / "in.webp")


# TIFF, of which many kinds came out black, negative or dark

RGB16 = np.dstack([grey(bit_depth=16), grey(bit_depth=16)[::-1], grey(bit_depth=16)[:, ::-1]])
RGB8 = np.dstack([grey(), grey()[::-1], grey()[:, ::-1]])
TIFFS: dict[str, tuple[NDArray[Any], NDArray[Any], dict[str, Any]]] = {
    "tiles of 16 bits": (RGB16, luma_of(RGB16), {"tile": (16, 32), "compression": "zlib"}),
    "tiles with lzw": (RGB8, luma_of(RGB8), {"tile": (16, 16), "compression": "lzw"}),
    "planes": (
        RGB16.transpose(2, 0, 1),
        luma_of(RGB16),
        {"planarconfig": "separate", "compression": "lzw", "predictor": 2},
    ),
    "planes of 8 bits": (
        RGB8.transpose(2, 0, 1),
        luma_of(RGB8),
        {"planarconfig": "separate", "photometric": "rgb"},
    ),
    "white is zero": (grey(), 255 - grey(), {"photometric": "miniswhite"}),
    "white is zero, 16 bits": (
        grey(bit_depth=16),
        65535 - grey(bit_depth=16),
        {"photometric": "miniswhite"},
    ),
    "bigtiff": (RGB8, luma_of(RGB8), {"bigtiff": True, "photometric": "rgb"}),
    "big-endian": (grey(bit_depth=16), grey(bit_depth=16), {"byteorder": ">"}),
    "zstd": (grey(), grey(), {"compression": "zstd"}),
    "packbits": (grey(), grey(), {"compression": "packbits"}),
    "several strips": (grey(), grey(), {"rowsperstrip": 7}),
    "bits": (grey() > 99, (grey() > 99) * 255, {}),
    "bits, white is zero": (grey() > 99, (grey() <= 99) * 255, {"photometric": "miniswhite"}),
    "packed bits": (grey() > 99, (grey() > 99) * 255, {"compression": "packbits"}),
}


@pytest.mark.parametrize("kind", TIFFS)
def test_a_tiff_is_read_as_it_is_meant(tmp_path: Path, kind: str) -> None:
    samples, expected, options = TIFFS[kind]
    options = {"photometric": "rgb" if samples.ndim == 3 else "minisblack", **options}
    tifffile.imwrite(tmp_path / "in.tif", samples, metadata=None, **options)
    frame, info = read_still(tmp_path / "in.tif")
    np.testing.assert_allclose(plane_view(frame, 0), expected, atol=1 if samples.ndim == 3 else 0)
    assert info.bit_depth == (16 if samples.dtype == np.uint16 else 8)


@pytest.mark.parametrize("bits", [2, 4, 6, 10, 12, 14])
def test_packed_samples_fill_the_range(tmp_path: Path, bits: int) -> None:
    """A scan of 12 bits came out 16 times too dark."""
    codes = (np.arange(64 * 48) % 2**bits).reshape(48, 64)
    path = tmp_path / "in.tif"
    flat = (codes.reshape(48, -1, 1) >> np.arange(bits)[::-1] & 1).astype(np.uint8)
    packed = np.packbits(flat.reshape(48, -1), axis=1)
    write_raw_tiff(path, packed.tobytes(), 64, 48, bits)
    frame, info = read_still(path)
    top = 255 if bits < 8 else 65535
    np.testing.assert_array_equal(plane_view(frame, 0), np.rint(codes * (top / (2**bits - 1))))
    assert info.bit_depth == (8 if bits < 8 else 16)


def write_raw_tiff(path: Path, data: bytes, width: int, height: int, bits: int) -> None:
    """A grey TIFF of one strip, byte by byte."""
    shorts = {256: width, 257: height, 258: bits, 259: 1, 262: 1, 277: 1, 278: height}
    entries = [struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in shorts.items()]
    entries += [struct.pack("<HHII", 273, 4, 1, 8), struct.pack("<HHII", 279, 4, 1, len(data))]
    directory = struct.pack("<H", len(entries)) + b"".join(sorted(entries)) + b"\0" * 4
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory)


@pytest.mark.parametrize("deep", [False, True])
def test_a_palette_of_a_tiff(tmp_path: Path, deep: bool) -> None:
    colors = np.arange(256, dtype=np.uint16)[::-1] * (200 if deep else 257)
    colormap = np.stack([colors, colors, colors])
    tifffile.imwrite(tmp_path / "in.tif", grey(), photometric="palette", colormap=colormap)
    frame, info = read_still(tmp_path / "in.tif")
    assert info.bit_depth == (16 if deep else 8)
    expected = (255 - grey().astype(int)) * (200 if deep else 1)
    np.testing.assert_array_equal(plane_view(frame, 0), expected)


def test_a_thumbnail_is_no_second_picture(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "in.tif") as file:
        file.write(grey(bit_depth=16))
        file.write(grey()[::4, ::4], subfiletype=1)
    frame, info = read_still(tmp_path / "in.tif")
    assert info.pages == 1
    np.testing.assert_array_equal(plane_view(frame, 0), grey(bit_depth=16))


def test_a_thumbnail_before_the_picture_is_not_taken_for_it(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "in.tif") as file:
        file.write(grey()[::4, ::4], subfiletype=1)
        file.write(grey())
    frame, info = read_still(tmp_path / "in.tif")
    assert (info.pages, frame.width) == (1, 60)


def test_every_page_is_read_with_its_own_tags(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "in.tif") as file:
        file.write(grey(), description="first", metadata=None, resolution=(300, 300))
        file.write(grey(32, 48, 16), description="second", metadata=None, resolution=(600, 600))
    first, second = (read_still(tmp_path / "in.tif", page) for page in (0, 1))
    assert (first[1].pages, second[1].pages) == (2, 2)
    assert [frame.pts for frame, _ in (first, second)] == [0, 1]
    assert (first[1].dpi, second[1].dpi) == ((300, 300), (600, 600))
    np.testing.assert_array_equal(plane_view(second[0], 0), grey(32, 48, 16))
    with pytest.raises(BadSource, match="no page 3"):
        read_still(tmp_path / "in.tif", 2)


ALPHAS = {"assocalpha": "premultiplied", "unassalpha": "straight", "unspecified": "unspecified"}


@pytest.mark.parametrize("kind", ALPHAS)
def test_the_kind_of_alpha_is_known(tmp_path: Path, kind: str) -> None:
    rgba = np.dstack([RGB16, grey(bit_depth=16)[::-1]])
    tifffile.imwrite(tmp_path / "in.tif", rgba, photometric="rgb", extrasamples=[kind])
    frame, info = read_still(tmp_path / "in.tif")
    assert info.alpha_kind == ALPHAS[kind]
    np.testing.assert_array_equal(info.alpha, rgba[..., 3])
    np.testing.assert_allclose(plane_view(frame, 0), luma_of(RGB16), atol=1)


# Inks and Lab


def cmyk_of(rgb: NDArray[Any]) -> NDArray[Any]:
    """Inks without black."""
    return np.dstack([255 - rgb, np.zeros(rgb.shape[:2], np.uint8)])


def test_a_jpeg_of_inks(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 64).astype(np.uint8)[None].repeat(48, 0)
    inks = cmyk_of(np.dstack([smooth, smooth, smooth]))
    Image.fromarray(inks, "CMYK").save(tmp_path / "in.jpg", quality=100)
    frame, info = read_still(tmp_path / "in.jpg")
    assert np.abs(plane_view(frame, 0).astype(int) - smooth).max() <= 3
    assert info.icc is None


@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_of_inks(tmp_path: Path, bits: int) -> None:
    inks = cmyk_of(RGB8)
    if bits == 16:
        inks = inks.astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "in.tif", inks, photometric="separated")
    frame, _ = read_still(tmp_path / "in.tif")
    factor = 1 if bits == 8 else 257
    np.testing.assert_allclose(plane_view(frame, 0), luma_of(RGB8) * factor, atol=factor)


def test_inks_go_through_their_profile(tmp_path: Path) -> None:
    """It is the grey that LittleCMS makes of them, by another binding than Pillow's."""
    inks, profile = np.dstack([RGB8, grey()[::-1, ::-1]]), icc_cmyk()
    tifffile.imwrite(
        tmp_path / "in.tif", inks, photometric="separated", extratags=[(34675, 7, None, profile)]
    )
    rgb = imagecodecs.cms_transform(
        inks,
        profile,
        imagecodecs.cms_profile("srgb"),
        colorspace="cmyk",
        outcolorspace="rgb",
        intent=1,
    )
    frame, info = read_still(tmp_path / "in.tif")
    assert np.abs(plane_view(frame, 0) - luma_of(rgb)).max() <= 3
    assert info.icc is None
    plain = 255 - inks.astype(float)
    assert np.abs(plane_view(frame, 0) - luma_of(plain[..., :3] * plain[..., 3:] / 255)).max() > 9


@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_of_lab(tmp_path: Path, bits: int) -> None:
    """It is the grey that LittleCMS makes of it, by Pillow's binding."""
    lightness = np.linspace(0, 255, 256).astype(np.uint8)[None].repeat(8, 0)
    lab = np.dstack([lightness, np.full_like(lightness, 20), np.full_like(lightness, 246)])
    wanted = ImageCms.profileToProfile(
        Image.fromarray(lab, "LAB"),
        ImageCms.createProfile("LAB"),
        ImageCms.createProfile("sRGB"),
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
    )
    stored = lab
    if bits == 16:
        signed = lab[..., 1:].view(np.int8).astype(np.int16) * 256
        stored = np.dstack([lightness.astype(np.uint16) * 257, signed.view(np.uint16)])
    tifffile.imwrite(tmp_path / "in.tif", stored, photometric="cielab")
    frame, _ = read_still(tmp_path / "in.tif")
    found = plane_view(frame, 0) / (1 if bits == 8 else 257)
    assert np.abs(found - luma_of(np.asarray(wanted))).max() <= 3


@pytest.mark.parametrize("dtype", ["int16", "uint32", "float32", "float64"])
def test_numbers_without_a_white_are_refused(tmp_path: Path, dtype: str) -> None:
    tifffile.imwrite(tmp_path / "in.tif", grey().astype(dtype))
    with pytest.raises(BadSource, match="convert it"):
        read_still(tmp_path / "in.tif")


# The other formats


@pytest.mark.parametrize("suffix", [".bmp", ".jp2"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_bitmaps_and_jpeg_2000_are_exact(tmp_path: Path, suffix: str, mode: str) -> None:
    path = tmp_path / f"in{suffix}"
    Image.fromarray(grey() if mode == "L" else RGB8).save(path)
    frame, info = read_still(path)
    np.testing.assert_allclose(
        plane_view(frame, 0), grey() if mode == "L" else luma_of(RGB8), atol=mode == "RGB"
    )
    assert info.lossless


@pytest.mark.parametrize("bits", [12, 16])
def test_a_deep_jpeg_2000(tmp_path: Path, bits: int) -> None:
    codes = RGB16 >> (16 - bits)
    path = tmp_path / "in.jp2"
    path.write_bytes(imagecodecs.jpeg2k_encode(codes, level=0, bitspersample=bits))
    frame, info = read_still(path)
    assert info.bit_depth == 16
    wanted = luma_of(codes) * (65535 / (2**bits - 1))
    np.testing.assert_allclose(plane_view(frame, 0), wanted, atol=2 ** (16 - bits))


@pytest.mark.parametrize("suffix", [".avif", ".heic"])
def test_avif_and_heic_are_near(tmp_path: Path, suffix: str) -> None:
    if suffix == ".heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    path = save_grey(tmp_path / f"in{suffix}", np.dstack([grey(64, 48)] * 3), quality=95)
    frame, _ = read_still(path)
    assert (frame.width, frame.height) == (64, 48)
    assert np.abs(plane_view(frame, 0).astype(int) - grey(64, 48)).mean() < 3


def test_an_avif_of_10_bits(tmp_path: Path) -> None:
    codes = np.dstack([grey(64, 48, 16) >> 6] * 3)
    (tmp_path / "in.avif").write_bytes(
        imagecodecs.avif_encode(codes, level=100, bitspersample=10, pixelformat="444")
    )
    frame, info = read_still(tmp_path / "in.avif")
    assert info.bit_depth == 16
    difference = plane_view(frame, 0).astype(int) - codes[..., 0] * (65535 / 1023)
    assert np.abs(difference).mean() < 300


def test_a_picture_beyond_the_limit_is_refused_in_a_line(tmp_path: Path) -> None:
    """The header counts: nothing is decoded, and no library's own words are used."""
    small = save_grey(tmp_path / "in.png").read_bytes()
    header = struct.pack(">II", 40000, 40000) + small[24:29]
    chunk = b"IHDR" + header
    crc = zlib.crc32(chunk).to_bytes(4, "big")
    (tmp_path / "in.png").write_bytes(small[:12] + chunk + crc + small[33:])
    with pytest.raises(BadSource, match="40000x40000 pixels, more than 500 million"):
        read_still(tmp_path / "in.png")


def test_a_large_scan_is_no_bomb(tmp_path: Path) -> None:
    """Pillow refuses more than 179 million pixels."""
    picture = Image.new("L", (20000, 9000), 77)
    picture.save(tmp_path / "in.png", compress_level=1)
    frame, _ = read_still(tmp_path / "in.png")
    assert (frame.width, frame.height) == (20000, 9000)
    assert plane_view(frame, 0)[8999, 19999] == 77


def test_a_text_that_is_no_text_does_no_harm(tmp_path: Path) -> None:
    """EXIF in a text chunk, as some writers have it, made our own output unreadable."""
    block = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x01\0\0\0\0\0\0"
    chunk = b"tEXtexif\0" + block
    plain = save_grey(tmp_path / "in.png").read_bytes()
    text = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "in.png").write_bytes(plain[:33] + text + plain[33:])
    frame, info = read_still(tmp_path / "in.png")
    write_still(tmp_path / "out.png", frame, info)
    again, told = read_still(tmp_path / "out.png")
    np.testing.assert_array_equal(plane_view(again, 0), grey())
    assert told.png_chunks == info.png_chunks == ((b"tEXt", chunk[4:]),)
    assert cv2.imread(str(tmp_path / "out.png")) is not None
