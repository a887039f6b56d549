"""Does the RTSP server stand 10,000 malformed requests, half-open connections and slow readers?

    python -m benchmarks.rtsp_fuzz --requests 10000

Loopback only. One viewer over TCP and one over UDP watch all the time; what they lose is counted.
The exit code is 1 if the server stopped, hung, logged an error, grew without bound or disturbed a
viewer.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import random
import socket
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kinemacolor.stream.rtsp import Credentials, Limits, RtspServer, Stats

from tests.rtsp_peer import Client, Publisher, encode_clip

ALLOWED_GROWTH_MIB = 48.0
# The rate limit is what stops this on a default server; here the parser is to be reached.
LIMITS = replace(
    Limits(),
    connections_per_second=1e6,
    connections_burst=1_000_000,
    connections=100,
    connections_per_address=100,
    longest_login_wait_seconds=0.0,
    request_seconds=5.0,
    idle_seconds=5.0,
    stall_seconds=5.0,
    send_buffer_bytes=16 << 10,
)
METHODS = [
    *("OPTIONS", "DESCRIBE", "SETUP", "PLAY", "PAUSE", "GET_PARAMETER", "SET_PARAMETER"),
    *("TEARDOWN", "ANNOUNCE", "RECORD", "GET", "POST", "BREW", "describe", "\x00", "Ü"),
]


class ErrorCount(logging.Handler):
    """Counts what is logged as an error: asyncio tells of unhandled exceptions nowhere else."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(self.format(record))


class Viewer:
    """Watches video over TCP or UDP on a thread; counts packets, gaps and frames."""

    def __init__(self, server: RtspServer, transport: str) -> None:
        self.transport = transport
        self.packets = self.gaps = self.frames = 0
        self.longest_pause = 0.0
        self.error = ""
        self._client = Client(server)
        self._sockets: list[socket.socket] = []
        self._stop = threading.Event()
        assert self._client.request("DESCRIBE").status == 200
        offer = None
        if transport == "udp":
            self._sockets = [_udp_socket(), _udp_socket()]
            ports = "-".join(str(s.getsockname()[1]) for s in self._sockets)
            offer = f"RTP/AVP;unicast;client_port={ports}"
        assert self._client.setup(0, offer).status == 200
        assert self._client.request("PLAY").status == 200
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()
        for sock in self._sockets:
            sock.close()

    def summary(self) -> dict[str, Any]:
        return {
            "transport": self.transport,
            "frames": self.frames,
            "gaps": self.gaps,
            "longest_pause_ms": round(self.longest_pause * 1000),
            "error": self.error,
        }

    def _run(self) -> None:
        try:
            self._watch()
        except Exception as error:
            self.error = repr(error)

    def _watch(self) -> None:
        previous, last, pinged = None, None, time.monotonic()
        while not self._stop.is_set():
            now = time.monotonic()
            if self.transport == "udp" and now - pinged > 5:
                assert self._client.request("GET_PARAMETER").status == 200
                pinged = now
            if self.transport == "udp":
                packet = self._sockets[0].recv(2048)
            else:
                channel, packet = self._client.frame()
                if channel:
                    continue
            sequence = int.from_bytes(packet[2:4], "big")
            self.gaps += previous is not None and sequence != (previous + 1) & 0xFFFF
            previous = sequence
            self.packets += 1
            if packet[1] & 0x80:
                self.frames += 1
                now = time.monotonic()
                self.longest_pause = max(self.longest_pause, now - (last or now))
                last = now


def _udp_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(10)
    return sock


