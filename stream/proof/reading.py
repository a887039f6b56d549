"""Reads a film as FFmpeg gives it: no time is repaired, and nothing is left out but damage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import av.error
from kinemacolor.stream.address import file_url
from kinemacolor.stream.errors import BadSource

_COVER = av.stream.Disposition.attached_pic


def open_film(path: Path) -> Any:
    """Opens a container. Raises BadSource."""
    try:
        return av.open(file_url(path), metadata_errors="replace")
    except (av.error.FFmpegError, OSError) as error:
        raise BadSource(f"cannot open {path}: {error.strerror or error}") from error


def pictures(container: Any) -> list[Any]:
    """Its video streams that can be decoded, without covers."""
    found = [s for s in container.streams.video if not s.disposition & _COVER]
    return [stream for stream in found if stream.codec_context is not None]


def packets(container: Any, streams: list[Any]) -> Iterator[Any]:
    """Packets of some streams, up to where the file breaks off."""
    flow = container.demux(*streams) if streams else iter(())
    while True:
        try:
            packet = next(flow)
        except (StopIteration, IndexError):  # PyAV trips over streams that damage invents
            return
        except av.error.FFmpegError:
            return
        yield packet


def frames(container: Any, stream: Any) -> Iterator[av.VideoFrame]:
    """The frames of a stream; a packet that does not decode gives none."""
    decoder = _decoder(stream)
    ended = False
    for packet in packets(container, [stream]):
        ended = not packet.size
        yield from _decoded(decoder, packet if packet.size else None)
    if not ended:  # the file broke off: what the decoder holds is good
        yield from _decoded(decoder, None)


def _decoder(stream: Any) -> Any:
    """FFmpeg's own decoder, but for VP8 and VP9 with alpha: that only libvpx decodes."""
    name = f"libvpx-{stream.codec_context.name}" if stream.codec_context.name == "vp9" else "libvpx"
    tags = {key.lower(): value for key, value in stream.metadata.items()}  # or ALPHA_MODE
    if tags.get("alpha_mode") == "1" and name in av.codecs_available:
        return av.CodecContext.create(name, "r")
    stream.thread_type = "AUTO"
    return stream.codec_context


def _decoded(decoder: Any, packet: Any) -> list[av.VideoFrame]:
    try:
        return decoder.decode(packet)
    except av.error.FFmpegError:
        return []
