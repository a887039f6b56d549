"""Copies of films in which one thing is not as it was: what a proof has to find."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import av
from av.packet import Packet

from tests.media import frame_from_planes, planes_of

FrameChange = Callable[[int, av.VideoFrame], "av.VideoFrame | list[av.VideoFrame] | None"]
PacketChange = Callable[[str, int, Any], Any]


def rewrite(
    path: Path,
    target: Path | None = None,
    *,
    codec: str = "ffv1",
    options: Mapping[str, str] | None = None,
    frame: FrameChange = lambda index, frame: frame,
    packet: PacketChange = lambda kind, index, packet: packet,
    left_out: Callable[[Any], bool] = lambda stream: False,
    chapters: bool = True,
    rotation: int | None = None,
    size: tuple[int, int] | None = None,
    pix_fmt: str | None = None,
    **tags: Any,
) -> Path:
    """Encodes a film again, without loss by default, and copies the rest.

    Args:
        frame: changes a frame, or makes none or several of it.
        packet: changes a packet of another stream, or takes it away.
        left_out: streams that the copy does not have.
        rotation: degrees; the source's where there is none.
        tags: of the encoder, such as colorspace or sample_aspect_ratio.
    """
    target = target or path.with_name(f"tampered{path.suffix}")
    with av.open(str(path)) as source, av.open(str(target), "w") as copy:
        ours = source.streams.video[0]
        video: Any = copy.add_stream(codec, rate=25, options=dict(options or {}))
        video.width, video.height = size or (ours.width, ours.height)
        video.pix_fmt = pix_fmt or ours.pix_fmt
        video.codec_context.time_base = ours.time_base
        context = ours.codec_context
        for name in ("colorspace", "color_range", "color_primaries", "color_trc"):
            setattr(video.codec_context, name, tags.get(name, getattr(context, name)))
        aspect = tags.get("sample_aspect_ratio", ours.sample_aspect_ratio)
        if aspect:
            video.codec_context.sample_aspect_ratio = aspect
        if rotation:
            video.set_display_rotation(rotation)
        others = {
            s.index: _template(copy, s) for s in source.streams if s is not ours and not left_out(s)
        }
        if chapters:
            copy.set_chapters(source.chapters())
        counts = dict.fromkeys([s.index for s in source.streams], 0)
        for item in source.demux([s for s in source.streams if s.type != "attachment"]):
            if item.stream is ours:
                for decoded in item.decode():
                    decoded.time_base = ours.time_base
                    changed = frame(counts[ours.index], decoded)
                    counts[ours.index] += 1
                    for ready in changed if isinstance(changed, list) else [changed]:
                        if ready is not None:
                            copy.mux(video.encode(_tagged(ready, tags)))
            elif item.size and item.stream.index in others:
                index = item.stream.index
                changed = packet(item.stream.type, counts[index], item)
                counts[index] += 1
                if changed is not None:
                    changed.stream = others[index]
                    copy.mux(changed)
        copy.mux(video.encode(None))
    return target


def _template(copy: Any, stream: Any) -> Any:
    if stream.type == "attachment":
        return copy.add_attachment(stream.metadata["filename"], stream.mimetype, stream.data)
    return copy.add_stream_from_template(stream)


def _tagged(frame: av.VideoFrame, tags: Mapping[str, Any]) -> av.VideoFrame:
    for name in ("colorspace", "color_range", "color_primaries", "color_trc"):
        if name in tags:
            setattr(frame, name, tags[name])
    return frame


def with_planes(frame: av.VideoFrame, change: Callable[[list[Any]], Any]) -> av.VideoFrame:
    """A copy of a frame whose planes were changed in place, at the same time."""
    planes = planes_of(frame)
    change(planes)
    changed = frame_from_planes(planes, frame.format.name)
    changed.pts, changed.time_base = frame.pts, frame.time_base
    changed.colorspace, changed.color_range = frame.colorspace, frame.color_range
    changed.color_primaries, changed.color_trc = frame.color_primaries, frame.color_trc
    return changed


def with_data(packet: Any, data: bytes, **times: int) -> Any:
    """A packet of other bytes, or at another time."""
    changed = Packet(data)
    changed.pts, changed.dts, changed.duration = packet.pts, packet.dts, packet.duration
    changed.time_base = packet.time_base
    for name, value in times.items():
        setattr(changed, name, value)
    return changed


def with_captions(path: Path, target: Path) -> Path:
    """A copy of an H.264 film in MPEG-TS whose frames carry closed captions (CTA-708 in SEI)."""
    with av.open(str(path)) as source, av.open(str(target), "w", format="mpegts") as copy:
        video = copy.add_stream_from_template(source.streams.video[0])
        number = 0
        for item in source.demux(video=0):
            if not item.size:
                continue
            captions = bytes((0xFC, 0x80 | (number % 96 + 32), 0x80 | 0x41))
            body = b"\xb5\x00\x31GA94\x03" + bytes((0x41, 0xFF)) + captions + b"\xff"
            message = b"\0\0\0\x01\x06\x04" + bytes((len(body),)) + body + b"\x80"
            data = bytes(item)
            start = data.find(b"\0\0\1\x09")  # behind the delimiter of the picture
            place = data.find(b"\0\0\1", start + 4) if start >= 0 else 0
            place -= place > 0 and data[place - 1] == 0
            changed = with_data(item, data[:place] + message + data[place:])
            changed.stream, changed.is_keyframe = video, item.is_keyframe
            copy.mux(changed)
            number += 1
    return target
