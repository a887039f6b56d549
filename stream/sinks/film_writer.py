"""Writes one film file: container, encoder, and copies of the source's other streams."""

from __future__ import annotations

import errno
import logging
import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.codec.context import Flags
from kinemacolor.stream.address import file_url
from kinemacolor.stream.errors import BadSink
from kinemacolor.stream.media import Source, has_alpha, is_cover
from kinemacolor.stream.options import EncodeOptions
from kinemacolor.stream.sinks import encode, notes
from kinemacolor.stream.sinks.matroska import set_aspect
from kinemacolor.stream.sinks.mp4 import end_titles
from kinemacolor.stream.sinks.packets import Onward, with_decode_times
from kinemacolor.stream.sinks.remux import Copies, needs_tee, tee_url
from kinemacolor.stream.sinks.words import last_words
from kinemacolor.stream.sources.scan import order_of
from kinemacolor.stream.sources.timeline import move

log = logging.getLogger(__name__)

# A kill loses what is not on the disk. Beside the encoder's own delay that is this much film.
_ON_DISK_SECONDS = 0.15
_SPARSE = ("subtitle", "data")  # streams without a packet for minutes, for which FFmpeg would wait


class FilmWriter:
    """Encodes frames into a file and copies packets beside them. The path's suffix names the kind.

    The file is opened with the first frame, which tells its size and format; packets that come
    before it wait. Methods raise BadSink, and OSError or FFmpegError where the file cannot be
    written (`errors_in_words` turns those into SinkError).

    Args:
        source: its streams, tags and chapters are copied.
        trimmed: the frames are a part of the source's.
        from_zero: the first frame is moved to zero, and all else with it.
    """

    def __init__(
        self,
        path: Path,
        source: Source,
        options: EncodeOptions,
        *,
        trimmed: bool = False,
        from_zero: bool = False,
    ) -> None:
        self._source = source
        self._trimmed = trimmed
        self._encoder = encode.choose_encoder(options, path.suffix)
        self._settings = encode.encoder_settings(self._encoder, options)
        shown = " ".join(f"{k} {v}" for k, v in self._settings.items() if k in ("crf", "preset"))
        self.description = f"{self._encoder} {shown}".strip()
        self.seconds = 0.0  # the time of the last frame
        self._path = path
        self._container = open_container(path, source, from_zero=from_zero)
        self._kind = self._container.format.name.replace("tee", "matroska")
        self._aspect: Fraction | None = None  # that the container's muxer is not told of
        self._lost: list[str] = []  # what the output cannot say of the picture, in words
        self.pix_fmts, self.full_range = self._formats()
        self._stream: Any = None
        self._copies: Copies | None = None
        self._waiting: list[Any] = []  # packets that came before the first frame
        self._onward = Onward()
        self._scales = self._is_hdr = False
        self._zero = 0.0  # seconds that are taken off all times

    @property
    def is_begun(self) -> bool:
        """Whether a frame has been written."""
        return self._stream is not None

    @property
    def left_out(self) -> list[str]:
        """Streams of the source that the container does not take, in words."""
        return [*self._lost, *(self._copies.left_out if self._copies else [])]

    def _formats(self) -> tuple[frozenset[str], bool]:
        """What frames may be in, and whether in full range; says so where alpha gets lost."""
        container = self._kind
        formats = frozenset(encode.supported_pix_fmts(self._encoder))
        if self._encoder == "libvpx-vp9":  # of its other formats with alpha it opens none
            formats -= {"yuva422p", "yuva444p"}
        if not notes.keeps_alpha(self._encoder, container):
            formats = frozenset(name for name in formats if not has_alpha(name))
            if has_alpha(self._source.info.pix_fmt):
                self._lose(
                    f"alpha: {self._encoder} in {container} has none;"
                    " ffv1 and prores keep it, and vp9 in .mkv"
                )
        return formats, notes.says_full_range(self._encoder, container)

    def _lose(self, words: str) -> None:
        """Says once what the output cannot hold."""
        if words not in self._lost:
            self._lost.append(words)
            log.warning("left out: %s", words)

    def write(self, frame: av.VideoFrame) -> None:
        """Encodes a frame."""
        packets = None if self.is_begun else self._begin(frame)
        self._note_size(frame)
        for words in notes.lost_notes(frame, self._encoder, hdr=self._is_hdr):
            self._lose(words)
        self._mux(self._stream.encode(frame) if packets is None else packets)
        self.seconds = max(self.seconds, frame.time or 0.0)

    def copy(self, packet: Any) -> None:
        """Copies a packet of one of the source's other streams."""
        if self._copies is None:
            self._waiting.append(packet)
        elif not (self._source.live and self._onward.goes_back(packet)):
            if self._zero:
                move(packet, -self._zero)
            for ready in self._copies.retarget(packet):
                self._container.mux_one(ready)

    def close(self, *, flush: bool = True) -> None:
        """Writes the trailer; first, unless told otherwise, the frames that the encoder holds."""
        try:
            if flush and self.is_begun:
                self._mux(self._lengthened(with_decode_times(self._stream.encode(None))))
        finally:
            self._container.close()
        if flush and self._kind in ("mp4", "mov", "ipod"):
            end_titles(self._path)
        if flush and self._aspect is not None and not set_aspect(self._path, self._aspect):
            self._lose(f"pixel shape ({self._aspect}): no room for it in the file's head")

    def _mux(self, packets: Sequence[Any]) -> None:
        """Writes pictures; those without a duration get one, or MP4 would end before the last."""
        for packet in packets:
            if self._zero:
                move(packet, -self._zero)
            packet.duration = packet.duration or self._step(packet)
            self._container.mux_one(packet)

    def _lengthened(self, packets: Sequence[Any]) -> Sequence[Any]:
        """Lets the last packet of an MP4 last to the end of the last picture.

        FFmpeg 8 takes the end of a film from the packets since the last fragment began, which may
        be amid B-frames: the picture that is shown last would lie behind the end.
        """
        if packets and "movflags" in self._container.options:
            last = packets[-1]
            end = max(p.pts + (p.duration or self._step(p)) for p in packets)
            last.duration = end - last.pts
        return packets

    def _step(self, packet: Any) -> int:
        """The usual time from one picture to the next, in a packet's ticks."""
        return max(1, round(1 / (self._source.info.rate * packet.time_base)))

    def _begin(self, frame: av.VideoFrame) -> list[Any] | None:
        """Opens encoder and file. Returns the frame's packets where that had to encode it."""
        source = self._source
        settings = encode.with_params(self._settings, notes.hdr_settings(self._encoder, frame))
        self._is_hdr = settings != self._settings
        self._stream = encode.add_video_stream(
            self._container, self._encoder, frame, source.info.rate, settings
        )
        if self._kind == "avi":  # whose frames count from the first
            self._zero = frame.time or 0.0
        order = source.info.field_order or order_of(frame)
        lost = notes.set_field_order(self._stream.codec_context, order, self._kind)
        if lost:
            self._lose(lost)
        if self._container.format.name == "tee":  # which does not ask for it, as Matroska does
            self._stream.codec_context.flags |= Flags.global_header
        self.description += f", {frame.format.name}"
        if self._kind in encode.CONSTANT:
            name = self._kind.upper()
            log.warning("%s lays frames at one constant rate; .mkv keeps the time of each", name)
        self._stream.metadata.update(source.video.metadata)
        if source.video.sample_aspect_ratio:
            self._set_aspect(source.video.sample_aspect_ratio)
        if source.display_matrix is not None:
            self._stream.set_display_matrix(source.display_matrix)
        self._stream.disposition = source.video.disposition
        self._copies = Copies(
            source.container,
            self._container,
            source.video,
            kind=self._kind,
            trimmed=self._trimmed,
            covers={p.stream.index: bytes(p) for p in self._waiting if is_cover(p.stream)},
        )
        packets = self._start(frame)
        for packet in self._waiting:
            self.copy(packet)
        self._waiting.clear()
        return packets

    def _set_aspect(self, aspect: Fraction) -> None:
        """Keeps the shape of the pixels; Matroska's muxer is told of it by nobody in PyAV."""
        self._stream.codec_context.sample_aspect_ratio = aspect
        if aspect == 1:
            return
        if self._kind in ("matroska", "webm"):
            self._aspect = aspect
        elif notes.loses_aspect(self._encoder, self._kind):
            self._lose(f"pixel shape ({aspect}): {self._encoder} in {self._kind} cannot say it")

    def _start(self, frame: av.VideoFrame) -> list[Any] | None:
        """Opens the encoder and writes the header. Raises BadSink when they refuse the frame."""
        packets: list[Any] | None = None
        try:
            if frame.format.name == "cuda":  # NVENC opens on the frame's own device context
                packets = self._stream.encode(frame)
            self._container.start_encoding()
        except (av.error.FFmpegError, ValueError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise
            raise BadSink(
                f"{self._encoder} at {frame.width}x{frame.height} {frame.format.name} does not "
                f"open in {self._container.format.name}: {last_words(error)}"
            ) from error
        return packets

    def _note_size(self, frame: av.VideoFrame) -> None:
        """Says so once when the picture changes its size: a file has one, so PyAV scales."""
        context = self._stream.codec_context
        if not self._scales and (frame.width, frame.height) != (context.width, context.height):
            self._scales = True
            log.warning(
                "the picture becomes %dx%d at %.2f s: it is scaled to %dx%d from there on",
                *(frame.width, frame.height, frame.time or 0.0, context.width, context.height),
            )


def open_container(path: Path, source: Source, *, from_zero: bool = False) -> Any:
    """Makes a container for a film; its file is touched when the first frame opens it.

    Raises BadSink when no container has the path's suffix.
    """
    options = {"flush_packets": "1"}  # else 256 KiB wait to be written
    if any(stream.type in _SPARSE for stream in source.container.streams):
        options["max_interleave_delta"] = str(int(_ON_DISK_SECONDS * av.time_base))
    match path.suffix.lower():
        case ".mp4" | ".mov" | ".m4v":
            # Fragments until the trailer is written: whatever kills the process, it plays.
            head = "empty_moov" if _has_late_streams(source) else "delay_moov"
            options["movflags"] = f"+frag_keyframe+{head}+hybrid_fragmented+use_metadata_tags"
            options["use_editlist"] = "1"
            options["frag_duration"] = str(int(_ON_DISK_SECONDS * av.time_base))
            options["movie_timescale"] = str(_common_ticks(source))
        case ".avi":
            # Its frames have numbers and no times: moved by half a frame, one would be put between.
            options["avoid_negative_ts"] = "disabled"
        case ".mkv" | ".webm":
            # Sound may start before zero (an encoder's priming); moving it would move the film.
            options["avoid_negative_ts"] = "disabled"
            # Which of two pictures is the default is what the source says, and not the first.
            options["default_mode"] = "passthrough"
            options["cluster_time_limit"] = str(int(_ON_DISK_SECONDS * 1000))
    if from_zero:
        options["avoid_negative_ts"] = "make_zero"
    if path.suffix.lower() == ".mkv" and needs_tee(source.container):
        return av.open(tee_url(file_url(path), **options), "w", format="tee")
    try:
        return av.open(file_url(path), "w", options=options)
    except ValueError as error:
        raise BadSink(
            f"no container for {path.name}: use .mkv, .mp4, .mov, .webm or .ts"
        ) from error


def _has_late_streams(source: Source) -> bool:
    """Whether a stream's first packet may be minutes away, and the header can do without it.

    FFmpeg would wait for it with all that is written. (AAC in ADTS has its header in its packets.)
    """
    streams = source.container.streams
    return any(stream.type in _SPARSE for stream in streams) and all(
        sound.codec_context.extradata or sound.codec_context.name != "aac"
        for sound in streams.audio
    )


def _common_ticks(source: Source) -> int:
    """Ticks a second in which the start of every stream is a whole number.

    An MP4 edit list says in these where a stream starts; its default, 1000, would move a film
    whose first frame lies between two milliseconds.
    """
    bases = [s.time_base for s in source.container.streams if s.type in ("video", "audio")]
    ticks = math.lcm(*(base.denominator for base in bases if base))
    return ticks if 1000 <= ticks < 2**31 else max(1000, source.info.time_base.denominator)
