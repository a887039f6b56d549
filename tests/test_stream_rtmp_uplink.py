"""`rtmp://host/application/key` out: to nginx, which records, and to ffmpeg, which listens."""

from __future__ import annotations

import http.server
import logging
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest
from kinemacolor.stream.address import RtmpPush, parse_sink, parse_source
from kinemacolor.stream.errors import BadSink, SinkError
from kinemacolor.stream.options import LiveOptions
from kinemacolor.stream.rtmp.uplink import RtmpUplink
from kinemacolor.stream.rtsp.nal import parse_extradata
from kinemacolor.stream.rtsp.tracks import VideoTrack
from kinemacolor.stream.sinks.encode import EncodeOptions
from kinemacolor.stream.sinks.open import open_sink
from kinemacolor.stream.sinks.publish import PublishSink, open_push_sink
from kinemacolor.stream.sinks.sound import AacEncoder
from kinemacolor.stream.sources.network import open_network_source
from kinemacolor.stream.sources.open import open_source

from tests.media import packet_hashes, packet_times, read_frames, write_clip
from tests.rtmp_server import MODULE, RtmpServer, free_port
from tests.rtsp_peer import encode_clip

needs_nginx = pytest.mark.skipif(
    not MODULE.exists(), reason="libnginx-mod-rtmp and nginx are not installed"
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RtmpServer]:
    server = RtmpServer(tmp_path)
    yield server
    if server.is_up:
        server.stop()


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write_clip(
        tmp_path / "film.mkv", codec="libx264", size=(160, 120), frames=50, audio="aac"
    )


def push(url: str, film: Path, seconds: float = 1.6) -> PublishSink:
    """Pushes a film as if live, without colours."""
    source = open_source(film, live=LiveOptions(realtime=True), duration_seconds=seconds)
    sink = open_sink(url, source, options=EncodeOptions(preset="ultrafast"))
    assert isinstance(sink, PublishSink)
    try:
        for item in source:
            sink.write(item)
        sink.finish()
    finally:
        sink.abandon(keep=False)
        source.close()
    return sink


def recorded(server: RtmpServer) -> Path:
    """The newest recording, once the server has closed it."""
    time.sleep(0.3)
    server.stop()
    return server.recordings()[-1]


@needs_nginx
def test_picture_arrives_in_time_and_sound_as_it_was(server: RtmpServer, film: Path) -> None:
    push(server.url, film)
    copy = recorded(server)
    assert len(read_frames(copy)) == 40
    (pictures,), (sounds,) = packet_times(copy, "video"), packet_times(copy, "audio")
    assert pictures == [Fraction(40 * number, 1000) for number in range(40)]
    (sent,), (got,) = packet_hashes(film, "audio"), packet_hashes(copy, "audio")
    assert len(got) > 60
    first = sent.index(got[0])
    assert got == sent[first : first + len(got)]
    (original,) = packet_times(film, "audio")
    shift = original[first] - sounds[0]
    for theirs, ours in zip(original[first:], sounds, strict=False):
        assert abs(theirs - ours - shift) <= Fraction(2, 1000)  # FLV counts in ms, Matroska too
    assert abs(shift - packet_times(film, "video")[0][0]) <= Fraction(2, 1000)


@needs_nginx
def test_a_server_that_went_away_is_found_again(server: RtmpServer, film: Path) -> None:
    source = open_source(film, live=LiveOptions(realtime=True, loop=True), duration_seconds=20)
    sink = open_push_sink(parse_sink(server.url), source, options=EncodeOptions(preset="ultrafast"))
    pusher: Any = sink.publisher
    written = back = 0
    for item in source:
        sink.write(item)
        written += isinstance(item, av.VideoFrame)
        if written == 55 and server.is_up and not back:
            server.stop()
        if written == 80 and not server.is_up:
            server.start()
        back += pusher.reconnects and isinstance(item, av.VideoFrame)
        if back == 25:
            break
    sink.finish()
    source.close()
    copy = recorded(server)
    assert pusher.reconnects == 1
    assert len(server.recordings()) == 2
    frames = read_frames(copy)  # from a key frame, and its own time zero
    assert len(frames) >= 20
    assert float(frames[0].pts * frames[0].time_base) < 0.1


