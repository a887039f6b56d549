"""The RTSP server as a strict client sees it: methods, sessions, logins, limits, slow viewers."""

from __future__ import annotations

import contextlib
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from kinemacolor.stream.rtsp import (
    AudioTrack,
    BadMedia,
    CannotServe,
    Credentials,
    Limits,
    RtspServer,
)
from kinemacolor.stream.rtsp.nal import split_annex_b
from kinemacolor.stream.sinks.publish import tls_for

from tests.rtsp_peer import Client, Clip, Publisher, depacketize_h264, digest, encode_clip

METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, SET_PARAMETER, TEARDOWN"


@pytest.fixture(scope="module")
def clip() -> Clip:
    return encode_clip(1.92, width=320, height=240, gop=12)


@contextlib.contextmanager
def serving(clip: Clip, limits: Limits | None = None, **options: object) -> Iterator[RtspServer]:
    with (
        RtspServer(port=0, limits=limits, **options) as server,  # type: ignore[arg-type]
        Publisher(server, clip),
    ):
        yield server


@pytest.fixture
def server(clip: Clip) -> Iterator[RtspServer]:
    with serving(clip) as server:
        yield server


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


# -- methods and answers --------------------------------------------------------------------------


def test_options_describe_and_pings(server: RtspServer) -> None:
    with Client(server) as client:
        assert client.request("OPTIONS", "*").header("public") == METHODS
        reply = client.request("DESCRIBE", Accept="application/sdp")
        assert reply.header("content-type") == "application/sdp"
        assert reply.header("content-base") == f"{client.url}/"
        assert b"H264/90000" in reply.body
        assert b"mpeg4-generic/48000/2" in reply.body
        for method in ("GET_PARAMETER", "SET_PARAMETER"):
            assert client.request(method).status == 200
        assert client.request("SET_PARAMETER", body=b"volume: 11").status == 451


def test_errors_have_their_own_status(server: RtspServer) -> None:
    with Client(server) as client:
        for method, uri, headers, status in (
            ("DESCRIBE", f"{client.url}x", {}, 404),
            ("SETUP", f"{client.url}/trackID=7", {}, 404),
            ("DESCRIBE", client.url, {"Accept": "text/html"}, 406),
            ("ANNOUNCE", client.url, {}, 405),
            ("RECORD", client.url, {}, 405),
            ("BREW", client.url, {}, 501),
            ("PLAY", client.url, {}, 454),
            ("TEARDOWN", client.url, {"Session": "0" * 24}, 454),
            ("SETUP", client.url, {"Transport": "RTP/AVP/TCP;interleaved=0-1"}, 459),
            ("SETUP", f"{client.url}/trackID=0", {"Transport": "RTP/AVP;multicast"}, 461),
            ("SETUP", f"{client.url}/trackID=0", {}, 461),
            ("OPTIONS", client.url, {"Require": "play.basic"}, 551),
        ):
            reply = client.request(method, uri, **headers)
            assert (method, reply.status) == (method, status)
        assert client.request("ANNOUNCE").header("allow") == METHODS


def test_a_malformed_request_is_answered_and_ends_the_connection(server: RtspServer) -> None:
    with Client(server) as client:
        client.send(b"DESCRIBE rtsp://h/live\r\nCSeq: 12\r\n\r\n")
        reply = client.reply()
        assert (reply.status, reply.header("cseq")) == (400, "12")
        assert client.at_end()


def test_a_viewer_that_sends_rubbish_gets_its_goodbye_and_its_answer(server: RtspServer) -> None:
    """Sending on after the half-closing last answer once raised in the server's task."""
    for _ in range(5):
        with Client(server) as client:
            client.play(0, 1)
            client.send(b"$\x05\x00\x03abcrubbish\r\n\r\n")
            assert client.reply().status == 400
            assert client.at_end()
    stats = server.stats()
    assert stats.ended == {"connection_closed": 5}
    assert stats.refused == {"bad_rtcp": 5, "status_400": 5}


