"""Sound, subtitles, data, further pictures, attachments and chapters: carried as they are."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import av
import av.error
from kinemacolor.stream.proof.check import Check
from kinemacolor.stream.proof.reading import open_film, packets
from kinemacolor.stream.proof.times import Moved, fits_picture, moved

_HOLD_DATA = ("mpegts", "mp4", "mov", "mxf", "nut")
_HOLD_CHAPTERS = ("matroska", "webm", "mp4", "mov", "ogg", "nut", "asf")
_HOLD_FILES = ("matroska",)
_ROUNDED_SECONDS = 0.003  # Matroska counts milliseconds; and a packet is where its samples are
_DEFAULT = av.stream.Disposition.default
_COARSE = {"avi": 0.05, "flv": 0.003, "asf": 0.003}  # AVI has no times: they are counted
_LAST_GAP_SECONDS = 0.1  # that a muxer may leave behind the last subtitle
_NO_TEXT = b"\0\0"  # of mov_text: the gap between two titles, which each muxer writes itself


@dataclass
class Track:
    """One stream: what its packets hold, and when they come."""

    kind: str
    index: int
    codec: str
    tick: float
    digest: Any = field(default_factory=hashlib.sha256)
    size: int = 0
    starts: dict[int, float] = field(default_factory=dict)  # seconds, by the byte they begin with
    lengths: dict[int, float] = field(default_factory=dict)  # of subtitles, likewise
    end: float = 0.0  # of subtitles, with the gap that some containers keep behind the last
    is_default: bool = False

    def add(self, packet: Any) -> None:
        data = payload(packet)
        if self.kind == "subtitle" and packet.pts is not None:
            end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
            self.end = max(self.end, end)
        if not data:
            return
        if packet.pts is not None:
            self.starts[self.size] = float(packet.pts * packet.time_base)
            if self.kind == "subtitle" and packet.duration:
                self.lengths[self.size] = float(packet.duration * packet.time_base)
        self.digest.update(data)
        self.size += len(data)

    @property
    def first(self) -> float | None:
        return next(iter(self.starts.values()), None)


def payload(packet: Any) -> bytes:
    """A packet's bytes, less what a container puts around them.

    MPEG-TS puts a header before every packet of AAC (ISO 13818-7, 6.2).
    """
    data = bytes(packet)
    if packet.stream.name == "mov_text" and data == _NO_TEXT:
        return b""
    is_aac = packet.stream.type == "audio" and packet.stream.name == "aac"
    if is_aac and len(data) > 9 and data[0] == 0xFF and data[1] & 0xF6 == 0xF0:
        return data[7:] if data[1] & 1 else data[9:]  # without and with a checksum
    return data


def tracks_of(path: Path) -> dict[str, list[Track]]:
    """Every stream that has packets, by its kind, in the file's order; no cover, no made track."""
    with open_film(path) as container:
        wanted = [stream for stream in container.streams if _is_carried(stream, container)]
        found = {
            s.index: Track(s.type, s.index, _codec(s), float(s.time_base or 0)) for s in wanted
        }
        for stream in wanted:
            found[stream.index].is_default = bool(stream.disposition & _DEFAULT)
        for packet in packets(container, wanted):
            found[packet.stream.index].add(packet)
    by_kind: dict[str, list[Track]] = {}
    for track in found.values():
        by_kind.setdefault(track.kind, []).append(track)
    return by_kind


def _is_carried(stream: Any, container: Any) -> bool:
    """Whether a stream's packets are to be found in a result.

    A timecode track follows from a tag, a text track of chapters from these: muxers write them.
    """
    if stream.type == "video":
        return not stream.disposition & av.stream.Disposition.attached_pic
    if stream.type == "data":
        made = "timecode" in stream.metadata or 0 < stream.frames == len(container.chapters())
        return not made and stream.name not in ("tmcd", "epg")
    return stream.type in ("audio", "subtitle")


def _codec(stream: Any) -> str:
    context = stream.codec_context
    return context.codec.canonical_name if context is not None else stream.name or ""


def sound_moved(ours: list[Track], theirs: list[Track]) -> list[float]:
    """How far each track of sound begins behind the source's."""
    if len(ours) == len(theirs):  # whatever the codecs: sound may be rewritten without loss
        pairs = zip(ours, theirs, strict=True)
        return [b.first - a.first for a, b in pairs if a.first is not None and b.first is not None]
    left, found = list(ours), []
    for track in theirs:
        # Tracks that the container does not take are left out: the next of this codec it is.
        while left and left[0].codec != track.codec:
            left.pop(0)
        if left and left[0].first is not None and track.first is not None:
            found.append(track.first - left[0].first)
        if left:
            left.pop(0)
    return found


def compare_tracks(
    source: Path,
    result: Path,
    ours: dict[str, list[Track]],
    theirs: dict[str, list[Track]],
    picture: Moved,
) -> Iterator[Check]:
    """Checks sound, subtitles and data, then attachments and chapters."""
    with open_film(source) as first, open_film(result) as second:
        names = (first.format.name, second.format.name)
        for kind in ("audio", "subtitle", "data"):
            if ours.get(kind) or theirs.get(kind):
                yield _compare_kind(
                    kind, (source, result), ours.get(kind, []), theirs.get(kind, []), picture, names
                )
        yield from _attachments(first, second)
        yield from _chapters(first, second)


