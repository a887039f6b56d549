"""A live source that goes away and comes back, from servers that really do."""

from __future__ import annotations

import logging
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from kinemacolor.stream.address import NetworkStream, parse_source
from kinemacolor.stream.color.frames import plane_view
from kinemacolor.stream.errors import BadSource, SourceError
from kinemacolor.stream.rtsp import Credentials, RtspServer
from kinemacolor.stream.sources.clock import TIME_BASE
from kinemacolor.stream.sources.connection import Backoff
from kinemacolor.stream.sources.film import ContainerSource
from kinemacolor.stream.sources.network import open_network_source
from kinemacolor.stream.sources.reconnecting import ReconnectingSource
from kinemacolor.stream.sources.slate import held_frame, slate_frame

from tests.media import frame_from_planes, moving_picture, neutral_planes, write_clip
from tests.rtsp_peer import Clip, Publisher, encode_clip


@pytest.fixture(scope="module")
def clip() -> Clip:
    return encode_clip(1.28)


@pytest.fixture(scope="module")
def small_clip() -> Clip:
    return encode_clip(1.28, width=160, height=120)


class Station:
    """A server that can be taken off the air and put back at the same port."""

    def __init__(self) -> None:
        self._server: RtspServer | None = None
        self._publisher: Publisher | None = None
        self.port = 0

    def on_air(self, clip: Clip, credentials: Credentials | None = None) -> str:
        self._server = RtspServer(port=self.port, credentials=credentials)
        self._server.start()
        self.port = self._server.port
        self._publisher = Publisher(self._server, clip)
        self._publisher.__enter__()
        return self._server.url

    def off_air(self) -> None:
        if self._publisher is not None and self._server is not None:
            self._publisher.__exit__()
            self._server.close()
        self._publisher = None


@pytest.fixture
def station() -> Iterator[Station]:
    station = Station()
    yield station
    station.off_air()


def test_a_source_that_went_away_is_held_and_comes_back_in_another_size(
    station: Station, clip: Clip, small_clip: Clip
) -> None:
    source = open_network_source(parse_source(station.on_air(clip)), duration_seconds=30)
    assert isinstance(source, ReconnectingSource)
    assert (source.info.width, source.info.rate) == (320, 25)
    assert {s.type for s in source.container.streams} == {"video", "audio"}
    frames: list[tuple[float, int]] = []
    sounds = held = 0
    state = "playing"
    for item in source:
        if isinstance(item, av.Packet):
            sounds += 1
            assert item.stream is source.container.streams[1]
            continue
        frames.append((item.time or 0.0, item.width))
        if state == "playing" and len(frames) == 20:
            station.off_air()
            state = "away"
        elif state == "away":
            held += 1
            if held == 8:
                station.on_air(small_clip)
                state = "back"
        elif state == "back" and item.width == 160 and len(frames) > 50:
            break
    source.close()
    assert source.reconnects == 1
    assert sounds > 20
    assert all(a < b for (a, _), (b, _) in pairwise(frames))
    assert max(b - a for (a, _), (b, _) in pairwise(frames)) < 2.0  # a loaded machine may stumble
    assert [width for _, width in frames] == sorted((w for _, w in frames), reverse=True)


def test_a_source_is_given_up_after_the_time_the_user_said(station: Station, clip: Clip) -> None:
    source = open_network_source(parse_source(station.on_air(clip)), give_up_seconds=0.5)
    items = iter(source)
    next(items)
    station.off_air()
    with pytest.raises(SourceError, match=r"did not come back within 0\.5 s"):
        for _ in items:
            pass
    source.close()


@pytest.mark.parametrize("end", ["", "?udp"])
def test_leaving_early_leaves_no_thread(station: Station, clip: Clip, end: str) -> None:
    source = open_network_source(parse_source(station.on_air(clip) + end))
    for item in source:
        if isinstance(item, av.VideoFrame):
            break
    source.close()  # the thread fixture looks for what is left