def test_a_client_that_leaves_before_its_answer_is_no_error(clip: Clip) -> None:
    """Half-closing a connection that is gone already once raised in the server's task."""
    released = threading.Event()
    with (
        serving(clip, on_key_request=lambda: released.wait(10) and None) as server,
        Client(server) as viewer,
    ):
        viewer.setup(0)
        with Client(server) as client:
            assert client.request("OPTIONS").status == 200
            head = f"PLAY {viewer.url} RTSP/1.0\r\nCSeq: 9\r\nSession: {viewer.session}"
            viewer.send(head.encode() + b"\r\n\r\n")
            wait_for(lambda: server.stats().counts.get("key_requests"))
            client.send(b"rubbish\r\n\r\n")
        released.set()
        wait_for(lambda: server.stats().connections == 1)
        assert server.stats().refused == {"status_400": 1}


def test_the_states_of_a_session(server: RtspServer) -> None:
    with Client(server) as client:
        assert client.setup(0).status == 200
        assert client.request("PAUSE").status == 455
        second = f"{client.url}/trackID=1"
        busy = client.request("SETUP", second, Transport="RTP/AVP/TCP;interleaved=1-2")
        assert busy.status == 461
        assert client.setup(1).status == 200
        assert client.request("PLAY", f"{client.url}/trackID=0").status == 460
        reply = client.request("PLAY")
        assert reply.header("range") == "npt=now-"
        assert reply.header("rtp-info").count(";seq=") == 2
        assert client.setup(1).status == 455
        assert client.request("PAUSE").status == 200
        assert client.request("PLAY").status == 200
        assert client.request("TEARDOWN").status == 200
        assert client.request("PLAY").status == 454
        assert server.stats().ended == {"teardown": 1}


def test_describe_has_to_wait_for_parameter_sets(clip: Clip) -> None:
    with RtspServer(port=0) as server, Client(server) as client:
        assert client.request("DESCRIBE").status == 503
        server.set_video()
        assert client.request("DESCRIBE").status == 503
        assert client.setup(0).status == 503
        key = next(data for is_video, _, is_key, data in clip.packets if is_video and is_key)
        server.publish_video(clip.video_extradata + key, 0.0, True)
        assert b"sprop-parameter-sets=" in client.request("DESCRIBE").body


def test_a_session_is_found_by_its_own_address_only(server: RtspServer) -> None:
    try:
        stranger = Client(server, source="127.0.0.2")
    except OSError:
        pytest.skip("this machine has one loopback address")
    with stranger, Client(server) as client, Client(server) as again:
        assert client.setup(0).status == 200
        for other, session, status in (
            (again, client.session, 200),
            (again, "not-a-session", 454),
            (stranger, client.session, 454),
        ):
            other.session = session
            assert other.request("GET_PARAMETER").status == status


# -- media ----------------------------------------------------------------------------------------


def read_units(client: Client, channel: int, count: int) -> list[tuple[int, list[bytes]]]:
    """Whole access units from one interleaved channel: RTP timestamp and payloads."""
    units: list[tuple[int, list[bytes]]] = []
    payloads: list[bytes] = []
    previous = None
    while len(units) < count:
        found, packet = client.frame()
        if found != channel:
            continue
        sequence, timestamp = struct.unpack_from("!HI", packet, 2)
        assert previous is None or sequence == (previous + 1) & 0xFFFF
        previous = sequence
        payloads.append(packet[12:])
        if packet[1] & 0x80:
            units.append((timestamp, payloads))
            payloads = []
    return units


def test_pictures_arrive_bit_for_bit_from_a_key_frame_on(server: RtspServer, clip: Clip) -> None:
    with Client(server) as client:
        info = client.play(0).header("rtp-info")
        units = read_units(client, 0, 30)
    first_time = int(info.partition("rtptime=")[2])
    assert 0 <= (units[0][0] - first_time) % (1 << 32) < 90_000
    assert {(b - a) % (1 << 32) for (a, _), (b, _) in pairwise(units)} == {3600}
    coded = [split_annex_b(data) for is_video, _, _, data in clip.packets if is_video]
    sets = split_annex_b(clip.video_extradata)
    received = [depacketize_h264(payloads) for _, payloads in units]
    assert received[0][:2] == sets
    without_sets = [[nal for nal in unit if nal not in sets] for unit in received]
    start = coded.index(without_sets[0])
    assert without_sets == [coded[(start + i) % len(coded)] for i in range(30)]


