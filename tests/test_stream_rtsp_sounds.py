"""Every kind of sound that RTSP viewers get, taken apart again by FFmpeg and GStreamer."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from kinemacolor.stream.address import parse_source
from kinemacolor.stream.options import LiveOptions
from kinemacolor.stream.rtsp import AudioTrack, RtspServer
from kinemacolor.stream.rtsp.nal import IDR, SLICE, split_annex_b
from kinemacolor.stream.rtsp.tracks import AudioCodec
from kinemacolor.stream.sinks.open import open_sink
from kinemacolor.stream.sinks.publish import PublishSink
from kinemacolor.stream.sources.network import open_network_source
from kinemacolor.stream.sources.open import open_source

from tests.rtsp_peer import Client, Clip, Publisher, encode_clip

SECONDS = 7.68
# Ours and FFmpeg's name, Hz, channels; what GStreamer takes it apart with.
SOUNDS: dict[str, tuple[AudioCodec, str, int, int, str]] = {
    "PCMU": ("pcmu", "pcm_mulaw", 8_000, 1, "rtppcmudepay"),
    "PCMA": ("pcma", "pcm_alaw", 8_000, 1, "rtppcmadepay"),
    "PCMU, 16 kHz": ("pcmu", "pcm_mulaw", 16_000, 1, "rtppcmudepay"),
    "L16, static": ("l16", "pcm_s16be", 44_100, 2, "rtpL16depay"),
    "L16, dynamic": ("l16", "pcm_s16be", 48_000, 1, "rtpL16depay"),
    "MP3": ("mpa", "libmp3lame", 44_100, 2, "rtpmpadepay"),
    "MP3, 320 kbit/s": ("mpa", "libmp3lame", 32_000, 1, "rtpmpadepay"),
}


@pytest.fixture(scope="module")
def silent() -> Clip:
    return encode_clip(SECONDS, width=160, height=120, gop=12)


@pytest.fixture(params=SOUNDS)
def sound(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def noise(codec: str, rate: int, channels: int, seconds: float) -> list[tuple[float, bytes]]:
    """Coded noise, of which no two stretches are alike: (seconds, bytes) of every packet."""
    encoder: Any = av.CodecContext.create(codec, "w")
    layout = "mono" if channels == 1 else "stereo"
    format = "s16p" if codec == "libmp3lame" else "s16"
    encoder.sample_rate, encoder.layout, encoder.format = rate, layout, format
    encoder.time_base = Fraction(1, rate)
    if codec == "libmp3lame" and rate == 32_000:
        encoder.bit_rate = 320_000  # frames of 1440 bytes, more than a packet takes
    encoder.open()
    step = encoder.frame_size or rate // 8
    dice = np.random.default_rng(1908)
    packets: list[Any] = []
    for start in range(0, round(seconds * rate), step):
        samples = dice.integers(-3000, 3000, (channels, step)).astype(np.int16)
        planes = samples if format == "s16p" else samples.T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(planes), format, layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        packets += encoder.encode(frame)
    first = packets[0].pts
    return [((packet.pts - first) / rate, bytes(packet)) for packet in packets]


class Sounding(Publisher):
    """Publishes a clip with another sound than its own."""

    def __init__(self, server: RtspServer, silent: Clip, name: str) -> None:
        self.codec, codec, self.rate, self.channels, _ = SOUNDS[name]
        self.packets = noise(codec, self.rate, self.channels, SECONDS)
        self.data = b"".join(data for _, data in self.packets)
        self.bytes_a_second = self.rate * self.channels * (2 if self.codec == "l16" else 1)
        sounds = [(False, seconds, True, data) for seconds, data in self.packets]
        pictures = [packet for packet in silent.packets if packet[0]]
        clip = replace(silent, packets=sorted(sounds + pictures, key=lambda p: (p[1], not p[0])))
        super().__init__(server, clip)

    def seconds_of(self, data: bytes) -> float:
        """When what begins with these bytes was sent."""
        place = self.data.index(data)
        for seconds, packet in self.packets:
            if place < len(packet):
                return seconds + (place / self.bytes_a_second if self.codec != "mpa" else 0)
            place -= len(packet)
        raise AssertionError("not sent")

    def __enter__(self) -> Sounding:
        self._server.set_audio(AudioTrack(self.codec, b"", self.rate, self.channels))
        self._server.set_video(self._clip.video_extradata)
        self._thread.start()
        return self


def received(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=40)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_ffmpeg_gets_every_byte(sound: str, silent: Clip, tmp_path: Path) -> None:
    if not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed")
    copy = tmp_path / "copy"
    with RtspServer(port=0) as server, Sounding(server, silent, sound) as publisher:
        received(
            [
                *("ffmpeg", "-v", "error", "-nostdin", "-rtsp_transport", "tcp"),
                *("-i", server.url, "-map", "0:a", "-c", "copy", "-t", "1", "-f", "data"),
                str(copy),
            ]
        )
    data = copy.read_bytes()
    assert len(data) == pytest.approx(len(publisher.data) / SECONDS, rel=0.15)  # one second
    assert data in publisher.data


def test_gstreamer_gets_every_byte(sound: str, silent: Clip, tmp_path: Path) -> None:
    if not shutil.which("gst-launch-1.0"):
        pytest.skip("gst-launch-1.0 is not installed")
    copy = tmp_path / "copy"
    depay = SOUNDS[sound][-1]
    with RtspServer(port=0) as server, Sounding(server, silent, sound) as publisher:
        received(
            [
                *("gst-launch-1.0", "-q", "rtspsrc", f"location={server.url}", "protocols=tcp"),
                *("name=s", "s.", "!", "application/x-rtp,media=audio", "!", depay, "!"),
                *("identity", "eos-after=30", "!", "filesink", f"location={copy}"),
            ]
        )
    data = copy.read_bytes()
    assert len(data) > 2000
    assert data in publisher.data


def slices(access_unit: bytes) -> bytes:
    """What an access unit has of the picture itself."""
    return b"".join(nal for nal in split_annex_b(access_unit) if nal[0] & 31 in (SLICE, IDR))


@pytest.mark.parametrize("name", ["PCMU", "L16, static", "MP3"])
def test_sound_and_picture_have_one_clock(name: str, silent: Clip) -> None:
    """What was sent at one moment is received at one moment; RTCP's reports say so."""
    shifts: dict[str, list[float]] = {"video": [], "audio": []}
    with RtspServer(port=0) as server, Sounding(server, silent, name) as publisher:
        pictures = {slices(data): seconds for video, seconds, _, data in silent.packets if video}
        with av.open(server.url, options={"rtsp_transport": "tcp"}, timeout=10) as viewer:
            for packet in viewer.demux():
                if packet.pts is None:  # FFmpeg's parsers lose the times of what comes first
                    continue
                data, kind = bytes(packet), packet.stream.type
                sent = publisher.seconds_of(data) if kind == "audio" else pictures[slices(data)]
                shifts[kind].append(float(packet.pts * packet.time_base) - sent)
                if min(map(len, shifts.values())) >= 15:
                    break
    # RTP's 8 kHz clock has ticks of 0.125 ms; FFmpeg joins clocks to within as much.
    for times in shifts.values():
        assert max(times[3:]) - min(times[3:]) < 0.001, times
    assert abs(shifts["audio"][-1] - shifts["video"][-1]) < 0.001


