"""A source that is killed again and again: does the result go on, and does anything leak?

The source's server is killed and started again at random; a viewer watches the result all along.

python -m benchmarks.outage --times 20
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from benchmarks import timecode
from benchmarks.latency import clock_ms, open_viewer, running


class Viewer:
    """Watches a URL on a thread: when it last saw a frame, and the clock in it."""

    def __init__(self, url: str) -> None:
        self._viewer = open_viewer(url)
        self._thread = threading.Thread(target=self._watch)
        self._stop = threading.Event()
        self.frames = 0
        self.clock = 0
        self.longest_gap = 0.0
        self.ended = ""
        self._thread.start()

    def _watch(self) -> None:
        last = time.monotonic()
        try:
            for frame in self._viewer.decode(video=0):
                now = time.monotonic()
                self.longest_gap, last = max(self.longest_gap, now - last), now
                self.frames += 1
                self.clock = timecode.read(timecode.plane(frame, 0)) or self.clock
                if self._stop.is_set():
                    return
            self.ended = "the stream ended"
        except OSError as error:
            self.ended = str(error)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._viewer.close()


def wait_for(port: int) -> None:
    """Returns when a server takes connections."""
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.02)


def process_state(pid: int) -> tuple[float, int]:
    """Resident memory in MB and the number of threads of a process (Linux)."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return int(fields["VmRSS"].split()[0]) / 1e3, int(fields["Threads"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--port", type=int, default=18574)
    parser.add_argument("--longest", type=float, default=5.0, help="seconds away, at most")
    parser.add_argument("--seed", type=int, default=1908)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    dice = random.Random(options.seed)
    serve = [sys.executable, "-m", "benchmarks.latency", "--serve", "--port", str(options.port)]
    source, result = (f"rtsp://127.0.0.1:{options.port + n}/live" for n in (0, 2))
    sink = f"rtsp://@:{options.port + 2}/live"
    command = [sys.executable, "-m", "kinemacolor", source, "-o", sink]
    command += ["--no-progress", "--quiet", "--preset", "ultrafast"]
    rows = []
    server = subprocess.Popen(serve)
    try:
        open_viewer(source).close()
        with running(*command) as process:
            viewer = Viewer(result)
            time.sleep(3)
            print(f"{'':4} {'away s':>7} {'back after s':>12} {'MB':>6} {'threads':>7}")
            for number in range(options.times + 1):
                if number:
                    how = dice.choice((signal.SIGKILL, signal.SIGTERM))
                    server.send_signal(how)
                    server.wait()
                    away = dice.uniform(0.2, options.longest)
                    time.sleep(away)
                    server = subprocess.Popen(serve)
                    wait_for(options.port)
                    returned, mark = time.monotonic(), clock_ms()
                    while viewer.clock < mark and time.monotonic() - returned < 30:
                        time.sleep(0.02)
                    back = time.monotonic() - returned
                else:
                    away = back = 0.0
                memory, threads = process_state(process.pid)
                rows.append({"away": away, "back": back, "memory_mb": memory, "threads": threads})
                print(f"{number:4} {away:7.1f} {back:12.2f} {memory:6.0f} {threads:7}", flush=True)
                time.sleep(dice.uniform(1.0, 3.0))
            alive = process.poll() is None
            viewer.close()
    finally:
        server.terminate()
        server.wait()
    slowest = max(row["back"] for row in rows)
    print(f"slowest return {slowest:.2f} s; longest gap at the viewer {viewer.longest_gap:.2f} s")
    print(f"the result {'never ended' if alive and not viewer.ended else viewer.ended or 'ended'}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))
    sys.exit(not alive or bool(viewer.ended) or slowest > 3)


if __name__ == "__main__":
    main()