def test_sender_reports_put_picture_and_sound_on_one_clock(server: RtspServer) -> None:
    clocks = {}
    with Client(server) as client:
        client.play(0, 1)
        while len(clocks) < 2:
            channel, packet = client.frame()
            if channel % 2:
                ntp, timestamp = struct.unpack_from("!QI", packet, 8)
                clocks[channel] = ntp / 2**32, timestamp
        times = {}
        while len(times) < 2:
            channel, packet = client.frame()
            if channel in (0, 2):
                times[channel] = struct.unpack_from("!I", packet, 4)[0]
    wall = {
        channel: clocks[channel + 1][0]
        + ((times[channel] - clocks[channel + 1][1] + (1 << 31)) % (1 << 32) - (1 << 31)) / rate
        for channel, rate in ((0, 90_000), (2, 48_000))
    }
    # Picture and sound that were published within one frame's time say so.
    assert abs(wall[0] - wall[2]) < 0.1
    assert abs(wall[0] - 2_208_988_800 - time.time()) < 5


def udp_pair() -> tuple[socket.socket, socket.socket]:
    pair = tuple(socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    for sock in pair:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)
    return pair  # type: ignore[return-value]


def setup_udp(client: Client, pair: tuple[socket.socket, socket.socket]) -> tuple[int, int]:
    ports = "-".join(str(sock.getsockname()[1]) for sock in pair)
    reply = client.setup(0, f"RTP/AVP;unicast;client_port={ports}")
    first, _, second = (
        reply.header("transport").partition("server_port=")[2].partition(";")[0].partition("-")
    )
    return int(first), int(second)


def test_udp_comes_from_the_announced_even_and_odd_ports(server: RtspServer) -> None:
    rtp, rtcp = pair = udp_pair()
    with Client(server) as client, rtp, rtcp:
        ports = setup_udp(client, pair)
        assert (ports[0] % 2, ports[1]) == (0, ports[0] + 1)
        assert client.request("PLAY").status == 200
        assert rtp.recvfrom(2048)[1] == ("127.0.0.1", ports[0])
        assert rtcp.recvfrom(2048)[1] == ("127.0.0.1", ports[1])


def test_receiver_reports_alone_keep_a_udp_viewer(clip: Clip) -> None:
    report = struct.pack("!BBHI", 0x80, 201, 1, 1234)
    limits = replace(Limits(), session_seconds=1, orphan_seconds=1)
    rtp, rtcp = pair = udp_pair()
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with serving(clip, limits) as server, rtp, rtcp, stranger:
        with Client(server) as client:
            ports = setup_udp(client, pair)
            assert client.request("PLAY").status == 200
        for _ in range(6):
            rtcp.sendto(report, ("127.0.0.1", ports[1]))
            time.sleep(0.5)
        assert server.stats().clients == 1
        rtcp.sendto(b"no report", ("127.0.0.1", ports[1]))
        # From then on only somebody else reports, from another port.
        for _ in range(6):
            stranger.sendto(report, ("127.0.0.1", ports[1]))
            time.sleep(0.5)
        stats = server.stats()
    assert stats.clients == 0
    assert stats.ended == {"timeout": 1}
    assert stats.refused == {"bad_rtcp": 1, "stray_rtcp": 6}


def test_without_udp_only_tcp_is_offered(clip: Clip) -> None:
    with serving(clip, udp=False) as server, Client(server) as client:
        assert client.setup(0, "RTP/AVP;unicast;client_port=5000-5001").status == 461
        assert client.setup(0).status == 200


def test_opus_is_described_and_sent() -> None:
    with RtspServer(port=0) as server, Client(server) as client:
        server.set_audio(AudioTrack("opus", b"", 48_000, 1))
        assert b"opus/48000/2" in client.request("DESCRIBE").body
        assert client.setup(1).status == 200
        assert client.request("PLAY").status == 200
        server.publish_audio(b"opus packet", 0.0)
        channel, packet = client.frame()
        while channel != 2:  # a report comes first
            channel, packet = client.frame()
        assert packet[1] == 97  # no marker: no silence ends here (RFC 7587, 4.1)
        assert packet[12:] == b"opus packet"


