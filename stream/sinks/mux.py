"""Writes `hls:folder`, `mpegts:-` and `udp://`: for web players, other programs, a network."""

from __future__ import annotations

import io
import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import av
from kinemacolor.stream.address import Datagrams, TransportStream
from kinemacolor.stream.errors import BadSink, SinkError
from kinemacolor.stream.media import Item, Sink, Source, is_frame
from kinemacolor.stream.options import EncodeOptions
from kinemacolor.stream.sinks.live_encoder import KEY_SECONDS, LiveEncoder
from kinemacolor.stream.sinks.packets import Onward
from kinemacolor.stream.sinks.words import errors_in_words

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

SOUNDS = ("aac", "mp3", "mp2", "ac3", "eac3")  # what players of transport streams know
PLAYLIST = "index.m3u8"
# Six segments of two seconds: what players want to see before they start, and no more.
_LIVE_HLS = {
    "hls_time": str(2 * KEY_SECONDS),
    "hls_list_size": "6",
    "hls_flags": "delete_segments+independent_segments+temp_file",
}
_AT_ONCE = {"flush_packets": "1"}  # else the end of a frame waits for the next one
_WHOLE_HLS = {"hls_time": "6", "hls_playlist_type": "vod", "hls_flags": "independent_segments"}


def open_hls_sink(
    folder: Path, source: Source, *, options: EncodeOptions, overwrite: bool = False
) -> MuxSink:
    """Opens a folder for a playlist and its segments.

    Raises SinkError: the folder holds a playlist already, or cannot be written.
    """
    if re.search(r"%\d*d", str(folder)):  # there is no way to say it otherwise
        raise BadSink(f"FFmpeg puts numbers where %d is in {folder}: choose a name without it")
    playlist = folder / PLAYLIST
    for old in () if overwrite else (playlist, *sorted(folder.glob("segment-*.ts"))[:1]):
        if old.exists():
            raise SinkError(f"{old} exists: --overwrite replaces it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"cannot make the folder {folder}: {error.strerror}") from error
    layout = _LIVE_HLS if source.live else _WHOLE_HLS
    layout = layout | {"hls_segment_filename": str(folder / "segment-%05d.ts")}
    name = str(playlist)
    files = _Files(folder)
    try:
        return MuxSink("hls", name, source, options=options, layout=layout, name=name, files=files)
    except BaseException:
        files.close()
        raise


def open_transport_sink(
    address: TransportStream | Datagrams, source: Source, *, options: EncodeOptions
) -> MuxSink:
    """Opens a pipe or a host's port for MPEG-TS. Raises SinkError."""
    if isinstance(address, Datagrams):
        url, name = address.url, str(address)
        return MuxSink("mpegts", url, source, options=options, layout=_AT_ONCE, name=name)
    return MuxSink("mpegts", sys.stdout.buffer, source, options=options)


class MuxSink(Sink):
    """Writes H.264 without delay into a container that players join at any key frame; copies sound.

    Args:
        format, target, layout: FFmpeg's muxer, where it writes, and the muxer's options.
        name: of the target, as it may be shown.
        files: opens what the muxer writes.
    """

    follows_size = True

    def __init__(
        self,
        format: str,
        target: str | BinaryIO,
        source: Source,
        *,
        options: EncodeOptions,
        layout: dict[str, str] | None = None,
        name: str = "the pipe",
        files: _Files | None = None,
    ) -> None:
        self._encoder = LiveEncoder(source.info.rate, options)
        self.pix_fmts = self._encoder.pix_fmts
        self.description = f"{self._encoder.description}, {format}"
        self._left_out: list[str] = []
        self._source = source
        self._name = name
        self._video: Any = None
        self._flushed = False
        self._waiting: list[Any] = []  # a film's packets that came before its first frame
        self._sounds: dict[int, Any] = {}
        self._onward = Onward()
        self._files = files
        with self._errors():
            self._container = av.open(
                target,
                "w",
                format=format,
                options=layout or {},
                io_open=self._files.open if self._files else None,
            )

    @property
    def left_out(self) -> Sequence[str]:
        return self._left_out

    def write(self, item: Item) -> None:
        with self._errors():
            if is_frame(item):
                packets = self._encoder.encode(item)
                if self._video is None:
                    self._begin(item)
                self._mux(packets)
            elif self._video is not None:
                self._copy(item)
            elif not self._source.live:  # which begins anywhere: with its first picture
                self._waiting.append(item)

    def finish(self) -> None:
        try:
            with self._errors():
                if self._video is not None and not self._flushed:
                    self._flushed = True  # an encoder ends once, though finish() failed
                    self._mux(self._encoder.flush())
                self._container.close()
        finally:
            if self._files is not None:
                self._files.close()

    def abandon(self, *, keep: bool) -> Path | None:
        with suppress(SinkError):  # why it is abandoned has been said
            self.finish()
        return None

    def _begin(self, frame: av.VideoFrame) -> None:
        self._video = self._container.add_mux_stream(
            "h264", rate=self._source.info.rate, width=frame.width & ~1, height=frame.height & ~1
        )
        self._video.time_base = frame.time_base
        for sound in self._source.container.streams.audio:
            name = sound.codec_context.codec.canonical_name
            if name in SOUNDS:
                copy = self._container.add_stream_from_template(sound)
                copy.time_base = sound.time_base
                self._sounds[sound.index] = copy
            else:
                self._left_out.append(f"audio stream {sound.index}: {name} is not for players")
                log.warning("%s", self._left_out[-1])
        self._container.start_encoding()
        for packet in self._waiting:
            self._copy(packet)
        self._waiting.clear()

    def _copy(self, packet: Any) -> None:
        copy = self._sounds.get(packet.stream_index)
        if copy is None or packet.pts is None or self._onward.goes_back(packet):
            return
        packet.stream = copy
        self._container.mux_one(packet)

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            packet.stream = self._video
            self._container.mux_one(packet)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        with errors_in_words(self._name):
            yield
            if self._files and self._files.error:
                raise self._files.error


class _Files:
    """Opens the files of FFmpeg's HLS muxer, which does not ask whether they could be written.

    Raises SinkError when another run writes into the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.error: OSError | None = None  # the first
        self._lock: int | None = None
        if fcntl is None:
            return  # Windows has no locks on folders
        self._lock = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise SinkError(f"another run writes into {folder}: choose another folder") from error
        except OSError as error:  # a file system without locks
            log.debug("no lock on %s: %s", folder, error)

    def close(self) -> None:
        """Lets go of the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def open(self, name: str, flags: int, options: dict[str, str]) -> io.RawIOBase | io.BytesIO:
        try:
            return _File(name, self)
        except OSError as error:
            self.note(error)
            return io.BytesIO()

    def note(self, error: OSError) -> None:
        self.error = self.error or error


class _File(io.FileIO):
    def __init__(self, name: str, files: _Files) -> None:
        super().__init__(name, "w")
        self._files = files

    def write(self, data: Any) -> int:
        """Writes all of it; what cannot be written is noted, for whoever looks next."""
        rest = memoryview(data)
        try:
            while rest:  # a disk that is nearly full takes a part
                rest = rest[super().write(rest) :]
        except OSError as error:
            self._files.note(error)
        return len(data)
