"""Reads a film: anything that FFmpeg opens and that has an end."""

from __future__ import annotations

import logging
import re
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import av
import av.error
from av.format import Flags
from av.sidedata.sidedata import Type
from kinemacolor.stream.color.carrier import notes_of
from kinemacolor.stream.errors import BadSource, SourceError
from kinemacolor.stream.media import BrokenOff, Item, Source, SourceInfo, is_cover, is_frame
from kinemacolor.stream.sources.filtering import Filtering
from kinemacolor.stream.sources.timeline import Timeline

log = logging.getLogger(__name__)

# A rate above that is a clock, where there is another to choose.
_MOST_FPS = 240
# Frames without a time that wait for one with a time; a raw stream has none at all.
_MOST_EARLY = 32
# Containers that say how long a film is, by FFmpeg's names, and what may be missing at its end.
_PROMISING = frozenset(("mov", "matroska", "avi", "flv", "asf", "mxf", "mpegts", "mpeg"))
_SLACK_SECONDS, _ESTIMATE_SLACK_SECONDS = 0.3, 2.0
_WITHOUT_INDEX = frozenset(("mpegts", "mpeg"))
_EARLIER_SECONDS = (2.0, 12.0, 60.0, float("inf"))


class ContainerSource(Source):
    """Yields frames of the first video stream of anything that FFmpeg opens.

    Args:
        pix_fmt: of a film whose decoder keeps its frames on a GPU, and says no more than that.
        seekable: else frames before the start are decoded and left out.
        start_seconds, duration_seconds: counted from the film's first time, as FFmpeg does.
        filtering: chooses, for the video stream, what is done to frames before anybody sees them.
        from_zero: times count from the start of what is read, and not by the film's clock.
    """

    def __init__(
        self,
        name: str,
        container: Any,
        *,
        pix_fmt: str | None = None,
        seekable: bool = True,
        start_seconds: float = 0.0,
        duration_seconds: float | None = None,
        from_zero: bool = False,
        filtering: Callable[[Any], Filtering | None] = lambda video: None,
    ) -> None:
        self.container = container
        try:
            self.video: av.VideoStream = _film_in(name, container, seekable=seekable)
        except BadSource:
            container.close()
            raise
        context: Any = self.video.codec_context
        if not context.is_hwaccel:
            self.video.thread_type = "AUTO"
        self._filters = filtered = filtering(self.video)
        rate = _rate(self.video) * (filtered.pace if filtered else 1)
        time_base = self.video.time_base or 1 / rate
        seconds = _duration(self.video, container)
        self.patched = 0  # damaged frames that the decoder made up for: they are all there
        # A raw stream has no times to go by, and its frames are counted from the first.
        self._seekable = seekable and not container.format.flags & Flags.no_timestamps.value
        self._skips = start_seconds > 0
        self._zero = (container.start_time or 0) / av.time_base
        self._start = self._zero + start_seconds
        # A microsecond less: 0.8 + 0.4 is a little more than 1.2.
        self._end = None if duration_seconds is None else self._start + duration_seconds - 1e-6
        self._shift = -self._start if from_zero else 0.0
        if seconds is not None:
            seconds = max(0.0, min(seconds - start_seconds, duration_seconds or seconds))
        trimmed = self._skips or self._end is not None
        frames = None if trimmed or (filtered and filtered.pace != 1) else self.video.frames
        self.info = SourceInfo(
            name=name,
            width=context.width,
            height=context.height,
            pix_fmt=pix_fmt or context.pix_fmt,
            rate=rate,
            time_base=time_base,
            codec=context.name,
            frames=frames or (round(seconds * rate) if seconds else None),
            duration_seconds=seconds,
            field_order=filtered.order if filtered else None,
        )
        self._last_pts: int | None = None
        self._promised, self._promises_all = _promised_end(self.video, container)
        self._ends: dict[int, float] = {}  # of the streams, in seconds
        self._period = 1 / _rate(self.video)

    def __iter__(self) -> Iterator[Item]:
        if self._skips and self._seekable:
            self._seek()
        inside = False
        items = self._noted(self._timed(Timeline.of(self.container).lay(self._packets())))
        for item in items if self._filters is None else self._filters.of(items):
            seconds = _seconds(item)
            if not isinstance(item, av.VideoFrame):
                if self._inside(seconds):
                    yield self._moved(item)
                continue
            if self._end is not None and (seconds or 0.0) >= self._end:
                return
            if self._inside(seconds):
                inside = True
                self._note_damage(item)
                yield self._moved(item)
        if self._skips and not inside and self._last_pts is not None:
            last = float(self._last_pts * self.info.time_base + 1 / self.info.rate) - self._zero
            raise BadSource(
                f"{self.info.name} ends at {last:.1f} s: --start {self._start - self._zero:g}"
                " lies behind it"
            )
        self._note_end()

    def close(self) -> None:
        self.container.close()

    def _timed(self, packets: Iterator[Any]) -> Iterator[Item]:
        """Decodes the film; all its frames have times, and those rise.

        First frames without a time wait for one that has, and are counted back from it.
        """
        early: list[Item] = []
        for item in self._decoded(packets):
            if isinstance(item, av.VideoFrame):
                early.append(item)
                if item.pts is None and self._last_pts is None and len(early) < _MOST_EARLY:
                    continue
                self._count_back(early)
                yield from map(self._settled, early)
                early.clear()
            elif early:
                early.append(item)
            else:
                yield item
        yield from map(self._settled, early)

    def _decoded(self, packets: Iterator[Any]) -> Iterator[Item]:
        """Yields frames of the film, and packets of the other streams."""
        for packet in packets:
            if packet.stream is self.video:
                yield from self._decode(packet)
            elif packet.size:  # the demuxer's flush holds nothing
                yield packet

    def _count_back(self, items: list[Item]) -> None:
        """Gives frames without a time the times before the last one's."""
        frames = [item for item in items if isinstance(item, av.VideoFrame)]
        last = frames[-1]
        if len(frames) == 1 or last.pts is None or not last.time_base:
            return
        step = 1 / (self.info.rate * last.time_base)
        for number, frame in enumerate(reversed(frames[:-1]), 1):
            frame.pts, frame.time_base = last.pts - round(number * step), last.time_base
            self.repaired += 1

    def _settled(self, item: Item) -> Item:
        if isinstance(item, av.VideoFrame):
            self._give_time(item)
            if self._last_pts is None:
                self.display_matrix = _display_matrix(item)
            self._last_pts = item.pts
        return item

    def _moved(self, item: Item) -> Item:
        """Moves an item of a part of the film, which begins at zero."""
        if self._shift and item.time_base:
            ticks = round(self._shift / item.time_base)
            item.pts = None if item.pts is None else item.pts + ticks
            if item.dts is not None and not isinstance(item, av.VideoFrame):
                item.dts += ticks
        return item

    def _seek(self) -> None:
        """Goes to a key frame before the start, from which the frame at the start decodes.

        Transport and program streams have no index: FFmpeg lands amid a group of pictures, and
        frames up to the next key frame would be missing.
        """
        if self.container.format.name not in _WITHOUT_INDEX:
            self._seek_to(self._start)
            return
        for earlier in _EARLIER_SECONDS:
            self._seek_to(self._start - earlier)
            if self._start - self._zero <= earlier:
                return  # all of the film
            for packet in self._packets():
                frames = self._decode(packet) if packet.stream is self.video else []
                if frames:
                    break
            else:
                continue
            time = frames[0].time
            if time is not None and time <= self._start:
                self._seek_to(self._start - earlier)
                return

    def _seek_to(self, seconds: float) -> None:
        try:
            self.container.seek(round(max(0.0, seconds) * av.time_base), backward=True)
        except av.error.FFmpegError as error:
            raise SourceError(
                f"{self.info.name} takes no --start: it cannot be skipped in ({error.strerror})"
            ) from error

    def _packets(self) -> Iterator[Any]:
        packets = self.container.demux()
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except IndexError:
                # Damage can look like a stream that was not there at first, and PyAV trips over
                # it when it flushes: by then the video has had its turn.
                return
            except (av.error.InvalidDataError, av.error.EOFError) as error:
                log.warning("%s: the file breaks off: %s", self.info.name, error.strerror)
                self.damaged += 1
                # What the decoder still holds is good: flush it.
                flush = av.Packet()
                flush.stream = self.video
                yield flush
                return
            except av.error.FFmpegError as error:
                raise SourceError(f"cannot read {self.info.name}: {error.strerror}") from error
            yield packet

    def _decode(self, packet: Any) -> list[av.VideoFrame]:
        try:
            return self.video.codec_context.decode(packet if packet.size else None)
        except av.error.EOFError:
            return []
        except av.error.FFmpegError as error:
            damage = isinstance(error, av.error.InvalidDataError)
            if self.video.codec_context.is_hwaccel and not damage:
                # Of a decoder in hardware anything else is the GPU's: memory, surfaces, CUDA.
                raise SourceError(
                    f"the GPU cannot go on decoding {self.info.name}: {error.strerror or error}"
                ) from error
            if self.damaged == 0:
                log.warning("%s: damaged packet skipped: %s", self.info.name, error.strerror)
            self.damaged += 1
            return []

    def _note_damage(self, frame: av.VideoFrame) -> None:
        """Counts a frame that the decoder marks as damaged, and patched up."""
        if frame.is_corrupt:
            if self.patched == 0:
                log.warning("%s: damaged picture at %.2f s", self.info.name, frame.time or 0.0)
            self.patched += 1

    def _note_end(self) -> None:
        """Says how many pictures are patched, and when a film ends before its container's time."""
        if self.patched:
            log.warning(
                "%s: %d pictures were damaged and are patched", self.info.name, self.patched
            )
        if self._skips or self._end is not None:
            return
        came, promised = self._ends_at(), self._promised
        is_estimate = self.container.format.name in _WITHOUT_INDEX
        slack = _ESTIMATE_SLACK_SECONDS if is_estimate else _SLACK_SECONDS
        if promised is not None and came < promised - max(slack, float(5 * self._period)):
            self.broken_off = BrokenOff(round(came, 3), round(promised, 3))
            log.warning(
                "%s breaks off at %.1f s; it should be %.1f s long", self.info.name, came, promised
            )

    def _ends_at(self) -> float:
        """The end of what came of the streams that the container's length speaks of, in seconds."""
        return max((end for end in self._ends.values()), default=0.0)

    def _noted(self, items: Iterator[Item]) -> Iterator[Item]:
        """Passes everything on, and notes where each stream has come to."""
        for item in items:
            if is_frame(item):
                stream, period = self.video.index, self._period
            else:
                stream, period = item.stream_index, Fraction(0)
            if item.pts is not None and item.time_base and (period or self._promises_all):
                length = item.duration or period / item.time_base
                end = float((item.pts + length) * item.time_base)
                self._ends[stream] = max(end, self._ends.get(stream, 0.0))
            yield item

    def _give_time(self, frame: av.VideoFrame) -> None:
        """Makes times present and rising, since no container takes others."""
        if frame.time_base is None or frame.time_base == 0:
            frame.time_base = self.info.time_base
        step = max(1, round(1 / (self.info.rate * frame.time_base)))
        if frame.pts is None:
            frame.pts = 0 if self._last_pts is None else self._last_pts + step
            self.repaired += 1
        elif self._last_pts is not None and frame.pts <= self._last_pts:
            frame.pts = self._last_pts + 1
            self.repaired += 1

    def _inside(self, seconds: float | None) -> bool:
        if seconds is None or not (self._skips or self._end is not None):
            return True
        if not self._skips:
            return self._end is None or seconds < self._end
        return seconds >= self._start - 1e-6 and (self._end is None or seconds < self._end)


