"""Results that are broken on purpose: the proof finds each, and says which property it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import tifffile
from kinemacolor.stream.proof.sidedata import run_filters
from kinemacolor.stream.proof.verify import verify
from PIL import Image, ImageOps, PngImagePlugin

from tests import media
from tests.command import colorize
from tests.stills import ICC_RGB, XMP, grey, icc_cmyk, luma_of
from tests.tamper import rewrite, with_captions, with_data, with_planes

FRAMES = 24


def failed(source: Path, result: Path) -> list[str]:
    return [check.name for check in verify(source, result) if not check.passed]


# Films. The good copy is made as the broken ones are, so that the change alone is what fails.


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.write_clip(
        tmp_path_factory.mktemp("film") / "film.mkv",
        frames=FRAMES,
        audio=["aac", "flac"],
        subtitles="srt",
        chapters=True,
        attachment=True,
        colorspace="bt709",
        color_range="limited",
    )


def at(number: int, change: Callable[[list[Any]], Any]) -> Callable[[int, Any], Any]:
    """Changes one frame's planes."""
    return lambda index, frame: with_planes(frame, change) if index == number else frame


def brighter(planes: list[Any]) -> None:
    planes[0][:] = np.minimum(planes[0].astype(int) + 1, 255)


def one_sample(planes: list[Any]) -> None:
    planes[0][20, 30] ^= 1


def negative(planes: list[Any]) -> None:
    planes[0][:] = 255 - planes[0]


def black(planes: list[Any]) -> None:
    planes[0][:] = 16


def mirrored(planes: list[Any]) -> None:
    planes[0][:] = planes[0][:, ::-1].copy()


def stretched(planes: list[Any]) -> None:
    planes[0][:] = np.clip(np.rint((planes[0].astype(float) - 16) * 255 / 219), 0, 255)


def every(change: Callable[[list[Any]], Any]) -> Callable[[int, Any], Any]:
    return lambda index, frame: with_planes(frame, change)


def dropped(number: int) -> Callable[[int, Any], Any]:
    return lambda index, frame: None if index == number else frame


class Doubled:
    """Shows a frame again, at the place of the next one or as one more."""

    def __init__(self, number: int, *, more: bool) -> None:
        self.number, self.more = number, more
        self.kept: Any = None

    def __call__(self, index: int, frame: Any) -> Any:
        if index == self.number:
            self.kept = frame
            if self.more:
                again = with_planes(frame, lambda planes: None)
                again.pts = frame.pts + 15
                return [frame, again]
        if index == self.number + 1 and not self.more:
            again = with_planes(self.kept, lambda planes: None)
            again.pts = frame.pts
            return again
        return frame


