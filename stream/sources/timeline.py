"""One timeline for all streams of a file whose clock restarts: joined captures, VOB, MTS."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from av.format import Flags

log = logging.getLogger(__name__)

# A stream with time stamps that may break (transport and program streams) has no longer gaps.
GAP_SECONDS = 10.0
# Packets that are looked at, after the first that jumped, to find where the other streams jump.
LOOK_AHEAD = 600
# Beyond a rounded tick, the picture of the second part waits for the end of the first one's sound.
OVERLAP_SECONDS = 0.001
# A stream joins the others' part where it would begin no more than so long before its own end.
EARLY_SECONDS = 0.2
# Pictures of a restarted clock after which the first one to be shown has certainly come.
SETTLED = 8


@dataclass
class _Track:
    """One stream's place on the timeline.

    Attributes:
        epoch: how often the clock had restarted for its last packet.
        last: seconds of its last decode time, by the file's clock.
        step: seconds from one decode time to the next.
        end: seconds at which its last packet ends, on the timeline.
        placed: the decode time of its last packet, in its time base.
    """

    epoch: int = 0
    last: float | None = None
    step: float = 0.0
    end: float = 0.0
    placed: int | None = None


@dataclass
class Timeline:
    """Lays what comes after a restart of the clock behind what came before it.

    Every stream is moved by the same time, so that sound stays in step: the second part's picture
    follows the first one's last as if nothing were. Only where the first part's sound goes on for
    longer does it wait for that. A single wrong time is no restart.

    Attributes:
        gaps: whether the clock also restarts where times leap far ahead.
        restarts: how often the clock restarted.
    """

    gaps: bool = False
    restarts: int = 0
    _shifts: list[float] = field(default_factory=lambda: [0.0])  # seconds, by epoch
    _tracks: dict[int, _Track] = field(default_factory=dict)  # by the stream's index

    @classmethod
    def of(cls, container: Any) -> Timeline:
        """Makes the timeline of a container that is read from some point on."""
        return cls(gaps=bool(container.format.flags & Flags.ts_discont.value))

    def lay(self, packets: Iterable[Any]) -> Iterator[Any]:
        """Yields packets in their order, with times on the timeline."""
        packets = iter(packets)
        ahead: list[Any] = []  # looked at already
        while True:
            packet = ahead.pop(0) if ahead else next(packets, None)
            if packet is None:
                return
            stray = False
            if self._jumps(packet):
                ahead += islice(packets, LOOK_AHEAD - len(ahead))
                stray = self._is_stray(packet, ahead)
                if not stray:
                    self._join(packet, ahead)
            self._place(packet, stray=stray)
            yield packet

    def _jumps(self, packet: Any) -> bool:
        """Whether a packet's time cannot follow its stream's last one."""
        time, track = _decode_time(packet), self._tracks.get(packet.stream_index)
        if time is None or track is None or track.last is None or _continues(track.last, time):
            return False
        newest = len(self._shifts) - 1
        late = time + self._shifts[newest] - track.end
        if track.epoch < newest and -EARLY_SECONDS <= late < GAP_SECONDS:
            track.epoch, track.last = newest, None  # where the other streams are by now
            return False
        return True

    def _is_stray(self, packet: Any, ahead: list[Any]) -> bool:
        """Whether a packet's time is a wrong one, after which its stream goes on as before."""
        track, time = self._tracks[packet.stream_index], _decode_time(packet)
        follower = next((t for p in ahead if (t := _time_in(p, packet.stream_index))), None)
        if follower is None or time is None or track.last is None:
            return False
        on, back = follower - time - track.step, follower - track.last - 2 * track.step
        return abs(back) < abs(on)

    def _join(self, first: Any, ahead: list[Any]) -> None:
        """Starts a new epoch with a packet that jumped; a gap that not all streams have is none."""
        time, track = _decode_time(first), self._tracks[first.stream_index]
        assert time is not None
        assert track.last is not None
        needed: list[float] = []
        pictures: list[float] = []
        all_jump = True
        for index, other in self._tracks.items():
            of_it = [p for p in (first, *ahead) if _time_in(p, index) is not None]
            jumped = _from_jump(other, of_it)
            starts = [seconds for p in jumped if (seconds := _seconds(p)) is not None]
            if starts:
                of_video = of_it[0].stream.type == "video"
                (pictures if of_video else needed).append(other.end - min(starts))
            all_jump = all_jump and bool(starts or not of_it)
        if time > track.last and not (self.gaps and all_jump):
            return
        sound_waits = needed and (not pictures or max(needed) - max(pictures) > OVERLAP_SECONDS)
        self._shifts.append(max(needed if sound_waits else pictures))
        track.epoch, track.last = len(self._shifts) - 1, None
        self.restarts += 1
        log.warning("the clock restarts at %.2f s: what follows is laid behind that", track.end)

    def _place(self, packet: Any, *, stray: bool) -> None:
        """Moves a packet to its place, and notes where it ends."""
        track = self._tracks.setdefault(packet.stream_index, _Track())
        time, seconds = _decode_time(packet), _seconds(packet)
        if time is None or track.last is None:
            track.epoch = len(self._shifts) - 1 if track.last is None else track.epoch
        elif 0 < time - track.last < 1:
            track.step = time - track.last
        if not stray:
            track.last = track.last if time is None else time
            if seconds is not None:
                length = float((packet.duration or 0) * packet.time_base) or track.step
                track.end = max(track.end, seconds + length + self._shifts[track.epoch])
        if self._shifts[track.epoch]:
            move(packet, self._shifts[track.epoch])
            if packet.stream.type == "audio" and packet.dts is not None and not stray:
                late = max(0, (track.placed or packet.dts - 1) + 1 - packet.dts)
                packet.dts, packet.pts = packet.dts + late, (packet.pts or packet.dts) + late
        track.placed = packet.dts if packet.dts is not None else track.placed


def _continues(last: float, time: float) -> bool:
    return 0 <= time - last < GAP_SECONDS


def _from_jump(track: _Track, packets: list[Any]) -> list[Any]:
    """Returns a stream's first packets after the jump of its clock; none where it does not jump."""
    last = track.last
    for number, packet in enumerate(packets):
        time = _decode_time(packet)
        if last is not None and time is not None and not _continues(last, time):
            return packets[number : number + SETTLED]
        last = time
    return []


def move(packet: Any, seconds: float) -> None:
    """Moves a packet's times by so much."""
    ticks = round(seconds / packet.time_base)
    packet.pts = None if packet.pts is None else packet.pts + ticks
    packet.dts = None if packet.dts is None else packet.dts + ticks


def _time_in(packet: Any, index: int) -> float | None:
    return _decode_time(packet) if packet.stream_index == index else None


def _decode_time(packet: Any) -> float | None:
    """Seconds of a packet's decode time, by the file's clock; None where it cannot be compared."""
    if packet.stream.type not in ("video", "audio") or packet.dts is None or not packet.size:
        return None
    return float(packet.dts * packet.time_base)


def _seconds(packet: Any) -> float | None:
    time = packet.dts if packet.pts is None else packet.pts
    return None if time is None or not packet.time_base else float(time * packet.time_base)