# -- logins ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, 1], ids=["SHA-256", "MD5"])
def test_a_login_opens_every_method(clip: Clip, index: int) -> None:
    with (
        serving(clip, credentials=Credentials("ann", "pw")) as server,
        Client(server) as client,
    ):
        assert client.request("OPTIONS").status == 200
        challenge = client.request("DESCRIBE").headers["www-authenticate"][index]

        def login(method: str) -> str:
            return digest(challenge, method, client.url, "ann", "pw")

        assert client.request("DESCRIBE", Authorization=login("DESCRIBE")).status == 200
        track = f"{client.url}/trackID=0"
        reply = client.request(
            "SETUP", track, Authorization=login("SETUP"), Transport="RTP/AVP/TCP;interleaved=0-1"
        )
        client.session = reply.header("session").partition(";")[0]
        assert client.request("PLAY", Authorization=login("PLAY")).status == 200
        assert read_units(client, 0, 2)


def test_no_method_but_options_is_open_and_guessing_ends_the_connection(clip: Clip) -> None:
    limits = replace(Limits(), failed_logins=3)
    login = Credentials("ann", "pw")
    with serving(clip, limits, credentials=login) as server, Client(server) as client:
        for method in METHODS.split(", ")[1:]:
            assert client.request(method).status == 401
        for _ in range(3):
            challenge = client.request("DESCRIBE").header("www-authenticate")
            wrong = digest(challenge, "DESCRIBE", client.url, "ann", "guess")
            reply = client.request("DESCRIBE", Authorization=wrong)
            assert (reply.status, reply.body) == (401, b"")
        assert client.at_end()
        assert server.stats().counts.get("sessions", 0) == 0


def test_an_expired_nonce_is_called_stale(clip: Clip) -> None:
    limits = replace(Limits(), nonce_seconds=0.2)
    login = Credentials("ann", "pw")
    with serving(clip, limits, credentials=login) as server, Client(server) as client:
        challenge = client.request("DESCRIBE").header("www-authenticate")
        time.sleep(0.3)
        late = digest(challenge, "DESCRIBE", client.url, "ann", "pw")
        fresh = client.request("DESCRIBE", Authorization=late).header("www-authenticate")
        assert fresh.endswith(", stale=true")
        again = digest(fresh, "DESCRIBE", client.url, "ann", "pw")
        assert client.request("DESCRIBE", Authorization=again).status == 200


# -- limits ---------------------------------------------------------------------------------------


def test_a_half_open_request_and_an_idle_connection_are_closed(clip: Clip) -> None:
    limits = replace(Limits(), request_seconds=0.5, idle_seconds=0.5)
    with serving(clip, limits) as server, Client(server) as slow, Client(server) as idle:
        slow.send(b"DESCRIBE rtsp")
        begin = time.monotonic()
        with contextlib.suppress(ConnectionError):
            # A byte now and then gains nothing.
            while time.monotonic() - begin < 5 and server.stats().refused.get("half_open") is None:
                slow.send(b"x")
                time.sleep(0.1)
        assert idle.at_end()
        assert server.stats().refused == {"half_open": 1, "idle": 1}


def test_a_silent_session_ends(clip: Clip) -> None:
    limits = replace(Limits(), session_seconds=1)
    with serving(clip, limits) as server, Client(server) as client:
        assert client.setup(0).header("session").endswith(";timeout=1")
        wait_for(lambda: server.stats().ended == {"timeout": 1})
        assert client.at_end()


def test_places_and_connections_are_limited(clip: Clip) -> None:
    limits = replace(Limits(), clients=1, connections=3)
    with serving(clip, limits) as server, Client(server) as one, Client(server) as two:
        one.play(0)
        assert two.setup(0).status == 503
        with Client(server) as three:
            assert three.request("OPTIONS").status == 200
            with Client(server) as four:
                reply = four.reply()
            assert (reply.status, reply.header("retry-after")) == (503, "10")
        assert one.request("TEARDOWN").status == 200
        assert two.setup(0).status == 200
        assert server.stats().refused == {"status_503": 1, "too_many_connections": 1}


