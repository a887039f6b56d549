"""Where frames go: a file, a pipe, nowhere."""

from __future__ import annotations

import errno
import logging
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import av
import av.error

from stream.encode import (
    EncodeOptions,
    add_video_stream,
    choose_encoder,
    encoder_settings,
    supported_pix_fmts,
)
from stream.errors import BadSink, NotYetError, SinkError, SinkExists
from stream.remux import Copies
from stream.sources import Item, Source, is_cover

if TYPE_CHECKING:
    from stream.rtsp import Credentials

log = logging.getLogger(__name__)

_LATER = ("rtsp://", "rtmp://", "window:", "virtualcam:", "web:", "hls:")
# A file that broke off is worth keeping from this length on.
KEEP_SECONDS = 10.0


class Sink(Protocol):
    """Takes frames in order. `finish` makes the output whole; `abandon` ends it early."""

    description: str  # "libx264 crf 18 veryfast, yuv420p"
    pix_fmts: set[str]  # what frames may be in; empty means anything

    def write(self, item: Item) -> None: ...
    def finish(self) -> None: ...

    def abandon(self, *, keep: bool) -> Path | None:
        """Ends an output that is not whole. Returns where the part that plays was kept."""
        ...


def open_sink(
    uri: str | Path,
    source: Source,
    *,
    options: EncodeOptions | None = None,
    overwrite: bool = False,
    trimmed: bool = False,
    credentials: Credentials | None = None,
) -> Sink:
    """Opens a sink by its URI: a file's path, `-` (Y4M on stdout), `null:`, `rtsp://@:8554/live`.

    Args:
        credentials: the login that viewers of an RTSP server need.

    Raises:
        SinkExists: the file is there and `overwrite` is not set.
        BadSink: no such container or codec, or the output is the source.
        NotYetError: a kind of sink that this version does not write.
    """
    from stream.stream_sinks import is_stream, open_stream_sink  # sinks, too: a circle otherwise

    name = str(uri)
    if is_stream(name):
        return open_stream_sink(name, source, options=options, credentials=credentials)
    if name.startswith(_LATER):
        kind = name.split(":", 1)[0]
        raise NotYetError(f"{kind}: sinks are not part of this version yet; a file, -, or null: is")
    if name == "null:":
        return NullSink()
    if name == "-":
        return Y4MSink(sys.stdout.buffer, source)
    from stream.stills import StillSink, StillSource, is_still  # sinks, too: a circle otherwise

    path = Path(name)
    if isinstance(source, StillSource) or is_still(path):
        check_target(path, source.info.name, overwrite=overwrite)
        if not isinstance(source, StillSource):
            raise BadSink(f"a film cannot become the picture {path.name}: use .mp4 or .mkv")
        return StillSink(path, source)
    return FileSink(
        path, source, options=options or EncodeOptions(), overwrite=overwrite, trimmed=trimmed
    )


class NullSink:
    """Takes everything and keeps nothing: for measuring the pipeline without an encoder."""

    description = "null"

    def __init__(self) -> None:
        self.pix_fmts: set[str] = set()

    def write(self, item: Item) -> None:
        pass

    def finish(self) -> None:
        pass

    def abandon(self, *, keep: bool) -> Path | None:
        return None


