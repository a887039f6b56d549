"""What is being served: the tracks, and the units that travel on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stream.rtsp.errors import BadMedia
from stream.rtsp.nal import (
    DELIMITER,
    FILLER,
    ParameterSets,
    split_annex_b,
    split_length_prefixed,
)

VIDEO, AUDIO = 0, 1


@dataclass(frozen=True, slots=True)
class VideoTrack:
    """H.264 at RTP's 90 kHz."""

    sets: ParameterSets
    length_size: int = 0
    payload_type: int = 96
    clock_rate: int = 90_000

    def read(self, access_unit: bytes, is_key: bool) -> tuple[ParameterSets, list[bytes]]:
        """The parameter sets from here on, and the NAL units to send.

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
    """AAC or Opus; Opus always counts at 48 kHz and names two channels (RFC 7587, 4.1 and 7)."""

    codec: Literal["aac", "opus"]
    config: bytes
    sample_rate: int
    channels: int
    payload_type: int = 97

    def __post_init__(self) -> None:
        if self.codec == "aac" and len(self.config) < 2:
            raise BadMedia("AAC needs its AudioSpecificConfig (the encoder's extradata)")
        if self.sample_rate <= 0 or self.channels <= 0:
            raise BadMedia(f"audio at {self.sample_rate} Hz with {self.channels} channels")

    @property
    def clock_rate(self) -> int:
        return 48_000 if self.codec == "opus" else self.sample_rate


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
