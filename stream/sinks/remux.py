"""Copies sound, subtitles, chapters and tags from source to output without decoding."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import av
import av.error
from av.bitstream import BitStreamFilterContext
from kinemacolor.stream.media import is_cover
from kinemacolor.stream.sinks.pcm import Pcm, is_disc_pcm

log = logging.getLogger(__name__)

# MPEG-TS takes anything, and marks what it does not know as private data that nobody reads.
_MP4 = ("mp4", "mov", "ipod", "3gp", "psp")
_NO_TEXT = b"\0\0"  # of mov_text: a gap between two titles, which the muxer fills by itself
_TRANSPORT = {
    *("mpeg1video", "mpeg2video", "mpeg4", "h264", "hevc", "vvc", "vc1", "cavs", "dirac"),
    *("mp1", "mp2", "mp3", "aac", "aac_latm", "ac3", "eac3", "dts", "truehd", "opus", "s302m"),
    *("dvb_subtitle", "dvb_teletext", "hdmv_pgs_subtitle", "smpte_klv", "timed_id3", "scte_35"),
}


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
    """Makes the output's copies of every stream but the video one, and sends packets to them.

    Args:
        source, target: containers, open for reading and for writing.
        kind: FFmpeg's name of what is written; None: as the target says.
        video: the source's stream that is not copied.
        trimmed: only a part of the film is carried, so chapters are not.
        covers: the pictures of the attached-picture streams, by stream index.
    """

    def __init__(
        self,
        source: Any,
        target: Any,
        video: Any,
        *,
        kind: str | None = None,
        trimmed: bool = False,
        covers: Mapping[int, bytes] | None = None,
    ) -> None:
        self._covers = covers or {}
        self._kind = kind or target.format.name
        self._rewritten: dict[int, Pcm] = {}
        self.left_out: list[str] = []  # in words, for the log and the report
        self._streams: dict[int, Any] = {}
        self._filters: dict[int, BitStreamFilterContext] = {}
        # MP4 would do it by itself, but not with the fragments that `FilmWriter` asks for.
        self._strip_adts = self._kind not in ("mpegts", "adts")
        for stream in source.streams:
            if stream.index == video.index:
                continue
            copy = self._add(stream, source, target)
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
        if copy is None or (copy.name == "mov_text" and bytes(packet) == _NO_TEXT):
            return []
        if stream.index in self._rewritten:
            return self._rewritten[stream.index].packets(packet, copy)
        if self._strip_adts and stream.type == "audio" and has_adts_header(stream, packet):
            if stream.index not in self._filters:
                self._filters[stream.index] = BitStreamFilterContext("aac_adtstoasc", stream)
            packets = self._filters[stream.index].filter(packet)
        else:
            packets = [packet]
        for ready in packets:
            ready.stream = copy
        return packets

    def _add(self, stream: Any, source: Any, target: Any) -> Any | None:
        if _made_anew(stream, source):
            return None
        if is_cover(stream) and "matroska" in self._kind:
            self._attach_cover(stream, target)
            return None
        reason = refusal(stream, self._kind)
        if reason and is_disc_pcm(stream):
            pcm = Pcm(stream)
            log.info("audio stream %d: %s becomes %s", stream.index, stream.name, pcm.codec)
            self._rewritten[stream.index] = pcm
            return pcm.add(target)
        if reason and self._kind == "matroska" and target.format.name == "tee":
            reason = acm_refusal(stream)
        if reason:
            label = f"{stream.type} stream {stream.index}"
            self.left_out.append(f"{label}: {reason}")
            log.warning("%s is left out: %s; an .mkv output holds most kinds", label, reason)
            return None
        return _add_copy(stream, target, self._kind)

    def _attach_cover(self, stream: Any, target: Any) -> None:
        """Attaches a cover as a file, which is how Matroska keeps it."""
        picture, kind = self._covers.get(stream.index), stream.codec_context.name
        if picture is not None:
            name = "cover.png" if kind == "png" else "cover.jpg"
            mime = "image/png" if kind == "png" else "image/jpeg"
            target.add_attachment(
                stream.metadata.get("filename", name),
                stream.metadata.get("mimetype", mime),
                picture,
            )


def _made_anew(stream: Any, source: Any) -> bool:
    """Whether the output's muxer writes this data track itself, from what else it is given.

    A timecode track follows from the video stream's tag, a text track of chapters from these.
    """
    if stream.type != "data":
        return False
    if "timecode" in stream.metadata:
        return True
    return _codec_name(stream) == "bin_data" and 0 < stream.frames == len(source.chapters())


def refusal(stream: Any, container: str) -> str:
    """Says why a container does not take a stream; empty when it does.

    Only a muxer knows, and only when it writes its header: so it is tried, in memory, on a
    file that holds this stream alone.
    """
    if is_cover(stream) and container in _MP4:
        # FFmpeg's muxer gives the picture a broken track of its own when it writes fragments.
        return f"{container} takes no cover picture"
    name = _codec_name(stream)
    refusal = f"{container} takes no {name or stream.type}"
    if container == "mpegts" and name not in _TRANSPORT:
        return refusal
    if stream.type == "attachment" and container != "matroska":
        return refusal  # WebM drops it without a word
    try:
        trial = av.open(io.BytesIO(), "w", format=container)
        copy = _add_copy(stream, trial, container)
        trial.start_encoding()
        if name.startswith("pcm_"):
            # MP4 looks at where its channels stand when there is sound, and at its very end.
            trial.mux_one(_silence(copy))
            trial.close()
    except (ValueError, NotImplementedError, AttributeError, av.error.FFmpegError) as error:
        log.debug("%s: %s", refusal, error)
        return refusal
    with suppress(av.error.FFmpegError):  # an empty file is not what it is for
        trial.close()
    return ""


def acm_refusal(stream: Any) -> str:
    """Says why Matroska does not take a sound that it knows by its Windows name only.

    PyAV asks FFmpeg for Matroska's own names, and refuses the others; through FFmpeg's `tee` they
    are written as `ffmpeg -c copy` does.
    """
    refusal = f"matroska takes no {_codec_name(stream)}"
    if stream.type != "audio" or stream.codec_context is None:
        return refusal
    try:
        trial = av.open(tee_url(os.devnull), "w", format="tee")
        _add_copy(stream, trial, "matroska")
        trial.start_encoding()
    except (ValueError, NotImplementedError, AttributeError, av.error.FFmpegError) as error:
        log.debug("%s: %s", refusal, error)
        return refusal
    with suppress(av.error.FFmpegError):
        trial.close()
    return ""


def needs_tee(source: Any) -> bool:
    """Whether a film has sound that only gets into Matroska through FFmpeg's `tee`.

    That loses chapters, which the containers of such sound do not have.
    """
    sounds = [s for s in source.streams if s.type == "audio" and s.codec_context]
    refused = [s for s in sounds if refusal(s, "matroska") and not is_disc_pcm(s)]
    return bool(refused) and not source.chapters() and not all(map(acm_refusal, refused))


def tee_url(url: str, **options: str) -> str:
    """Returns the address under which `tee` writes one Matroska file."""
    words = ":".join(("f=matroska", *(f"{k}={v}" for k, v in options.items())))
    quoted = url.replace("'", r"'\''")
    return f"[{words}]'{quoted}'"


def _silence(copy: Any) -> Any:
    """Makes a packet of zeros for a PCM stream."""
    packet = av.Packet(bytes(24 * copy.codec_context.layout.nb_channels))  # whole samples of any
    packet.pts = packet.dts = 0
    packet.time_base, packet.stream = copy.time_base, copy
    return packet


def _add_copy(stream: Any, target: Any, kind: str) -> Any:
    if stream.type == "attachment":
        copy = target.add_attachment(
            stream.metadata.get("filename", f"attachment-{stream.index}"),
            stream.metadata.get("mimetype", stream.mimetype or "application/octet-stream"),
            stream.data,
        )
    else:
        copy = target.add_stream_from_template(stream)
        copy.disposition = stream.disposition
        copy.time_base = stream.time_base
        if kind in _MP4 and stream.type == "audio":
            _place_channels(copy)
    copy.metadata.update(stream.metadata)
    return copy


def _place_channels(copy: Any) -> None:
    """Gives channels that stand nowhere the usual places: MP4's PCM must say where (23003-5).

    Matroska, MXF and AVI need not, and say no more than their number.
    """
    layout = copy.codec_context.layout
    if layout.name == f"{layout.nb_channels} channels":  # FFmpeg's name for places unknown
        with suppress(ValueError):  # there is no usual layout of nine, say
            copy.codec_context.layout = f"{layout.nb_channels}c"


def _codec_name(stream: Any) -> str:
    """Returns the codec's own name (mp3, not the decoder's mp3float)."""
    if stream.type == "attachment":
        return "attachment"
    context = getattr(stream, "codec_context", None)
    # A damaged transport stream can announce streams of no known kind.
    return context.codec.canonical_name if context else getattr(stream, "name", None) or ""