def _seconds(item: Item) -> float | None:
    if item.pts is None or not item.time_base:
        return None
    return float(item.pts * item.time_base)


def _film_in(name: str, container: Any, *, seekable: bool) -> Any:
    """Finds the first film of a container. Raises BadSource."""
    pictures = films_in(container)
    if not pictures:
        raise BadSource(f"{name} has no video stream (it holds {kinds_in(container)})")
    context = pictures[0].codec_context
    if context is None:
        raise BadSource(f"{name}: there is no decoder for its video stream")
    if context.width < 1 or context.height < 1 or context.pix_fmt is None:
        if not seekable and "mp4" in container.format.name:
            raise BadSource(
                f"{name}: the index of this MP4 lies behind the film, where no pipe gets at it:"
                " give the file itself, or write it with -movflags +faststart"
            )
        raise BadSource(f"{name}: the video stream has no picture size; the file is damaged")
    default = av.stream.Disposition.default
    shown = next((s for s in pictures if s.disposition & default), pictures[0])
    if shown is not pictures[0]:
        log.warning(
            "%s holds %d pictures: the first is coloured; the default one, stream %d, is copied",
            *(name, len(pictures), shown.index),
        )
    return pictures[0]


def films_in(container: Any) -> list[Any]:
    """The films in a container: its pictures but for covers."""
    return [stream for stream in container.streams.video if not is_cover(stream)]


