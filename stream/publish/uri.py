"""Which live sink a URI names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream.encode import EncodeOptions
from stream.sources import Source

if TYPE_CHECKING:
    from stream.rtsp import Credentials
    from stream.sinks import Sink


def is_stream(uri: str) -> bool:
    """Whether a URI names a live sink that is part of this version."""
    return uri.startswith(
        ("rtsp://", "rtmp://", "rtmps://", "window:", "virtualcam:", "hls:", "mpegts:", "udp://")
    )


def has_viewers(uri: str) -> bool:
    """Whether a URI names a sink that is watched as it is sent: pictures must come in time."""
    return uri.startswith(("rtsp://", "rtmp://", "rtmps://", "udp://", "virtualcam:"))


def shown(uri: str) -> str:
    """A sink's URI as it may be printed and reported: without the password or the stream key."""
    if uri.startswith(("rtmp://", "rtmps://")):
        from stream.publish.rtmp_push import without_key

        return without_key(uri)
    if uri.startswith("rtsp://") and not uri.startswith("rtsp://@"):
        from stream.live.network import without_password

        return without_password(uri)
    return uri


def open_stream_sink(
    uri: str,
    source: Source,
    *,
    options: EncodeOptions | None = None,
    credentials: Credentials | None = None,
    overwrite: bool = False,
) -> Sink:
    """Opens a live sink by its URI. Raises SinkError."""
    if uri.startswith("window:"):
        from stream.publish.window import WindowSink

        return WindowSink()
    if uri.startswith("virtualcam:"):
        from stream.publish.virtualcam import VirtualCamSink

        return VirtualCamSink(source, uri.removeprefix("virtualcam:"))
    if uri.startswith(("hls:", "mpegts:", "udp://")):
        from stream.publish.mux import open_mux_sink

        return open_mux_sink(uri, source, options=options, overwrite=overwrite)
    from stream.publish.sink import open_push_sink, open_serve_sink

    if uri.startswith("rtsp://@"):
        return open_serve_sink(uri, source, options=options, credentials=credentials)
    return open_push_sink(uri, source, options=options)
