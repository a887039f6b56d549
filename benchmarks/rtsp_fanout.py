"""What does each viewer cost the RTSP server, and does one that stalls cost the others anything?

    python -m benchmarks.rtsp_fanout --viewers 20 --seconds 20

Viewers run in a second process, so that the processor time shown is the server's and publisher's.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import socket
import sys
import threading
import time
from multiprocessing.connection import Connection
from types import SimpleNamespace

from kinemacolor.stream.rtsp import RtspServer

from tests.rtsp_peer import Client, Publisher, encode_clip


def watch(port: int, count: int, frames: int, out: Connection) -> None:
    """Play in `count` clients that read and one that does not; report frames and gaps."""
    server = SimpleNamespace(host="127.0.0.1", port=port)
    stalled = Client(server)  # type: ignore[arg-type]
    stalled.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stalled.play(0)
    results: list[tuple[int, int]] = []

    def one() -> None:
        with Client(server) as client:  # type: ignore[arg-type]
            client.play(0)
            seen = gaps = 0
            last = None
            while seen < frames:
                channel, packet = client.frame()
                if channel:
                    continue
                if packet[1] & 0x80:
                    timestamp = int.from_bytes(packet[4:8], "big")
                    gaps += last is not None and (timestamp - last) % (1 << 32) != 3600
                    last = timestamp
                    seen += 1
            results.append((seen, gaps))

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    out.send(results)
    stalled.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--viewers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    clip = encode_clip(3.84, width=1280, height=720, gop=24)
    mbit = sum(len(packet[3]) for packet in clip.packets) * 8 / clip.seconds / 1e6
    with RtspServer(port=0) as server, Publisher(server, clip):
        here, there = multiprocessing.Pipe()
        frames = round(options.seconds * 25)
        context = multiprocessing.get_context("spawn")
        peers = context.Process(
            target=watch, args=(server.port, options.viewers - 1, frames, there)
        )
        begin, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
        peers.start()
        results = here.recv()
        after, took = resource.getrusage(resource.RUSAGE_SELF), time.monotonic() - begin
        peers.join()
        stats = server.stats()
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    lost = sum(gaps for _, gaps in results)
    print(f"stream             1280x720, 25 fps, {mbit:.1f} Mbit/s")
    print(f"viewers            {len(results)} reading and 1 stalled, {took:.1f} s")
    print(f"lost frames        {lost} of {sum(seen for seen, _ in results)} (the readers')")
    print(f"dropped            {stats.dropped} (the stalled one's)")
    print(f"processor          {100 * used / took:.0f} % of one core, all viewers and publisher")
    sys.exit(bool(lost) or len(results) != options.viewers - 1)


if __name__ == "__main__":
    main()