@needs_nginx
def test_what_was_pushed_is_a_source(server: RtmpServer, tmp_path: Path) -> None:
    film = write_clip(
        tmp_path / "long.mkv", codec="libx264", size=(160, 120), frames=150, audio="aac"
    )
    pushing = threading.Thread(target=push, args=(server.url, film, 6.0))
    pushing.start()
    time.sleep(0.5)
    source = open_network_source(parse_source(server.url), give_up_seconds=1)
    pictures = sounds = 0
    for item in source:
        pictures += isinstance(item, av.VideoFrame)
        sounds += not isinstance(item, av.VideoFrame)
        if pictures >= 30 and sounds >= 30:
            break
    source.close()
    pushing.join()
    assert (source.info.width, source.info.height) == (160, 120)
    assert pictures >= 30


@needs_nginx
def test_other_sound_becomes_aac(server: RtmpServer, tmp_path: Path) -> None:
    film = write_clip(
        tmp_path / "pcm.mkv", codec="libx264", size=(64, 48), frames=50, audio="pcm_s16le"
    )
    push(server.url, film)
    with av.open(str(recorded(server))) as copy:
        (sound,) = copy.streams.audio
        assert (sound.codec_context.name, sound.codec_context.sample_rate) == ("aac", 48_000)
        samples = list(copy.decode(audio=0))
    seconds = sum(frame.samples for frame in samples) / 48_000
    assert 1.3 < seconds < 1.7


def test_sound_becomes_aac_without_a_gap_at_its_time(tmp_path: Path) -> None:
    film = write_clip(
        tmp_path / "low.mkv", codec="libx264", size=(64, 48), frames=50, audio="libmp3lame"
    )
    with av.open(str(film)) as container:
        encoder = AacEncoder(container.streams.audio[0])
        packets = [packet for packet in container.demux(audio=0) if packet.size]
        frames = [frame for packet in packets for frame in encoder.encode(packet)]
        damaged = av.Packet(b"no MP3 frame begins so")
        damaged.pts, damaged.time_base = 0, Fraction(1, 1000)
        assert encoder.encode(damaged) == []
    times = [seconds for _, seconds in frames]
    assert len(times) > 80
    for before, after in pairwise(times):
        assert after - before == pytest.approx(1024 / 48_000, abs=0.002)
    first = float(packets[0].pts * packets[0].time_base)
    assert times[0] == pytest.approx(first - 1024 / 48_000, abs=0.03)  # the encoder's priming


@needs_nginx
def test_a_picture_that_changes_its_size_is_followed(server: RtmpServer) -> None:
    source = open_source("test:160x120@25#1")
    sink = open_push_sink(parse_sink(server.url), source, options=EncodeOptions(preset="ultrafast"))
    for number, (width, height) in enumerate([(160, 120)] * 3 + [(96, 70)] * 3):
        frame = av.VideoFrame(width, height, "yuv420p")
        frame.pts, frame.time_base = 3600 * number, Fraction(1, 90000)
        sink.write(frame)
    sink.finish()
    source.close()
    sizes = [(frame.width, frame.height) for frame in read_frames(recorded(server))]
    assert sizes == [(160, 120)] * 3 + [(96, 70)] * 3


@needs_nginx
def test_times_go_on_after_four_and_a_half_hours(server: RtmpServer) -> None:
    """RTMP's times have three bytes, 16,777 s; four more stand behind them after that."""
    clip = encode_clip(0.64, gop=4)
    video = VideoTrack(*parse_extradata(clip.video_extradata))
    target = parse_sink(server.url)
    assert isinstance(target, RtmpPush)
    uplink = RtmpUplink(target, video, None, 5.0)
    wanted = []
    for _, seconds, is_key, data in [packet for packet in clip.packets if packet[0]]:
        _, nals = video.read(data, is_key)
        seconds += 16_777 if seconds > 0.3 else 0
        wanted.append(Fraction(round(1000 * seconds), 1000))
        uplink.send_video(video, nals, seconds, is_key)
    uplink.close()
    (times,) = packet_times(recorded(server), "video")
    assert times == wanted
    assert wanted[-1] > 16_777.3


