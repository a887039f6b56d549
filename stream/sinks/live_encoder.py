"""Encodes H.264 for viewers who watch now: it holds no frame back, and a key frame comes soon."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import av.error
from av.video.frame import PictureType
from kinemacolor.stream.address import SinkAddress
from kinemacolor.stream.errors import BadSink, SinkError
from kinemacolor.stream.options import EncodeOptions
from kinemacolor.stream.rtsp.nal import IDR, split_annex_b
from kinemacolor.stream.sinks.encode import choose_encoder, encoder_settings, tag

KEY_SECONDS = 1.0  # between key frames: as long as a new viewer waits at most
# Beside the common settings; what each encoder calls "do not hold frames back".
_AT_ONCE = {
    "libx264": {"tune": "zerolatency", "forced-idr": "1"},
    "h264_nvenc": {"tune": "ull", "zerolatency": "1", "delay": "0", "forced-idr": "1"},
    "h264_qsv": {"async_depth": "1", "forced_idr": "1"},
    "h264_amf": {"usage": "ultralowlatency", "forced_idr": "1"},
}


def check_intra_refresh(address: SinkAddress) -> None:
    """Raises BadSink for an output whose viewers need key frames that nobody asks for."""
    if not address.follows_keys:
        raise BadSink(
            "--intra-refresh makes no key frames but those that viewers ask for, which only those "
            "of rtsp://@ can: leave it out, or have rtsp://@ and mpegts:- outputs alone"
        )


class LiveEncoder:
    """Encodes each frame at once; opens anew when their size or format changes.

    Parameter sets come with every key frame, so that viewers follow. `ask_for_key` may be called
    on any thread.

    With `intra_refresh` no frame is much larger than another: a column of intra blocks moves over
    the picture once a second instead of a key frame, but for those that are asked for. A decoder
    could begin where the column does, and shows nothing until it is across; so these frames do
    not count as key frames.

    Raises BadSink for a codec other than H.264, which is what every player of live streams takes.
    """

    pix_fmts = frozenset(("yuv420p",))

    def __init__(self, rate: Fraction, options: EncodeOptions) -> None:
        self.encoder = choose_encoder(options, ".mp4")
        if self.encoder not in _AT_ONCE:
            raise BadSink(f"live streams are H.264: {self.encoder} is no encoder for one")
        self._rate = rate
        gop = max(1, round(KEY_SECONDS * rate))
        self._settings = {
            **encoder_settings(self.encoder, options),
            **_AT_ONCE[self.encoder],
            "g": str(gop),
            "bf": "0",
        }
        self.description = f"{self.encoder} crf {options.crf:g} {options.preset}, live"
        self._refreshes = options.intra_refresh
        if options.intra_refresh:
            if self.encoder != "libx264":
                raise BadSink(f"--intra-refresh is x264's, not {self.encoder}'s: leave one out")
            self._settings["intra-refresh"] = "1"
            self.description += ", intra refresh"
        self._context: Any = None
        self._shape: tuple[Any, ...] = ()
        self._key_wanted = False

    def ask_for_key(self) -> None:
        """Makes the next frame a key frame."""
        self._key_wanted = True

    def encode(self, frame: av.VideoFrame) -> list[Any]:
        """Returns the coded picture of a frame. Raises SinkError."""
        if frame.width % 2 or frame.height % 2:  # 4:2:0 has whole chroma samples only
            frame = frame.reformat(width=max(2, frame.width & ~1), height=max(2, frame.height & ~1))
        packets = []
        try:
            shape = (frame.width, frame.height, frame.format.name, frame.color_range)
            if shape != self._shape:
                packets += self.flush()
                self._context, self._shape = self._open(frame), shape
            if self._key_wanted:
                self._key_wanted = False
                frame.pict_type = PictureType.I
            packets += self._context.encode(frame)
            if self._refreshes:
                for packet in packets:
                    packet.is_keyframe = _has_idr(packet)
        except (av.error.FFmpegError, OSError) as error:
            raise SinkError(f"{self.encoder} failed: {error.strerror or error}") from error
        return packets

    def flush(self) -> list[Any]:
        """Returns what a hardware encoder held back; others hold nothing."""
        return [] if self._context is None else self._context.encode(None)

    def _open(self, frame: av.VideoFrame) -> Any:
        context: Any = av.CodecContext.create(self.encoder, "w")
        tag(context, frame)
        context.pix_fmt = frame.format.name
        context.time_base, context.framerate = frame.time_base, self._rate
        context.options = self._settings
        context.open()
        return context


def _has_idr(packet: Any) -> bool:
    return any(nal[0] & 31 == IDR for nal in split_annex_b(bytes(packet)))