def test_the_oldest_silent_connection_makes_room(clip: Clip) -> None:
    """64 connections that said nothing shut all new viewers out."""
    limits = replace(Limits(), connections=4, connections_per_address=4)
    with serving(clip, limits) as server, contextlib.ExitStack() as stack:
        viewer = stack.enter_context(Client(server))
        viewer.play(0)
        silent = [stack.enter_context(Client(server)) for _ in range(3)]
        late = stack.enter_context(Client(server))
        late.play(0)
        assert silent[0].at_end()
        assert read_units(viewer, 0, 2)
        assert server.stats().refused["silent"] >= 1


def test_silence_ends_soon_and_so_does_who_never_plays(clip: Clip) -> None:
    """34 viewers that set up and never played held their places for 78 seconds."""
    limits = replace(Limits(), first_word_seconds=0.3, play_seconds=1)
    with serving(clip, limits) as server, Client(server) as silent, Client(server) as idler:
        assert idler.setup(0).status == 200
        assert silent.at_end()
        assert idler.at_end()
        assert server.stats().refused == {"silent": 1, "never_played": 1}
        assert server.stats().clients == 0


def test_a_place_is_kept_for_who_played_before(clip: Clip) -> None:
    limits = replace(Limits(), connections=4)
    with serving(clip, limits) as server, contextlib.ExitStack() as stack:
        with Client(server) as known:
            known.play(0)
            assert known.request("TEARDOWN").status == 200
        wait_for(lambda: server.stats().connections == 0)
        for number in range(4):
            stranger = socket.create_connection(
                ("127.0.0.1", server.port), source_address=(f"127.0.0.{2 + number}", 0)
            )
            stack.enter_context(stranger)
            stranger.sendall(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
            assert stranger.recv(4096).startswith(b"RTSP/1.0 " + (b"200", b"503")[number == 3])
        with Client(server) as known:
            known.play(0)
            assert read_units(known, 0, 2)


def test_who_guesses_passwords_waits_and_the_log_says_so(
    clip: Clip, caplog: pytest.LogCaptureFixture
) -> None:
    """A thousand wrong passwords in five seconds left no line in the log."""
    login = Credentials("ann", "pw")
    with serving(clip, credentials=login) as server:
        with Client(server) as guesser:
            for _ in range(5):
                challenge = guesser.request("DESCRIBE").header("www-authenticate")
                wrong = digest(challenge, "DESCRIBE", guesser.url, "ann", "guess")
                guesser.request("DESCRIBE", Authorization=wrong)
            assert guesser.at_end()
        with Client(server) as again:
            assert again.at_end()
        assert server.stats().refused["wrong_logins"] == 1
        wait_for(lambda: "5 wrong logins from 127.0.0.1" in caplog.text)
        time.sleep(1.2)
        with Client(server) as later:
            challenge = later.request("DESCRIBE").header("www-authenticate")
            right = digest(challenge, "DESCRIBE", later.url, "ann", "pw")
            assert later.request("DESCRIBE", Authorization=right).status == 200


def test_ipv6_is_served_beside_ipv4(clip: Clip) -> None:
    with serving(clip) as server:
        try:
            client = socket.create_connection(("::1", server.port), timeout=5)
        except OSError:
            pytest.skip("no IPv6 here")
        with client:
            client.sendall(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
            assert client.recv(4096).startswith(b"RTSP/1.0 200")


def test_connections_above_the_rate_are_closed_at_once(clip: Clip) -> None:
    limits = replace(Limits(), connections_burst=3, connections_per_second=0.01)
    with serving(clip, limits) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(server)) for _ in range(5)]
        for client in clients[:3]:
            assert client.request("OPTIONS").status == 200
        for client in clients[3:]:
            assert client.at_end()
        assert server.stats().refused == {"connection_rate": 2}


