"""Does memory stay flat on a long film?

    python -m benchmarks.memory [--height 1080] [--frames 10000] [--sink null:|FILE] [--json FILE]

The sample film, scaled and looped, is colorized in this process; resident memory is read after 500
frames, then every 500, and the peak at the end. Linux only (/proc). Needs the ffmpeg command.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from kinemacolor.engine.load import load
from kinemacolor.stream.color.colorizer import Colorizer
from kinemacolor.stream.measure.stats import Stats, peak_memory_mb
from kinemacolor.stream.pipeline import run
from kinemacolor.stream.sinks.open import open_sink
from kinemacolor.stream.sources.open import open_source
from kinemacolor.stream.steady.smoothing import make_steady

EVERY = 500


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--film", type=Path, default=Path("samples/film.mp4"))
    parser.add_argument("--height", type=int, default=1080)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--sink", default="null:")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        film = lengthen(arguments.film, arguments.height, arguments.frames, Path(folder))
        result = measure(film, arguments.sink)
    print(" ".join(f"{frames}:{mb:.0f}MB" for frames, mb in result["resident_mb"]))
    first, last = result["resident_mb"][0][1], result["resident_mb"][-1][1]
    print(f"{first:.0f} MB after {EVERY} frames, {last:.0f} MB at the end, ", end="")
    print(f"peak {result['peak_mb']:.0f} MB, {result['fps']:.1f} fps")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


def lengthen(film: Path, height: int, frames: int, folder: Path) -> Path:
    """The film at this height, repeated until it has so many frames."""
    once, long = folder / "once.mkv", folder / "long.mkv"
    scale = f"scale=-2:{height}:flags=lanczos,format=gray,format=yuv420p"
    encode = ["-vf", scale, "-c:v", "libx264", "-crf", "20", "-preset", "veryfast", str(once)]
    subprocess.run(["ffmpeg", "-y", "-v", "error", "-i", str(film), "-an", *encode], check=True)
    repeat = ["-stream_loop", "-1", "-i", str(once), "-frames:v", str(frames), "-c", "copy"]
    subprocess.run(["ffmpeg", "-y", "-v", "error", *repeat, str(long)], check=True)
    return long


def measure(film: Path, sink_uri: str) -> dict[str, Any]:
    resident: list[tuple[int, float]] = []

    def on_frame(stats: Stats) -> None:
        if stats.frames_out % EVERY == 0:
            resident.append((stats.frames_out, resident_mb()))

    network = load()
    source = open_source(film)
    sink = open_sink(sink_uri, source, overwrite=True)
    colorizer = Colorizer(network, steady=make_steady("film"), pix_fmts=sink.pix_fmts)
    stats = run(source, colorizer, sink, on_frame=on_frame)
    sink.finish()
    source.close()
    network.close()
    resident.append((stats.frames_out, resident_mb()))
    return {
        "frames": stats.frames_out,
        "size": f"{source.info.width}x{source.info.height}",
        "resident_mb": resident,
        "peak_mb": peak_memory_mb(),
        "fps": stats.fps,
    }


def resident_mb() -> float:
    """Memory that this process holds now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1e3
    raise RuntimeError("/proc/self/status has no VmRSS")


if __name__ == "__main__":
    main()
