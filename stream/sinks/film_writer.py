"""Writes one film file: container, encoder, and copies of the source's other streams."""

from __future__ import annotations

import errno
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import av.error
from kinemacolor.stream.address import file_url
from kinemacolor.stream.errors import BadSink
from kinemacolor.stream.media import Source, is_cover
from kinemacolor.stream.options import EncodeOptions
from kinemacolor.stream.sinks import encode
from kinemacolor.stream.sinks.packets import Onward, with_decode_times
from kinemacolor.stream.sinks.remux import Copies
from kinemacolor.stream.sinks.words import last_words

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
        self.pix_fmts = frozenset(encode.supported_pix_fmts(self._encoder))
        shown = " ".join(f"{k} {v}" for k, v in self._settings.items() if k in ("crf", "preset"))
        self.description = f"{self._encoder} {shown}".strip()
        self.seconds = 0.0  # the time of the last frame
        self._container = open_container(path, source, from_zero=from_zero)
        self._stream: Any = None
        self._copies: Copies | None = None
        self._waiting: list[Any] = []  # packets that came before the first frame
        self._onward = Onward()
        self._scales = False

    @property
    def is_begun(self) -> bool:
        """Whether a frame has been written."""
        return self._stream is not None

    @property
    def left_out(self) -> list[str]:
        """Streams of the source that the container does not take, in words."""
        return self._copies.left_out if self._copies else []

    def write(self, frame: av.VideoFrame) -> None:
        """Encodes a frame."""
        packets = None if self.is_begun else self._begin(frame)
        self._note_size(frame)
        self._mux(self._stream.encode(frame) if packets is None else packets)
        self.seconds = max(self.seconds, frame.time or 0.0)

    def copy(self, packet: Any) -> None:
        """Copies a packet of one of the source's other streams."""
        if self._copies is None:
            self._waiting.append(packet)
        elif not (self._source.live and self._onward.goes_back(packet)):
            for ready in self._copies.retarget(packet):
                self._container.mux_one(ready)

    def close(self, *, flush: bool = True) -> None:
        """Writes the trailer; first, unless told otherwise, the frames that the encoder holds."""
        try:
            if flush and self.is_begun:
                self._mux(self._lengthened(with_decode_times(self._stream.encode(None))))
        finally:
            self._container.close()

    def _mux(self, packets: Sequence[Any]) -> None:
        """Writes pictures; those without a duration get one, or MP4 would end before the last."""
        for packet in packets:
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
        self._stream = encode.add_video_stream(
            self._container, self._encoder, frame, source.info.rate, self._settings
        )
        self.description += f", {frame.format.name}"
        if self._container.format.name == "avi":
            log.warning("AVI lays frames at one constant rate; .mkv keeps the time of each")
        self._stream.metadata.update(source.video.metadata)
        if source.video.sample_aspect_ratio:
            self._stream.codec_context.sample_aspect_ratio = source.video.sample_aspect_ratio
        if source.display_matrix is not None:
            self._stream.set_display_matrix(source.display_matrix)
        self._stream.disposition = source.video.disposition
        self._copies = Copies(
            source.container,
            self._container,
            source.video,
            trimmed=self._trimmed,
            covers={p.stream.index: bytes(p) for p in self._waiting if is_cover(p.stream)},
        )
        packets = self._start(frame)
        for packet in self._waiting:
            self.copy(packet)
        self._waiting.clear()
        return packets

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
        case ".mkv" | ".webm":
            # Sound may start before zero (an encoder's priming); moving it would move the film.
            options["avoid_negative_ts"] = "disabled"
            options["cluster_time_limit"] = str(int(_ON_DISK_SECONDS * 1000))
    if from_zero:
        options["avoid_negative_ts"] = "make_zero"
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
