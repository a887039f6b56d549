"""How fast is a coloured film, beside FFmpeg alone and beside the published OpenCV loop?

    python -m benchmarks.speed [FILM] [--heights 480 720 1080] [--json FILE] [--plot FILE.png]

The film (default: samples/film.mp4, looped to 20 s) is scaled to each height and made grey; then,
in turn and three times, `ffmpeg -crf 18 -preset veryfast` transcodes it, `kinemacolor` colorizes
it with the same settings, and once the OpenCV loop (Zhang's 32 M network in cv2.dnn at 224x224,
float Lab at full size) colorizes a few frames. Whole processes are timed, start-up included; the
best of the three counts. Needs the ffmpeg command.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.opencv_loop import opencv_loop_fps

SETTINGS = ("-crf", "18", "-preset", "veryfast")
SECONDS = 20
ROUNDS = 3
LOOP_FRAMES = 12


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("film", type=Path, nargs="?", default=Path("samples/film.mp4"))
    parser.add_argument("--heights", type=int, nargs="+", default=[480, 720, 1080])
    parser.add_argument("--model", default="kinema")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            measure(arguments.film, height, arguments.model, Path(folder))
            for height in arguments.heights
        ]
    print(f"{'size':>10} {'ffmpeg':>8} {'kinema':>8} {'share':>7} {'opencv':>8} {'times':>7}")
    for row in rows:
        print(
            f"{row['size']:>10} {row['ffmpeg_fps']:8.1f} {row['kinemacolor_fps']:8.1f} "
            f"{row['share_of_ffmpeg']:7.0%} {row['opencv_loop_fps']:8.2f} "
            f"{row['times_opencv_loop']:7.1f}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2) + "\n")
    if arguments.plot:
        plot(rows, arguments.plot)


def measure(film: Path, height: int, model: str, folder: Path) -> dict[str, Any]:
    """One row: frames per second of all three on the same grey film."""
    grey = folder / f"grey-{height}.mkv"
    make_grey(film, height, grey)
    frames, size = probe(grey)
    report = folder / "report.json"
    ours = [sys.executable, "-m", "kinemacolor", str(grey), "-o", str(folder / "ours.mkv")]
    ours += [s.replace("-", "--", 1) if s.startswith("-") else s for s in SETTINGS]
    ours += ["--overwrite", "--quiet", "--model", model, "--report", str(report)]
    alone = ["ffmpeg", "-y", "-v", "error", "-i", str(grey), "-c:v", "libx264", *SETTINGS]
    alone += [str(folder / "alone.mkv")]
    seconds: dict[str, list[float]] = {"alone": [], "ours": []}
    reports = []
    for _ in range(ROUNDS):
        seconds["alone"].append(timed(alone))
        seconds["ours"].append(timed(ours))
        reports.append(json.loads(report.read_text()))
    best = min(reports, key=lambda r: r["seconds"])
    ffmpeg_fps, our_fps = (frames / min(seconds[name]) for name in ("alone", "ours"))
    loop_fps = opencv_loop_fps(grey, frames=LOOP_FRAMES)
    return {
        "size": size,
        "frames": frames,
        "ffmpeg_fps": ffmpeg_fps,
        "kinemacolor_fps": our_fps,
        "kinemacolor_fps_without_start": best["fps"],
        "share_of_ffmpeg": our_fps / ffmpeg_fps,
        "opencv_loop_fps": loop_fps,
        "times_opencv_loop": our_fps / loop_fps,
        "first_frame_seconds": best["first_frame_seconds"],
        "peak_memory_mb": best["peak_memory_mb"],
        "stage_ms": best["stage_ms"],
        "backend": best["backend"],
    }


def make_grey(film: Path, height: int, target: Path) -> None:
    """The film at this height without its colours, nearly lossless, 20 s of it."""
    scale = f"scale=-2:{height}:flags=lanczos,format=gray,format=yuv420p"
    read = ["-stream_loop", "-1", "-t", str(SECONDS), "-i", str(film), "-an", "-vf", scale]
    write = ["-c:v", "libx264", "-crf", "10", "-preset", "veryfast", str(target)]
    subprocess.run(["ffmpeg", "-y", "-v", "error", *read, *write], check=True)


def probe(film: Path) -> tuple[int, str]:
    """Frame count and size of a film."""
    import av

    with av.open(str(film)) as container:
        video = container.streams.video[0]
        count = sum(1 for packet in container.demux(video) if packet.size)
        return count, f"{video.codec_context.width}x{video.codec_context.height}"


def timed(command: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return time.perf_counter() - begin


def machine() -> str:
    import os

    from kinemacolor.stream.command.doctor import processor

    return f"{processor()}, {os.cpu_count()} cores"


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Grouped bars of frames per second, on a logarithmic axis."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    names = {"ffmpeg_fps": "FFmpeg alone", "kinemacolor_fps": "kinemacolor"}
    names["opencv_loop_fps"] = "OpenCV loop"
    for i, (key, label) in enumerate(names.items()):
        places = [n + (i - 1) * 0.27 for n in range(len(rows))]
        bars = axes.bar(places, [row[key] for row in rows], 0.25, label=label)
        axes.bar_label(bars, fmt="%.1f", fontsize=8)
    axes.set_yscale("log")
    axes.set_ylabel("frames per second")
    axes.set_xticks(range(len(rows)), [row["size"] for row in rows])
    axes.set_title(f"x264 crf 18 veryfast\n{machine()}", fontsize=9)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
