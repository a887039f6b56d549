"""Describes what is served: the tracks, and the units that travel on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kinemacolor.stream.rtsp.errors import BadMedia
from kinemacolor.stream.rtsp.nal import (
    DELIMITER,
    FILLER,
    ParameterSets,
    split_annex_b,
    split_length_prefixed,
)
from kinemacolor.stream.rtsp.payload import (
    aac_payloads,
    mpeg_audio_payloads,
    opus_payloads,
    sample_payloads,
)

VIDEO, AUDIO = 0, 1
AudioCodec = Literal["aac", "opus", "mpa", "pcmu", "pcma", "l16"]
_DYNAMIC = 97
# RFC 3551, 6: payload types that mean one codec, rate and number of channels for ever.
_STATIC = {
    ("pcmu", 8_000, 1): 0,
    ("pcma", 8_000, 1): 8,
    ("l16", 44_100, 2): 10,
    ("l16", 44_100, 1): 11,
}


@dataclass(frozen=True, slots=True)
class VideoTrack:
    """H.264 at RTP's 90 kHz."""

    sets: ParameterSets
    length_size: int = 0
    payload_type: int = 96
    clock_rate: int = 90_000
    marks_ends: bool = True

    def read(self, access_unit: bytes, is_key: bool) -> tuple[ParameterSets, list[bytes]]:
        """Returns the parameter sets from here on, and the NAL units to send.

        A key picture gets its SPS and PPS in front, so that a viewer can begin at any of them.
        """
        if self.length_size:
            nals = split_length_prefixed(access_unit, self.length_size)
        else:
            nals = split_annex_b(access_unit)
        nals = [nal for nal in nals if nal[0] & 31 not in (DELIMITER, FILLER)]
        if not nals:
            raise BadMedia(f"no NAL unit in an access unit of {len(access_unit)} bytes")
        sets = self.sets.updated(nals)
        if is_key:
            ours = [*sets.sps, *sets.pps]
            nals = [*ours, *(nal for nal in nals if nal not in ours)]
        return sets, nals


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """Sound as RTP carries it.

    Args:
        codec: "mpa" is MPEG audio of any layer; "pcmu", "pcma" and "l16" are samples: G.711's two
            and 16 bits, big-endian, channels interleaved.
    """

    codec: AudioCodec
    config: bytes
    sample_rate: int
    channels: int

    def __post_init__(self) -> None:
        if self.codec == "aac" and len(self.config) < 2:
            raise BadMedia("AAC needs its AudioSpecificConfig (the encoder's extradata)")
        if self.sample_rate <= 0 or self.channels <= 0:
            raise BadMedia(f"audio at {self.sample_rate} Hz with {self.channels} channels")

    @property
    def payload_type(self) -> int:
        if self.codec == "mpa":
            return 14
        return _STATIC.get((self.codec, self.sample_rate, self.channels), _DYNAMIC)

    @property
    def clock_rate(self) -> int:
        """Opus always counts at 48 kHz (RFC 7587, 4.1), MPEG audio at 90 kHz (RFC 3551, 4.5.13)."""
        return {"opus": 48_000, "mpa": 90_000}.get(self.codec, self.sample_rate)

    @property
    def marks_ends(self) -> bool:
        """Whether the marker says that an access unit ends; else it would say: after a silence."""
        return self.codec == "aac"

    @property
    def encoding(self) -> str:
        """The codec as `a=rtpmap` names it; Opus always says two channels (RFC 7587, 7)."""
        match self.codec:
            case "aac":
                return f"mpeg4-generic/{self.sample_rate}/{self.channels}"
            case "opus":
                return "opus/48000/2"
            case "mpa":
                return "MPA/90000"
        channels = "" if self.channels == 1 else f"/{self.channels}"
        return f"{self.codec.upper()}/{self.sample_rate}{channels}"

    def cut(self, data: bytes, max_bytes: int) -> list[tuple[float, list[bytes]]]:
        """Units of equal time out of a coded frame or a run of samples.

        Returns: for each, how many seconds after the first it begins, and its payloads.
        """
        match self.codec:
            case "aac":
                return [(0.0, aac_payloads(data, max_bytes))]
            case "opus":
                return [(0.0, opus_payloads(data, max_bytes))]
            case "mpa":
                return [(0.0, mpeg_audio_payloads(data, max_bytes))]
        size = self.channels * (2 if self.codec == "l16" else 1)
        pieces = sample_payloads(data, max_bytes, frame_bytes=size)
        seconds = len(pieces[0]) / size / self.sample_rate
        return [(number * seconds, [piece]) for number, piece in enumerate(pieces)]


@dataclass(frozen=True, slots=True)
class Unit:
    """One access unit, cut for RTP once and shared by all viewers."""

    track: int
    payloads: list[bytes]
    media_seconds: float
    is_key: bool
    size: int


class Timeline:
    """Carries the publisher's pts on to one media clock that starts at zero and never jumps far.

    The clock is shared by all tracks. A pts that leaps (a source that came back with a new clock,
    a file that starts again) is moved next to the last one; what players do with a leap of hours
    ranges from a frozen picture to a full disk.
    """

    BACKWARD_SECONDS = 1.0  # frames are sent in decoding order; no reordering reaches this far
    FORWARD_SECONDS = 10.0

    def __init__(self) -> None:
        self._shift: float | None = None
        self._last: dict[int, float] = {}
        self.jumps = 0

    def place(self, track: int, pts_seconds: float) -> float:
        if self._shift is None:
            self._shift = -pts_seconds
        media = pts_seconds + self._shift
        last = self._last.get(track, max(self._last.values(), default=0.0))
        if not -self.BACKWARD_SECONDS <= media - last <= self.FORWARD_SECONDS:
            self.jumps += 1
            media = max(self._last.values(), default=0.0)
            self._shift = media - pts_seconds
        self._last[track] = media
        return media