class FileSink:
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
        self._trimmed = trimmed
        self._encoder = choose_encoder(options, path.suffix)
        self._settings = encoder_settings(self._encoder, options)
        self.pix_fmts = supported_pix_fmts(self._encoder)
        shown = " ".join(f"{k} {v}" for k, v in self._settings.items() if k in ("crf", "preset"))
        self.description = f"{self._encoder} {shown}".strip()
        # Beside the output, so that the rename stays within one file system; the suffix stays
        # last, because it names the container.
        self.partial = path.with_name(f"{path.stem}.partial{path.suffix}")
        self._waiting: list[Any] = []  # packets that came before the first frame
        self._stream: Any = None
        self._copies: Copies | None = None
        self._seconds = 0.0
        self._scales = False
        container_options = {}
        if path.suffix.lower() in (".mp4", ".mov", ".m4v"):
            # Fragments until the trailer is written: whatever kills the process, it plays.
            container_options["movflags"] = (
                "+frag_keyframe+delay_moov+hybrid_fragmented+use_metadata_tags"
            )
            container_options["movie_timescale"] = str(_common_ticks(source))
        if path.suffix.lower() in (".mkv", ".webm"):
            # Sound may start before zero (an encoder's priming); moving it would move the film.
            container_options["avoid_negative_ts"] = "disabled"
        with self._errors():
            # FFmpeg opens the file with the first frame; what forbids it is better known now.
            self.partial.touch()
            self.partial.unlink()
            try:
                self._container = av.open(str(self.partial), "w", options=container_options)
            except ValueError as error:
                raise BadSink(
                    f"no container for {path.name}: use .mkv, .mp4, .mov, .webm or .ts"
                ) from error

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
        """Writes the trailer and gives the file its name. Raises SinkError when nothing came."""
        if self._stream is None:
            self.abandon(keep=False)
            raise BadSink(f"no frame of {self._source.info.name} could be decoded")
        self._end()
        os.replace(self.partial, self._path)

    def abandon(self, *, keep: bool) -> Path | None:
        kept = keep and self._stream is not None
        try:
            if kept:
                self._end()
            else:
                self._container.close()
        except (SinkError, av.error.FFmpegError, OSError) as error:
            log.debug("while abandoning %s: %s", self.partial, error)
        if kept and self.partial.exists():
            return self.partial
        self.partial.unlink(missing_ok=True)
        return None

    @property
    def left_out(self) -> list[str]:
        """Streams of the source that this container does not take, in words."""
        return self._copies.left_out if self._copies else []

    @property
    def worth_keeping(self) -> bool:
        """Whether enough is written that losing it would hurt."""
        return self._seconds >= KEEP_SECONDS

    def _begin(self, frame: av.VideoFrame) -> list[Any] | None:
        """Opens encoder and container; returns the frame's packets if that had to encode it."""
        source = self._source
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
        for ready in self._copies.retarget(packet):
            self._container.mux_one(ready)

    def _end(self) -> None:
        with self._errors():
            self._container.mux(self._stream.encode(None))
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


class Y4MSink:
    """YUV4MPEG2 on a pipe: raw pictures that every encoder reads. Sound is not carried."""

    description = "y4m"

    def __init__(self, pipe: BinaryIO, source: Source) -> None:
        depths = ("", "10le", "12le")
        self.pix_fmts = {f"yuv{chroma}p{d}" for chroma in ("420", "422", "444") for d in depths}
        self._pipe = pipe
        self._source = source
        self._shape: tuple[int, int, str] | None = None  # width, height, pix_fmt of every frame

    def write(self, item: Item) -> None:
        if not isinstance(item, av.VideoFrame):
            return
        shape = (item.width, item.height, item.format.name)
        try:
            if self._shape is None:
                self._pipe.write(self._header(item))
                self._shape = shape
            if shape != self._shape:
                raise SinkError(
                    f"the picture becomes {item.width}x{item.height} {item.format.name}: "
                    "a Y4M pipe has one size; give a file"
                )
            self._pipe.write(b"FRAME\n")
            for plane in item.planes:
                _write_rows(self._pipe, item, plane)
        except BrokenPipeError as error:
            raise SinkError("the reader of the pipe went away") from error

    def finish(self) -> None:
        self._pipe.flush()

    def abandon(self, *, keep: bool) -> Path | None:
        return None

    def _header(self, frame: av.VideoFrame) -> bytes:
        """The stream header, as mjpegtools' yuv4mpeg(5) defines it, with FFmpeg's XCOLORRANGE."""
        rate = self._source.info.rate
        aspect = self._source.video.sample_aspect_ratio or 0
        name = frame.format.name  # yuv420p, yuv422p10le
        layout, depth = name[3:6], name[6:].removesuffix("le")
        # 420mpeg2: left-sited chroma, which is what H.264 and its kin mean.
        chroma = {"420p": "420mpeg2"}.get(
            layout + depth, layout if depth == "p" else layout + depth
        )
        words = [
            f"YUV4MPEG2 W{frame.width} H{frame.height} F{rate.numerator}:{rate.denominator} Ip",
            f"A{aspect.numerator}:{aspect.denominator}" if aspect else "A0:0",
            f"C{chroma}",
        ]
        if frame.color_range in (1, 2):
            words.append(f"XCOLORRANGE={'LIMITED' if frame.color_range == 1 else 'FULL'}")
        return (" ".join(words) + "\n").encode()


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
    if not path.suffix:
        raise BadSink(f"{path} has no suffix to name its container: use .mp4 or .mkv, say")


def _write_rows(pipe: BinaryIO, frame: av.VideoFrame, plane: Any) -> None:
    sample = 1 if frame.format.components[0].bits == 8 else 2
    row, data = plane.width * sample, memoryview(plane)
    if plane.line_size == row:
        pipe.write(data[: row * plane.height])
        return
    for y in range(plane.height):
        pipe.write(data[y * plane.line_size : y * plane.line_size + row])
