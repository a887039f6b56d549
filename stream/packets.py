"""Times of encoded packets that an encoder got wrong."""

from __future__ import annotations

from collections.abc import Sequence

import av

FARTHEST_SECONDS = 60  # that a decoder's time lies before the frame's own


def with_decode_times(packets: Sequence[av.Packet]) -> Sequence[av.Packet]:
    """Gives the packets of a flush sound decode times if they have none.

    Of a film that is shorter than its delay, x265 takes them from memory that it never wrote.
    Decode times rise and are at most the frame's own.
    """
    if all(map(_is_sound, packets)):
        return packets
    later: int | None = None
    for packet in reversed(packets):
        assert packet.pts is not None
        packet.dts = packet.pts if later is None else min(packet.pts, later - 1)
        later = packet.dts
    return packets


def _is_sound(packet: av.Packet) -> bool:
    if packet.dts is None or packet.pts is None:
        return packet.pts is None
    early = (packet.pts - packet.dts) * packet.time_base
    return 0 <= early <= FARTHEST_SECONDS
