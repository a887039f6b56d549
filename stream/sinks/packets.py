"""Mends the times of encoded packets that are wrong, and finds those that go back."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import av

FARTHEST_SECONDS = 60  # that a decoder's time lies before the frame's own


def with_decode_times(packets: Sequence[av.Packet]) -> Sequence[av.Packet]:
    """Gives the packets of a flush decode times that rise and are at most the frames' own.

    Packets with such times keep them. x265 leaves the times to chance when a film is shorter than
    its delay.
    """
    if all(map(_is_sound, packets)):
        return packets
    later: int | None = None
    for packet in reversed(packets):
        assert packet.pts is not None
        packet.dts = packet.pts if later is None else min(packet.pts, later - 1)
        later = packet.dts
    return packets


class Onward:
    """Keeps the time of the last packet of each stream: muxers refuse one that is earlier.

    Where a film that loops begins again, its sound does so: an encoder's priming lies before zero.
    """

    def __init__(self) -> None:
        self._last: dict[int, Fraction] = {}  # seconds, by the stream's index in its source

    def goes_back(self, packet: av.Packet) -> bool:
        """Whether a packet comes no later than the one of its stream before it."""
        time = packet.pts if packet.dts is None else packet.dts
        if time is None:
            return False
        seconds = time * packet.time_base
        last = self._last.get(packet.stream_index, seconds - 1)
        if seconds < last or (seconds == last and packet.stream.type == "audio"):
            return True
        self._last[packet.stream_index] = seconds
        return False


def _is_sound(packet: av.Packet) -> bool:
    if packet.dts is None or packet.pts is None:
        return packet.pts is None
    early = (packet.pts - packet.dts) * packet.time_base
    return 0 <= early <= FARTHEST_SECONDS
