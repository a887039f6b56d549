"""Compares two films frame by frame, and then the rest that their files hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path
from typing import Any

import av
from kinemacolor.stream.errors import BadSource
from kinemacolor.stream.proof.check import Check
from kinemacolor.stream.proof.likeness import Likeness
from kinemacolor.stream.proof.luma import alpha_of
from kinemacolor.stream.proof.reading import frames, open_film, pictures
from kinemacolor.stream.proof.sidedata import captions_of, field_order
from kinemacolor.stream.proof.tags import CANNOT_SAY_FULL, check_fields, check_tags
from kinemacolor.stream.proof.times import Clock, check_times
from kinemacolor.stream.proof.tracks import Track, compare_tracks, sound_moved, tracks_of

LOSSLESS = {"ffv1", "rawvideo", "wrapped_avframe", "huffyuv", "ffvhuff", "utvideo", "png", "v210"}
_CARRY_CAPTIONS = ("h264", "hevc", "mpeg2video", "av1")
_CARRY_ALPHA = (
    "vp8",
    "vp9",
    "ffv1",
    "prores",
    "png",
    "qtrle",
    "rawvideo",
    "huffyuv",
    "ffvhuff",
    "utvideo",
)
_JUMPING = ("mpegts", "mpeg", "vob")  # containers whose clocks may be set anew amid a film
_STARTING = ("mpegts", "avi", "mpeg", "vob")  # that start a film at a time of their own
_LOOKED_AT = 12  # frames, where flags of fields are in doubt


@dataclass
class _Seen:
    """What came of one of both films."""

    times: list[float | None] = field(default_factory=list)
    first: av.VideoFrame | None = None
    begin: list[av.VideoFrame] = field(default_factory=list)
    interlaced: int = 0
    order: str = "progressive"
    captions: bytes = b""
    has_alpha: bool = False
    clear: bool = False  # something is transparent
    clock: Clock = field(default_factory=Clock)

    def add(self, frame: av.VideoFrame, time_base: Fraction) -> None:
        self.first = self.first or frame
        if len(self.begin) < _LOOKED_AT:
            self.begin.append(frame)
        # A frame that comes as its decoder is flushed has no time base of its own.
        ticks = self.clock.best(frame.pts, frame.dts)
        self.times.append(None if ticks is None else float(ticks * time_base))
        self.captions += captions_of(frame)
        if frame.interlaced_frame:
            if not self.interlaced:
                self.order = field_order(frame)
            self.interlaced += 1
        alpha = alpha_of(frame)
        if alpha is not None:
            self.has_alpha = True
            self.clear = self.clear or bool((alpha[0] < 2 ** alpha[1] - 1).any())


def compare_films(source: Path, result: Path) -> Iterator[Check]:
    """Yields a check for each property. Raises BadSource when one of them cannot be read."""
    ours, theirs = tracks_of(source), tracks_of(result)
    places = _coloured(ours.get("video", []), theirs.get("video", []))
    with ExitStack() as open_files:
        containers = [open_files.enter_context(open_film(path)) for path in (source, result)]
        streams = [
            _stream(path, container, place)
            for path, container, place in zip((source, result), containers, places, strict=True)
        ]
        yield from _compare(containers, streams, (ours, theirs), (source, result))
    yield from _other_pictures(ours.get("video", []), theirs.get("video", []), places)


def _coloured(ours: list[Track], theirs: list[Track]) -> tuple[int, int]:
    """Which of several pictures was coloured: the first that is not a copy."""
    for place, (our, their) in enumerate(zip(ours, theirs, strict=False)):
        if our.digest.digest() != their.digest.digest():
            return place, place
    return 0, 0


def _stream(path: Path, container: Any, place: int) -> Any:
    found = pictures(container)
    if not found:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        raise BadSource(f"{path} has no video stream (it holds {kinds})")
    return found[min(place, len(found) - 1)]


def _compare(
    containers: list[Any],
    streams: list[Any],
    tracks: tuple[dict[str, list[Track]], dict[str, list[Track]]],
    paths: tuple[Path, Path],
) -> Iterator[Check]:
    codec = streams[1].codec_context.codec.canonical_name
    says_full = codec not in CANNOT_SAY_FULL
    seen = _Seen(), _Seen()
    luma, alpha = Likeness(says_full=says_full), Likeness(says_full=True, alpha=True)
    both = (
        frames(container, stream) for container, stream in zip(containers, streams, strict=True)
    )
    for pair in zip_longest(*both):
        for film, frame, stream in zip(seen, pair, streams, strict=True):
            if frame is not None:
                film.add(frame, stream.time_base)
        if None not in pair:
            luma.add(*pair)
            if seen[0].clear and seen[1].has_alpha:
                alpha.add(*pair)
    counts = [len(film.times) for film in seen]
    yield Check("frames", counts[0] == counts[1] > 0, f"{counts[0]} against {counts[1]}")
    tick = max(float(stream.time_base or 0) for stream in streams)
    times, shift = check_times(
        seen[0].times,
        seen[1].times,
        tick,
        jumps=containers[0].format.name in _JUMPING,
        sound=sound_moved(tracks[0].get("audio", []), tracks[1].get("audio", [])),
        may_move="audio" not in tracks[0] and containers[1].format.name in _STARTING,
    )
    yield times
    yield luma.check("luma", codec, lossless=codec in LOSSLESS)
    if seen[0].first is not None and seen[1].first is not None:
        yield check_tags(streams, seen[0].first, seen[1].first, says_full=says_full)
        yield from _beside(seen, alpha, codec)
    yield from compare_tracks(*paths, *tracks, shift)


def _beside(seen: tuple[_Seen, _Seen], alpha: Likeness, codec: str) -> Iterator[Check]:
    """Fields, captions and transparency, where the source has any."""
    ours, theirs = seen
    if ours.interlaced or theirs.interlaced:
        yield check_fields(
            (ours.order, ours.interlaced), (theirs.order, theirs.interlaced), ours.begin, codec
        )
    if ours.captions:
        same = ours.captions == theirs.captions
        detail = "every byte the same" if same else "they differ"
        if not theirs.captions:
            detail = "lost"
            if codec not in _CARRY_CAPTIONS:
                same, detail = True, f"the source has some, and {codec} holds none"
        yield Check("captions", same, detail)
    if ours.clear:
        if theirs.has_alpha:
            yield alpha.check("alpha", codec, lossless=codec in LOSSLESS)
        else:
            held = codec in _CARRY_ALPHA
            yield Check("alpha", not held, "lost" if held else f"{codec} holds no transparency")


def _other_pictures(
    ours: list[Track], theirs: list[Track], places: tuple[int, int]
) -> Iterator[Check]:
    """The pictures beside the coloured one, which are copied."""
    before = [track for place, track in enumerate(ours) if place != places[0]]
    after = [track for place, track in enumerate(theirs) if place != places[1]]
    if not before and not after:
        return
    if len(before) != len(after):
        yield Check("video", False, f"{len(ours)} streams against {len(theirs)}")
        return
    same = all(a.digest.digest() == b.digest.digest() for a, b in zip(before, after, strict=True))
    detail = f"{len(before)} more, " + ("the same" if same else "they differ")
    if [track.is_default for track in ours] != [track.is_default for track in theirs]:
        same, detail = False, "another picture is the default"
    yield Check("video", same, detail)
