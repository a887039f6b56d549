"""Films of every kind, out and checked by programs that share nothing with the run.

Of 140 combinations 20 run always; the others are `nightly`.
"""

from __future__ import annotations

import random
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from tests import media
from tests.command import colorize

ALWAYS, ALL = 20, 140
FRAMES = 12
LAYOUTS: list[tuple[str, ...]] = [(), ("aac",), ("aac", "libmp3lame"), ("pcm_s16le",)]


@dataclass(frozen=True)
class Kind:
    """What a container with a codec can hold."""

    suffix: str
    codec: str
    pix_fmts: tuple[str, ...]
    sounds: tuple[int, ...] = (0, 1, 2, 3)  # of LAYOUTS
    subtitles: tuple[str | None, ...] = (None,)
    vfr: bool = False
    rotates: bool = False
    fields: bool = False
    aspect: bool = False
    full: bool = False


SOURCES = [
    Kind(".mkv", "ffv1", ("yuv420p", "yuv422p10le", "yuv444p12le", "gray"), vfr=True, fields=True,
         subtitles=(None, "srt", "ass"), full=True),
    Kind(".mkv", "libx264", ("yuv420p", "yuv422p10le"), vfr=True, aspect=True, full=True,
         subtitles=(None, "srt")),
    Kind(".mp4", "libx264", ("yuv420p", "yuv444p"), (0, 1, 2), (None, "mov_text"), vfr=True,
         rotates=True, aspect=True, full=True),
    Kind(".mov", "prores_ks", ("yuv422p10le",), (0, 1, 3), rotates=True, fields=True),
    Kind(".ts", "libx264", ("yuv420p",), (0, 1, 2), aspect=True),
    Kind(".mpg", "mpeg2video", ("yuv420p",), (0,), aspect=True),
    Kind(".avi", "mpeg4", ("yuv420p",), (0, 3), aspect=True),
    Kind(".mkv", "mjpeg", ("yuvj422p",), (0, 3), full=True),
    Kind(".nut", "rawvideo", ("yuv420p", "yuv420p10le", "nv12"), (0, 3), vfr=True),
    Kind(".y4m", "rawvideo", ("yuv420p", "yuv422p"), (0,)),
]  # fmt: skip
SINKS = [
    Kind(".mkv", "ffv1", (), vfr=True, fields=True, aspect=True, full=True, rotates=True),
    Kind(".mkv", "h264", (), vfr=True, fields=True, aspect=True, full=True, rotates=True),
    Kind(".mp4", "h264", (), vfr=True, fields=True, aspect=True, full=True, rotates=True),
    Kind(".mp4", "hevc", (), vfr=True, aspect=True, full=True, rotates=True),
    Kind(".mkv", "av1", (), vfr=True, aspect=True, full=True, rotates=True),
    Kind(".webm", "vp9", (), vfr=True, aspect=True, full=True, rotates=True),
    Kind(".mov", "prores", (), vfr=True, fields=True, aspect=True, rotates=True),
    Kind(".ts", "h264", (), vfr=True, fields=True, aspect=True, full=True),
    Kind(".avi", "ffv1", (), fields=True, aspect=True),
    Kind(".mxf", "mpeg2video", (), fields=True),
    Kind(".mkv", "mpeg2video", (), fields=True, full=False),
]
# Sounds that a container takes, by FFmpeg's names for what is in it.
TAKES = {
    ".mp4": ("aac", "mp3", "pcm_s16le"),
    ".mov": ("aac", "mp3", "pcm_s16le"),
    ".webm": (),
    ".ts": ("aac", "mp3"),
    ".avi": ("aac", "mp3", "pcm_s16le"),
    ".mxf": ("pcm_s16le",),
}
TEXTS = {".mkv": ("subrip", "ass"), ".mp4": ("mov_text",), ".mov": ("mov_text",)}


@dataclass(frozen=True)
class Case:
    """One source and one sink."""

    source: Kind
    sink: Kind
    pix_fmt: str
    sound: int
    subtitles: str | None
    vfr: bool
    rotate: int
    fields: Literal["tff", "bff"] | None
    aspect: str | None
    color_range: Literal["limited", "full"] | None
    colorspace: Literal["bt709", "smpte170m"] | None

    def __str__(self) -> str:
        more = [self.subtitles, "vfr" if self.vfr else None, self.fields, self.color_range]
        more += ["turned" if self.rotate else None, "aspect" if self.aspect else None]
        words = [self.source.suffix[1:], self.source.codec, self.pix_fmt, *LAYOUTS[self.sound]]
        return "-".join([*words, *(w for w in more if w), self.sink.suffix[1:], self.sink.codec])