def _compare_kind(
    kind: str,
    paths: tuple[Path, Path],
    ours: list[Track],
    theirs: list[Track],
    picture: Moved,
    names: tuple[str, str],
) -> Check:
    if kind == "data" and not theirs and not _is_one_of(names[1], _HOLD_DATA):
        return Check(kind, True, f"{len(ours)} streams, of which {names[1]} holds none")
    if len(ours) != len(theirs):
        return Check(kind, False, f"{len(ours)} streams against {len(theirs)}")
    rewritten = []
    tolerance = _ROUNDED_SECONDS
    for name, seconds in _COARSE.items():
        if any(_is_one_of(container, (name,)) for container in names):
            tolerance = max(tolerance, seconds)
    for our, their in zip(ours, theirs, strict=True):
        if our.digest.digest() != their.digest.digest():
            if our.codec == their.codec or not _decode_alike(paths, our, their):
                return Check(kind, False, "packets differ")
            rewritten.append(f"{our.codec} to {their.codec}")
            our, their = _in_order(our), _in_order(their)
        if problem := _late(our, their, picture, tolerance):
            return Check(kind, False, problem)
    what = f", {', '.join(rewritten)} without loss" if rewritten else ", every byte the same"
    return Check(kind, True, f"{len(ours)} streams{what}")


def _in_order(track: Track) -> Track:
    """A track of other bytes, whose packets are known by their number: of sound, by the first."""
    count = 1 if track.kind == "audio" else len(track.starts)
    lengths = [track.lengths.get(at, 0.0) for at in track.starts]
    return replace(
        track,
        starts=dict(enumerate(list(track.starts.values())[:count])),
        lengths={number: length for number, length in enumerate(lengths) if length},
    )


def _late(ours: Track, theirs: Track, picture: Moved, tolerance: float) -> str:
    """What is wrong with the times of a track whose bytes are right; empty where nothing is."""
    both = [at for at in ours.starts if at in theirs.starts]
    tick = max(ours.tick, theirs.tick)
    times = [ours.starts[at] for at in both], [theirs.starts[at] for at in both]
    track = moved(*times, tick, jumps=True)
    if both and not fits_picture(track, picture, tolerance + tick):
        apart = max(track.worst, abs(track.first - picture.first))
        return f"the bytes are the same, but up to {1000 * apart:.0f} ms from their time"
    for at, length in ours.lengths.items():
        there = theirs.lengths.get(at, 0.0)
        if abs(there - length) > _ROUNDED_SECONDS + tick:
            return f"a subtitle of {length:.3f} s lasts {there:.3f} s"
    if ours.lengths and theirs.end > ours.end + picture.first + _LAST_GAP_SECONDS:
        return f"the track ends at {theirs.end:.3f} s, and not at {ours.end:.3f} s"
    return ""


def _decode_alike(paths: tuple[Path, Path], ours: Track, theirs: Track) -> bool:
    """Whether sound of another codec is the same samples, or a subtitle the same words."""
    try:
        if ours.kind == "audio":
            return _samples(paths[0], ours.index) == _samples(paths[1], theirs.index)
        if ours.kind == "subtitle":
            words = _words(paths[0], ours.index)
            return bool(words) and words == _words(paths[1], theirs.index)
    except (av.error.FFmpegError, ValueError):
        pass
    return False


def _samples(path: Path, index: int) -> str:
    """SHA-256 over the samples, as 32-bit numbers."""
    digest = hashlib.sha256()
    resampler = av.AudioResampler(format="s32")
    with open_film(path) as container:
        for frame in container.decode(container.streams[index]):
            frame.pts = None
            for ready in resampler.resample(frame):
                digest.update(ready.to_ndarray().tobytes())
    return digest.hexdigest()


def _words(path: Path, index: int) -> list[bytes]:
    with open_film(path) as container:
        stream = container.streams[index]
        sets = [
            s for packet in packets(container, [stream]) if packet.size for s in packet.decode()
        ]
    # What is in braces is the look of it, which each format says in its own way.
    return [re.sub(rb"{[^}]*}", b"", getattr(title, "dialogue", b"")).strip() for title in sets]


def _attachments(ours: Any, theirs: Any) -> Iterator[Check]:
    before, after = _files(ours), _files(theirs)
    if not before:
        return
    if not _is_one_of(theirs.format.name, _HOLD_FILES):
        name = theirs.format.name
        yield Check("attachment", True, f"{len(before)} files, of which {name} holds none")
        return
    lost = [name for name, data in before.items() if after.get(name) != data]
    detail = f"{len(before)} files, every byte the same" if not lost else f"lost: {', '.join(lost)}"
    yield Check("attachment", not lost, detail)


def _files(container: Any) -> dict[str, bytes]:
    return {
        s.metadata.get("filename", str(s.index)): bytes(s.data)
        for s in container.streams
        if s.type == "attachment"
    }


def _chapters(ours: Any, theirs: Any) -> Iterator[Check]:
    before, after = ours.chapters(), theirs.chapters()
    if not before:
        return
    if not after and not _is_one_of(theirs.format.name, _HOLD_CHAPTERS):
        name = theirs.format.name
        yield Check("chapters", True, f"{len(before)} chapters, of which {name} holds none")
        return
    same = len(before) == len(after) and all(
        a["metadata"].get("title") == b["metadata"].get("title")
        and abs(float(a["start"] * a["time_base"] - b["start"] * b["time_base"])) < 0.01
        for a, b in zip(before, after, strict=True)
    )
    detail = f"{len(before)}, the same" if same else f"{len(before)} against {len(after)}"
    yield Check("chapters", same, detail if len(before) != len(after) or same else "they differ")


def _is_one_of(container: str, names: tuple[str, ...]) -> bool:
    """Whether a container, by FFmpeg's list of its names, is one of some."""
    return not set(container.split(",")).isdisjoint(names)