def mutant(rng: random.Random, url: str) -> bytes:
    """A request that is wrong in one of many ways; now and then one that happens to be right."""
    method = rng.choice(METHODS)
    uri = rng.choice(
        [
            url,
            f"{url}/trackID={rng.randrange(-2, 12)}",
            f"{url}/../../etc/passwd",
            "rtsp://[::1",
            "*",
            "/" * rng.randrange(1, 3000),
            "rtsp://" + "a" * rng.randrange(3000),
            "%00%ff%n%s",
            "",
        ]
    )
    headers = [
        "CSeq: " + rng.choice(["1", "-1", "99999999999", "x", "", "1\r\nCSeq: 2"]),
        f"Session: {rng.choice(['', '0' * 24, 'a' * 5000, '; timeout=', 'x y'])}",
        "Transport: "
        + rng.choice(
            [
                "RTP/AVP/TCP;unicast;interleaved=0-1",
                "RTP/AVP/TCP;interleaved=256-999",
                "RTP/AVP/TCP;interleaved=5-5",
                "RTP/AVP;unicast;client_port=1-2",
                "RTP/AVP;unicast;client_port=70000-70001",
                "RTP/AVP;multicast",
                ";;;,,,===",
                "RTP/AVP;unicast;client_port=" + "9" * 400,
            ]
        ),
        f"Content-Length: {rng.choice(['0', '4', '-5', '99999999', '0x10', '4096'])}",
        f"Authorization: {rng.choice(['Digest ' + 'a=' * 900, 'Basic eDp5', 'Digest'])}",
        f"Require: {rng.choice(['', 'x.y', 'implicit-play'])}",
        "X: " + "y" * rng.randrange(10000),
        "no colon",
        " folded: line",
        "\x00: \x01",
        *(f"H{i}: {i}" for i in range(rng.choice([0, 0, 0, 200]))),
    ]
    if rng.random() < 0.5:  # well-formed, so that it reaches what lies behind the parser
        keep = ["CSeq: 7", *rng.sample(headers[1:3] + headers[4:6], rng.randrange(4))]
        version, end = "RTSP/1.0", "\r\n"
    else:
        keep = rng.sample(headers, rng.randrange(len(headers)))
        version = rng.choice(["RTSP/1.0"] * 6 + ["RTSP/2.0", "HTTP/1.1", "RTSP/", ""])
        end = rng.choice(["\r\n"] * 5 + ["\n", "\r"])
    data = bytearray(
        (end.join([f"{method} {uri} {version}", *keep]) + end * 2).encode("utf-8", "replace")
    )
    match rng.randrange(10):
        case 0:
            data = data[: rng.randrange(len(data))]
        case 1:
            for _ in range(rng.randrange(1, 30)):
                data[rng.randrange(len(data))] = rng.randrange(256)
        case 2:
            data = bytearray(rng.randbytes(rng.randrange(1, 4000)))
        case 3:
            data = bytearray(b"$" + rng.randbytes(3)) + data
        case 4:
            data = data * rng.randrange(2, 12)
    return bytes(data)


def throw(server: RtspServer, data: bytes, rng: random.Random) -> str:
    """Send bytes on a connection of their own; what came back."""
    try:
        with socket.create_connection((server.host, server.port), timeout=10) as sock:
            sock.sendall(data)
            if rng.random() < 0.2:
                return "left"
            sock.shutdown(socket.SHUT_WR)
            answer = b""
            while chunk := sock.recv(65536):
                answer += chunk[: 4096 - len(answer)]
    except TimeoutError:
        return "hang"
    except ConnectionError:
        return "reset"
    if not answer:
        return "closed"
    if not answer.startswith(b"RTSP/1.0 "):
        return "nonsense"
    return answer[9:12].decode()


def throw_in_session(server: RtspServer, data: bytes, rng: random.Random) -> None:
    """Send bytes, and frames that are no RTCP, on the connection of a viewer that plays."""
    with contextlib.suppress(OSError, EOFError), Client(server) as client:
        client.play(0, 1)
        junk = rng.randbytes(rng.randrange(200))
        client.send(bytes([0x24, rng.randrange(256)]) + len(junk).to_bytes(2, "big") + junk)
        client.send(data.replace(b"Session: ", b"Session: " + client.session.encode()))
        client.sock.shutdown(socket.SHUT_WR)
        while client.sock.recv(65536):
            pass


def half_open(server: RtspServer, count: int) -> list[socket.socket]:
    """Connections that begin a request and never end it."""
    held = []
    for index in range(count):
        with contextlib.suppress(OSError):
            sock = socket.create_connection((server.host, server.port), timeout=5)
            sock.sendall(b"DESCRIBE rtsp://x/live RTSP/1.0\r\nCS"[: index % 36])
            held.append(sock)
    return held


def slow_readers(server: RtspServer, count: int) -> list[Client]:
    """Viewers that play and never read again."""
    readers = []
    for _ in range(count):
        client = Client(server)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.play(0, 1)
        readers.append(client)
    return readers


