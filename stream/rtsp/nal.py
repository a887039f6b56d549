"""Cuts H.264 into NAL units (ITU-T H.264 Annex B; ISO/IEC 14496-15)."""

from __future__ import annotations

from dataclasses import dataclass

from kinemacolor.stream.rtsp.errors import BadMedia

SLICE, IDR, SPS, PPS, DELIMITER, FILLER = 1, 5, 7, 8, 9, 12


@dataclass(frozen=True, slots=True)
class ParameterSets:
    """The sets a decoder needs before the first picture."""

    sps: tuple[bytes, ...] = ()
    pps: tuple[bytes, ...] = ()

    @property
    def is_whole(self) -> bool:
        return bool(self.sps and self.pps)

    def updated(self, nals: list[bytes]) -> ParameterSets:
        """Returns these sets, exchanged for those that an access unit brings along."""
        sps = tuple(nal for nal in nals if nal[0] & 31 == SPS)
        pps = tuple(nal for nal in nals if nal[0] & 31 == PPS)
        if not sps and not pps:
            return self
        return ParameterSets(sps or self.sps, pps or self.pps)


def split_annex_b(data: bytes) -> list[bytes]:
    """Cuts out the NAL units between start codes, without trailing zero bytes."""
    nals = []
    start = data.find(b"\x00\x00\x01")
    while start >= 0:
        start += 3
        following = data.find(b"\x00\x00\x01", start)
        # A NAL unit never ends in a zero byte (7.4.1), so zeros before a start code are padding.
        nal = data[start : following if following >= 0 else len(data)].rstrip(b"\x00")
        if nal:
            nals.append(nal)
        start = following
    return nals


def split_length_prefixed(data: bytes, length_size: int) -> list[bytes]:
    """Cuts out NAL units that each stand behind their length: `length_size` bytes, big-endian."""
    nals, at = [], 0
    while at < len(data):
        end = at + length_size
        length = int.from_bytes(data[at:end], "big")
        if end + length > len(data):
            raise BadMedia(
                f"an access unit of {len(data)} bytes promises a NAL unit of {length} bytes at "
                f"byte {at}; is it Annex B while the extradata is avcC?"
            )
        if length:
            nals.append(data[end : end + length])
        at = end + length
    return nals


def parse_extradata(extradata: bytes) -> tuple[ParameterSets, int]:
    """Reads parameter sets, and the length size of length-prefixed units (0 for Annex B)."""
    if not extradata:
        return ParameterSets(), 0
    if extradata[0] != 1:
        sets = ParameterSets().updated(split_annex_b(extradata))
        if not sets.is_whole:
            raise BadMedia(f"no SPS and PPS in {len(extradata)} bytes of H.264 extradata")
        return sets, 0
    try:
        sps, at = _counted(extradata, 6, extradata[5] & 31)
        pps, _ = _counted(extradata, at + 1, extradata[at])
    except IndexError:
        raise BadMedia(f"avcC extradata of {len(extradata)} bytes is cut short") from None
    if not sps or not pps:
        raise BadMedia("avcC extradata holds no SPS or no PPS")
    return ParameterSets(sps, pps), (extradata[4] & 3) + 1


def _counted(data: bytes, at: int, count: int) -> tuple[tuple[bytes, ...], int]:
    nals = []
    for _ in range(count):
        length = int.from_bytes(data[at : at + 2], "big")
        at += 2 + length
        if at > len(data) or length == 0:
            raise IndexError
        nals.append(data[at - length : at])
    return tuple(nals), at