def test_a_flood_of_pipelined_requests_is_slowed_and_answered(clip: Clip) -> None:
    limits = replace(Limits(), requests_per_second=100, requests_burst=10)
    with serving(clip, limits) as server, Client(server) as client:
        begin = time.monotonic()
        client.send(b"".join(b"OPTIONS * RTSP/1.0\r\nCSeq: %d\r\n\r\n" % i for i in range(60)))
        assert [client.reply().header("cseq") for _ in range(60)] == [str(i) for i in range(60)]
        assert time.monotonic() - begin >= 0.49  # 50 beyond the burst at 100 a second: a law


def test_a_viewer_that_never_reads_is_dropped_and_then_ended(clip: Clip) -> None:
    limits = replace(Limits(), queue_units=20, stall_seconds=2, send_buffer_bytes=8192)
    big = encode_clip(0.96, width=640, height=480, gop=12)
    with serving(big, limits) as server, Client(server) as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.play(0, 1)
        wait_for(lambda: server.stats().ended == {"stalled": 1}, 30)
        assert server.stats().dropped["slow_viewer"] > 0
        assert client.at_end()


def test_a_slow_viewer_gets_whole_groups_of_pictures(clip: Clip) -> None:
    limits = replace(Limits(), queue_units=6, send_buffer_bytes=8192)
    big = encode_clip(0.96, width=640, height=480, gop=12)
    with serving(big, limits) as server, Client(server) as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.play(0)
        wait_for(lambda: server.stats().dropped.get("slow_viewer", 0) > 12, 30)
        units = read_units(client, 0, 40)
    leaps = 0
    for (before, _), (now, payloads) in pairwise(units):
        if (now - before) % (1 << 32) != 3600:
            leaps += 1
            assert any(nal[0] & 31 == 5 for nal in depacketize_h264(payloads))
    assert leaps > 0