def stray_datagrams(server: RtspServer, rng: random.Random, count: int) -> None:
    """RTCP, and what is none, from an address that no viewer has."""
    with Client(server) as client:
        client.request("DESCRIBE")
        reply = client.setup(0, "RTP/AVP;unicast;client_port=40000-40001")
        port = int(reply.header("transport").partition("server_port=")[2].partition("-")[0])
        client.request("TEARDOWN")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for index in range(count):
            sock.sendto(rng.randbytes(rng.randrange(200)), ("127.0.0.1", port + index % 2))


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


@dataclass(frozen=True)
class Attack:
    """What was done to a server, and what it was like afterwards."""

    outcomes: Counter[str]
    viewers: list[Viewer]
    seconds: float
    published: int  # frames, meanwhile
    growth_mib: float
    still_answers: bool
    stats: Stats
    guarded: Stats  # of the server that asks for a login


def attack(options: argparse.Namespace) -> Attack:
    """Throws everything at two servers, one of which asks for a login, while two viewers watch."""
    rng, clip = random.Random(options.seed), encode_clip(3.84, gop=24)
    outcomes: Counter[str] = Counter()
    with (
        RtspServer(port=0, limits=LIMITS) as server,
        RtspServer(port=0, limits=LIMITS, credentials=Credentials("ann", "pw")) as guarded,
        Publisher(server, clip) as publisher,
    ):
        guarded.set_video(clip.video_extradata)
        viewers = [Viewer(server, "tcp"), Viewer(server, "udp")]
        time.sleep(1)
        start_mib, start, start_frames = resident_mib(), time.monotonic(), publisher.frames
        held = [*half_open(server, options.half_open), *slow_readers(server, options.slow)]
        stray_datagrams(server, rng, options.requests)
        for index in range(options.requests):
            target = guarded if index % 4 == 0 else server
            outcomes[throw(target, mutant(rng, target.url), rng)] += 1
            if index % 50 == 0:
                throw_in_session(server, mutant(rng, server.url), rng)
        deadline = time.monotonic() + 30
        while max(server.stats().connections, server.stats().clients) > 2:
            if time.monotonic() > deadline:
                break
            time.sleep(0.5)
        stats = server.stats(), guarded.stats()
        with Client(server) as client:
            still_answers = client.request("OPTIONS").status == 200
        seconds, published = time.monotonic() - start, publisher.frames - start_frames
        for peer in [*viewers, *held]:
            peer.close()
        growth_mib = resident_mib() - start_mib
    return Attack(outcomes, viewers, seconds, published, growth_mib, still_answers, *stats)


def report_of(done: Attack, errors: list[str]) -> dict[str, Any]:
    """Returns what is printed, with "good" last.

    Args:
        errors: what was logged as one.
    """
    stats, guarded = done.stats, done.guarded
    report: dict[str, Any] = {
        "requests": done.outcomes.total(),
        "seconds": round(done.seconds, 1),
        "outcomes": dict(done.outcomes.most_common()),
        "published_frames": done.published,
        "viewers": [viewer.summary() for viewer in done.viewers],
        "growth_mib": round(done.growth_mib, 1),
        "still_answers": done.still_answers,
        "leftover_connections": stats.connections - 2,  # the two viewers' own may be left
        "threads": threading.active_count(),
        "refused": stats.refused,
        "refused_with_login": guarded.refused,
        "ended": stats.ended,
        "dropped": stats.dropped,
        "errors_logged": len(errors),
        "first_error": errors[0] if errors else "",
        "server_errors": stats.ended.get("error", 0)
        + stats.refused.get("status_500", 0)
        + guarded.refused.get("status_500", 0),
    }
    report["good"] = bool(
        done.still_answers
        and not any(v.gaps or v.error or v.frames < done.published for v in done.viewers)
        and not done.outcomes["hang"]
        and not done.outcomes["nonsense"]
        and not report["server_errors"]
        and not errors
        and report["leftover_connections"] <= 0
        and done.growth_mib < ALLOWED_GROWTH_MIB
        and threading.active_count() == 1
    )
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--half-open", type=int, default=40)
    parser.add_argument("--slow", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    logged = ErrorCount()
    logging.getLogger().addHandler(logged)
    report = report_of(attack(options), logged.records)
    for key, value in report.items():
        print(f"{key:22} {value}")
    if options.json:
        options.json.write_text(json.dumps(report, indent=2))
    sys.exit(not report["good"])


if __name__ == "__main__":
    main()
