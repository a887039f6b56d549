"""Makes the clips that the tests read, and takes clips apart to see what became of them.

Everything is deterministic: the same call writes the same pictures and the same sound.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import pytest
from av.packet import Packet
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

Plane = NDArray[np.uint8] | NDArray[np.uint16]
Picture = Callable[[int, int, int, int], Plane]

# H.273 MatrixCoefficients; PyAV's Colorspace enum holds swscale's numbers, which are others.
COLORSPACES = {"bt709": 1, "bt470bg": 5, "smpte170m": 6, "bt2020nc": 9}
COLOR_RANGES = {"limited": int(ColorRange.MPEG), "full": int(ColorRange.JPEG)}

ASS_HEADER = b"""[Script Info]\r
ScriptType: v4.00+\r
\r
[V4+ Styles]\r
Format: Name, Fontname, Fontsize, PrimaryColour, Alignment, MarginL, MarginR, MarginV\r
Style: Default,Arial,16,&Hffffff,2,10,10,10\r
\r
[Events]\r
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\r
"""


# Pictures and frames


def moving_picture(width: int, height: int, index: int, bit_depth: int = 8) -> Plane:
    """Texture, grain, a hard-edged disc and bars that move, and every code there is.

    Args:
        index: number of the frame; the picture moves 2 pixels to the right with each.

    Returns:
        (height, width) luma codes, uint8 or uint16. The last of 8 or more rows sweeps all codes
        from 0 to the highest, so that a stage which clips to the limited range is found out.
    """
    top = 2**bit_depth - 1
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    moved = x - 2 * index
    picture = 0.45 + 0.15 * np.sin(moved / 5) * np.cos(y / 7) + 0.2 * y / max(height, 1)
    picture += 0.25 * ((moved // 11) % 3 == 0) * (y > 0.7 * height)
    center = ((0.3 * width + 2 * index) % max(width, 1), 0.4 * height)
    disc = np.hypot(x - center[0], y - center[1]) < 0.2 * min(width, height)
    picture = np.where(disc, 0.85, picture)
    grain = np.random.default_rng(1908 + index).normal(0, 0.015, picture.shape)
    codes = np.rint(np.clip(picture + grain, 0.07, 0.92) * top)
    if height >= 8:
        codes[-1] = np.rint(np.linspace(0, top, width))
    return codes.astype(np.uint8 if bit_depth == 8 else np.uint16)


def woven(order: Literal["tff", "bff"]) -> Picture:
    """Pictures whose two fields are of two moments, as a tape's are."""

    def picture(width: int, height: int, index: int, bit_depth: int = 8) -> Plane:
        first, second = (
            moving_picture(width, height, 4 * index + moment, bit_depth) for moment in (0, 2)
        )
        upper, lower = (first, second) if order == "tff" else (second, first)
        whole = upper.copy()
        whole[1::2] = lower[1::2]
        return whole

    return picture


def telecined(width: int, height: int, index: int, bit_depth: int = 8) -> Plane:
    """Film at 24 a second as video at 30: of five pictures two are of mixed fields."""
    group, place = divmod(index, 5)
    upper, lower = ((0, 0), (0, 1), (1, 2), (2, 2), (3, 3))[place]
    fields = [moving_picture(width, height, 2 * (4 * group + n), bit_depth) for n in (upper, lower)]
    whole = fields[0].copy()
    whole[1::2] = fields[1][1::2]
    return whole


def frame_from_planes(planes: Sequence[Plane], pix_fmt: str) -> av.VideoFrame:
    """A frame with these planes, (H, W) or, where components are interleaved, (H, W, n)."""
    height, width = planes[0].shape[:2]
    frame = av.VideoFrame(width, height, pix_fmt)
    for target, samples in zip(_plane_views(frame), planes, strict=True):
        target[:] = samples
    return frame


def planes_of(frame: av.VideoFrame) -> list[Plane]:
    """A copy of a frame's planes: (H, W), or (H, W, n) where n components are interleaved."""
    return [view.copy() for view in _plane_views(frame)]