class Swapped:
    """Shows two frames in each other's place."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.kept: Any = None

    def __call__(self, index: int, frame: Any) -> Any:
        if index == self.number:
            self.kept = frame
            return None
        if index == self.number + 1:
            first, second = with_planes(frame, len), with_planes(self.kept, len)
            first.pts, second.pts = self.kept.pts, frame.pts
            return [first, second]
        return frame


def timed(change: Callable[[int, int], int]) -> Callable[[int, Any], Any]:
    def move(index: int, frame: Any) -> Any:
        frame.pts = change(index, frame.pts)
        return frame

    return move


def one_packet(kind: str, number: int, change: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda of, index, packet: change(packet) if (of, index) == (kind, number) else packet


def flipped(packet: Any) -> Any:
    data = bytearray(bytes(packet))
    data[-1] ^= 1
    return with_data(packet, bytes(data))


def later(kind: str, ms: int) -> Callable[..., Any]:
    def move(of: str, index: int, packet: Any) -> Any:
        if of != kind:
            return packet
        ticks = round(Fraction(ms, 1000) / packet.time_base)
        return with_data(packet, bytes(packet), pts=packet.pts + ticks, dts=packet.dts + ticks)

    return move


def longer(of: str, index: int, packet: Any) -> Any:
    if of != "subtitle":
        return packet
    return with_data(packet, bytes(packet), duration=2 * packet.duration)


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "a sample off by one": ({"frame": at(7, one_sample)}, "luma"),
    "a frame brighter by one": ({"frame": at(7, brighter)}, "luma"),
    "a film brighter by one": ({"frame": every(brighter)}, "luma"),
    "a negative": ({"frame": every(negative)}, "luma"),
    "a black frame": ({"frame": at(5, black)}, "luma"),
    "a mirrored film": ({"frame": every(mirrored)}, "luma"),
    "limited stretched to full": ({"frame": every(stretched)}, "luma"),
    "a frame dropped": ({"frame": dropped(9)}, "frames"),
    "the first frame dropped": ({"frame": dropped(0)}, "frames"),
    "the last frame dropped": ({"frame": dropped(FRAMES - 1)}, "frames"),
    "a frame more": ({"frame": Doubled(6, more=True)}, "frames"),
    "a frame shown twice": ({"frame": Doubled(6, more=False)}, "luma"),
    "two frames swapped": ({"frame": Swapped(6)}, "luma"),
    "times squeezed": ({"frame": timed(lambda i, pts: pts * 9 // 10)}, "times"),
    "times stretched": ({"frame": timed(lambda i, pts: pts * 11 // 10)}, "times"),
    "one frame late": ({"frame": timed(lambda i, pts: pts + 10 * (i == 4))}, "times"),
    "picture late": ({"frame": timed(lambda i, pts: pts + 80)}, "times"),
    "second half late": ({"frame": timed(lambda i, pts: pts + 40 * (i > 12))}, "times"),
    "a byte of sound": ({"packet": one_packet("audio", 3, flipped)}, "audio"),
    "a packet of sound lost": ({"packet": one_packet("audio", 3, lambda p: None)}, "audio"),
    "sound late": ({"packet": later("audio", 80)}, "audio"),
    "a track of sound lost": ({"left_out": lambda s: s.type == "audio" and s.index > 1}, "audio"),
    "all sound lost": ({"left_out": lambda s: s.type == "audio"}, "audio"),
    "a subtitle's word": ({"packet": one_packet("subtitle", 1, flipped)}, "subtitle"),
    "a subtitle lost": ({"packet": one_packet("subtitle", 1, lambda p: None)}, "subtitle"),
    "all subtitles lost": ({"left_out": lambda s: s.type == "subtitle"}, "subtitle"),
    "subtitles late": ({"packet": later("subtitle", 200)}, "subtitle"),
    "subtitles too long": ({"packet": longer}, "subtitle"),
    "chapters lost": ({"chapters": False}, "chapters"),
    "an attachment lost": ({"left_out": lambda s: s.type == "attachment"}, "attachment"),
    "another range": ({"color_range": 2}, "tags"),
    "another matrix": ({"colorspace": 9}, "tags"),
    "another matrix of BT.601": ({"colorspace": 5}, "tags"),
    "other primaries": ({"color_primaries": 9}, "tags"),
    "another transfer": ({"color_trc": 16}, "tags"),
}


def test_a_good_copy_passes(film: Path, tmp_path: Path) -> None:
    assert failed(film, rewrite(film, tmp_path / "good.mkv")) == []


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_film_is_found(film: Path, tmp_path: Path, kind: str) -> None:
    changes, name = BROKEN[kind]
    assert name in failed(film, rewrite(film, tmp_path / "broken.mkv", **changes))


# The same through a lossy encoder, which changes every frame a little.

X264 = {"codec": "libx264", "options": {"crf": "14", "preset": "ultrafast"}}
LOSSY = {
    "a black frame": at(9, black),
    "a negative frame": at(9, negative),
    "a mirrored frame": at(9, mirrored),
    "a frame brighter by one": at(9, brighter),
    "a film brighter by one": every(brighter),
    "two frames swapped": Swapped(9),
    "a frame shown twice": Doubled(9, more=False),
    "limited stretched to full": every(stretched),
}


@pytest.fixture(scope="module")
def long_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long")
    return media.write_clip(folder / "film.mkv", frames=120, size=(160, 120), colorspace="bt709")


def test_a_good_lossy_copy_passes(long_film: Path, tmp_path: Path) -> None:
    assert failed(long_film, rewrite(long_film, tmp_path / "good.mkv", **X264)) == []


@pytest.mark.parametrize("kind", LOSSY)
def test_a_broken_frame_is_found_among_many_lossy_ones(
    long_film: Path, tmp_path: Path, kind: str
) -> None:
    """One black frame of 120 left the PSNR of the whole above 30 dB."""
    if isinstance(change := LOSSY[kind], Swapped | Doubled):
        change.kept = None
    broken = rewrite(long_film, tmp_path / "broken.mkv", frame=change, **X264)
    assert failed(long_film, broken) == ["luma"]


# What needs a source of its own

EXACT = {"qp": "0", "preset": "ultrafast"}


def filtered(filters: str) -> Callable[[int, Any], Any]:
    return lambda index, frame: next(iter(run_filters([frame], filters)))


@pytest.mark.parametrize("filters", ["", "setfield=bff"])
def test_lost_or_turned_fields_are_found(tmp_path: Path, filters: str) -> None:
    film = media.write_clip(
        tmp_path / "film.mkv", codec="libx264", interlaced=True, options=EXACT, frames=6
    )
    exact = {"codec": "libx264", "options": {**EXACT, "x264-params": "tff=1"}}
    film = rewrite(film, tmp_path / "top.mkv", frame=filtered("setfield=tff"), **exact)
    good = rewrite(film, tmp_path / "good.mkv", frame=filtered("setfield=tff"), **exact)
    assert failed(film, good) == []
    exact["options"] = {**EXACT, **({"x264-params": "bff=1"} if filters else {})}
    change = filtered(filters) if filters else lambda index, frame: frame
    broken = rewrite(film, tmp_path / "broken.mkv", frame=change, **exact)
    assert failed(film, broken) == ["fields"]


def test_fields_that_nobody_asked_for_are_found(tmp_path: Path) -> None:
    film = media.write_clip(tmp_path / "film.mkv", codec="libx264", options=EXACT, frames=14)
    broken = rewrite(film, codec="libx264", options={**EXACT, "x264-params": "tff=1"})
    assert failed(film, broken) == ["fields"]


def test_lost_captions_are_found(tmp_path: Path) -> None:
    options = {**EXACT, "bf": "0"}
    bare = media.write_clip(tmp_path / "bare.ts", codec="libx264", options=options, frames=8)
    film = with_captions(bare, tmp_path / "film.ts")
    assert failed(film, film) == []
    assert failed(film, bare) == ["captions"]


@pytest.mark.parametrize("lost", ["mastering display", "content light level"])
def test_lost_light_is_found(tmp_path: Path, lost: str) -> None:
    kept = {
        "mastering display": "master-display=G(13250,34500)B(7500,3000)R(34000,16000)"
        "WP(15635,16450)L(10000000,1)",
        "content light level": "max-cll=1000,400",
    }

    def options(**light: str) -> dict[str, str]:
        return {"x265-params": ":".join(["lossless=1", "log-level=none", *light.values()])}

    film = media.write_clip(
        tmp_path / "film.mkv", codec="libx265", options=options(**kept), pix_fmt="yuv420p10le"
    )
    left = {name: value for name, value in kept.items() if name != lost}
    broken = rewrite(film, codec="libx265", options=options(**left))
    assert failed(film, broken) == ["tags"]
    assert lost in next(check.detail for check in verify(film, broken) if check.name == "tags")


@pytest.mark.parametrize("rotation", [0, -90])
def test_a_lost_or_wrong_rotation_is_found(tmp_path: Path, rotation: int) -> None:
    film = media.write_clip(tmp_path / "film.mp4", codec="libx264", rotate=90, options=EXACT)
    exact = {"codec": "libx264", "options": EXACT}
    assert failed(film, rewrite(film, rotation=90, **exact)) == []
    assert failed(film, rewrite(film, tmp_path / "b.mp4", rotation=rotation, **exact)) == ["tags"]


def test_a_lost_shape_of_pixels_is_found(tmp_path: Path) -> None:
    film = media.write_clip(
        tmp_path / "film.mkv",
        codec="libx264",
        sample_aspect_ratio=Fraction(16, 11),
        options=EXACT,
    )
    plain = media.write_clip(tmp_path / "plain.mkv", codec="libx264", options=EXACT)
    assert failed(film, plain) == ["tags"]


@pytest.mark.parametrize("change", ["lost", "changed"])
def test_a_lost_or_changed_alpha_is_found(tmp_path: Path, change: str) -> None:
    film = media.write_clip(tmp_path / "film.mkv", pix_fmt="yuva420p", frames=4)
    film = rewrite(film, tmp_path / "clear.mkv", frame=every(lambda p: p[3].fill(99)))
    assert failed(film, rewrite(film, tmp_path / "good.mkv")) == []
    if change == "lost":
        broken = rewrite(film, frame=lambda i, f: f.reformat(format="yuv420p"), pix_fmt="yuv420p")
    else:
        broken = rewrite(film, frame=at(2, lambda planes: planes[3].fill(98)))
    assert failed(film, broken) == ["alpha"]


def test_the_alpha_of_vp9_is_seen(tmp_path: Path) -> None:
    film = media.write_clip(tmp_path / "film.mkv", pix_fmt="yuva420p", frames=3)
    film = rewrite(film, tmp_path / "clear.mkv", frame=every(lambda p: p[3].fill(99)))
    vp9 = {"codec": "libvpx-vp9", "options": {"lossless": "1"}}
    good = rewrite(film, tmp_path / "good.webm", **vp9)
    assert failed(film, good) == []
    change = every(lambda planes: planes[3].fill(9))
    assert failed(film, rewrite(film, tmp_path / "b.webm", frame=change, **vp9)) == ["alpha"]


def test_a_lost_second_picture_is_found(tmp_path: Path) -> None:
    film = two_pictures(tmp_path)
    assert failed(film, film) == []
    assert failed(film, tmp_path / "one.mkv") == ["video"]


def two_pictures(folder: Path) -> Path:
    one = media.write_clip(folder / "one.mkv", codec="libx264", frames=4, options=EXACT)
    with ExitStack() as files:
        sources = [files.enter_context(av.open(str(one))) for _ in range(2)]
        copy = files.enter_context(av.open(str(folder / "film.mkv"), "w"))
        streams = [copy.add_stream_from_template(s.streams.video[0]) for s in sources]
        for source, stream in zip(sources, streams, strict=True):
            stream.time_base = source.streams.video[0].time_base
        copy.start_encoding()
        for source, stream in zip(sources, streams, strict=True):
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    copy.mux_one(packet)
    return folder / "film.mkv"


def test_a_result_that_breaks_off_is_found(film: Path, tmp_path: Path) -> None:
    good = rewrite(film, tmp_path / "good.mkv")
    assert "frames" in failed(film, media.truncated(good, 0.6))


def test_another_film_is_found(film: Path, tmp_path: Path) -> None:
    other = media.write_clip(
        tmp_path / "other.mkv",
        frames=FRAMES,
        picture=lambda width, height, index, depth: media.moving_picture(
            width, height, index + 50, depth
        ),
    )
    assert "luma" in failed(film, other)


def test_deep_codes_16_times_too_dark_are_found(tmp_path: Path) -> None:
    film = media.write_clip(tmp_path / "film.mkv", pix_fmt="yuv420p10le", frames=3)

    def darker(planes: list[Any]) -> None:
        planes[0][:] //= 16

    assert failed(film, rewrite(film, frame=every(darker))) == ["luma"]


def test_8_bits_of_a_deep_film_are_found_where_they_are_not_rounded(tmp_path: Path) -> None:
    film = media.write_clip(tmp_path / "film.mkv", pix_fmt="yuv420p10le", frames=3)
    right = media.read_luma(film)

    def cut(index: int, frame: Any) -> Any:
        shallow = frame.reformat(format="yuv420p")
        luma = np.minimum((right[index] >> 2) + 1, 255)
        changed = with_planes(shallow, lambda planes: planes[0].__setitem__(slice(None), luma))
        changed.pts = frame.pts
        return changed

    assert failed(film, rewrite(film, frame=cut, pix_fmt="yuv420p")) == ["luma"]


# Sources whose clocks start anew


def joined(folder: Path) -> Path:
    """Two captures in one file: the second one's times begin where the first one's did."""
    parts = [
        media.write_clip(
            folder / f"{name}.ts",
            codec="libx264",
            frames=12,
            options={**EXACT, "bf": "0"},
            picture=lambda width, height, index, depth, first=first: media.moving_picture(
                width, height, index + first, depth
            ),
        )
        for name, first in (("a", 0), ("b", 12))
    ]
    film = folder / "joined.ts"
    film.write_bytes(b"".join(part.read_bytes() for part in parts))
    return film


@pytest.mark.parametrize(
    ("step", "wrong"), [(3600, []), (1800, ["times"]), (10, ["times"]), (360000, ["times"])]
)
def test_parts_follow_each_other_at_their_own_pace(
    tmp_path: Path, step: int, wrong: list[str]
) -> None:
    """A second half that was squeezed into ticks was once what the source was read as."""
    film = joined(tmp_path)
    start = 3600 * 11 + max(step, 3600)

    def move(index: int, frame: Any) -> Any:
        frame.pts = 3600 * index if index < 12 else start + step * (index - 12)
        return frame

    assert failed(film, rewrite(film, tmp_path / "result.mkv", frame=move)) == wrong


# Sound and words in another form


def test_sound_rewritten_without_loss_passes(tmp_path: Path) -> None:
    film = media.write_clip(
        tmp_path / "film.mkv", codec="libx264", frames=6, audio="pcm_s16le", options=EXACT
    )
    for name, codec in (("good", "pcm_s16be"), ("broken", "pcm_mulaw")):
        with av.open(str(film)) as source, av.open(str(tmp_path / f"{name}.mov"), "w") as copy:
            video = copy.add_stream_from_template(source.streams.video[0])
            sound = copy.add_stream(codec, rate=48000, layout="mono")
            for packet in source.demux():
                if packet.stream.type == "video" and packet.size:
                    packet.stream = video
                    copy.mux(packet)
                elif packet.stream.type == "audio":
                    for chunk in packet.decode():
                        copy.mux(sound.encode(chunk))
            copy.mux(sound.encode(None))
    assert failed(film, tmp_path / "good.mov") == []
    assert failed(film, tmp_path / "broken.mov") == ["audio"]


# Right results of runs


@pytest.mark.parametrize("sink", ["out.mkv", "out.mp4", "out.mov", "out.ts", "out.webm"])
def test_a_right_result_passes_in_every_container(tmp_path: Path, sink: str) -> None:
    film = media.write_clip(
        tmp_path / "film.mkv", codec="libx264", frames=12, audio=["aac"], chapters=True
    )
    codec = "vp9" if sink == "out.webm" else "h264"
    colorize(film, tmp_path / sink, codec=codec, crf=10.0)
    wrong = failed(film, tmp_path / sink)
    assert wrong == (["audio"] if sink == "out.webm" else [])  # WebM takes no AAC, and it is said


@pytest.mark.parametrize(
    "pix_fmt",
    [
        *("gray", "gray10le", "yuv422p", "yuv444p10le", "yuvj420p", "yuyv422", "nv12", "nv21"),
        *("rgb24", "bgr0", "gbrp", "gbrp10le", "rgb48le", "ya8", "monow", "uyvy422"),
    ],
)
def test_a_right_result_passes_of_every_format(tmp_path: Path, pix_fmt: str) -> None:
    plain = media.write_clip(tmp_path / "plain.mkv", pix_fmt="yuv444p", frames=3)
    film = rewrite(
        plain,
        tmp_path / "film.nut",
        codec="rawvideo",
        pix_fmt=pix_fmt,
        frame=lambda index, frame: frame.reformat(format=pix_fmt),
    )
    colorize(film, tmp_path / "out.mkv")
    assert failed(film, tmp_path / "out.mkv") == []


@pytest.mark.parametrize("codec", ["ffv1", "prores", "hevc", "vp9"])
def test_a_right_result_passes_of_every_codec(tmp_path: Path, codec: str) -> None:
    film = media.write_clip(
        tmp_path / "film.mkv", pix_fmt="yuv422p10le", frames=4, colorspace="bt709"
    )
    sink = tmp_path / ("out.mov" if codec == "prores" else "out.mkv")
    colorize(film, sink, codec=codec, **({} if codec in ("ffv1", "prores") else {"crf": 12.0}))
    assert failed(film, sink) == []


@pytest.mark.parametrize("container", ["film.mkv", "film.mp4", "film.ts", "film.h264"])
def test_a_right_result_passes_of_times_of_any_kind(tmp_path: Path, container: str) -> None:
    film = media.write_clip(tmp_path / container, codec="libx264", frames=12)
    colorize(film, tmp_path / "out.mkv")
    assert failed(film, tmp_path / "out.mkv") == []


# Stills


RGB = np.dstack([grey(64, 48), grey(64, 48)[::-1], grey(64, 48)[:, ::-1]])
TINT = np.array([12, -4, -18])


def tinted(picture: Any, top: int = 255) -> Any:
    """A grey picture in RGB, coloured without a change of its luma."""
    unit = (top + 1) // 256
    luma = picture.astype(np.float64)[..., None]
    shift = TINT - (TINT @ [0.299, 0.587, 0.114])
    room = np.minimum(luma, top - luma) / (20 * unit)
    rgb = np.rint(luma + shift * unit * np.minimum(room, 1))
    drift = np.rint(luma_of(rgb)) - luma[..., 0]
    assert not drift.any()
    return rgb.astype(picture.dtype)


STILL = np.clip(grey(64, 48), 30, 220)
DEEP = np.clip(grey(64, 48, 16), 9000, 60000)
ALPHA = np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))


def png(path: Path, picture: Any, **without: bool) -> Path:
    """A PNG with everything that one can hold."""
    exif = Image.Exif()
    exif[0x013B] = "Jane Doe"
    exif[0x0112] = 6
    if without.get("orientation"):
        exif[0x0112] = 1
    if without.get("artist"):
        exif[0x013B] = "John Doe"
    texts = PngImagePlugin.PngInfo()
    if not without.get("texts"):
        texts.add_text("Title", "Harbour")
    if not without.get("xmp"):
        texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
    options: dict[str, Any] = {"pnginfo": texts}
    if not without.get("exif"):
        options["exif"] = exif
    if not without.get("icc"):
        options["icc_profile"] = ICC_RGB
    if not without.get("dpi"):
        dpi = 300 if without.get("other_dpi") else 600
        options["dpi"] = (dpi, dpi)
    Image.fromarray(picture).save(path, **options)
    return path


STILLS: dict[str, tuple[Callable[[Any], Any], dict[str, bool], str]] = {
    "a sample off by one": (lambda p: off_by_one(p), {}, "luma"),
    "brighter by one": (lambda p: np.minimum(p.astype(int) + 1, 255), {}, "luma"),
    "a negative": (lambda p: 255 - p, {}, "luma"),
    "black": (lambda p: p * 0, {}, "luma"),
    "16 times too dark": (lambda p: p // 16, {}, "luma"),
    "upside down": (lambda p: p[::-1], {}, "luma"),
    "turned": (lambda p: np.rot90(p), {}, "luma"),
    "red and blue swapped": (lambda p: p[..., ::-1], {}, "luma"),
    "cut": (lambda p: p[:-8], {}, "luma"),
    "orientation lost": (lambda p: p, {"orientation": True}, "tags"),
    "EXIF lost": (lambda p: p, {"exif": True}, "tags"),
    "EXIF changed": (lambda p: p, {"artist": True}, "tags"),
    "ICC lost": (lambda p: p, {"icc": True}, "tags"),
    "XMP lost": (lambda p: p, {"xmp": True}, "tags"),
    "texts lost": (lambda p: p, {"texts": True}, "tags"),
    "resolution lost": (lambda p: p, {"dpi": True}, "tags"),
    "another resolution": (lambda p: p, {"other_dpi": True}, "tags"),
}


def off_by_one(picture: Any) -> Any:
    changed = picture.copy()
    changed[20, 30] += np.uint8(1)
    return changed


def test_a_good_still_passes(tmp_path: Path) -> None:
    source = png(tmp_path / "in.png", STILL)
    assert failed(source, png(tmp_path / "out.png", tinted(STILL))) == []


@pytest.mark.parametrize("kind", STILLS)
def test_a_broken_still_is_found(tmp_path: Path, kind: str) -> None:
    change, without, name = STILLS[kind]
    source = png(tmp_path / "in.png", STILL)
    broken = np.ascontiguousarray(change(tinted(STILL)).astype(np.uint8))
    assert name in failed(source, png(tmp_path / "out.png", broken, **without))


@pytest.mark.parametrize("change", ["lost", "inverted", "off by one"])
def test_a_broken_transparency_is_found(tmp_path: Path, change: str) -> None:
    source = png(tmp_path / "in.png", np.dstack([STILL, ALPHA]))
    rgb = tinted(STILL)
    assert failed(source, png(tmp_path / "good.png", np.dstack([rgb, ALPHA]))) == []
    alpha = {"inverted": 255 - ALPHA, "off by one": off_by_one(ALPHA)}.get(change)
    broken = rgb if alpha is None else np.dstack([rgb, alpha])
    assert "alpha" in failed(source, png(tmp_path / "out.png", broken))


TIFFS: dict[str, tuple[Callable[[Any], Any], dict[str, Any], str]] = {
    "16 times too dark": (lambda p: p // 16, {}, "luma"),
    "a negative": (lambda p: 65535 - p, {}, "luma"),
    "8 bits of 16": (lambda p: (p >> 8).astype(np.uint8), {}, "luma"),
    "off by one": (lambda p: p + np.uint16(1), {}, "luma"),
    "another resolution": (lambda p: p, {"resolution": (300, 300)}, "tags"),
    "another description": (lambda p: p, {"description": "a road"}, "tags"),
}


def tiff(path: Path, *pages: Any, **options: Any) -> Path:
    with tifffile.TiffWriter(path) as file:
        for page in pages:
            rgb = {"photometric": "rgb"} if page.ndim == 3 else {}
            held = {"resolution": (600, 600), "description": "a street", **rgb, **options}
            file.write(page, metadata=None, software=False, **held)
    return path


@pytest.mark.parametrize("kind", TIFFS)
def test_a_broken_tiff_is_found(tmp_path: Path, kind: str) -> None:
    change, options, name = TIFFS[kind]
    source = tiff(tmp_path / "in.tif", DEEP)
    assert failed(source, tiff(tmp_path / "good.tif", tinted(DEEP, 65535))) == []
    broken = tiff(tmp_path / "out.tif", change(tinted(DEEP, 65535)), **options)
    assert name in failed(source, broken)


@pytest.mark.parametrize("broken", [[0], [1, 0], [0, 1, 1], [0, 0]])
def test_a_lost_or_moved_page_is_found(tmp_path: Path, broken: list[int]) -> None:
    pages = [STILL, np.ascontiguousarray(STILL[::-1])]
    source = tiff(tmp_path / "in.tif", *pages)
    assert failed(source, tiff(tmp_path / "good.tif", *map(tinted, pages))) == []
    result = tiff(tmp_path / "out.tif", *(tinted(pages[number]) for number in broken))
    assert failed(source, result) != []


def test_another_kind_of_alpha_is_found(tmp_path: Path) -> None:
    rgba = np.dstack([tinted(STILL), ALPHA])
    source = tiff(tmp_path / "in.tif", rgba, extrasamples=["unassalpha"])
    broken = tiff(tmp_path / "out.tif", rgba, extrasamples=["assocalpha"])
    assert failed(source, broken) == ["alpha"]


def test_a_brighter_jpeg_is_found(tmp_path: Path) -> None:
    Image.fromarray(STILL).save(tmp_path / "in.jpg", quality=92)
    Image.fromarray(tinted(STILL)).save(tmp_path / "good.jpg", quality=92)
    assert failed(tmp_path / "in.jpg", tmp_path / "good.jpg") == []
    Image.fromarray(tinted(STILL + np.uint8(2))).save(tmp_path / "out.jpg", quality=92)
    assert failed(tmp_path / "in.jpg", tmp_path / "out.jpg") == ["luma"]
    ImageOps.invert(Image.open(tmp_path / "good.jpg")).save(tmp_path / "out.jpg", quality=92)
    assert failed(tmp_path / "in.jpg", tmp_path / "out.jpg") == ["luma"]


KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "inks": (np.dstack([RGB, STILL]), {"photometric": "separated"}),
    "inks with a profile": (
        np.dstack([RGB, STILL]),
        {"photometric": "separated", "compression": "lzw", "predictor": 2, "icc": True},
    ),
    "lab": (np.dstack([STILL, RGB[..., 1:] // 8]), {"photometric": "cielab"}),
    "deep lab": (np.dstack([DEEP, DEEP * 0, DEEP * 0]), {"photometric": "cielab"}),
    "white is zero": (DEEP, {"photometric": "miniswhite"}),
    "bits": (STILL > 99, {"photometric": "miniswhite"}),
    "tiles": (DEEP, {"tile": (16, 16), "compression": "lzw"}),
    "planes": (RGB.transpose(2, 0, 1), {"photometric": "rgb", "planarconfig": "separate"}),
    "jpeg": (RGB, {"photometric": "ycbcr", "compression": "jpeg"}),
    "premultiplied": (
        np.dstack([np.minimum(RGB, ALPHA[..., None]), ALPHA]),
        {"photometric": "rgb", "extrasamples": ["assocalpha"]},
    ),
}


@pytest.mark.parametrize("sink", ["out.tif", "out.png", "out.jpg"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_right_result_of_a_tiff_of_any_kind_passes(tmp_path: Path, kind: str, sink: str) -> None:
    samples, options = KINDS[kind]
    held = {name: value for name, value in options.items() if name != "icc"}
    if "icc" in options:
        held["extratags"] = [(34675, 7, None, icc_cmyk())]
    source = tmp_path / "in.tif"
    tifffile.imwrite(source, samples, metadata=None, **held)
    colorize(source, tmp_path / sink, codec="auto")
    assert failed(source, tmp_path / sink) == []


@pytest.mark.parametrize("sink", [".png", ".tif", ".webp", ".bmp", ".jp2", ".avif", ".jpg"])
def test_a_right_still_passes_in_every_format(tmp_path: Path, sink: str) -> None:
    source = png(tmp_path / "in.png", np.dstack([STILL, ALPHA]))
    colorize(source, tmp_path / f"out{sink}", codec="auto")
    assert failed(source, tmp_path / f"out{sink}") == []