def cases() -> list[Case]:
    """Every source with every sink, each with other traits than its neighbours."""
    dice = random.Random(1908)
    found: list[Case] = []
    while len(found) < ALL:
        for source in SOURCES:
            sink = SINKS[len(found) % len(SINKS)]
            both = {name: getattr(source, name) and getattr(sink, name) for name in
                    ("vfr", "rotates", "fields", "aspect", "full")}  # fmt: skip
            found.append(
                Case(
                    source,
                    sink,
                    dice.choice(source.pix_fmts),
                    dice.choice(source.sounds),
                    dice.choice(source.subtitles),
                    vfr=both["vfr"] and dice.random() < 0.5,
                    rotate=90 if both["rotates"] and dice.random() < 0.4 else 0,
                    fields=dice.choice(("tff", "bff")) if both["fields"] and dice.random() < 0.5
                    else None,
                    aspect="16:11" if both["aspect"] and dice.random() < 0.4 else None,
                    color_range=dice.choice((None, "limited", "full")) if both["full"] else None,
                    colorspace=dice.choice((None, "bt709", "smpte170m")),
                )
            )  # fmt: skip
    return found[:ALL]


PARAMS = [
    pytest.param(
        case, id=f"{number}-{case}", marks=[pytest.mark.nightly] if number >= ALWAYS else []
    )
    for number, case in enumerate(cases())
]


def make(case: Case, folder: Path) -> Path:
    """Writes the source of a case."""
    step = 40 if case.vfr else 0
    pts = [n * 40 + (n * 7 % 13 if step else 0) for n in range(FRAMES)]
    uneven = {"pts": pts, "time_base": media.Fraction(1, 1000)} if case.vfr else {}
    aspect = media.Fraction(case.aspect.replace(":", "/")) if case.aspect else None
    picture = media.woven(case.fields) if case.fields else media.moving_picture
    return media.write_clip(
        folder / f"source{case.source.suffix}",
        codec=case.source.codec,
        pix_fmt=case.pix_fmt,
        size=(192, 144),
        frames=FRAMES,
        picture=picture,
        audio=LAYOUTS[case.sound],
        subtitles=case.subtitles,  # type: ignore[arg-type]
        rotate=case.rotate,
        sample_aspect_ratio=aspect,
        color_range=case.color_range,
        colorspace=case.colorspace,
        options={"q": "2"} if case.source.codec in ("mjpeg", "mpeg4", "mpeg2video") else {},
        **uneven,  # type: ignore[arg-type]
    )


def probe(path: Path, *arguments: str) -> list[dict[str, Any]]:
    found = media.ffprobe(path, *arguments)
    return found.get("frames") or found.get("packets") or found.get("streams") or []


