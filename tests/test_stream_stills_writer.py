"""Stills: the grey survives, and so do the tags.

Pillow, OpenCV and tifffile are the witnesses for what was written.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from kinemacolor.engine.load import load
from kinemacolor.stream.color.colorizer import Colorizer
from kinemacolor.stream.color.frames import plane_view
from kinemacolor.stream.errors import BadSink, SinkError
from kinemacolor.stream.pipeline import run
from kinemacolor.stream.proof.verify import verify
from kinemacolor.stream.sinks.still import StillSink
from kinemacolor.stream.sources.still import StillSource
from kinemacolor.stream.stills.reader import read_still
from kinemacolor.stream.stills.tiff_writer import TiffPages
from kinemacolor.stream.stills.writer import write_still
from PIL import Image, ImageOps, PngImagePlugin

from tests.command import colorize
from tests.models import write_model
from tests.stills import (
    ICC_GREY,
    ICC_RGB,
    LOSSLESS,
    SUFFIXES,
    XMP,
    give_color,
    grey,
    luma_of,
    save_grey,
)


@pytest.mark.parametrize("size", [(60, 44), (37, 53), (1, 1)])
@pytest.mark.parametrize("suffix", LOSSLESS)
def test_lossless_result_has_the_luma_of_the_source(
    tmp_path: Path, suffix: str, size: tuple[int, int]
) -> None:
    source = save_grey(tmp_path / f"in{suffix}", grey(*size), lossless=True)
    frame, info = read_still(source)
    assert (frame.format.name, frame.color_range, frame.colorspace) == ("yuv444p", 2, 5)
    np.testing.assert_array_equal(plane_view(frame, 0), grey(*size))
    out = tmp_path / f"out{suffix}"
    write_still(out, give_color(frame), info)
    rgb = np.asarray(Image.open(out))
    assert rgb.shape == (size[1], size[0], 3)
    np.testing.assert_array_equal(luma_of(rgb), grey(*size))
    # What others call grey is within their own rounding of it.
    assert np.abs(np.asarray(Image.open(out).convert("L")).astype(int) - grey(*size)).max() <= 1
    if size != (1, 1):
        assert (rgb[..., 0] != rgb[..., 1]).mean() > 0.5


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_stay_16_bits(tmp_path: Path, suffix: str) -> None:
    picture = grey(bit_depth=16)
    source = save_grey(tmp_path / f"in{suffix}", picture)
    frame, info = read_still(source)
    assert frame.format.name == "yuv444p16le"
    np.testing.assert_array_equal(plane_view(frame, 0), picture)
    out = tmp_path / f"out{suffix}"
    write_still(out, give_color(frame), info)
    bgr = cv2.imread(str(out), cv2.IMREAD_UNCHANGED)
    assert bgr.dtype == np.uint16
    np.testing.assert_array_equal(luma_of(bgr[..., ::-1]), picture)
    if suffix == ".tif":
        np.testing.assert_array_equal(tifffile.imread(out), bgr[..., ::-1])
    again, _ = read_still(out)
    np.testing.assert_array_equal(plane_view(again, 0), picture)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_16_bit_transparency(tmp_path: Path, mode: str) -> None:
    alpha = grey(bit_depth=16)[::-1]
    frame = av.VideoFrame(60, 44, "ya16be" if mode == "LA" else "rgba64be")
    samples = np.dstack([grey(bit_depth=16)] * (len(mode) - 1) + [alpha]).astype(">u2")
    rows = np.frombuffer(frame.planes[0], ">u2").reshape(44, -1)
    rows[:, : 60 * len(mode)] = samples.reshape(44, -1)
    encoder: Any = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 60, 44, frame.format.name
    encoder.time_base = Fraction(1)
    frame.pts = 0
    (tmp_path / "in.png").write_bytes(b"".join(bytes(p) for p in encoder.encode(frame)))
    still, info = read_still(tmp_path / "in.png")
    np.testing.assert_array_equal(plane_view(still, 0), grey(bit_depth=16))
    write_still(tmp_path / "out.tif", still, info)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif")[..., 3], alpha)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("quality", [50, 75, 90])
def test_jpeg_keeps_its_luma_samples(tmp_path: Path, quality: int, mode: str) -> None:
    photograph = Image.open(Path(__file__).parent.parent / "samples" / "still.jpg")
    source = tmp_path / "in.jpg"
    photograph.convert(mode).save(source, quality=quality)
    frame, info = read_still(source)
    before = plane_view(frame, 0).copy()
    out = tmp_path / "out.jpg"
    write_still(out, give_color(frame), info)
    after = plane_view(read_still(out)[0], 0)
    # The same tables give the same coefficients, but where decoding clipped
    # at black or white, which shifts a block by a little.
    assert (after != before).mean() < 0.005
    assert np.abs(after.astype(int) - before).max() <= 16
    with av.open(str(source)) as container:  # FFmpeg's own decoder has the same Y plane
        ours, theirs = before.astype(int), next(container.decode(video=0))
        assert np.abs(plane_view(theirs, 0) - ours).max() <= 1
    chroma = cv2.cvtColor(cv2.imread(str(out)), cv2.COLOR_BGR2YCrCb)[..., 1]
    assert np.ptp(chroma) > 60


@settings(max_examples=60, deadline=None)
@given(
    luma=st.integers(0, 255),
    cb=st.integers(0, 255),
    cr=st.integers(0, 255),
)
def test_any_chroma_leaves_the_luma_of_a_png(
    tmp_path_factory: pytest.TempPathFactory, luma: int, cb: int, cr: int
) -> None:
    folder = tmp_path_factory.mktemp("png")
    frame, info = read_still(save_grey(folder / "in.png", np.full((2, 2), luma, np.uint8)))
    plane_view(frame, 1)[:], plane_view(frame, 2)[:] = cb, cr
    write_still(folder / "out.png", frame, info)
    assert (luma_of(np.asarray(Image.open(folder / "out.png"))) == luma).all()


@pytest.mark.parametrize("target", SUFFIXES)
@pytest.mark.parametrize("origin", SUFFIXES)
def test_every_format_becomes_every_other(tmp_path: Path, origin: str, target: str) -> None:
    photograph = Image.open(Path(__file__).parent.parent / "samples" / "still.jpg")
    source = tmp_path / f"in{origin}"
    photograph.resize((150, 100)).save(source)
    frame, info = read_still(source)
    before = plane_view(frame, 0).astype(int)
    write_still(tmp_path / f"out{target}", give_color(frame), info)
    after = plane_view(read_still(tmp_path / f"out{target}")[0], 0)
    # Lossy WebP codes chroma at half size and luma in limited range; JPEG and the rest do better.
    assert np.abs(after - before).mean() < (3 if target == ".webp" else 1.5)


@pytest.mark.parametrize("target", [".jpg", ".webp"])
def test_16_bits_become_8_where_the_format_has_no_more(tmp_path: Path, target: str) -> None:
    picture = grey(bit_depth=16)
    frame, info = read_still(save_grey(tmp_path / "in.tif", picture))
    write_still(tmp_path / f"out{target}", frame, info)
    after = plane_view(read_still(tmp_path / f"out{target}")[0], 0)
    assert np.abs(after - picture / 257).mean() < 2


def tagged_options(extra: dict[int, Any] | None = None) -> dict[str, Any]:
    exif = Image.Exif()
    for tag, value in (extra or {}).items():
        exif[tag] = value
    exif[0x010E] = "A street"
    exif[0x013B] = "Jane Doe"
    exif[0x8769] = {0x9003: "1908:05:01 12:00:00"}  # Exif: DateTimeOriginal
    exif[0x8825] = {1: "N"}  # GPS: LatitudeRef
    return {"exif": exif.tobytes(), "dpi": (600, 600), "icc_profile": ICC_RGB, "xmp": XMP}


@pytest.mark.parametrize("target", SUFFIXES)
@pytest.mark.parametrize("origin", SUFFIXES)
def test_tags_and_resolution_are_kept(tmp_path: Path, origin: str, target: str) -> None:
    picture = np.dstack([grey()] * 3)
    extra = {
        ".tif": {700: XMP},
        ".webp": {0x011A: 600.0, 0x011B: 600.0, 0x0128: 2},  # the one place for a resolution
    }
    options = tagged_options(extra.get(origin))
    if origin == ".tif":
        del options["xmp"]
    if origin == ".png":
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", options.pop("xmp").decode())
        options["pnginfo"] = text
    frame, info = read_still(save_grey(tmp_path / f"in{origin}", picture, **options))
    write_still(tmp_path / f"out{target}", give_color(frame), info)
    with Image.open(tmp_path / f"out{target}") as result:
        result.load()
        exif = result.getexif()
        assert exif[0x010E] == "A street"
        assert exif[0x013B] == "Jane Doe"
        assert exif.get_ifd(0x8769)[0x9003] == "1908:05:01 12:00:00"
        assert exif.get_ifd(0x8825)[1] == "N"
        dpi = result.info.get("dpi") or (exif[0x011A], exif[0x011B])
        assert [round(float(number)) for number in dpi] == [600, 600]
        assert result.info["icc_profile"] == ICC_RGB
        xmp = result.info["xmp"]
        assert (xmp.encode() if isinstance(xmp, str) else xmp) == XMP


RESOLUTIONS: list[dict[str, Any]] = [
    {},
    {"resolution": (300, 300), "resolutionunit": "INCH"},
    {"resolution": (118.11, 118.11), "resolutionunit": "CENTIMETER"},
    {"resolution": (2, 1), "resolutionunit": "NONE"},
]


@pytest.mark.parametrize("resolution", RESOLUTIONS, ids=["missing", "inch", "cm", "no unit"])
def test_a_tiffs_resolution_is_neither_invented_nor_changed(
    tmp_path: Path, resolution: dict[str, Any]
) -> None:
    """Without one, 1x1 dpi was written; dots per centimetre became dots per inch."""
    path, out = tmp_path / "in.tif", tmp_path / "out.tif"
    if resolution:
        tifffile.imwrite(path, grey(), metadata=None, software=False, **resolution)
    else:
        Image.fromarray(grey()).save(path)
    write_still(out, *read_still(path))
    assert tiff_resolution(out) == tiff_resolution(path)
    assert [check.name for check in verify(path, out) if not check.passed] == []


def tiff_resolution(path: Path) -> list[Any]:
    with tifffile.TiffFile(path) as file:
        tags = [file.pages.first.tags.get(tag) for tag in (282, 283, 296)]
    values = [None if tag is None else tag.value for tag in tags]
    return [value[0] / value[1] if isinstance(value, tuple) else value for value in values]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_tags_of_16_bit_files_are_kept(tmp_path: Path, suffix: str) -> None:
    options = tagged_options()
    del options["icc_profile"], options["xmp"]
    frame, info = read_still(save_grey(tmp_path / f"in{suffix}", grey(bit_depth=16), **options))
    write_still(tmp_path / f"out{suffix}", frame, info)
    with Image.open(tmp_path / f"out{suffix}") as result:
        exif = result.getexif()
        assert exif[0x013B] == "Jane Doe"
        assert exif.get_ifd(0x8769)[0x9003] == "1908:05:01 12:00:00"
        assert [round(float(number)) for number in result.info["dpi"]] == [600, 600]


def test_a_jpegs_caption_and_comment_are_kept(tmp_path: Path) -> None:
    caption = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x0a\x1c\x02\x78\0\x05Quiet"
    segment = b"\xff\xed" + (len(caption) + 2).to_bytes(2, "big") + caption
    source = save_grey(tmp_path / "in.jpg", comment="taken from a roof", extra=segment)
    frame, info = read_still(source)
    write_still(tmp_path / "out.jpg", frame, info)
    with Image.open(tmp_path / "out.jpg") as result:
        assert result.info["comment"] == b"taken from a roof"
        assert ("APP13", caption) in result.applist


def test_a_pngs_texts_are_kept(tmp_path: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Title", "Harbour")
    texts.add_itxt("Description", "Größe", zip=True)
    frame, info = read_still(save_grey(tmp_path / "in.png", pnginfo=texts))
    write_still(tmp_path / "out.png", frame, info)
    with Image.open(tmp_path / "out.png") as result:
        assert result.text == {"Title": "Harbour", "Description": "Größe"}


def test_what_a_pngs_codes_mean_is_kept(tmp_path: Path) -> None:
    """A picture of another gamma looked otherwise: its chunks were left out."""
    plain = save_grey(tmp_path / "in.png").read_bytes()
    chunk = b"gAMA" + struct.pack(">I", 100000)
    gamma = struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "in.png").write_bytes(plain[:33] + gamma + plain[33:])
    write_still(tmp_path / "out.png", *read_still(tmp_path / "in.png"))
    assert Image.open(tmp_path / "out.png").info["gamma"] == 1.0


def test_a_transparent_code_of_16_bits(tmp_path: Path) -> None:
    shade = grey(bit_depth=16)
    plain = save_grey(tmp_path / "in.png", shade).read_bytes()
    chunk = b"tRNS" + struct.pack(">H", shade[3, 4])
    clear = struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "in.png").write_bytes(plain[:33] + clear + plain[33:])
    write_still(tmp_path / "out.png", *read_still(tmp_path / "in.png"))
    written = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(written[..., 3] == 0, shade == shade[3, 4])


def test_xmp_that_a_jpeg_cannot_hold_is_left_out_in_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frame, info = read_still(save_grey(tmp_path / "in.png"))
    write_still(tmp_path / "out.jpg", frame, replace(info, xmp=XMP * 2000))
    assert "XMP is too long for a JPEG" in caplog.text
    assert Image.open(tmp_path / "out.jpg").size == (60, 44)


def test_a_profile_for_grey_is_left_out(tmp_path: Path) -> None:
    """A reader that takes an RGB picture through a grey profile shows nonsense."""
    frame, info = read_still(save_grey(tmp_path / "in.png", icc_profile=ICC_GREY))
    write_still(tmp_path / "out.png", frame, info)
    assert "icc_profile" not in Image.open(tmp_path / "out.png").info


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_kept_and_the_frame_stands_upright(
    tmp_path: Path, suffix: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"exif": exif}
    if suffix == ".webp":
        options["lossless"] = True
    source = save_grey(tmp_path / f"in{suffix}", **options)
    frame, info = read_still(source)
    with source.open("rb") as file, Image.open(file) as picture:
        upright = np.asarray(ImageOps.exif_transpose(picture).convert("L"))
    np.testing.assert_array_equal(plane_view(frame, 0), upright)
    out = tmp_path / f"out{suffix}"
    write_still(out, give_color(frame), info)
    with out.open("rb") as file, Image.open(file) as result:
        assert result.getexif()[0x0112] == orientation
    if suffix == ".jpg":
        after = plane_view(read_still(out)[0], 0).astype(int)
        assert np.abs(after - upright).mean() < 0.5
    else:
        np.testing.assert_array_equal(plane_view(read_still(out)[0], 0), upright)
    if suffix == ".tif":
        np.testing.assert_array_equal(luma_of(tifffile.imread(out)), grey())  # as stored


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_kept(tmp_path: Path, mode: str, suffix: str) -> None:
    alpha = grey()[::-1]
    rgba = np.dstack([grey()] * (len(mode) - 1) + [alpha])
    options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    source = save_grey(tmp_path / f"in{suffix}", rgba, **options)
    frame, info = read_still(source)
    write_still(tmp_path / f"out{suffix}", give_color(frame), info)
    result = np.asarray(Image.open(tmp_path / f"out{suffix}"))
    np.testing.assert_array_equal(result[..., 3], alpha)
    np.testing.assert_array_equal(luma_of(result), grey())


def test_transparency_is_left_out_of_a_jpeg_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frame, info = read_still(save_grey(tmp_path / "in.png", np.dstack([grey(), grey()])))
    write_still(tmp_path / "out.jpg", frame, info)
    assert "no transparency" in caplog.text


def test_side_by_side(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    rgba = np.dstack([grey(), grey()[::-1]])
    frame, info = read_still(save_grey(tmp_path / "in.png", rgba, exif=exif))
    double = av.VideoFrame(2 * frame.width, frame.height, "yuv444p")
    double.colorspace, double.color_range = frame.colorspace, frame.color_range
    for index in range(3):
        plane_view(double, index)[:] = np.hstack([plane_view(frame, index)] * 2)
    write_still(tmp_path / "out.png", double, info)
    result = np.asarray(Image.open(tmp_path / "out.png"))
    assert result.shape == (88, 60, 4)
    np.testing.assert_array_equal(result[:44, :, 3], grey()[::-1])
    np.testing.assert_array_equal(luma_of(result)[44:], grey())


# More formats, pages, and kinds of alpha


@pytest.mark.parametrize("suffix", [".bmp", ".jp2"])
def test_bitmaps_and_jpeg_2000_have_the_luma_of_the_source(tmp_path: Path, suffix: str) -> None:
    frame, info = read_still(save_grey(tmp_path / "in.png"))
    write_still(tmp_path / f"out{suffix}", give_color(frame), info)
    bgr = cv2.imread(str(tmp_path / f"out{suffix}"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(luma_of(bgr[..., ::-1]), grey())
    assert (bgr[..., 0] != bgr[..., 1]).mean() > 0.5


def test_jpeg_2000_keeps_16_bits_and_tags(tmp_path: Path) -> None:
    options = tagged_options()
    del options["icc_profile"], options["xmp"]
    source = save_grey(tmp_path / "in.tif", grey(bit_depth=16), **options)
    frame, info = read_still(source)
    write_still(tmp_path / "out.jp2", give_color(frame), info)
    samples = cv2.imread(str(tmp_path / "out.jp2"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(luma_of(samples[..., ::-1]), grey(bit_depth=16))
    assert b"Jane Doe" in (tmp_path / "out.jp2").read_bytes()


@pytest.mark.parametrize("suffix", [".avif", ".heic"])
def test_avif_and_heic_hold_picture_and_tags(tmp_path: Path, suffix: str) -> None:
    if suffix == ".heic":
        pytest.importorskip("pillow_heif")
    options = tagged_options()
    del options["xmp"]
    frame, info = read_still(save_grey(tmp_path / "in.tif", grey(64, 48), **options))
    write_still(tmp_path / f"out{suffix}", give_color(frame), info)
    again, told = read_still(tmp_path / f"out{suffix}")
    assert np.abs(plane_view(again, 0).astype(int) - grey(64, 48)).mean() < 3
    assert told.exif[0x013B] == info.exif[0x013B]
    assert [round(number) for number in told.dpi or ()] == [600, 600]
    if suffix == ".avif":
        assert cv2.imread(str(tmp_path / "out.avif")) is not None


def test_every_page_is_written_with_its_own_tags(tmp_path: Path) -> None:
    """A TIFF of several pages was refused."""
    with tifffile.TiffWriter(tmp_path / "in.tif") as file:
        file.write(grey(), description="first", metadata=None, resolution=(300, 300))
        file.write(grey(32, 48, 16), description="second", metadata=None, resolution=(600, 600))
        file.write(grey()[::4, ::4], subfiletype=1)
    source = StillSource(tmp_path / "in.tif")
    sink = StillSink(tmp_path / "out.tif", source)
    for frame in source:
        sink.write(give_color(frame))
    sink.finish()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.tif", "out.tif"]
    with tifffile.TiffFile(tmp_path / "out.tif") as result:
        assert [page.description for page in result.pages] == ["first", "second"]
        assert [page.tags[282].value for page in result.pages] == [(300, 1), (600, 1)]
        np.testing.assert_array_equal(luma_of(result.pages[0].asarray()), grey())
        np.testing.assert_array_equal(luma_of(result.pages[1].asarray()), grey(32, 48, 16))
    done, pages = cv2.imreadmulti(str(tmp_path / "out.tif"), flags=cv2.IMREAD_UNCHANGED)
    assert (done, len(pages)) == (True, 2)
    with Image.open(tmp_path / "out.tif") as picture:
        assert picture.n_frames == 2
    with pytest.raises(BadSink, match=r"2 pages, which only \.tif holds"):
        StillSink(tmp_path / "out.png", source)


def test_pages_go_through_a_run(tmp_path: Path) -> None:
    pages = [Image.fromarray(grey(64, 48)), Image.fromarray(grey(48, 64)[::-1])]
    pages[0].save(tmp_path / "in.tif", save_all=True, append_images=pages[1:])
    report = colorize(tmp_path / "in.tif", tmp_path / "out.tif", steady="auto", codec="auto")
    assert (report["frames_in"], report["frames_out"]) == (2, 2)
    assert all(check.passed for check in verify(tmp_path / "in.tif", tmp_path / "out.tif"))


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_the_kind_of_alpha_is_written_back(tmp_path: Path, kind: int) -> None:
    alpha = grey(bit_depth=16)[::-1]
    shade = np.minimum(grey(bit_depth=16), alpha)
    rgba = np.dstack([shade, shade, shade, alpha])
    tifffile.imwrite(tmp_path / "in.tif", rgba, photometric="rgb", extrasamples=[kind])
    frame, info = read_still(tmp_path / "in.tif")
    write_still(tmp_path / "out.tif", give_color(frame), info)
    with tifffile.TiffFile(tmp_path / "out.tif") as result:
        page = result.pages.first
        assert [int(extra) for extra in page.extrasamples] == [kind]
        samples = page.asarray()
    np.testing.assert_array_equal(samples[..., 3], alpha)
    np.testing.assert_array_equal(luma_of(samples), shade)
    if kind == 1:  # a premultiplied colour above its alpha is none
        assert (samples[..., :3].max(axis=-1).astype(int) - alpha).max() <= 1


def test_premultiplied_colours_become_straight_in_a_png(tmp_path: Path) -> None:
    alpha = np.full((44, 60), 128, np.uint8)
    shade = grey() // 2
    tifffile.imwrite(
        tmp_path / "in.tif",
        np.dstack([shade, shade, shade, alpha]),
        photometric="rgb",
        extrasamples=["assocalpha"],
    )
    frame, info = read_still(tmp_path / "in.tif")
    write_still(tmp_path / "out.png", frame, info)
    written = np.asarray(Image.open(tmp_path / "out.png"))
    np.testing.assert_array_equal(written[..., 3], alpha)
    np.testing.assert_allclose(written[..., 0], np.rint(shade * (255 / 128)), atol=1)


def test_a_big_tiff_is_written_where_4_gb_are_not_enough(tmp_path: Path) -> None:
    with (tmp_path / "out.tif").open("w+b") as file:
        pages = TiffPages(file, most_bytes=5 * 10**9)
        still = read_still(save_grey(tmp_path / "in.png"))[1]
        rgb = np.dstack([grey()] * 3)
        for _ in range(2):
            pages.add([rgb], rgb.shape, still)
    with tifffile.TiffFile(tmp_path / "out.tif") as result:
        assert result.is_bigtiff
        assert len(result.pages) == 2
        np.testing.assert_array_equal(result.pages[1].asarray(), rgb)


def test_a_description_of_the_old_samples_is_left_out(tmp_path: Path) -> None:
    """Readers that believed it found another shape than there is."""
    tifffile.imwrite(tmp_path / "in.tif", grey())  # writes its shape into the description
    write_still(tmp_path / "out.tif", *read_still(tmp_path / "in.tif"))
    assert tifffile.imread(tmp_path / "out.tif").shape == (44, 60, 3)


def test_source_and_sink(tmp_path: Path) -> None:
    path = save_grey(tmp_path / "in.png", dpi=(300, 300))
    source = StillSource(path)
    assert (source.info.width, source.info.height, source.info.frames) == (60, 44, 1)
    (frame,) = list(source)
    assert frame.pts == 0
    assert frame.time_base == Fraction(1)
    sink = StillSink(tmp_path / "out.png", source)
    sink.write(give_color(frame))
    assert not (tmp_path / "out.png").exists()
    sink.finish()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.png", "out.png"]


@pytest.mark.parametrize(("name", "bit_depth"), [("in.png", 8), ("in.tif", 16), ("in.jpg", 8)])
def test_through_the_pipeline(tmp_path: Path, name: str, bit_depth: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    size = (64, 48) if name == "in.jpg" else (61, 45)  # whole blocks of 8 survive
    source = StillSource(save_grey(tmp_path / name, grey(*size, bit_depth), exif=exif))
    before = plane_view(source.frame, 0).copy()
    sink = StillSink(tmp_path / f"out-{name}", source)
    backend = load(write_model(tmp_path / "m.onnx"), "onnxruntime", threads=1)
    try:
        stats = run(source, Colorizer(backend, pix_fmts=sink.pix_fmts), sink)
    finally:
        backend.close()
    sink.finish()
    assert stats.frames_out == 1
    after = read_still(tmp_path / f"out-{name}")[0]
    assert (after.width, after.height) == size[::-1]
    difference = np.abs(plane_view(after, 0).astype(int) - before)
    assert (difference > 0).mean() <= (0.02 if name == "in.jpg" else 0)
    rgb = np.asarray(Image.open(tmp_path / f"out-{name}").convert("RGB")).astype(int)
    assert np.ptp(rgb, axis=-1).mean() > 10


def test_a_file_that_has_the_temporary_name_stays(tmp_path: Path) -> None:
    """It was written over and deleted, and with it what another run was writing."""
    frame, info = read_still(save_grey(tmp_path / "in.png", grey()))
    (tmp_path / "out.partial.png").write_text("precious")
    write_still(tmp_path / "out.png", frame, info)
    assert (tmp_path / "out.partial.png").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out.partial.png", "out.png"]


def test_an_abandoned_sink_leaves_nothing(tmp_path: Path) -> None:
    source = StillSource(save_grey(tmp_path / "in.png"))
    sink = StillSink(tmp_path / "out.png", source)
    sink.write(next(iter(source)))
    assert sink.abandon(keep=True) is None
    assert [p.name for p in tmp_path.iterdir()] == ["in.png"]


def test_bad_targets(tmp_path: Path) -> None:
    source = StillSource(save_grey(tmp_path / "in.png"))
    with pytest.raises(BadSink, match=r"\.jpg"):
        StillSink(tmp_path / "out.mkv", source)
    with pytest.raises(SinkError, match="cannot write"):
        write_still(tmp_path / "nowhere" / "out.png", source.frame, source.still)
    wide, info = read_still(save_grey(tmp_path / "wide.png", grey(17000, 2)))
    with pytest.raises(BadSink, match="17000x2 cannot be written as WEBP"):
        write_still(tmp_path / "out.webp", wide, info)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.png", "wide.png"]
