"""Serves the result over RTSP to any number of viewers, or pushes it to another server."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from kinemacolor.stream.address import RtmpPush, RtspPush
from kinemacolor.stream.address import RtspServer as ServerAddress
from kinemacolor.stream.errors import SinkError
from kinemacolor.stream.media import Item, Sink, Source, is_frame
from kinemacolor.stream.options import EncodeOptions
from kinemacolor.stream.passwords import OF_VIEWERS, read_password
from kinemacolor.stream.rtmp.uplink import RtmpUplink
from kinemacolor.stream.rtsp import Credentials, RtspServer
from kinemacolor.stream.rtsp.publisher import Publisher
from kinemacolor.stream.rtsp.tracks import AudioCodec, AudioTrack
from kinemacolor.stream.rtsp.uplink import RtspUplink
from kinemacolor.stream.sinks.live_encoder import LiveEncoder
from kinemacolor.stream.sinks.push import TIMEOUT_SECONDS, Connect, Pusher
from kinemacolor.stream.sinks.remux import has_adts_header
from kinemacolor.stream.sinks.sound import AacEncoder

log = logging.getLogger(__name__)

# What travels to viewers as it comes, by FFmpeg's names.
SOUNDS: dict[str, AudioCodec] = {
    "aac": "aac",
    "opus": "opus",
    "mp3": "mpa",
    "mp2": "mpa",
    "pcm_mulaw": "pcmu",
    "pcm_alaw": "pcma",
    "pcm_s16be": "l16",
    "pcm_s16le": "l16",
}


def credentials_for(user: str | None) -> Credentials | None:
    """Reads the password of the login that viewers need, from the environment or from a file.

    Raises SinkError when there is a user and no password: it is never on the command line,
    where every process of the machine could read it.
    """
    if user is None:
        return None
    password = read_password(OF_VIEWERS)
    if not password:
        raise SinkError(f"no password for {user}: set {OF_VIEWERS}, or {OF_VIEWERS}_FILE to a file")
    return Credentials(user, password)


def tls_for(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """Reads what an RTSPS server shows to viewers. Raises SinkError."""
    if certificate is None:
        if key is not None:
            raise SinkError(f"--tls-key {key} needs --tls-cert as well")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        why = "no certificate and key in PEM that belong together"
        if isinstance(error, FileNotFoundError | PermissionError):
            why = f"{error.strerror}, it or its key"
        raise SinkError(f"cannot use --tls-cert {certificate}: {why}") from error
    return context


def _no_password() -> str:
    raise SinkError("the key of --tls-key has a password: it must have none")


def open_serve_sink(
    address: ServerAddress,
    source: Source,
    *,
    options: EncodeOptions,
    credentials: Credentials | None = None,
    tls: ssl.SSLContext | None = None,
) -> PublishSink:
    """Serves at an address of this machine.

    Raises SinkError when that address is taken, or a codec other than H.264 is asked for.
    """
    if address.secure and tls is None:
        raise SinkError(f"{address} needs --tls-cert FILE, and --tls-key FILE unless that holds it")
    if tls is not None and not address.secure:
        raise SinkError(f"--tls-cert is for rtsps://@, and {address} is open to whoever listens in")
    encoder = LiveEncoder(source.info.rate, options)
    server = RtspServer(
        address.host,
        address.port,
        address.path,
        credentials=credentials,
        on_key_request=encoder.ask_for_key,
        tls=tls,
    )
    server.start()
    return PublishSink(source, encoder, server)


def open_push_sink(
    address: RtspPush | RtmpPush,
    source: Source,
    *,
    options: EncodeOptions,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> PublishSink:
    """Pushes to a server. Raises SinkError for a codec other than H.264."""
    encoder = LiveEncoder(source.info.rate, options)
    connect: Connect
    match address:
        case RtmpPush():
            connect = partial(RtmpUplink, address)
        case RtspPush():
            connect = partial(RtspUplink, address)
    pusher = Pusher(
        str(address), connect, on_key_request=encoder.ask_for_key, timeout_seconds=timeout_seconds
    )
    return PublishSink(source, encoder, pusher, only_aac=isinstance(address, RtmpPush))


class PublishSink(Sink):
    """Encodes once, without delay; sound that players take goes along as it is.

    Args:
        only_aac: other sound than AAC is made into it, as RTMP's servers take nothing else.
    """

    follows_size = True  # players of H.264 take new parameter sets with any key frame

    def __init__(
        self, source: Source, encoder: LiveEncoder, publisher: Publisher, *, only_aac: bool = False
    ) -> None:
        self._encoder = encoder
        self.publisher = publisher
        self.pix_fmts = encoder.pix_fmts
        self.description = f"{encoder.description}, {publisher.url}"
        self._to_aac: AacEncoder | None = None
        publisher.set_video()
        self._sound = _sound_of(source, ("aac",) if only_aac else SOUNDS)
        if self._sound is None and only_aac:
            self._sound, self._to_aac = _made_aac(source)
        elif self._sound is None:
            for sound in source.container.streams.audio:
                log.warning(
                    "%s sound is left out: RTSP viewers get AAC, Opus, MP3, G.711 or 16-bit PCM",
                    sound.codec_context.name,
                )
        if self._to_aac is not None:
            publisher.set_audio(self._to_aac.track)
        elif self._sound is not None:
            context = self._sound.codec_context
            if context.extradata or context.codec.canonical_name != "aac":
                self._declare(bytes(context.extradata or b""))

    def write(self, item: Item) -> None:
        if is_frame(item):
            for packet in self._encoder.encode(item):
                self._publish(packet)
        elif self._sound is not None and item.stream_index == self._sound.index:
            self._publish_sound(item)

    def finish(self) -> None:
        try:
            for packet in self._encoder.flush():
                self._publish(packet)
        finally:
            self.publisher.close()

    def abandon(self, *, keep: bool) -> Path | None:
        self.publisher.close()
        return None

    def _publish(self, packet: Any) -> None:
        seconds = float(packet.pts * packet.time_base)
        self.publisher.publish_video(bytes(packet), seconds, packet.is_keyframe)

    def _publish_sound(self, packet: Any) -> None:
        if packet.pts is None:
            return
        if self._to_aac is not None:
            for data, seconds in self._to_aac.encode(packet):
                self.publisher.publish_audio(data, seconds)
            return
        data = bytes(packet)
        if has_adts_header(packet.stream, packet):
            self._declare(adts_config(data))
            data = data[7 if data[1] & 1 else 9 :]
        elif self._sound.codec_context.name == "pcm_s16le":
            data = np.frombuffer(data, "<i2").astype(">i2").tobytes()  # network order
        self.publisher.publish_audio(data, float(packet.pts * packet.time_base))

    def _declare(self, config: bytes) -> None:
        context = self._sound.codec_context
        codec = SOUNDS[context.codec.canonical_name]
        config = config if codec == "aac" else b""
        channels = context.layout.nb_channels
        self.publisher.set_audio(AudioTrack(codec, config, context.sample_rate, channels))


def adts_config(data: bytes) -> bytes:
    """Makes AAC's AudioSpecificConfig of a packet's ADTS header (ISO 14496-3, 1.6.2.1, 1.A.2)."""
    profile, rate = data[2] >> 6, data[2] >> 2 & 15
    channels = (data[2] & 1) << 2 | data[3] >> 6
    return ((profile + 1) << 11 | rate << 7 | channels << 3).to_bytes(2, "big")


def _sound_of(source: Source, codecs: Collection[str]) -> Any:
    """Finds the first sound stream of one of these codecs; None where there is none."""
    sounds = source.container.streams.audio
    return next((s for s in sounds if s.codec_context.codec.canonical_name in codecs), None)


def _made_aac(source: Source) -> tuple[Any, AacEncoder | None]:
    """Finds the first sound that decodes, and what makes it AAC."""
    for sound in source.container.streams.audio:
        try:
            return sound, AacEncoder(sound)
        except SinkError as error:
            log.warning("sound is left out: %s", error)
    return None, None