def _promised_end(video: Any, container: Any) -> tuple[float | None, bool]:
    """Returns when a film ends by its container's word, and whether that is said of all streams.

    None where the container says nothing: FFmpeg then guesses from sizes and bit rates.
    """
    names = set(container.format.name.split(","))
    whole = None if not container.duration else container.duration / av.time_base
    if not names & _PROMISING or whole is None:
        return None, False
    begin = (container.start_time or 0) / av.time_base
    end = begin + whole
    tagged = _seconds_of(video.metadata.get("DURATION", ""))
    if tagged:  # Matroska, by FFmpeg and MKVToolNix: the end of the stream's last packet
        return min(tagged, end), False
    if video.duration and video.time_base and "mov" in names:
        start = (video.start_time or 0) * video.time_base
        return min(float(start + video.duration * video.time_base), end), False
    return end, True


def _seconds_of(text: str) -> float | None:
    """00:01:30.500000000 in seconds; None for anything else."""
    match = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", text.strip())
    return match and 3600 * int(match[1]) + 60 * int(match[2]) + float(match[3])


def kinds_in(container: Any) -> str:
    """Names the kinds of streams that a container holds."""
    return ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"


def _display_matrix(frame: av.VideoFrame) -> tuple[int, ...] | None:
    found = (note for note in notes_of(frame) if note.type is Type.DISPLAYMATRIX)
    matrix = next(found, None)
    return None if matrix is None else struct.unpack("=9i", bytes(matrix))


def _rate(video: av.VideoStream) -> Fraction:
    """Returns the average frames a second, unless that is a clock (60000 of raw DV, FFmpeg 8)."""
    known = [rate for rate in (video.average_rate, video.guessed_rate, video.base_rate) if rate]
    return next((rate for rate in known if rate <= _MOST_FPS), next(iter(known), Fraction(25)))


def _duration(video: av.VideoStream, container: Any) -> float | None:
    if video.duration and video.time_base:
        return float(video.duration * video.time_base)
    return container.duration / av.time_base if container.duration else None
