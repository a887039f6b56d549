"""Where frames go: a file, a pipe, nowhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from stream.encode import EncodeOptions
from stream.errors import BadSink, NotYetError
from stream.film_file import FileSink, check_target
from stream.sources import Item, Source
from stream.stills.still import StillSink, StillSource, is_still
from stream.y4m import Y4MSink

if TYPE_CHECKING:
    from stream.rtsp import Credentials

_LATER = ("web:", "srt://")
_KINDS = "a file, -, null:, rtsp://, rtmp://, window:, virtualcam:, hls:, mpegts: and udp:// are"


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
    """Opens a sink by its URI.

    A file's path, `-` (Y4M on stdout), `null:`, `rtsp://@:8554/live` (serve), `rtsp://host/path`
    and `rtmp://host/application/key` (push), `window:`, `virtualcam:`, `hls:folder`, `mpegts:-` or
    `udp://host:port`.

    Args:
        credentials: the login that viewers of an RTSP server need.

    Raises:
        SinkExists: the file is there and `overwrite` is not set.
        BadSink: no such container or codec, or the output is the source.
        NotYetError: a kind of sink that this version does not write.
    """
    from stream.publish.uri import is_stream, open_stream_sink  # sinks, too: a circle otherwise

    name = str(uri)
    if is_stream(name):
        return open_stream_sink(
            name, source, options=options, credentials=credentials, overwrite=overwrite
        )
    if name.startswith(_LATER):
        kind = name.split(":", 1)[0]
        raise NotYetError(f"{kind}: sinks are not part of this version yet; {_KINDS}")
    if "://" in name:
        raise BadSink(f"there is no sink {name.split('://', 1)[0]}://; {_KINDS}")
    if name == "null:":
        return NullSink()
    if name == "-":
        return Y4MSink(sys.stdout.buffer, source)
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
