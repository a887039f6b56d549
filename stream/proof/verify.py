"""Proof that a result is its source: luma, frame count, times, sound and tags."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import av
import numpy as np
from kinemacolor.stream.address import file_url
from kinemacolor.stream.color.frames import (
    UNSPECIFIED,
    frame_encoding,
    luma_at_depth,
    plane_view,
    to_luma_format,
)
from kinemacolor.stream.media import Source
from kinemacolor.stream.sinks.remux import has_adts_header
from kinemacolor.stream.sources.open import open_source
from kinemacolor.stream.sources.still import StillSource

LOSSLESS = {"ffv1", "rawvideo", "wrapped_avframe", "huffyuv", "ffvhuff", "utvideo", "png", "v210"}
# Under this a lossy encoder was set so low that the picture is no longer the source's.
LOWEST_PSNR = 30.0


@dataclass(frozen=True)
class Check:
    """One property of the result, and whether it is the source's."""

    name: str
    passed: bool
    detail: str


def verify(source_path: str | Path, result_path: str | Path) -> list[Check]:
    """Compares a result with its source, decoding both.

    Raises SourceError when one of them cannot be read.
    """
    source, result = open_source(source_path), open_source(result_path)
    try:
        if isinstance(source, StillSource) or isinstance(result, StillSource):
            return list(_stills(source, result))
        pairs = _Pairs(source, result)
        checks = [*pairs.compare(), *_tags(source, result, pairs)]
    finally:
        source.close()
        result.close()
    return [*checks, *_copied(source_path, result_path)]


def packet_hashes(path: str | Path, kind: str) -> list[str]:
    """SHA-256 over the packets' bytes of each stream of a kind, in stream order.

    AAC counts without the header that MPEG-TS puts before every packet.
    """
    with av.open(file_url(path)) as container:
        streams = [s for s in container.streams if s.type == kind]
        hashes = {s.index: hashlib.sha256() for s in streams}
        if streams:
            for packet in container.demux(*streams):
                hashes[packet.stream.index].update(_payload(packet))
        return [hashes[s.index].hexdigest() for s in streams]


def _payload(packet: Any) -> bytes:
    data = bytes(packet)
    if packet.stream.name == "mov_text" and data == b"\0\0":
        return b""  # the gap between two titles: each muxer writes its own
    if packet.size and has_adts_header(packet.stream, packet):
        return data[7:] if data[1] & 1 else data[9:]  # without and with a checksum
    return data


class _Pairs:
    """Walks both pictures side by side and keeps what differs."""

    def __init__(self, source: Source, result: Source) -> None:
        self._source, self._result = source, result
        self.first: tuple[av.VideoFrame, av.VideoFrame] | None = None

    def compare(self) -> Iterator[Check]:
        tick = float(max(self._source.info.time_base, self._result.info.time_base))
        frames = [0, 0]
        shifts: list[float] = []
        different, squared, samples = 0, 0.0, 0
        misfit = ""
        for pair in zip_longest(_frames(self._source), _frames(self._result)):
            for i in (0, 1):
                frames[i] += pair[i] is not None
            if None in pair:
                continue
            self.first = self.first or pair
            shifts.append(_seconds(pair[1]) - _seconds(pair[0]))
            lumas = _comparable(*pair)
            if lumas is None:
                sizes = [f"{f.width}x{f.height} {f.format.name}" for f in pair]
                misfit = " against ".join(sizes)
                continue
            if not np.array_equal(*lumas):
                different += 1
                squared += float(np.sum((lumas[0].astype(np.float32) - lumas[1]) ** 2))
            samples += lumas[0].size

        yield Check("frames", frames[0] == frames[1] > 0, f"{frames[0]} against {frames[1]}")
        yield _times(shifts, tick, self._source, self._result)
        if misfit:
            yield Check("luma", False, f"pictures cannot be compared: {misfit}")
        elif different == 0:
            yield Check("luma", samples > 0, "identical in every frame")
        else:
            bits = self.first[1].format.components[0].bits if self.first else 8
            psnr = _psnr(squared, samples, bits)
            codec = self._result.info.codec
            lossless = codec in LOSSLESS
            detail = f"{different} frames differ, PSNR {psnr:.2f} dB ({codec})"
            yield Check("luma", not lossless and psnr >= LOWEST_PSNR, detail)


def _times(shifts: list[float], tick: float, source: Source, result: Source) -> Check:
    """Every frame at its own time, or all of the film, sound included, moved by one constant."""
    if not shifts:
        return Check("times", False, "no frame to compare")
    moved = shifts[0]
    worst = max(abs(shift - moved) for shift in shifts)
    # Half a tick is what rounding into the coarser time base may move a frame; the first one
    # may have been rounded the other way.
    steady = worst <= tick + 1e-9
    detail = f"largest difference {1000 * worst:.3f} ms, a tick is {1000 * tick:.3f} ms"
    if abs(moved) <= tick / 2 + 1e-9:
        return Check("times", steady, detail)
    left = _starts(source.info.name)
    sound = []
    for codec, theirs in _starts(result.info.name):
        # Tracks that the container does not take are left out: the next of this codec it is.
        while left and left[0][0] != codec:
            left.pop(0)
        if left:
            sound.append(theirs - left.pop(0)[1])
    together = bool(sound) and all(abs(shift - moved) <= 0.002 + tick for shift in sound)
    along = "with the sound" if together else "the sound does not move along"
    return Check(
        "times",
        steady and together,
        f"{detail}; the container moved every frame by {1000 * moved:.3f} ms, {along}",
    )


