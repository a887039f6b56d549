"""Makes RTP packets and RTCP reports of one track for one viewer (RFC 3550)."""

from __future__ import annotations

import secrets
import struct
from dataclasses import dataclass, field

RTP_HEADER_BYTES = 12
_NTP_EPOCH = 2_208_988_800  # seconds from 1900 to 1970
SENDER_REPORT, RECEIVER_REPORT, DESCRIPTION, GOODBYE = 200, 201, 202, 203


@dataclass(slots=True)
class RtpStream:
    """Numbers one track's packets for one viewer.

    Each viewer has its own, so that units skipped for a slow viewer leave no gap in its sequence
    numbers, and one viewer's numbers say nothing about another's.
    """

    payload_type: int
    clock_rate: int
    marks_ends: bool = True
    ssrc: int = field(default_factory=lambda: secrets.randbits(32))
    sequence: int = field(default_factory=lambda: secrets.randbits(16))
    offset: int = field(default_factory=lambda: secrets.randbits(32))
    packet_count: int = 0
    octet_count: int = 0

    def timestamp(self, media_seconds: float) -> int:
        return (self.offset + round(media_seconds * self.clock_rate)) & 0xFFFFFFFF

    def packets(self, payloads: list[bytes], media_seconds: float) -> list[bytes]:
        """Makes the next packets; the last has the marker bit where that marks ends of units."""
        timestamp = self.timestamp(media_seconds)
        last = len(payloads) - 1
        packets = []
        for index, payload in enumerate(payloads):
            kind = self.payload_type | (0x80 if self.marks_ends and index == last else 0)
            head = struct.pack("!BBHII", 0x80, kind, self.sequence, timestamp, self.ssrc)
            packets.append(head + payload)
            self.sequence = (self.sequence + 1) & 0xFFFF
            self.octet_count += len(payload)
        self.packet_count += len(payloads)
        return packets

    def sender_report(self, *, wall_seconds: float, media_seconds: float, name: str) -> bytes:
        """Makes SR and SDES: `media_seconds` is what the media clock shows at `wall_seconds`.

        The same pair of clocks for every track is what lets a player bring them together; so
        does `name`, the CNAME, which has to be the same on all tracks of a session.
        """
        ntp = round((wall_seconds + _NTP_EPOCH) * (1 << 32)) & 0xFFFFFFFFFFFFFFFF
        report = struct.pack(
            "!BBHIQIII",
            0x80,
            SENDER_REPORT,
            6,
            self.ssrc,
            ntp,
            self.timestamp(media_seconds),
            self.packet_count & 0xFFFFFFFF,
            self.octet_count & 0xFFFFFFFF,
        )
        return report + self._description(name)

    def goodbye(self, name: str) -> bytes:
        """Makes an empty RR, SDES and BYE: compounds begin with a report (RFC 3550, 6.1)."""
        report = struct.pack("!BBHI", 0x80, RECEIVER_REPORT, 1, self.ssrc)
        bye = struct.pack("!BBHI", 0x81, GOODBYE, 1, self.ssrc)
        return report + self._description(name) + bye

    def _description(self, name: str) -> bytes:
        text = name.encode()[:255]
        items = bytes([1, len(text)]) + text
        items += bytes(4 - len(items) % 4)  # at least one zero ends the list
        return struct.pack("!BBHI", 0x81, DESCRIPTION, 1 + len(items) // 4, self.ssrc) + items


def is_rtcp(data: bytes) -> bool:
    """Whether bytes are a well-formed compound RTCP packet (RFC 3550, A.2)."""
    at = 0
    while at + 4 <= len(data):
        if data[at] >> 6 != 2 or not 192 <= data[at + 1] <= 223:
            return False
        at += 4 * (1 + int.from_bytes(data[at + 2 : at + 4], "big"))
    return at == len(data) and at > 0
