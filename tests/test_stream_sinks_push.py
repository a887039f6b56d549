"""`rtsp://host/path` out: pushed to GStreamer's RTSP server, which records."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from kinemacolor.stream.address import parse_sink
from kinemacolor.stream.errors import SinkError
from kinemacolor.stream.options import LiveOptions
from kinemacolor.stream.rtsp.uplink import authorization
from kinemacolor.stream.sinks.encode import EncodeOptions
from kinemacolor.stream.sinks.open import open_sink
from kinemacolor.stream.sinks.publish import PublishSink, open_push_sink
from kinemacolor.stream.sources.open import open_source

from tests.media import write_clip
from tests.rtsp_peer import digest

SERVER = Path(__file__).with_name("gst_record_server.py")
PYTHON = "/usr/bin/python3"  # GStreamer's modules are the system's


def server_missing() -> bool:
    check = "import gi; gi.require_version('GstRtspServer', '1.0')"
    try:
        return bool(subprocess.run([PYTHON, "-c", check], capture_output=True).returncode)
    except OSError:
        return True


needs_gstreamer = pytest.mark.skipif(
    server_missing(), reason="gir1.2-gst-rtsp-server-1.0 is not installed"
)


class Recorder:
    """GStreamer's server on a port of its own."""

    def __init__(self, *login: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._login = login
        self.lines: list[str] = []
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [PYTHON, str(SERVER), str(self.port), *self._login], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        if self.process.stdout is None or self.process.stdout.closed:
            return
        self.process.send_signal(signal.SIGKILL)
        self.lines += self.process.communicate()[0].split()


@pytest.fixture
def recorder(request: pytest.FixtureRequest) -> Iterator[Recorder]:
    recorder = Recorder(*getattr(request, "param", ()))
    yield recorder
    recorder.kill()


def push(uri: str, film: Path, seconds: float) -> PublishSink:
    """Pushes a film as if live, without colours."""
    source = open_source(film, live=LiveOptions(realtime=True, loop=True), duration_seconds=seconds)
    sink = open_sink(uri, source, options=EncodeOptions(preset="ultrafast"))
    assert isinstance(sink, PublishSink)
    for item in source:
        sink.write(item)
    sink.finish()
    source.close()
    return sink


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write_clip(
        tmp_path / "film.mkv", codec="libx264", size=(160, 120), frames=25, audio="aac"
    )


@needs_gstreamer
@pytest.mark.parametrize("end", ["", "?udp"])
def test_picture_and_sound_arrive(recorder: Recorder, film: Path, end: str) -> None:
    push(f"rtsp://127.0.0.1:{recorder.port}/push{end}", film, 2.0)
    recorder.kill()
    if not end:
        assert recorder.lines.count("pictures") >= 45
    assert recorder.lines.count("pictures") >= 30  # datagrams may be lost on a busy machine
    assert recorder.lines.count("sounds") >= 60


@needs_gstreamer
@pytest.mark.parametrize("recorder", [("ann", "correct horse")], indirect=True)
def test_a_login_is_answered_and_a_wrong_one_is_an_error(recorder: Recorder, film: Path) -> None:
    address = f"127.0.0.1:{recorder.port}/push"
    push(f"rtsp://ann:correct%20horse@{address}", film, 1.0)
    with pytest.raises(SinkError, match="401") as caught:
        push(f"rtsp://ann:wrong@{address}", film, 1.0)
    assert "wrong" not in str(caught.value)
    recorder.kill()
    assert recorder.lines.count("pictures") >= 20


@needs_gstreamer
def test_a_server_that_went_away_is_found_again(recorder: Recorder, film: Path) -> None:
    source = open_source(film, live=LiveOptions(realtime=True, loop=True), duration_seconds=20)
    url = f"rtsp://127.0.0.1:{recorder.port}/push"
    sink = open_push_sink(parse_sink(url), source, options=EncodeOptions(preset="ultrafast"))
    pusher: Any = sink.publisher
    written = back = 0
    for item in source:
        sink.write(item)
        written += isinstance(item, av.VideoFrame)
        if written == 55 and recorder.process.poll() is None and not back:
            recorder.kill()
            recorder.lines.clear()
        if written == 80 and recorder.process.poll() is not None:
            recorder.start()
        back += pusher.reconnects and isinstance(item, av.VideoFrame)
        if back == 25:
            break
    sink.finish()
    source.close()
    recorder.kill()
    assert pusher.reconnects == 1
    assert recorder.lines.count("pictures") >= 15


def test_passwords_are_not_shown() -> None:
    assert str(parse_sink("rtsp://ann:secret@host:8554/push")) == "rtsp://host:8554/push"
    assert str(parse_sink("rtsp://@:8554/live")) == "rtsp://@:8554/live"
    assert str(parse_sink("film.mkv")) == "film.mkv"


def test_nobody_there_is_an_error_at_once(film: Path) -> None:
    with pytest.raises(SinkError, match="Connection refused"):
        push("rtsp://127.0.0.1:9/push", film, 1.0)


@pytest.mark.parametrize("address", ["rtsp://ann:secret@{}/push", "rtmp://{}/live/secret"])
def test_a_server_that_says_nothing_is_an_error_in_time(address: str) -> None:
    source = open_source("test:64x48@25#1")
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = address.format(f"127.0.0.1:{deaf.getsockname()[1]}")
        sink = open_push_sink(parse_sink(url), source, options=EncodeOptions(), timeout_seconds=0.2)
        frame = av.VideoFrame(64, 48, "yuv420p")
        frame.pts, frame.time_base = 0, Fraction(1, 90000)
        with pytest.raises(SinkError, match=r"no answer within 0\.2 s") as caught:
            sink.write(frame)
        assert "secret" not in str(caught.value)
    sink.abandon(keep=False)
    source.close()


def test_digest_is_what_the_server_of_ours_expects() -> None:
    for challenge in (
        'Digest realm="r", nonce="n", algorithm=SHA-256',
        'Digest realm="r", nonce="n"',
    ):
        answer = authorization(challenge, "ANNOUNCE", "rtsp://h/p", "ann", "pw")
        wanted = digest(challenge, "ANNOUNCE", "rtsp://h/p", "ann", "pw", qop=False)
        response = wanted.partition('response="')[2].partition('"')[0]
        assert f'response="{response}"' in answer


def test_basic_is_answered_where_nothing_better_is_asked() -> None:
    # RFC 7617, section 2.
    wanted = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert authorization('Basic realm="W"', "GET", "/", "Aladdin", "open sesame") == wanted