def _starts(path: str) -> list[tuple[str, float]]:
    """Codec, and seconds of the first packet, of every audio stream."""
    with av.open(file_url(path)) as container:
        starts: dict[int, float] = {}
        streams = container.streams.audio
        for packet in container.demux(*streams) if streams else ():
            if packet.pts is not None and packet.stream.index not in starts:
                starts[packet.stream.index] = float(packet.pts * packet.time_base)
            if len(starts) == len(streams):
                break
        return [(s.codec_context.name, starts[s.index]) for s in streams if s.index in starts]


def _frames(source: Source) -> Iterator[av.VideoFrame]:
    return (item for item in source if isinstance(item, av.VideoFrame))


def _seconds(frame: av.VideoFrame) -> float:
    return frame.time or 0.0


def _comparable(source: av.VideoFrame, result: av.VideoFrame) -> tuple[Any, Any] | None:
    """Both luma planes; of a side-by-side result, its right half. None where sizes differ.

    A result of another bit depth is compared with the source as it is brought to that depth.
    """
    source, result = to_luma_format(source), to_luma_format(result)
    ours, theirs = plane_view(source, 0), plane_view(result, 0)
    if theirs.shape == (ours.shape[0], 2 * ours.shape[1]):
        theirs = theirs[:, ours.shape[1] :]
    if ours.shape != theirs.shape:
        return None
    return luma_at_depth(source, result.format.components[0].bits), theirs


def _tags(source: Source, result: Source, pairs: _Pairs) -> Iterator[Check]:
    if pairs.first is None:
        return
    ours, theirs = pairs.first
    converted = to_luma_format(ours)
    differing = []
    for name in ("colorspace", "color_range", "color_primaries", "color_trc"):
        wanted, found = int(getattr(converted, name)), int(getattr(theirs, name))
        if wanted != found and not _read_alike(name, wanted, converted, theirs):
            differing.append(f"{name} {wanted} became {found}")
    if ours.rotation != theirs.rotation:
        differing.append(f"rotation {ours.rotation} became {theirs.rotation}")
    aspects = [s.video.sample_aspect_ratio or 1 for s in (source, result)]
    if aspects[0] != aspects[1]:
        differing.append(f"sample aspect ratio {aspects[0]} became {aspects[1]}")
    yield Check("tags", not differing, "; ".join(differing) or "the same")


def _read_alike(name: str, wanted: int, ours: av.VideoFrame, theirs: av.VideoFrame) -> bool:
    """Whether a tag that is not the same says the same.

    A missing tag may become the one it is read as, and limited range may become a missing tag,
    because H.264 and its kin write nothing for it.
    """
    first, second = frame_encoding(ours).encoding, frame_encoding(theirs).encoding
    if name == "color_range":
        return first.color_range == second.color_range
    return name == "colorspace" and wanted == UNSPECIFIED and first.colorspace == second.colorspace


def _stills(source: Source, result: Source) -> Iterator[Check]:
    """A picture's grey, and what its file says of it."""
    if not (isinstance(source, StillSource) and isinstance(result, StillSource)):
        yield Check("luma", False, "one is a still picture, the other is not")
        return
    ours, theirs = plane_view(source.frame, 0), plane_view(result.frame, 0)
    if theirs.shape == (ours.shape[0], 2 * ours.shape[1]):
        theirs = theirs[:, ours.shape[1] :]
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        yield Check(
            "luma", False, f"{ours.shape} {ours.dtype} against {theirs.shape} {theirs.dtype}"
        )
        return
    difference = np.abs(ours.astype(np.int32) - theirs)
    share, worst = float((difference > 0).mean()), int(difference.max())
    lossy = result.still.format in ("JPEG", "WEBP")
    psnr = _psnr(float(np.sum(difference.astype(np.float64) ** 2)), ours.size, 8 * ours.itemsize)
    detail = f"{share:.2%} of samples differ, by at most {worst}" if worst else "identical"
    yield Check("luma", worst == 0 or (lossy and psnr >= LOWEST_PSNR), detail)
    before, after = source.still, result.still
    differing = [] if before.orientation == after.orientation else ["orientation"]
    # PNG counts pixels per metre, so a resolution comes back rounded.
    if np.rint(before.dpi or 0).tolist() != np.rint(after.dpi or 0).tolist():
        differing.append(f"resolution {before.dpi} became {after.dpi}")
    # Each format holds EXIF in its own layout; only one format's bytes can be compared.
    if before.format == after.format and before.exif != after.exif:
        differing.append("EXIF")
    yield Check("tags", not differing, ", ".join(differing) or "the same")


def _psnr(squared: float, samples: int, bits: int) -> float:
    """dB over a sum of squared differences; infinite where there is none."""
    return 10 * math.log10((2**bits - 1) ** 2 * samples / squared) if squared else math.inf


def _copied(source_path: str | Path, result_path: str | Path) -> Iterator[Check]:
    for kind in ("audio", "subtitle"):
        ours, theirs = packet_hashes(source_path, kind), packet_hashes(result_path, kind)
        if not ours and not theirs:
            continue
        same = ours == theirs
        detail = f"{len(ours)} streams, every byte the same" if same else "packets differ"
        if len(ours) != len(theirs):
            detail = f"{len(ours)} streams against {len(theirs)}"
        yield Check(kind, same, detail)