@pytest.mark.parametrize("login", ["ann:wrong@", ""])
def test_a_refusal_is_an_error_that_hides_the_password(
    station: Station, clip: Clip, login: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "kinemacolor.stream.sources.reconnecting")
    url = station.on_air(clip, Credentials("ann", "correct horse")).replace("//", f"//{login}")
    with pytest.raises(SourceError, match="401") as caught:
        open_network_source(parse_source(url))
    assert "wrong" not in str(caught.value) + caplog.text


def test_nobody_there_is_an_error_at_once() -> None:
    with pytest.raises(SourceError, match="Connection refused"):
        open_network_source(parse_source("rtsp://127.0.0.1:9/live"))


def test_a_source_that_is_not_up_yet_is_waited_for(
    station: Station, clip: Clip, caplog: pytest.LogCaptureFixture
) -> None:
    url = station.on_air(clip)
    station.off_air()
    late = threading.Timer(1.0, station.on_air, [clip])  # at the same port
    late.start()
    began = time.monotonic()
    source = open_network_source(parse_source(url), wait=True)
    late.join()
    assert time.monotonic() - began > 0.9
    assert isinstance(next(iter(source)), av.VideoFrame | av.Packet)
    source.close()
    (said,) = [r.getMessage() for r in caplog.records if "not there yet" in r.getMessage()]
    assert said.endswith("not there yet (Connection refused); waiting for it")


def test_waiting_ends_after_the_time_the_user_said() -> None:
    with pytest.raises(SourceError, match=r"did not answer within 0\.5 s: Connection refused"):
        open_network_source(parse_source("rtsp://127.0.0.1:9/live"), wait=True, give_up_seconds=0.5)


@pytest.mark.parametrize("fault", ["password", "host", "path"])
def test_what_waiting_does_not_mend_is_an_error_at_once(
    station: Station, clip: Clip, tmp_path: Path, fault: str
) -> None:
    began = time.monotonic()
    if fault == "path":
        with web_server(tmp_path) as address, pytest.raises(SourceError, match="404"):
            open_network_source(parse_source(f"{address}/nothing.m3u8"), wait=True)
    elif fault == "host":
        with pytest.raises(SourceError, match="cannot open rtsp://no-such-host"):
            open_network_source(parse_source("rtsp://no-such-host.invalid/live"), wait=True)
    else:
        url = station.on_air(clip, Credentials("ann", "correct horse"))
        with pytest.raises(SourceError, match="401"):
            open_network_source(parse_source(url.replace("//", "//ann:wrong@")), wait=True)
    assert time.monotonic() - began < 9  # no second attempt was made, nor a time-out waited for


def test_a_film_on_a_web_server_is_a_film(tmp_path: Path) -> None:
    write_clip(tmp_path / "film.mp4", codec="libx264", frames=12)
    with web_server(tmp_path) as address:
        source = open_network_source(parse_source(f"{address}/film.mp4"))
        assert isinstance(source, ContainerSource)
        assert sum(isinstance(item, av.VideoFrame) for item in source) == 12
        source.close()