def neutral_planes(luma: Plane, pix_fmt: str, *, tinted: bool = False) -> list[Plane]:
    """The planes of a picture of this luma in any pix_fmt, grey or with a sepia tint."""
    height, width = luma.shape
    frame = av.VideoFrame(width, height, pix_fmt)
    depth = frame.format.components[0].bits
    planes = [np.zeros_like(plane) for plane in planes_of(frame)]  # the X of bgr0 too
    if frame.format.is_rgb:
        for component, weight in zip("rgb", (1.0, 0.8, 0.6), strict=True):
            sample = np.rint(luma * (weight if tinted else 1.0)).astype(luma.dtype)
            if len(planes) == 1:
                place = pix_fmt.index(component)
                planes[0][..., place] = sample
            else:
                planes["gbr".index(component)][:] = sample
        return planes
    planes[0][:] = luma
    neutral = 2 ** (depth - 1)
    tint = (neutral // 7, neutral // 8) if tinted else (0, 0)
    for number, plane in enumerate(planes[1:]):
        if plane.ndim == 3:  # nv12
            plane[:] = (neutral - tint[0], neutral + tint[1])
        else:
            plane[:] = neutral - tint[0] if number == 0 else neutral + tint[1]
    return planes


def _plane_views(frame: av.VideoFrame) -> list[Plane]:
    """The planes of a frame without their padding, as views into its memory."""
    views: list[Plane] = []
    for number, plane in enumerate(frame.planes):
        inside = [c for c in frame.format.components if c.plane == number]
        sample = 1 if inside[0].bits <= 8 else 2
        count = len(inside)
        if frame.format.name in ("bgr0", "rgb0", "0rgb", "0bgr"):
            count = 4
        order = ">" if frame.format.is_big_endian else "<"
        dtype = np.dtype(np.uint8) if sample == 1 else np.dtype(f"{order}u2")
        rows = np.frombuffer(plane, np.uint8)[: plane.line_size * plane.height]
        rows = rows.reshape(plane.height, plane.line_size)[:, : plane.width * count * sample]
        view = rows.view(dtype).reshape(plane.height, plane.width, count)
        views.append(view[..., 0] if count == 1 else view)
    return views


# Writing clips


def write_clip(
    path: Path,
    *,
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = (64, 48),
    frames: int = 10,
    codec: str = "ffv1",
    rate: Fraction | int = 25,
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    colorspace: Literal["bt709", "bt470bg", "smpte170m", "bt2020nc"] | None = None,
    color_range: Literal["limited", "full"] | None = None,
    tinted: bool = False,
    picture: Picture = moving_picture,
    sample_aspect_ratio: Fraction | None = None,
    rotate: int = 0,
    interlaced: bool = False,
    timecode: str | None = None,
    audio: str | Sequence[str] = (),
    subtitles: Literal["ass", "srt", "mov_text"] | None = None,
    chapters: bool = False,
    metadata: Mapping[str, str] | None = None,
    attachment: bool = False,
    options: Mapping[str, str] | None = None,
) -> Path:
    """Writes a clip in the container that the suffix of `path` names.

    Containers: .mkv for nearly everything; .mp4 and .mov with libx264; .avi (no pts with B-frames);
    .nut for rawvideo of any pix_fmt; .h264 (no pts at all), .y4m.

    Args:
        size: width, height.
        sample_aspect_ratio: only codecs that store it keep it (libx264, not ffv1).
        pts: one for every frame, in time_base; default is one tick of 1/rate for every frame.
            Variable frame rate is a `pts` with uneven steps.
        time_base: what the encoder and, where the container can, the stream count in.
        colorspace: matrix tag; None leaves the clip untagged. So does `color_range`.
        tinted: gives the chroma a sepia tint instead of neutral.
        picture: called with width, height, index, bit_depth for every frame's luma.
        rotate: degrees counter-clockwise, as a display matrix.
        interlaced: top field first; with libx264.
        timecode: "01:00:00:00"; in .mov and .mp4 it becomes a data track.
        audio: codec of a track, or of several: aac, libmp3lame, flac, pcm_s16le.
        attachment: puts a small "font.ttf" into an .mkv.

    Returns:
        path
    """
    width, height = size
    rate = Fraction(rate)
    time_base = time_base or 1 / rate
    times = list(range(frames)) if pts is None else list(pts)
    assert len(times) == frames, "one pts for every frame"
    encoder_options = dict(options or {})
    if interlaced:
        encoder_options["x264-params"] = "tff=1"

    with av.open(str(path), "w") as container:
        container.metadata.update(metadata or {})
        video: Any = container.add_stream(codec, rate=rate, width=width, height=height)
        video.pix_fmt = pix_fmt
        video.time_base = time_base
        video.codec_context.time_base = time_base
        video.codec_context.thread_count = 1
        video.options = encoder_options
        if colorspace:
            video.codec_context.colorspace = COLORSPACES[colorspace]
        if color_range:
            video.codec_context.color_range = COLOR_RANGES[color_range]
        if sample_aspect_ratio:
            video.codec_context.sample_aspect_ratio = sample_aspect_ratio
        if rotate:
            video.set_display_rotation(rotate)
        if timecode:
            video.metadata["timecode"] = timecode
        tracks = [audio] if isinstance(audio, str) else list(audio)
        sounds = [_add_audio(container, name, number) for number, name in enumerate(tracks)]
        titles = _add_subtitles(container, subtitles) if subtitles else None
        seconds = float((times[-1] + 1) * time_base)
        if chapters:
            container.set_chapters(_two_chapters(seconds))
        if attachment:
            container.add_attachment("font.ttf", "application/x-truetype-font", b"not a font")
        container.start_encoding()

        depth = av.VideoFormat(pix_fmt).components[0].bits
        for index, time in enumerate(times):
            luma = picture(width, height, index, depth)
            planes = neutral_planes(luma, pix_fmt, tinted=tinted)
            frame = frame_from_planes(planes, pix_fmt)
            frame.pts, frame.time_base = time, time_base
            if colorspace:
                frame.colorspace = COLORSPACES[colorspace]
            if color_range:
                frame.color_range = COLOR_RANGES[color_range]
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for number, sound in enumerate(sounds):
            for chunk in _chord(seconds, number):
                container.mux(sound.encode(chunk))
            container.mux(sound.encode(None))
        if titles is not None:
            container.mux(_title_packets(titles, subtitles))
    return path


def _add_audio(container: Any, codec: str, number: int) -> Any:
    sound = container.add_stream(codec, rate=48000)
    sound.layout = "mono"
    sound.metadata["language"] = ("eng", "fra", "deu")[number % 3]
    return sound


def _chord(seconds: float, number: int) -> list[av.AudioFrame]:
    """A soft chord of `seconds`, another one for every track number."""
    step = 4800
    chunks = []
    for start in range(0, max(1, round(seconds * 48000)), step):
        t = np.arange(start, start + step) / 48000
        wave = sum(np.sin(2 * np.pi * f * (1 + number / 4) * t) for f in (220, 277, 330))
        samples = (wave * 3000).astype(np.int16)[None]
        chunk = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        chunk.sample_rate, chunk.pts, chunk.time_base = 48000, start, Fraction(1, 48000)
        chunks.append(chunk)
    return chunks


def _add_subtitles(container: Any, kind: str) -> Any:
    titles = container.add_stream("subrip" if kind == "srt" else kind)
    titles.codec_context.subtitle_header = ASS_HEADER
    titles.time_base = Fraction(1, 1000)
    titles.metadata["language"] = "eng"
    return titles


def _title_packets(titles: Any, kind: str | None) -> list[Packet]:
    packets = []
    for number, text in enumerate((b"one", b"two")):
        match kind:
            case "ass":
                data = b"%d,0,Default,,0,0,0,,%s" % (number, text)
            case "mov_text":
                data = len(text).to_bytes(2, "big") + text
            case _:
                data = text
        packet = Packet(data)
        packet.stream = titles
        packet.pts = packet.dts = 40 + 120 * number
        packet.duration, packet.time_base = 100, Fraction(1, 1000)
        packets.append(packet)
    return packets


def _two_chapters(seconds: float) -> list[Any]:
    half, end, tick = round(500 * seconds), round(1000 * seconds), Fraction(1, 1000)
    return [
        {"id": 1, "start": 0, "end": half, "time_base": tick, "metadata": {"title": "first"}},
        {"id": 2, "start": half, "end": end, "time_base": tick, "metadata": {"title": "second"}},
    ]


def copy_moved(source: Path, target: Path, *, seconds: float) -> Path:
    """Copies a clip's streams, all times later by so much."""
    with av.open(str(source)) as clip, av.open(str(target), "w") as out:
        out.container_options["muxdelay"] = "0"
        copies = {s.index: out.add_stream_from_template(s) for s in clip.streams}
        for packet in clip.demux():
            if packet.size:
                ticks = round(seconds / packet.time_base)
                packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
                packet.stream = copies[packet.stream_index]
                out.mux_one(packet)
    return target


# Damage


def truncated(path: Path, keep: float = 0.6) -> Path:
    """A copy of a file cut off after this share of its bytes."""
    data = path.read_bytes()
    return _beside(path, "truncated", data[: int(len(data) * keep)])


def bit_flipped(path: Path, flips: int = 20, *, start: float = 0.3, seed: int = 1908) -> Path:
    """A copy of a file with some bits flipped, all of them after this share of its bytes."""
    data = bytearray(path.read_bytes())
    dice = random.Random(seed)
    for _ in range(flips):
        data[dice.randrange(int(len(data) * start), len(data))] ^= 1 << dice.randrange(8)
    return _beside(path, "flipped", bytes(data))


def _beside(path: Path, word: str, data: bytes) -> Path:
    copy = path.with_name(f"{path.stem}-{word}{path.suffix}")
    copy.write_bytes(data)
    return copy


# Taking clips apart


def read_frames(path: Path) -> list[av.VideoFrame]:
    """Every frame of the first video stream. Do not keep many of a big clip."""
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        return list(container.decode(video=0))


def with_captions(path: Path, pairs: bytes = b"\xfc\x94\x20") -> Path:
    """An MPEG-2 transport stream whose pictures carry closed captions (ATSC A/53, part 4)."""
    words = b"\0\0\1\xb2GA94\x03" + bytes((0x40 | len(pairs) // 3, 0xFF)) + pairs + b"\xff"
    plain = write_clip(path.with_name(f"plain-{path.name}"), codec="mpeg2video")
    with av.open(str(plain)) as clip, av.open(str(path), "w") as out:
        video = clip.streams.video[0]
        copy = out.add_stream_from_template(video, opaque=True)
        for packet in clip.demux(video):
            if packet.size:
                data = bytes(packet).replace(b"\0\0\1\1", words + b"\0\0\1\1", 1)
                captioned = av.Packet(data)
                captioned.pts, captioned.dts = packet.pts, packet.dts
                captioned.time_base, captioned.duration = packet.time_base, packet.duration
                captioned.is_keyframe, captioned.stream = packet.is_keyframe, copy
                out.mux_one(captioned)
    return path


def read_planes(path: Path) -> list[list[Plane]]:
    """Every frame's planes, as `planes_of` gives them."""
    return [planes_of(frame) for frame in read_frames(path)]


def read_luma(path: Path) -> NDArray[Any]:
    """The first plane of every frame: (frames, H, W) uint8 or uint16."""
    return np.stack([planes[0] for planes in read_planes(path)])


def frame_times(path: Path) -> list[Fraction | None]:
    """The time of every decoded frame in seconds; None where it has no pts."""
    return [
        None if frame.pts is None else frame.pts * frame.time_base for frame in read_frames(path)
    ]


def packet_hashes(
    path: Path, kind: Literal["video", "audio", "subtitle", "data"]
) -> list[list[str]]:
    """For every stream of a kind, the SHA-256 of each of its packets' bytes."""
    return [
        [hashlib.sha256(data).hexdigest() for _, data in packets]
        for packets in _packets(path, kind)
    ]


def packet_times(
    path: Path, kind: Literal["video", "audio", "subtitle", "data"]
) -> list[list[Fraction | None]]:
    """For every stream of a kind, the pts of each of its packets in seconds."""
    return [[time for time, _ in packets] for packets in _packets(path, kind)]


def _packets(path: Path, kind: str) -> list[list[tuple[Fraction | None, bytes]]]:
    with av.open(str(path)) as container:
        found: dict[int, list[tuple[Fraction | None, bytes]]] = {
            stream.index: [] for stream in container.streams if stream.type == kind
        }
        wanted = [container.streams[index] for index in found]
        for packet in container.demux(*wanted) if wanted else ():
            if packet.size:
                time = None if packet.pts is None else packet.pts * packet.time_base
                found[packet.stream_index].append((time, bytes(packet)))
        return list(found.values())


# The independent witness: the ffmpeg and ffprobe programs, another build than the one in PyAV


def ffprobe(path: Path, *arguments: str) -> dict[str, Any]:
    """What ffprobe says, as a dictionary; skips the test where there is no ffprobe."""
    command = [_program("ffprobe"), "-v", "error", "-of", "json", *arguments, str(path)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def ffmpeg_luma_hashes(path: Path) -> list[str]:
    """The MD5 of every frame's Y plane, as ffmpeg decodes it; skips where there is no ffmpeg."""
    command = [_program("ffmpeg"), "-v", "error", "-noautorotate", "-i", str(path), "-map", "0:v:0"]
    command += ["-vsync", "passthrough", "-vf", "extractplanes=y", "-f", "framemd5", "-"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [line.split(",")[-1].strip() for line in lines if not line.startswith("#")]


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} program here")
    return found