def test_of_twenty_viewers_one_stalls_and_nineteen_lose_nothing(clip: Clip) -> None:
    with serving(clip) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(server)) for _ in range(20)]
        for client in clients:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.play(0, 1)
        results: dict[int, list[tuple[int, list[bytes]]]] = {}

        def watch(index: int) -> None:
            results[index] = read_units(clients[index], 0, 150)

        threads = [threading.Thread(target=watch, args=(i,)) for i in range(1, 20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stats = server.stats()
    assert sorted(results) == list(range(1, 20))
    for units in results.values():  # read_units has checked the sequence numbers
        steps = {(b - a) % (1 << 32) for (a, _), (b, _) in pairwise(units)}
        assert steps == {3600}
    assert set(stats.ended) <= {"connection_closed", "stalled"}


# -- the publisher's side -------------------------------------------------------------------------


def test_a_new_viewer_asks_for_a_key_frame(clip: Clip) -> None:
    asked = threading.Event()
    with serving(clip, on_key_request=asked.set) as server, Client(server) as client:
        client.play(0)
        assert asked.wait(5)
        assert server.stats().counts["key_requests"] == 1


@pytest.mark.logs_errors
def test_a_failing_callback_is_logged_and_disturbs_nobody(
    clip: Clip, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("encoder gone")

    with serving(clip, on_key_request=fail) as server, Client(server) as client:
        client.play(0)
        assert read_units(client, 0, 2)
    assert "key frame callback failed" in caplog.text


def test_a_starved_server_skips_to_a_key_frame_instead_of_growing(clip: Clip) -> None:
    blocked, released = threading.Event(), threading.Event()
    asked: list[float] = []

    def block() -> None:
        asked.append(time.monotonic())
        blocked.set()
        released.wait(10)

    pictures = [(is_key, data) for is_video, _, is_key, data in clip.packets if is_video]
    with (
        RtspServer(port=0, on_key_request=block) as server,
        Client(server) as client,
    ):
        server.set_video(clip.video_extradata)
        threading.Timer(0.1, lambda: client.play(0)).start()
        assert blocked.wait(5)
        for index in range(700):
            is_key, data = pictures[index % len(pictures)]
            server.publish_video(data, index / 25, is_key)
        released.set()
        assert server.stats().dropped["server_behind"] == 700 - 512
        wait_for(lambda: server.stats().counts.get("units", 0) > 0)
        server.publish_video(pictures[1][1], 28.0, False)
        wait_for(lambda: len(asked) == 2)  # with intra refresh none would come by itself
        server.publish_video(pictures[0][1], 28.04, True)
        wait_for(lambda: server.stats().counts["plays"] == 1)
        assert server.stats().dropped["server_behind"] == 700 - 512 + 1


def test_a_session_ended_elsewhere_leaves_no_connection_behind(clip: Clip) -> None:
    limits = replace(Limits(), session_seconds=1, idle_seconds=1)
    rtp, rtcp = pair = udp_pair()
    with serving(clip, limits) as server, rtp, rtcp:
        with Client(server) as first, Client(server) as second:
            setup_udp(first, pair)
            second.session = first.session
            assert second.request("TEARDOWN").status == 200
            assert first.at_end()
        with Client(server) as third:
            setup_udp(third, pair)
            assert third.at_end()
        assert server.stats().ended == {"teardown": 1, "timeout": 1}
        wait_for(lambda: server.stats().connections == 0)


def test_wrong_media_is_refused_at_the_publisher() -> None:
    with RtspServer(port=0) as server:
        with pytest.raises(BadMedia, match="before set_video"):
            server.publish_video(b"\0\0\1\x65abc", 0.0, True)
        with pytest.raises(BadMedia, match="before set_audio"):
            server.publish_audio(b"abc", 0.0)
        with pytest.raises(BadMedia, match="AudioSpecificConfig"):
            server.set_audio(AudioTrack("aac", b"", 48_000, 2))
        server.set_video()
        with pytest.raises(BadMedia, match="no NAL unit"):
            server.publish_video(b"rubbish", 0.0, True)


def test_a_taken_port_and_a_foreign_address_are_errors_that_say_so(server: RtspServer) -> None:
    with pytest.raises(CannotServe, match=f"rtsp://127.0.0.1:{server.port}/live"):
        RtspServer(port=server.port).start()
    with pytest.raises(CannotServe):
        RtspServer("203.0.113.7", port=0).start()
    with pytest.raises(CannotServe, match="path"):
        RtspServer(path="../live")


def test_closing_says_goodbye_and_ends_every_thread(clip: Clip) -> None:
    with serving(clip) as server, Client(server) as client:
        client.play(0)
        read_units(client, 0, 1)
        server_thread = next(t for t in threading.enumerate() if t.name == "rtsp-server")
        channels = []
        threading.Timer(0.2, server.close).start()
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                channels.append(client.frame())
        server_thread.join(5)
        goodbyes = [packet for channel, packet in channels if channel == 1]
        assert goodbyes[-1][-7] == 203  # BYE closes the compound packet
        server.close()


def test_publishing_after_the_end_is_an_error() -> None:
    server = RtspServer(port=0)
    with server:
        server.set_audio(AudioTrack("opus", b"", 48_000, 2))
    with pytest.raises(CannotServe, match="not running"):
        server.publish_audio(b"x", 0.0)
    with pytest.raises(CannotServe, match="started before"):
        server.start()


def test_rtsps_is_served_and_ffmpeg_reads_it(clip: Clip, tmp_path: Path) -> None:
    if shutil.which("openssl") is None or shutil.which("ffmpeg") is None:
        pytest.skip("needs openssl and ffmpeg")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    with (
        RtspServer(port=0, tls=tls_for(certificate, key)) as server,
        Publisher(server, clip),
        socket.create_connection(("127.0.0.1", server.port)) as silent,
    ):
        assert server.url.startswith("rtsps://")
        silent.sendall(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")  # not TLS
        watch = ["ffmpeg", "-v", "error", "-rtsp_transport", "tcp", "-i", server.url]
        done = subprocess.run(
            [*watch, "-frames:v", "10", "-f", "null", "-"], timeout=30, capture_output=True
        )
        assert done.returncode == 0, done.stderr
        wait_for(lambda: server.stats().refused.get("no_tls") == 1)
