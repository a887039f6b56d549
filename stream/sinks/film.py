"""The file that takes a film: encoded, copied into, and whole or under another name."""

from __future__ import annotations

import errno
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import av.error
from kinemacolor.stream.address import file_url
from kinemacolor.stream.errors import BadSink, SinkError, SinkExists
from kinemacolor.stream.media import Item, Sink, Source
from kinemacolor.stream.sinks.encode import (
    EncodeOptions,
    add_video_stream,
    choose_encoder,
    encoder_settings,
    supported_pix_fmts,
)
from kinemacolor.stream.sinks.packets import Onward, with_decode_times
from kinemacolor.stream.sinks.partial import partial_name, publish, reserve
from kinemacolor.stream.sinks.remux import Copies
from kinemacolor.stream.sources.film import is_cover

log = logging.getLogger(__name__)

# A file that broke off is worth keeping from this length on.
KEEP_SECONDS = 10.0


class FileSink(Sink):
    """Encodes into a file under a temporary name, which becomes the real one when whole."""

    def __init__(
        self,
        path: Path,
        source: Source,
        *,
        options: EncodeOptions,
        overwrite: bool,
        trimmed: bool = False,
    ) -> None:
        check_target(path, source.info.name, overwrite=overwrite)
        self._path = path
        self._source = source
        self._overwrite = overwrite
        self._trimmed = trimmed
        self._encoder = choose_encoder(options, path.suffix)
        self._settings = encoder_settings(self._encoder, options)
        self.pix_fmts = frozenset(supported_pix_fmts(self._encoder))
        shown = " ".join(f"{k} {v}" for k, v in self._settings.items() if k in ("crf", "preset"))
        self.description = f"{self._encoder} {shown}".strip()
        self._partial: Path | None = None  # from the first frame on, until it has its name
        self._waiting: list[Any] = []  # packets that came before the first frame
        self._container: Any = None
        self._stream: Any = None
        self._copies: Copies | None = None
        self._seconds = 0.0
        self._onward = Onward()
        self._scales = False
        with self._errors():
            # The first frame may be a while away; what forbids writing is better known now.
            trial = reserve(path)
            try:
                self._open(trial).close()
            finally:
                trial.unlink(missing_ok=True)

    def write(self, item: Item) -> None:
        with self._errors():
            if isinstance(item, av.VideoFrame):
                packets = self._begin(item) if self._stream is None else None
                self._note_size(item)
                self._container.mux(self._stream.encode(item) if packets is None else packets)
                self._seconds = max(self._seconds, item.time or 0.0)
            elif self._stream is None:
                self._waiting.append(item)
            else:
                self._copy(item)

    def _note_size(self, frame: av.VideoFrame) -> None:
        """Says so once when the picture changes its size: a file has one, so PyAV scales."""
        context = self._stream.codec_context
        if not self._scales and (frame.width, frame.height) != (context.width, context.height):
            self._scales = True
            log.warning(
                "the picture becomes %dx%d at %.2f s: it is scaled to %dx%d from there on",
                *(frame.width, frame.height, frame.time or 0.0, context.width, context.height),
            )

    def finish(self) -> None:
        """Writes the trailer and gives the file its name.

        Raises SinkError: nothing came, or, without `overwrite`, another file has that name now.
        """
        if self._stream is None:
            self.abandon(keep=False)
            raise BadSink(f"no frame of {self._source.info.name} could be decoded")
        self._end()
        assert self._partial is not None
        with self._errors():
            try:
                publish(self._partial, self._path, overwrite=self._overwrite)
            except SinkExists:
                self._partial = None  # whole, and not to be abandoned: the message says where it is
                raise

    def abandon(self, *, keep: bool) -> Path | None:
        partial, self._partial = self._partial, None
        if partial is None:
            return None
        kept = keep and self._stream is not None
        try:
            if kept:
                self._end()
            elif self._container is not None:
                self._container.close()
        except (SinkError, av.error.FFmpegError, OSError) as error:
            log.debug("while abandoning %s: %s", partial, error)
        if kept and partial.exists():
            return partial
        partial.unlink(missing_ok=True)
        return None

    @property
    def left_out(self) -> Sequence[str]:
        """Streams of the source that this container does not take, in words."""
        return self._copies.left_out if self._copies else []

    @property
    def worth_keeping(self) -> bool:
        """Whether enough is written that losing it would hurt."""
        return self._seconds >= KEEP_SECONDS

    def _open(self, path: Path) -> Any:
        """The container, whose file FFmpeg opens when it begins. Raises BadSink."""
        options = {}
        if path.suffix.lower() in (".mp4", ".mov", ".m4v"):
            # Fragments until the trailer is written: whatever kills the process, it plays.
            options["movflags"] = "+frag_keyframe+delay_moov+hybrid_fragmented+use_metadata_tags"
            options["movie_timescale"] = str(_common_ticks(self._source))
        if path.suffix.lower() in (".mkv", ".webm"):
            # Sound may start before zero (an encoder's priming); moving it would move the film.
            options["avoid_negative_ts"] = "disabled"
        try:
            return av.open(file_url(path), "w", options=options)
        except ValueError as error:
            raise BadSink(
                f"no container for {self._path.name}: use .mkv, .mp4, .mov, .webm or .ts"
            ) from error

    def _take_name(self) -> Path:
        """A temporary name of this run's own; says so when there is one of another."""
        usual, partial = partial_name(self._path), reserve(self._path)
        if partial != usual:
            log.warning("%s is another run's, and stays: this one writes %s", usual, partial)
        return partial

    def _begin(self, frame: av.VideoFrame) -> list[Any] | None:
        """Opens encoder and container; returns the frame's packets if that had to encode it."""
        source = self._source
        self._partial = self._take_name()
        self._container = self._open(self._partial)
        self._stream = add_video_stream(
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
        first: list[Any] | None = None
        try:
            if frame.format.name == "cuda":  # NVENC opens on the frame's own device context
                first = self._stream.encode(frame)
            self._container.start_encoding()
        except (av.error.FFmpegError, ValueError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise
            raise BadSink(
                f"{self._encoder} at {frame.width}x{frame.height} {frame.format.name} does not "
                f"open in {self._container.format.name}: {_reason(error)}"
            ) from error
        for packet in self._waiting:
            self._copy(packet)
        self._waiting.clear()
        return first

    def _copy(self, packet: Any) -> None:
        assert self._copies is not None
        if self._source.live and self._onward.goes_back(packet):
            return
        for ready in self._copies.retarget(packet):
            self._container.mux_one(ready)

    def _end(self) -> None:
        with self._errors():
            self._container.mux(with_decode_times(self._stream.encode(None)))
            self._container.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Says in the user's words what the system refused."""
        try:
            yield
        except OSError as error:  # PyAV's errors are OSErrors, too
            if isinstance(error, SinkError):
                raise
            match error.errno:
                case errno.ENOSPC | errno.EFBIG | errno.EDQUOT:
                    raise SinkError(
                        f"no space left for {self._path}: free some, or choose another folder"
                    ) from error
                case errno.EACCES | errno.EROFS:
                    raise SinkError(
                        f"cannot write to {self._path.parent}: no permission"
                    ) from error
                case _:
                    raise SinkError(f"cannot write {self._path}: {_reason(error)}") from error
        except av.error.FFmpegError as error:
            raise SinkError(f"cannot write {self._path}: {_reason(error)}") from error


def _reason(error: Any) -> str:
    """FFmpeg's own last word where it left one, else the system's."""
    logged = getattr(error, "log", None)
    return logged[2].strip() if logged else getattr(error, "strerror", None) or str(error)


def _common_ticks(source: Source) -> int:
    """Ticks a second in which the start of every stream is a whole number.

    An MP4 edit list says in these where a stream starts; its default, 1000, would move a film
    whose first frame lies between two milliseconds.
    """
    bases = [s.time_base for s in source.container.streams if s.type in ("video", "audio")]
    ticks = math.lcm(*(base.denominator for base in bases if base))
    return ticks if 1000 <= ticks < 2**31 else max(1000, source.info.time_base.denominator)


def check_target(path: Path, source_name: str, *, overwrite: bool) -> None:
    """Raises SinkExists, BadSink or SinkError when nothing may be written at a path."""
    source = Path(source_name)
    if path.exists() and source.exists() and path.samefile(source):
        raise BadSink(f"output and source are the same file: {path}")
    if path.is_dir():
        raise BadSink(f"{path} is a folder: add a file name")
    if path.exists() and not overwrite:
        raise SinkExists(f"{path} exists: --overwrite replaces it")
    if not path.parent.is_dir():
        raise SinkError(f"no such folder: {path.parent}")
    if path.suffix.lower() == ".m3u8":
        raise BadSink(f"{path} is a playlist with segments: write it with -o hls:FOLDER")
    if not path.suffix:
        raise BadSink(f"{path} has no suffix to name its container: use .mp4 or .mkv, say")