def test_a_film_goes_out_with_the_sound_it_has(tmp_path: Path) -> None:
    """16 bits little-endian, as WAV, Matroska and AVI have them, travel big-endian."""
    film = tmp_path / "film.mkv"
    with av.open(str(film), "w") as container:
        video: Any = container.add_stream("libx264", rate=25, width=64, height=48)
        audio: Any = container.add_stream("pcm_s16le", rate=48_000, layout="mono")
        samples = np.random.default_rng(1).integers(-3000, 3000, (1, 48_000)).astype(np.int16)
        for index in range(25):
            container.mux(video.encode(av.VideoFrame(64, 48, "yuv420p")))
            part = np.ascontiguousarray(samples[:, index * 1920 : (index + 1) * 1920])
            frame = av.AudioFrame.from_ndarray(part, "s16", "mono")
            frame.sample_rate, frame.pts = 48_000, index * 1920
            container.mux(audio.encode(frame))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    source = open_source(film, live=LiveOptions(realtime=True))
    sink = open_sink("rtsp://@:0/live", source)
    assert isinstance(sink, PublishSink)
    assert isinstance(sink.publisher, RtspServer)
    sent: list[bytes] = []
    with Client(sink.publisher) as client:
        for item in source:
            sink.write(item)
            if not isinstance(item, av.VideoFrame):
                sent.append(bytes(item))
            elif not client.session:
                text = client.request("DESCRIBE", Accept="application/sdp").body.decode()
                assert "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 L16/48000\r\n" in text
                client.play(1)
        got = b""
        while len(got) < 60_000:
            channel, packet = client.frame()
            if channel == 2:
                assert packet[1] == 97  # no marker: no silence ends here
                got += packet[12:]
    sink.finish()
    source.close()
    assert got in np.frombuffer(b"".join(sent), "<i2").astype(">i2").tobytes()


@pytest.mark.parametrize("name", ["PCMU", "L16, static", "MP3"])
def test_what_a_camera_sends_goes_on_to_viewers(name: str, silent: Clip) -> None:
    with RtspServer(port=0) as camera, Sounding(camera, silent, name) as publisher:
        source = open_network_source(parse_source(camera.url), give_up_seconds=1)
        sink = open_sink("rtsp://@:0/live", source)
        assert isinstance(sink, PublishSink)
        got = bytearray()
        sink.publisher.publish_audio = (  # type: ignore[method-assign]
            lambda data, seconds: got.extend(data)
        )
        for item in source:
            sink.write(item)
            if len(got) > 8000:
                break
        sink.finish()
        source.close()
        assert bytes(got) in publisher.data


def test_a_container_that_does_not_hold_what_a_camera_sends_says_so(
    silent: Clip, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with RtspServer(port=0) as camera, Sounding(camera, silent, "PCMU"):
        source = open_network_source(
            parse_source(camera.url), give_up_seconds=1, duration_seconds=0.6
        )
        sink = open_sink(tmp_path / "film.mp4", source)
        for item in source:
            sink.write(item)
        sink.finish()
        source.close()
    assert "pcm_mulaw" in caplog.text
    with av.open(str(tmp_path / "film.mp4")) as film:
        assert [stream.type for stream in film.streams] == ["video"]