def packets(path: Path, kind: str) -> list[str]:
    """The MD5 of the bytes of every stream of a kind, by the ffmpeg program."""
    streams = probe(path, "-select_streams", kind, "-show_entries", "stream=index")
    found = []
    for number in range(len(streams)):
        command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", f"0:{kind}:{number}"]
        command += ["-c", "copy", "-f", "md5", "-"]
        found.append(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def lumas(path: Path, bits: int) -> Any:
    """Every luma plane of a film, 0..1 of its depth, as the ffmpeg program decodes it."""
    command = ["ffmpeg", "-v", "error", "-noautorotate", "-i", str(path), "-map", "0:v:0"]
    command += ["-vsync", "passthrough", "-vf", "extractplanes=y", "-f", "rawvideo", "-"]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    return np.frombuffer(data, np.uint8 if bits == 8 else np.uint16).astype(np.float32) / 2**bits


def bits_of(pix_fmt: str) -> int:
    return media.av.VideoFormat(pix_fmt).components[0].bits


@pytest.mark.parametrize("case", PARAMS)
def test_a_film_comes_out_exact(tmp_path: Path, case: Case) -> None:
    source = make(case, tmp_path)
    sink = tmp_path / f"out{case.sink.suffix}"
    report = colorize(source, sink, codec=case.sink.codec, crf=0)
    ours, theirs = (probe(path, "-select_streams", "v", "-show_frames") for path in (source, sink))
    assert len(theirs) == len(ours) == FRAMES
    check_times(ours, theirs, case)
    check_marks(source, sink, theirs[0], case, report["streams_left_out"])
    check_luma(source, sink, case)
    check_others(source, sink, report["streams_left_out"], case)


def check_times(ours: Any, theirs: Any, case: Case) -> None:
    known = [  # of MPEG-2's last frames ffprobe knows no time
        pair
        for pair in zip(ours, theirs, strict=True)
        if all("best_effort_timestamp_time" in frame for frame in pair)
    ]
    assert len(known) >= FRAMES - 2
    times = [[float(pair[i]["best_effort_timestamp_time"]) for pair in known] for i in (0, 1)]
    moved = times[1][0] - times[0][0]  # transport streams begin later
    if case.sink.suffix not in (".ts", ".mxf", ".avi") and case.sink.codec != "mpeg2video":
        assert abs(moved) < 0.0021
    shifts = [b - a - moved for a, b in zip(*times, strict=True)]
    assert max(map(abs, shifts)) < 0.0021


def says_full_range(case: Case) -> bool:
    """Whether players of the sink are told of full range; else it becomes limited."""
    return case.sink.codec not in ("mpeg2video", "prores") and (
        case.sink.full or case.sink.suffix == ".mkv"
    )


def check_marks(
    source: Path, sink: Path, first: dict[str, Any], case: Case, left_out: list[str]
) -> None:
    """Fields, pixels' shape, range and rotation."""
    (stream,) = probe(sink, "-select_streams", "v", "-show_streams")
    assert first["interlaced_frame"] == (case.fields is not None)
    if case.fields:
        assert first["top_field_first"] == (case.fields == "tff")
    if case.aspect and not any("pixel shape" in words for words in left_out):
        (before,) = probe(source, "-select_streams", "v", "-show_streams")
        assert stream["sample_aspect_ratio"] == before["sample_aspect_ratio"] != "1:1"
    if case.color_range == "full" or case.source.codec == "mjpeg":
        assert (stream.get("color_range") == "pc") == says_full_range(case)
    turns = [d.get("rotation") for d in stream.get("side_data_list", []) if "rotation" in d]
    if case.rotate and case.sink.suffix != ".webm":
        (before,) = probe(source, "-select_streams", "v", "-show_streams")
        assert turns == [d["rotation"] for d in before["side_data_list"] if "rotation" in d]


def check_luma(source: Path, sink: Path, case: Case) -> None:
    (before,) = probe(source, "-select_streams", "v", "-show_streams")
    (after,) = probe(sink, "-select_streams", "v", "-show_streams")
    depths = [bits_of(stream["pix_fmt"]) for stream in (before, after)]
    full = case.color_range == "full" or case.source.codec == "mjpeg" or case.pix_fmt == "gray"
    if full and not says_full_range(case):
        return  # brought to limited range, in words
    exact = case.sink.codec == "ffv1" or (case.sink.codec == "h264" and depths[0] == 8)
    ranges = [s.get("color_range") == "pc" or s["pix_fmt"].startswith(("gray", "yuvj"))
              for s in (before, after)]  # fmt: skip
    if exact and depths[0] == depths[1]:
        assert media.ffmpeg_luma_hashes(source) == media.ffmpeg_luma_hashes(sink)
    elif ranges[0] == ranges[1]:
        difference = lumas(source, depths[0]) - lumas(sink, depths[1])
        assert np.abs(difference).mean() < 0.02


def check_others(source: Path, sink: Path, left_out: list[str], case: Case) -> None:
    """Sound and subtitles: every packet's bytes, and a word for what is left out."""
    streams = probe(source, "-show_streams")
    taken = TAKES.get(case.sink.suffix)
    texts = TEXTS.get(case.sink.suffix, ())
    lost = [
        s
        for s in streams
        if (s["codec_type"] == "audio" and taken is not None and s["codec_name"] not in taken)
        or (s["codec_type"] == "subtitle" and s["codec_name"] not in texts)
    ]
    assert len([w for w in left_out if " stream " in w]) == len(lost), left_out
    if not [s for s in lost if s["codec_type"] == "audio"] and ".ts" not in (
        case.source.suffix,  # where AAC has headers of its own
        case.sink.suffix,
    ):
        assert packets(source, "a") == packets(sink, "a")
    kept = [s for s in probe(sink, "-show_streams") if s["codec_type"] != "video"]
    assert len(kept) == len([s for s in streams if s["codec_type"] != "video"]) - len(lost)
