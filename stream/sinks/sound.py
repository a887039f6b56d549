"""Makes sound into AAC, for outputs that take nothing else."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import av.error
from av.codec.context import Flags
from kinemacolor.stream.errors import SinkError
from kinemacolor.stream.rtsp.tracks import AudioTrack

_RATES = (44_100, 48_000)  # at 8 kHz, which AAC knows too, a frame would last 128 ms
_FRAME = 1024


class AacEncoder:
    """Decodes and encodes packets of one stream, at 48 kHz unless it comes at 44.1.

    Raises SinkError when there is no decoder for the stream.
    """

    def __init__(self, sound: Any) -> None:
        given = sound.codec_context
        rate = given.sample_rate if given.sample_rate in _RATES else 48_000
        channels = min(2, given.layout.nb_channels)
        layout = "mono" if channels == 1 else "stereo"
        try:
            self._decoder: Any = av.CodecContext.create(given.codec.canonical_name, "r")
            self._decoder.sample_rate, self._decoder.layout = given.sample_rate, given.layout
            self._decoder.extradata = given.extradata
            self._decoder.open()
        except (av.error.FFmpegError, ValueError) as error:
            raise SinkError(f"{given.name} sound cannot be decoded: {error}") from error
        self._resampler = av.AudioResampler("fltp", layout, rate, _FRAME)
        self._encoder: Any = av.CodecContext.create("aac", "w")
        self._encoder.sample_rate, self._encoder.layout = rate, layout
        self._encoder.format, self._encoder.bit_rate = "fltp", 64_000 * channels
        self._encoder.time_base = Fraction(1, rate)
        self._encoder.flags |= Flags.global_header
        self._encoder.open()
        self.track = AudioTrack("aac", bytes(self._encoder.extradata or b""), rate, channels)

    def encode(self, packet: Any) -> list[tuple[bytes, float]]:
        """Returns AAC frames and their times in seconds; a damaged packet is left out."""
        coded = av.Packet(bytes(packet))
        coded.pts, coded.dts, coded.time_base = packet.pts, packet.dts, packet.time_base
        try:
            frames = self._decoder.decode(coded)
        except av.error.InvalidDataError:
            return []
        return [
            (bytes(out), float(out.pts * out.time_base))
            for frame in frames
            for part in self._resampler.resample(frame)
            for out in self._encoder.encode(part)
        ]