@needs_nginx
def test_a_refusal_is_an_error_without_the_key(server: RtmpServer, film: Path) -> None:
    for application in ("closed", "nowhere"):
        with pytest.raises(SinkError, match=r"path and key\?|application 'nowhere'\?") as caught:
            push(f"rtmp://127.0.0.1:{server.port}/{application}/secret", film)
        assert "secret" not in str(caught.value)


@needs_nginx
def test_the_key_is_never_shown(
    server: RtmpServer, film: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sink = push(server.url, film, 0.4)
    assert "secret" not in sink.description + sink.publisher.url + caplog.text
    assert sink.publisher.url == f"rtmp://127.0.0.1:{server.port}/live/..."
    assert str(parse_sink(server.url)) == sink.publisher.url  # what the run and its report say


@needs_nginx
@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_rtmps_checks_who_answers(
    server: RtmpServer, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    with Relay(server.port, key, certificate) as relay:
        url = f"rtmps://127.0.0.1:{relay.port}/live/secret"
        with pytest.raises(SinkError, match="certificate verify failed"):
            push(url, film)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        push(url, film)
    assert len(read_frames(recorded(server))) == 40


class Relay:
    """TLS in front of a port; takes one connection after another."""

    def __init__(self, port: int, key: Path, certificate: Path) -> None:
        self._target = port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Relay:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            try:
                outer = self._context.wrap_socket(plain, server_side=True)
            except OSError:  # the client did not trust us
                plain.close()
                continue
            with outer, socket.create_connection(("127.0.0.1", self._target)) as inner:
                back = threading.Thread(target=_carry, args=(inner, outer))
                back.start()
                _carry(outer, inner)
                inner.shutdown(socket.SHUT_RDWR)
                back.join()


def _carry(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass  # the other side has gone


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")
def test_ffmpeg_takes_it(film: Path, tmp_path: Path) -> None:
    url, copy = f"rtmp://127.0.0.1:{free_port()}/live/secret", tmp_path / "copy.flv"
    command = ["ffmpeg", "-v", "error", "-nostdin", "-listen", "1", "-i", url, "-c", "copy"]
    listener = subprocess.Popen([*command, str(copy)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while True:  # it takes one connection only, so there is no asking whether it listens
        try:
            push(url, film)
            break
        except SinkError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert listener.wait(20) == 0
    assert len(read_frames(copy)) == 40
    assert len(packet_hashes(copy, "audio")[0]) > 60


def test_nobody_there_is_an_error_at_once(film: Path) -> None:
    with pytest.raises(SinkError, match="Connection refused") as caught:
        push("rtmp://127.0.0.1:9/live/secret", film)
    assert "secret" not in str(caught.value)


def test_something_else_that_answers_is_an_error(film: Path) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as web:
        thread = threading.Thread(target=web.handle_request)
        thread.start()
        with pytest.raises(SinkError, match=r"no RTMP server|closed the connection|no answer"):
            push(f"rtmp://127.0.0.1:{web.server_port}/live/secret", film)
        thread.join()


def test_urls_are_read_and_shown_without_their_key() -> None:
    def target(url: str) -> tuple[str, int, str, str]:
        address = parse_sink(url)
        assert isinstance(address, RtmpPush)
        return address.host, address.port, address.application, address.key

    long = target("rtmp://a.example/live2/abcd-efgh?backup=1")
    assert long == ("a.example", 1935, "live2", "abcd-efgh?backup=1")
    assert target("rtmps://a.example:44/app/instance/key")[1:] == (44, "app/instance", "key")
    assert target("rtmps://a.example/app/key")[1] == 443
    shown = str(parse_sink("rtmp://a.example:7/live/key?token=x"))
    assert shown == "rtmp://a.example:7/live/..."
    for bad in (
        "rtmp://host/key",
        "rtmp:///app/key",
        "rtmp://host:x/app/key",
        "rtmp://u:p@h/a/key",
    ):
        with pytest.raises(BadSink, match="APPLICATION/KEY") as caught:
            parse_sink(bad)
        assert bad not in str(caught.value)
