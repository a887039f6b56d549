"""`rtsp://@:PORT/live`, seen by a real player and by a live source of our own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from kinemacolor.engine.backend import Backend
from kinemacolor.engine.load import load
from kinemacolor.stream.address import parse_sink, parse_source
from kinemacolor.stream.color.colorizer import Colorizer
from kinemacolor.stream.color.frames import plane_view
from kinemacolor.stream.errors import BadSink, SinkError
from kinemacolor.stream.measure.stats import Stats
from kinemacolor.stream.options import LiveOptions
from kinemacolor.stream.passwords import OF_VIEWERS
from kinemacolor.stream.pipeline import run
from kinemacolor.stream.rtsp import CannotServe, RtspServer
from kinemacolor.stream.sinks.encode import EncodeOptions
from kinemacolor.stream.sinks.open import open_sink
from kinemacolor.stream.sinks.publish import (
    PublishSink,
    adts_config,
    credentials_for,
    open_serve_sink,
    tls_for,
)
from kinemacolor.stream.sources.network import open_network_source
from kinemacolor.stream.sources.open import open_source

from tests.media import write_clip
from tests.models import write_model


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Backend]:
    backend = load(write_model(tmp_path / "curve.onnx"), "onnxruntime")
    yield backend
    backend.close()


def test_a_film_as_if_live_is_seen_in_colour_with_its_sound(
    tmp_path: Path, network: Backend
) -> None:
    film = write_clip(
        tmp_path / "film.mkv", codec="libx264", size=(160, 120), frames=25, audio="aac"
    )
    source = open_source(film, live=LiveOptions(realtime=True, loop=True), duration_seconds=6.0)
    sink = open_sink("rtsp://@:0/live", source, options=EncodeOptions(preset="ultrafast"))
    assert isinstance(sink, PublishSink)
    assert isinstance(sink.publisher, RtspServer)
    seen: list[av.VideoFrame] = []
    sounds: list[av.Packet] = []

    def watch() -> None:
        viewer = open_network_source(parse_source(sink.publisher.url), give_up_seconds=1)
        for item in viewer:
            (seen if isinstance(item, av.VideoFrame) else sounds).append(item)
            if len(seen) == 30:
                break
        viewer.close()

    watching = threading.Thread(target=watch)

    def begin_to_watch(stats: Stats) -> None:
        if stats.frames_out == 1:
            watching.start()

    try:
        stats = run(
            source, Colorizer(network, pix_fmts=sink.pix_fmts), sink, on_frame=begin_to_watch
        )
        sink.finish()
    finally:
        sink.abandon(keep=False)
        watching.join()
        source.close()
    assert stats.frames_out + stats.dropped == stats.frames_in
    assert stats.frames_out > 80  # of 150, on a machine that does other things, too
    assert len(seen) == 30
    assert len(sounds) > 10
    chroma = plane_view(seen[-1], 2)
    assert abs(int(np.median(chroma)) - 128) > 3
    assert sink.publisher.stats().dropped == {}


def test_a_picture_that_changes_its_size_is_followed() -> None:
    source = open_source("test:160x120@25#1")
    sink = open_serve_sink(
        parse_sink("rtsp://@:0/x"), source, options=EncodeOptions(preset="ultrafast")
    )
    sizes: list[tuple[int, int]] = []
    units = []
    publish = sink.publisher.publish_video

    def note(data: bytes, seconds: float, is_key: bool) -> None:
        units.append((data, is_key))
        publish(data, seconds, is_key)

    sink.publisher.publish_video = note  # type: ignore[method-assign]
    for number, (width, height) in enumerate([(160, 120)] * 3 + [(97, 71)] * 3 + [(160, 120)] * 2):
        frame = av.VideoFrame(width, height, "yuv420p")
        frame.pts, frame.time_base = 3600 * number, Fraction(1, 90000)
        sink.write(frame)
    sink.finish()
    decoder = av.CodecContext.create("h264", "r")
    for data, _ in units:
        sizes += [(f.width, f.height) for f in decoder.decode(av.Packet(data))]
    sizes += [(f.width, f.height) for f in decoder.decode(None)]
    source.close()
    assert sizes == [(160, 120)] * 3 + [(96, 70)] * 3 + [(160, 120)] * 2
    assert [is_key for _, is_key in units] == [True, False, False] * 2 + [True, False]


def test_a_taken_port_and_a_codec_that_no_player_takes_are_errors() -> None:
    source = open_source("test:64x48@25#1")
    sink = open_serve_sink(parse_sink("rtsp://@:0/live"), source, options=EncodeOptions())
    assert isinstance(sink.publisher, RtspServer)
    with pytest.raises(CannotServe, match="cannot serve"):
        open_serve_sink(
            parse_sink(f"rtsp://@:{sink.publisher.port}/live"), source, options=EncodeOptions()
        )
    with pytest.raises(BadSink, match=r"H\.264"):
        open_serve_sink(parse_sink("rtsp://@:0/live"), source, options=EncodeOptions(codec="hevc"))
    with pytest.raises(BadSink, match="PORT"):
        open_serve_sink(parse_sink("rtsp://@:many/live"), source, options=EncodeOptions())
    sink.abandon(keep=False)
    source.close()


PASSWORD, PASSWORD_FILE = OF_VIEWERS, f"{OF_VIEWERS}_FILE"


def test_the_password_comes_from_the_environment_or_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(PASSWORD, raising=False)
    monkeypatch.delenv(PASSWORD_FILE, raising=False)
    assert credentials_for(None) is None
    with pytest.raises(SinkError, match="no password for ann"):
        credentials_for("ann")
    secret = tmp_path / "secret"
    secret.write_text("from a file\n")
    monkeypatch.setenv(PASSWORD_FILE, str(secret))
    login = credentials_for("ann")
    assert login is not None
    assert login.password == "from a file"
    monkeypatch.setenv(PASSWORD, "from the environment")
    login = credentials_for("ann")
    assert login is not None
    assert login.password == "from the environment"


def test_rtsps_needs_a_certificate_and_a_certificate_needs_rtsps(tmp_path: Path) -> None:
    source = open_source("test:64x48@25#1")
    with pytest.raises(SinkError, match="needs --tls-cert"):
        open_serve_sink(parse_sink("rtsps://@:0/live"), source, options=EncodeOptions())
    with pytest.raises(SinkError, match="No such file"):
        tls_for(tmp_path / "none.pem", None)
    (tmp_path / "bad.pem").write_text("no certificate")
    with pytest.raises(SinkError, match="in PEM"):
        tls_for(tmp_path / "bad.pem", None)
    with pytest.raises(SinkError, match="needs --tls-cert"):
        tls_for(None, tmp_path / "key.pem")
    source.close()


def test_adts_header_to_config() -> None:
    # AAC-LC, 44.1 kHz, stereo: the two bytes that every such stream has.
    assert adts_config(bytes.fromhex("fff15080")) == bytes.fromhex("1210")
