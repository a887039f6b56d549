"""How old is a picture when a viewer sees it in colour? From glass to glass, and does it grow?

A clock in the picture is served by RTSP, colorized by the command, and read back from the
command's own RTSP output.

python -m benchmarks.latency --seconds 600
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.codec.context import Flags
from kinemacolor.stream.rtsp import RtspServer
from kinemacolor.stream.sinks.encode import EncodeOptions
from kinemacolor.stream.sinks.live_encoder import LiveEncoder

from benchmarks import timecode


def clock_ms() -> int:
    """One clock for all processes of a machine."""
    return time.monotonic_ns() // 1_000_000


def serve_clock(port: int, width: int, height: int, fps: int) -> None:
    """The source: a process of its own, until it is ended."""
    encoder = LiveEncoder(Fraction(fps), EncodeOptions(preset="ultrafast", crf=23))
    with RtspServer(port=port, on_key_request=encoder.ask_for_key) as server:
        server.set_video()
        begin = time.monotonic()
        index = 0
        while True:
            time.sleep(max(0.0, begin + index / fps - time.monotonic()))
            frame = timecode.picture(width, height, index, clock_ms())
            frame.pts = round(index * 90_000 / fps)
            for packet in encoder.encode(frame):
                server.publish_video(bytes(packet), index / fps, packet.is_keyframe)
            index += 1


@contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process, ended when the block is left."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def open_viewer(url: str, *, within_seconds: float = 90.0) -> Any:
    """A player without delay; waits until there is something to play."""
    deadline = time.monotonic() + within_seconds
    while True:
        try:
            options = {"rtsp_transport": "tcp", "fflags": "nobuffer", "analyzeduration": "500000"}
            viewer = av.open(url, options=options, timeout=10)
            break
        except (OSError, av.error.FFmpegError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
    video = viewer.streams.video[0]
    video.thread_type = "SLICE"
    video.codec_context.flags |= Flags.low_delay
    return viewer


def watch(url: str, seconds: float) -> tuple[list[tuple[float, float]], int]:
    """(seconds since the start, latency in ms) of every frame seen, and the damaged ones."""
    seen: list[tuple[float, float]] = []
    damaged = 0
    with open_viewer(url) as viewer:
        begin = time.monotonic()
        for frame in viewer.decode(video=0):
            now = time.monotonic() - begin
            if now > seconds:
                break
            number = timecode.read(timecode.plane(frame, 0))
            if number is None:
                damaged += 1
            else:
                seen.append((now, float(clock_ms() - number)))
    return seen, damaged


def percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {f"p{p}": ordered[math.ceil(p / 100 * len(ordered)) - 1] for p in (50, 95, 99, 100)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--port", type=int, default=18554)
    parser.add_argument("--settle", type=float, default=5, help="seconds left out at the start")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("options", nargs="*", help="further options of the command, after --")
    options = parser.parse_args()
    width, height = (int(n) for n in options.size.split("x"))
    if options.serve:
        serve_clock(options.port, width, height, options.fps)
        return
    again = [sys.executable, "-m", "benchmarks.latency", "--serve", "--port", str(options.port)]
    source, result = (f"rtsp://127.0.0.1:{options.port + n}/live" for n in (0, 2))
    sink = f"rtsp://@:{options.port + 2}/live"
    command = [sys.executable, "-m", "kinemacolor", source, "-o", sink, "--no-progress"]
    command += ["--preset", "ultrafast", *options.options]
    with running(*again, "--size", options.size, "--fps", str(options.fps)):
        open_viewer(source).close()
        with running(*command):
            seen, damaged = watch(result, options.settle + options.seconds)
    seen = [(at - options.settle, ms) for at, ms in seen if at >= options.settle]
    rows = []
    print(f"{'minute':>6} {'frames':>6} {'p50':>6} {'p95':>6} {'p99':>6} {'most':>6} ms")
    for minute in range(math.ceil(options.seconds / 60)):
        inside = [ms for at, ms in seen if minute * 60 <= at < minute * 60 + 60]
        if inside:
            rows.append({"minute": minute + 1, "frames": len(inside), **percentiles(inside)})
            print(
                f"{minute + 1:6} {len(inside):6}",
                *(f"{n:6.0f}" for n in list(rows[-1].values())[2:]),
            )
    whole = percentiles([ms for _, ms in seen])
    wanted = round(options.seconds * options.fps)
    print(f"{'all':>6} {len(seen):6}", *(f"{n:6.0f}" for n in whole.values()))
    print(f"{len(seen)} of {wanted} frames seen, {damaged} with a clock that cannot be read")
    if options.json:
        report = {"minutes": rows, "all": whole, "seen": len(seen), "wanted": wanted}
        options.json.write_text(json.dumps(report, indent=2))
    if options.picture:
        draw(seen, options.picture)


def draw(seen: list[tuple[float, float]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3))
    axes = figure.add_subplot(xlabel="seconds", ylabel="latency, ms")
    axes.plot(*zip(*seen, strict=True), ".", markersize=1)
    axes.set_ylim(bottom=0)
    figure.savefig(path, bbox_inches="tight", dpi=120)


if __name__ == "__main__":
    main()
