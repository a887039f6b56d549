"""How fast is the colorizer that OpenCV's samples and the tutorials publish?

    python benchmarks/opencv_loop.py FILM [--frames 20] [--output OUT.mp4]

Zhang's 32 M network in cv2.dnn at 224x224, every frame turned into float Lab at full size and back,
cv2.VideoCapture in and cv2.VideoWriter (MPEG-4 part 2) out, one thing after another. The weights
are random (see zhang_stand_in.py): the time is the same, the colours are not. Loading the
network, and the first frame, in which OpenCV prepares it, are left out of the time. Of OpenCV's two
engines for networks the faster one on this machine is used.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.zhang_stand_in import SIZE, zhang_stand_in


def opencv_loop_fps(film: Path, *, frames: int = 20, output: Path | None = None) -> float:
    """Frames per second over up to this many frames of a film, after one that warms up.

    Args:
        output: where the coloured film goes; None writes it to a temporary file.
    """
    net = fastest_network(zhang_stand_in().SerializeToString())
    with tempfile.TemporaryDirectory() as folder:
        return _run(film, net, frames, output or Path(folder) / "out.mp4")


def _run(film: Path, net: Any, frames: int, output: Path) -> float:
    capture = cv2.VideoCapture(str(film))
    size = (int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
    rate = capture.get(cv2.CAP_PROP_FPS)
    writer = cv2.VideoWriter(str(output), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
    if not capture.isOpened() or not writer.isOpened():
        raise OSError(f"OpenCV cannot read {film} or write {output}")
    done, begin = 0, 0.0
    while done < frames + 1:
        found, frame = capture.read()
        if not found:
            break
        writer.write(colorize(frame, net))
        done += 1
        if done == 1:
            begin = time.perf_counter()
    capture.release()
    writer.release()
    seconds = time.perf_counter() - begin
    if done < 2:
        raise ValueError(f"{film} has fewer than two frames")
    return (done - 1) / seconds


def colorize(frame: NDArray[np.uint8], net: Any) -> NDArray[np.uint8]:
    """(H, W, 3) BGR to the same in colour, the way the tutorials go."""
    lab = cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_BGR2Lab)
    lightness = cv2.resize(lab, (SIZE, SIZE))[..., 0] - 50
    net.setInput(cv2.dnn.blobFromImage(lightness))
    ab = net.forward()[0].transpose(1, 2, 0)  # (56, 56, 2)
    lab[..., 1:] = cv2.resize(ab, frame.shape[1::-1])
    bgr = np.clip(cv2.cvtColor(lab, cv2.COLOR_Lab2BGR), 0, 1)
    return (bgr * 255).astype(np.uint8)


def fastest_network(model: bytes) -> Any:
    """The network in whichever of OpenCV's engines takes less time for one picture."""
    # OpenCV 5 has a new engine beside the classic one; OpenCV 4 has no choice.
    names = ("ENGINE_CLASSIC", "ENGINE_NEW")
    choices: list[dict[str, int]] = [
        {"engine": getattr(cv2.dnn, name)} for name in names if hasattr(cv2.dnn, name)
    ]
    networks = []
    for choice in choices or [{}]:
        try:
            net = cv2.dnn.readNetFromONNX(np.frombuffer(model, np.uint8), **choice)
            networks.append((min(_forward_seconds(net) for _ in range(3)), net))
        except cv2.error:  # an engine that cannot run it is no choice
            if choice == choices[-1] and not networks:
                raise
    return min(networks, key=lambda pair: pair[0])[1]


def _forward_seconds(net: Any) -> float:
    net.setInput(np.zeros((1, 1, SIZE, SIZE), np.float32))
    begin = time.perf_counter()
    net.forward()
    return time.perf_counter() - begin


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("film", type=Path)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    fps = opencv_loop_fps(arguments.film, frames=arguments.frames, output=arguments.output)
    print(f"{fps:.2f} fps, {1000 / fps:.0f} ms a frame")
