"""Payload formats: H.264 (RFC 6184), AAC (RFC 3640), Opus (RFC 7587), MPEG audio (RFC 2250).

Each function gives the payloads of one access unit. Samples as they are (RFC 3551, 4.5) have none:
they are cut anywhere between two of them.
"""

from __future__ import annotations

from kinemacolor.stream.rtsp.errors import BadMedia
from kinemacolor.stream.rtsp.nal import IDR, SLICE

STAP_A, FU_A = 24, 28


def h264_payloads(nals: list[bytes], max_bytes: int) -> list[bytes]:
    """Makes single NAL units, STAP-A of small ones that are no slices, FU-A of large ones."""
    payloads: list[bytes] = []
    small: list[bytes] = []
    for nal in nals:
        is_slice = SLICE <= nal[0] & 31 <= IDR
        size = 1 + sum(2 + len(other) for other in small) + 2 + len(nal)
        if small and (is_slice or size > max_bytes):
            payloads.append(_aggregate(small))
            small = []
        if is_slice or 3 + len(nal) > max_bytes:
            payloads += _fragments(nal, max_bytes)
        else:
            small.append(nal)
    if small:
        payloads.append(_aggregate(small))
    return payloads


def _aggregate(nals: list[bytes]) -> bytes:
    if len(nals) == 1:
        return nals[0]
    # 5.7.1: the F bit is set if any is, NRI is the highest of all.
    forbidden = max(nal[0] & 0x80 for nal in nals)
    importance = max(nal[0] & 0x60 for nal in nals)
    parts = [bytes([forbidden | importance | STAP_A])]
    for nal in nals:
        parts += [len(nal).to_bytes(2, "big"), nal]
    return b"".join(parts)


def _fragments(nal: bytes, max_bytes: int) -> list[bytes]:
    if len(nal) <= max_bytes:
        return [nal]
    step = max_bytes - 2
    indicator, kind = nal[0] & 0xE0 | FU_A, nal[0] & 31
    cuts = range(1, len(nal), step)
    return [
        bytes([indicator, (0x80 if at == 1 else 0) | (0x40 if at + step >= len(nal) else 0) | kind])
        + nal[at : at + step]
        for at in cuts
    ]


def aac_payloads(frame: bytes, max_bytes: int) -> list[bytes]:
    """Puts an access unit behind its AU header; fragments repeat the header with the whole size."""
    if not 0 < len(frame) < 1 << 13:
        raise BadMedia(f"an AAC frame of {len(frame)} bytes; AAC-hbr takes 1 to 8191")
    header = b"\x00\x10" + (len(frame) << 3).to_bytes(2, "big")
    step = max_bytes - len(header)
    return [header + frame[at : at + step] for at in range(0, len(frame), step)]


def opus_payloads(packet: bytes, max_bytes: int) -> list[bytes]:
    """Returns the packet itself; Opus packets are never cut (RFC 7587, 4.2)."""
    if not 0 < len(packet) <= max_bytes:
        raise BadMedia(f"an Opus packet of {len(packet)} bytes; expected 1 to {max_bytes}")
    return [packet]


def mpeg_audio_payloads(frame: bytes, max_bytes: int) -> list[bytes]:
    """Cuts a frame of MPEG audio, any layer; each piece says where in the frame it begins (3.5)."""
    if not 0 < len(frame) < 1 << 16:
        raise BadMedia(f"an MPEG audio frame of {len(frame)} bytes; expected 1 to 65535")
    step = max_bytes - 4
    return [
        b"\0\0" + at.to_bytes(2, "big") + frame[at : at + step] for at in range(0, len(frame), step)
    ]


def sample_payloads(samples: bytes, max_bytes: int, *, frame_bytes: int) -> list[bytes]:
    """Cuts between sample frames (one sample of every channel, `frame_bytes` together)."""
    if not samples or len(samples) % frame_bytes:
        raise BadMedia(f"{len(samples)} bytes of sound; expected a multiple of {frame_bytes}")
    step = max_bytes // frame_bytes * frame_bytes
    return [samples[at : at + step] for at in range(0, len(samples), step)]
