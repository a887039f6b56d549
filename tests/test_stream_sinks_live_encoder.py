"""Intra refresh: frames of even size, and yet a start for whoever joins late."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from kinemacolor.stream.address import parse_sink
from kinemacolor.stream.color.frames import plane_view
from kinemacolor.stream.errors import BadSink
from kinemacolor.stream.rtsp import Limits, RtspServer
from kinemacolor.stream.sinks.encode import EncodeOptions
from kinemacolor.stream.sinks.live_encoder import LiveEncoder, check_intra_refresh

from tests import media
from tests.rtsp_peer import Client

SIZE = 320, 240


def frame(index: int) -> av.VideoFrame:
    made = media.frame_from_planes(
        media.neutral_planes(media.moving_picture(*SIZE, index), "yuv420p"), "yuv420p"
    )
    made.pts, made.time_base = index, Fraction(1, 25)
    return made


def encoder() -> LiveEncoder:
    return LiveEncoder(Fraction(25), EncodeOptions(preset="veryfast", crf=23, intra_refresh=True))


def psnr(shown: av.VideoFrame, index: int) -> float:
    error = plane_view(shown, 0).astype(float) - media.moving_picture(*SIZE, index)
    return float(10 * np.log10(255**2 / np.square(error).mean()))


def test_only_the_first_frame_and_those_asked_for_are_key_frames() -> None:
    encode = encoder()
    packets = []
    for index in range(120):
        if index == 90:
            encode.ask_for_key()
        packets += encode.encode(frame(index))
    keys = [number for number, packet in enumerate(packets) if packet.is_keyframe]
    assert keys == [0, 90]
    usual = sorted(packet.size for packet in packets)[60]
    others = [packet.size for number, packet in enumerate(packets) if number not in keys]
    assert max(others) < 2 * usual
    assert packets[90].size > 5 * usual


def test_whoever_begins_at_a_key_frame_sees_a_whole_picture_at_once() -> None:
    encode = encoder()
    packets = []
    for index in range(60):
        if index == 40:
            encode.ask_for_key()
        packets += encode.encode(frame(index))
    decoder = av.CodecContext.create("h264", "r")
    shown = [f for packet in packets[40:] for f in decoder.decode(av.Packet(bytes(packet)))]
    assert len(shown) >= 18
    assert psnr(shown[0], 40) > 25


@contextmanager
def on_air(
    encode: LiveEncoder, *, join_after: float, limits: Limits | None = None
) -> Iterator[RtspServer]:
    """Serves the encoder's frames at 25 fps; the block runs when it has done so for a while."""
    stop = threading.Event()

    def publish() -> None:
        begin = time.monotonic()
        index = 0
        while not stop.wait(max(0.0, begin + index / 25 - time.monotonic())):
            for packet in encode.encode(frame(index)):
                server.publish_video(bytes(packet), index / 25, packet.is_keyframe)
            index += 1

    with RtspServer(port=0, on_key_request=encode.ask_for_key, limits=limits or Limits()) as server:
        server.set_video()
        publisher = threading.Thread(target=publish)
        publisher.start()
        try:
            time.sleep(join_after)
            yield server
        finally:
            stop.set()
            publisher.join()


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_player_that_joins_late_shows_a_whole_picture_soon(transport: str) -> None:
    with on_air(encoder(), join_after=1.5) as server:
        options = {"rtsp_transport": transport, "fflags": "nobuffer", "analyzeduration": "200000"}
        with av.open(server.url, options=options, timeout=10) as player:
            first = next(player.decode(video=0))
        assert server.stats().counts["key_requests"] == 1
    # Its number is not known, only that it is one of the publisher's, and whole.
    assert max(psnr(first, index) for index in range(30, 300)) > 25


def test_a_viewer_that_stalled_is_given_a_key_frame_again() -> None:
    """No key frame comes by itself: without asking it would wait for ever."""
    limits = replace(Limits(), queue_units=6, send_buffer_bytes=8192)
    with on_air(encoder(), join_after=0.2, limits=limits) as server, Client(server) as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.play(0)
        deadline = time.monotonic() + 20
        while server.stats().counts["key_requests"] < 3 and time.monotonic() < deadline:
            time.sleep(0.05)  # it reads nothing, and falls behind again after each key frame
        stats = server.stats()
    assert stats.dropped["slow_viewer"] > 0
    assert stats.counts["key_requests"] >= 3


@pytest.mark.parametrize("uri", ["hls:out", "rtmp://host/app/key", "rtsp://host/live", "film.mp4"])
def test_where_nobody_can_ask_for_a_key_frame_it_is_refused(uri: str) -> None:
    with pytest.raises(BadSink, match="rtsp://@ and mpegts:- outputs alone"):
        check_intra_refresh(parse_sink(uri))


def test_other_encoders_are_refused() -> None:
    with pytest.raises(BadSink, match="intra-refresh is x264's, not h264_nvenc's"):
        LiveEncoder(Fraction(25), EncodeOptions(encoder="nvenc", intra_refresh=True))
