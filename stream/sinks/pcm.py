"""Rewrites the PCM of DVD and Blu-ray discs as plain PCM, without loss."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

_DISC = ("pcm_dvd", "pcm_bluray", "pcm_s24daud")


def is_disc_pcm(stream: Any) -> bool:
    """Whether a stream's samples are packed as no file but a disc's has them."""
    context = stream.codec_context if stream.type == "audio" else None
    return context is not None and context.codec.canonical_name in _DISC


class Pcm:
    """Unpacks one stream's samples: 16 bit to pcm_s16le, 20 and 24 bit to pcm_s24le."""

    def __init__(self, sound: Any) -> None:
        self._sound = sound
        context = sound.codec_context
        self._wide = context.format.name.startswith("s32")
        self.codec = "pcm_s24le" if self._wide else "pcm_s16le"

    def add(self, target: Any) -> Any:
        """Adds the stream for the samples to a container."""
        context = self._sound.codec_context
        copy = target.add_stream(self.codec, rate=context.sample_rate)
        copy.codec_context.layout = context.layout
        copy.codec_context.format = "s32" if self._wide else "s16"
        copy.codec_context.time_base = copy.time_base = Fraction(1, context.sample_rate)
        copy.disposition = self._sound.disposition
        copy.metadata.update(self._sound.metadata)
        return copy

    def packets(self, packet: Any, copy: Any) -> list[Any]:
        """Returns the samples of one packet, at its time; none where it is damaged."""
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            return []
        samples = b"".join(map(self._bytes, frames))
        if not samples:
            return []
        plain = av.Packet(samples)
        plain.pts, plain.dts, plain.time_base = packet.pts, packet.dts, packet.time_base
        count = sum(frame.samples for frame in frames)
        plain.duration = round(
            Fraction(count, self._sound.codec_context.sample_rate) / packet.time_base
        )
        plain.is_keyframe, plain.stream = True, copy
        return [plain]

    def _bytes(self, frame: av.AudioFrame) -> bytes:
        samples: NDArray[Any] = frame.to_ndarray()
        if samples.shape[0] > 1:  # planar
            samples = np.ascontiguousarray(samples.T)
        if not self._wide:
            return samples.astype("<i2").tobytes()
        return samples.astype("<i4").reshape(-1, 1).view(np.uint8)[:, 1:].tobytes()
