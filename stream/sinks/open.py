"""Opens what an address names as a sink."""

from __future__ import annotations

import shutil
import ssl
import sys
from pathlib import Path

from kinemacolor.stream import address as kinds
from kinemacolor.stream.errors import BadSink, SinkError
from kinemacolor.stream.media import Sink, Source
from kinemacolor.stream.options import EncodeOptions
from kinemacolor.stream.rtsp import Credentials
from kinemacolor.stream.sinks.film import FilmSink, check_target
from kinemacolor.stream.sinks.mux import open_hls_sink, open_transport_sink
from kinemacolor.stream.sinks.null import NullSink
from kinemacolor.stream.sinks.partial import next_name
from kinemacolor.stream.sinks.pictures import PicturesSink
from kinemacolor.stream.sinks.publish import open_push_sink, open_serve_sink
from kinemacolor.stream.sinks.still import StillSink
from kinemacolor.stream.sinks.tee import Reopen
from kinemacolor.stream.sinks.virtualcam import VirtualCamSink
from kinemacolor.stream.sinks.window import WindowSink
from kinemacolor.stream.sinks.y4m import Y4MSink
from kinemacolor.stream.sources.still import StillSource

# A recording goes on when its disk has room again: for a minute or so.
ROOM_BYTES = 16 << 20


def open_sink(
    address: str | Path | kinds.SinkAddress,
    source: Source,
    *,
    options: EncodeOptions | None = None,
    overwrite: bool = False,
    trimmed: bool = False,
    credentials: Credentials | None = None,
    tls: ssl.SSLContext | None = None,
) -> Sink:
    """Opens a sink by its address.

    A file's path, `-` (Y4M on stdout), `null:`, `rtsp://@:8554/live` (serve), `rtsp://host/path`
    and `rtmp://host/application/key` (push), `window:`, `virtualcam:`, `hls:folder`, `mpegts:-` or
    `udp://host:port`.

    Args:
        source: the frames come from it; its other streams are copied.
        trimmed: the frames are a part of the source's.
        credentials: the login that viewers of an RTSP server need.
        tls: certificate and key of an RTSPS server.

    Raises:
        SinkExists: the file is there and `overwrite` is not set.
        BadSink: no such container or codec, or the output is the source.
        NotYetError: a kind of sink that this version does not write.
    """
    options = options or EncodeOptions()
    if isinstance(address, str | Path):
        address = kinds.parse_sink(address)
    match address:
        case kinds.Null():
            return NullSink()
        case kinds.ImageSequence():
            return PicturesSink(address, source, overwrite=overwrite)
        case kinds.Pipe():
            return Y4MSink(sys.stdout.buffer, source)
        case kinds.Window():
            return WindowSink()
        case kinds.VirtualCamera(device=device):
            return VirtualCamSink(source, device)
        case kinds.Hls(folder=folder):
            return open_hls_sink(folder, source, options=options, overwrite=overwrite)
        case kinds.TransportStream() | kinds.Datagrams():
            return open_transport_sink(address, source, options=options)
        case kinds.RtspServer():
            return open_serve_sink(
                address, source, options=options, credentials=credentials, tls=tls
            )
        case kinds.RtspPush() | kinds.RtmpPush():
            return open_push_sink(address, source, options=options)
        case kinds.LocalFile(path=path) if isinstance(source, StillSource) or address.is_still:
            check_target(path, source.info.name, overwrite=overwrite)
            if not isinstance(source, StillSource):
                raise BadSink(f"a film cannot become the picture {path.name}: use .mp4 or .mkv")
            return StillSink(path, source)
        case kinds.LocalFile(path=path):
            return FilmSink(path, source, options=options, overwrite=overwrite, trimmed=trimmed)


def way_back(
    address: kinds.SinkAddress, source: Source, *, options: EncodeOptions
) -> Reopen | None:
    """Returns what opens an output once more after it failed; None where that makes no sense.

    A recording goes on in another file, film-2.mkv, as soon as its disk has room for it.
    """

    def again() -> tuple[Sink, str]:
        return open_sink(address, source, options=options, overwrite=True), str(address)

    match address:
        case kinds.LocalFile(path=path) if not address.is_still:
            return lambda: _next_film(path, source, options)
        case kinds.Hls() | kinds.RtspPush() | kinds.RtmpPush() | kinds.Datagrams():
            return again
        case _:
            return None


def _next_film(path: Path, source: Source, options: EncodeOptions) -> tuple[Sink, str]:
    """Opens film-2.mkv. Raises OSError or SinkError, also when there is no room for it yet."""
    if shutil.disk_usage(path.parent).free < ROOM_BYTES:
        raise SinkError(f"no room yet for {path}")
    name = next_name(path)
    return FilmSink(name, source, options=options, overwrite=False, from_zero=True), str(name)