def test_a_stream_without_a_picture_is_an_error_with_its_name(tmp_path: Path) -> None:
    sound = write_clip(tmp_path / "film.mkv", codec="libx264", frames=25, audio="aac")
    with av.open(str(sound)) as film, av.open(str(tmp_path / "sound.ts"), "w") as only_sound:
        copy = only_sound.add_stream_from_template(film.streams.audio[0])
        for packet in film.demux(audio=0):
            if packet.size:
                packet.stream = copy
                only_sound.mux(packet)
    name = str(tmp_path / "sound.ts")
    with pytest.raises(BadSource, match=r"sound\.ts: no video stream \(it holds audio\)"):
        ReconnectingSource(name, lambda: av.open(name))


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    handler = partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg program here")
def test_hls_comes_in_segments_and_leaves_evenly(tmp_path: Path) -> None:
    # All frames of a segment come at once: a queue for live frames would drop all but two.
    playlist = tmp_path / "live.m3u8"
    command = "ffmpeg -v error -re -f lavfi -i testsrc2=size=64x48:rate=25 -g 25 -f hls -hls_time 1"
    with subprocess.Popen([*command.split(), str(playlist)], stdin=subprocess.DEVNULL) as packager:
        try:
            while not playlist.exists() or playlist.read_text().count("#EXTINF") < 3:
                time.sleep(0.1)
            with web_server(tmp_path) as address:
                source = open_network_source(parse_source(f"{address}/live.m3u8"))
                assert isinstance(source, ReconnectingSource)
                times = []
                for frame in source:
                    assert isinstance(frame, av.VideoFrame)
                    times.append(frame.time or 0.0)
                    if len(times) == 60:
                        break
                source.close()
        finally:
            packager.kill()
    steps = sorted(b - a for a, b in pairwise(times))
    assert steps[len(steps) // 2] == pytest.approx(0.04, abs=0.01)
    assert 1.5 < times[-1] - times[0] < 4.0


def test_mjpeg_over_http_has_the_times_at_which_it_came() -> None:
    # FFmpeg counts it at 25 fps, so that a camera of 10 fps fell ever further behind.
    with ThreadingHTTPServer(("127.0.0.1", 0), MjpegHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            source = open_network_source(
                parse_source(f"http://127.0.0.1:{server.server_port}/camera")
            )
            assert isinstance(source, ReconnectingSource)
            ages = []
            for frame in source:
                assert isinstance(frame, av.VideoFrame)
                ages.append(source.now() - (frame.time or 0.0))
                if len(ages) == 20:
                    break
            source.close()
        finally:
            server.shutdown()
            thread.join()
    assert sorted(ages)[10] < 0.1


class MjpegHandler(BaseHTTPRequestHandler):
    """Ten pictures a second, as network cameras send them, until nobody wants more."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        picture = cv2.imencode(".jpg", moving_picture(64, 48, 0))[1].tobytes()
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
        with suppress(ConnectionError):
            for _ in range(100):
                self.wfile.write(head.encode() + picture + b"\r\n")
                time.sleep(0.1)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_backoff_grows_to_its_limit_and_is_never_the_same_twice() -> None:
    waits = [wait for wait, _ in zip(Backoff(), range(40), strict=False)]
    assert waits[0] <= 0.25
    assert all(0.75 <= wait <= 1.5 for wait in waits[5:])
    assert len(set(waits)) == len(waits)


def test_urls() -> None:
    for url, shown, opened, transport in (
        ("rtsp://a:b@host:554/x", "rtsp://host:554/x", "rtsp://a:b@host:554/x", "tcp"),
        ("rtsp://host/x?udp", "rtsp://host/x?udp", "rtsp://host/x", "udp"),
        ("rtsp://host/x?key=1", "rtsp://host/x?...", "rtsp://host/x?key=1", "tcp"),
    ):
        address = parse_source(url)
        assert isinstance(address, NetworkStream)
        assert (str(address), address.url, address.transport) == (shown, opened, transport)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "gray", "yuv422p10le", "nv12", "bgr24"])
def test_stand_ins_have_the_luma_or_the_slate_in_the_same_size(pix_fmt: str) -> None:
    depth = av.VideoFormat(pix_fmt).components[0].bits
    frame = frame_from_planes(neutral_planes(moving_picture(128, 96, 3, depth), pix_fmt), pix_fmt)
    frame.time_base = TIME_BASE
    held, slate = held_frame(frame, 7), slate_frame(frame, 8)
    assert (held.pts, slate.pts) == (7, 8)
    assert (slate.width, slate.height) == (128, 96)
    assert held.format.name == slate.format.name
    if pix_fmt in ("yuv420p", "gray", "yuv422p10le", "nv12"):
        assert held.format.name == pix_fmt
        np.testing.assert_array_equal(plane_view(held, 0), plane_view(frame, 0))
    luma = plane_view(slate, 0)
    assert luma.max() > 2 * luma.min()  # there is text on it
