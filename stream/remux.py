"""Sound, subtitles, chapters and tags: carried from source to output without decoding."""

from __future__ import annotations

import logging
from typing import Any

import av
import av.error
from av.bitstream import BitStreamFilterContext

log = logging.getLogger(__name__)

_FEW_CODECS = 10


def has_adts_header(stream: Any, packet: Any) -> bool:
    """Whether an AAC packet brings its own header, as MPEG-TS has it (ISO 13818-7, 6.2)."""
    head = bytes(memoryview(packet)[:2])
    return (
        stream.codec_context.name == "aac"
        and len(head) == 2
        and head[0] == 0xFF
        and head[1] & 0xF6 == 0xF0
    )


class Copies:
    """The output's copies of every stream but the video one; packets are sent to theirs."""

    def __init__(self, source: Any, target: Any, video: Any, *, trimmed: bool = False) -> None:
        self.left_out: list[str] = []  # in words, for the log and the report
        self._streams: dict[int, Any] = {}
        self._filters: dict[int, BitStreamFilterContext] = {}
        # MP4 would do it by itself, but not with the fragments that `FileSink` asks for.
        self._strip_adts = target.format.name not in ("mpegts", "adts")
        for stream in source.streams:
            if stream.index == video.index:
                continue
            copy = self._add(stream, target)
            if copy is not None:
                self._streams[stream.index] = copy
        for key, value in source.metadata.items():
            if key not in ("encoder", "major_brand", "minor_version", "compatible_brands"):
                target.metadata[key] = value
        if not trimmed and source.chapters():
            target.set_chapters(source.chapters())

    def retarget(self, packet: Any) -> list[Any]:
        """Points a packet at its copy; returns what to write, nothing when it was left out."""
        stream = packet.stream
        copy = self._streams.get(stream.index)
        if copy is None:
            return []
        if self._strip_adts and stream.type == "audio" and has_adts_header(stream, packet):
            if stream.index not in self._filters:
                self._filters[stream.index] = BitStreamFilterContext("aac_adtstoasc", stream)
            packets = self._filters[stream.index].filter(packet)
        else:
            packets = [packet]
        for ready in packets:
            ready.stream = copy
        return packets

    def _add(self, stream: Any, target: Any) -> Any | None:
        name = stream.codec_context.name if getattr(stream, "codec_context", None) else stream.name
        label = f"{stream.type} stream {stream.index} ({name or 'unknown codec'})"
        try:
            if stream.type == "attachment":
                copy = target.add_attachment(
                    stream.metadata.get("filename", f"attachment-{stream.index}"),
                    stream.metadata.get("mimetype", stream.mimetype or "application/octet-stream"),
                    stream.data,
                )
            else:
                codecs = target.supported_codecs
                # Some muxers (MPEG-TS) name only their default codecs, though they take more.
                if name and len(codecs) > _FEW_CODECS:
                    canonical = stream.codec_context.codec.canonical_name
                    if canonical not in codecs:
                        raise ValueError(f"{target.format.name} takes no {canonical}")
                copy = target.add_stream_from_template(stream)
            copy.metadata.update(stream.metadata)
            if stream.type != "attachment":
                copy.disposition = stream.disposition
                copy.time_base = stream.time_base
        except (ValueError, NotImplementedError, AttributeError, av.error.FFmpegError) as error:
            self.left_out.append(f"{label}: {error}")
            log.warning("%s is left out: %s; an .mkv output holds most kinds", label, error)
            return None
        return copy
