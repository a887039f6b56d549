"""Shows pictures from a pipe in a window, as a process of its own: `python window_view.py`.

PyAV's and OpenCV's wheels each bring a libxcb, and with PyAV's loaded first a window of
OpenCV's never opens (opencv-python 5.0, av 18.1); macOS wants windows on the main thread. So
this file imports nothing of the package.
"""

from __future__ import annotations

import struct
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

HEAD = struct.Struct("<II")  # width, height; then rows of BGR
KEYS = "q quit, space pause, c compare, + - 0 saturation, s snapshot, f full screen"
TITLE = "kinemacolor"
_STEP, _MOST = 0.1, 3.0


class View:
    """Says how pictures are shown; keys change it."""

    def __init__(self, snapshots: Path) -> None:
        self.paused = self.comparing = self.full_screen = self.ended = False
        self.saturation = 1.0
        self.picture: NDArray[np.uint8] | None = None  # (H, W, 3) BGR, as it came
        self._folder = snapshots

    def take(self, picture: NDArray[np.uint8]) -> None:
        """Takes the next picture; while the view is paused, the last one stays."""
        if not self.paused or self.picture is None:
            self.picture = picture

    def shown(self) -> NDArray[np.uint8]:
        """Returns the picture for the screen: (H, W, 3) uint8, BGR."""
        assert self.picture is not None
        picture: Any = self.picture
        if self.saturation == 1.0 and not self.comparing:
            return picture
        grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        picture = cv2.addWeighted(picture, self.saturation, grey, 1 - self.saturation, 0)
        if self.comparing:
            middle = picture.shape[1] // 2
            picture[:, :middle] = grey[:, :middle]
            picture[:, middle - 1 : middle + 1] = 255
        return picture

    def press(self, key: str) -> None:
        """Does what a key asks for; keys of no meaning do nothing."""
        match key:
            case "q" | "\x1b":
                self.ended = True
            case " ":
                self.paused = not self.paused
            case "c":
                self.comparing = not self.comparing
            case "+" | "=":
                self.saturation = min(_MOST, round(self.saturation + _STEP, 1))
            case "-":
                self.saturation = max(0.0, round(self.saturation - _STEP, 1))
            case "0":
                self.saturation = 1.0
            case "f":
                self.full_screen = not self.full_screen
            case "s":
                name = time.strftime("kinemacolor-%Y%m%d-%H%M%S.png")
                cv2.imwrite(str(self._folder / name), self.shown())


def read_picture(pipe: BinaryIO) -> NDArray[np.uint8] | None:
    """Reads the next picture of a pipe: (H, W, 3) uint8, BGR; None at its end."""
    head = pipe.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    width, height = HEAD.unpack(head)
    data = pipe.read(3 * width * height)
    if len(data) < 3 * width * height:
        return None
    return np.frombuffer(data, np.uint8).reshape(height, width, 3)


def show(pipe: BinaryIO, view: View) -> None:
    """Opens a window and shows a pipe's pictures until it ends or somebody wants no more."""
    full_screen, is_open = False, False
    while not view.ended and (picture := read_picture(pipe)) is not None:
        if not is_open:
            flags = cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL
            cv2.namedWindow(TITLE, flags)
            cv2.resizeWindow(TITLE, picture.shape[1], picture.shape[0])
            is_open = True
        view.take(picture)
        cv2.imshow(TITLE, view.shown())
        key = cv2.waitKey(1)
        if key >= 0:
            view.press(chr(key & 0xFF))
        if view.full_screen != full_screen:
            full_screen = view.full_screen
            state = cv2.WINDOW_FULLSCREEN if full_screen else cv2.WINDOW_NORMAL
            cv2.setWindowProperty(TITLE, cv2.WND_PROP_FULLSCREEN, state)
        if cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1:
            return  # its corner was clicked


if __name__ == "__main__":
    try:
        show(sys.stdin.buffer, View(Path()))
    except KeyboardInterrupt:
        pass  # Ctrl-C ends the whole run, this process with it
    except cv2.error as error:
        sys.stdout.write(error.err or str(error))
        raise SystemExit(1) from None
