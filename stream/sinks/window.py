"""Shows the result on the screen, with keys to look closer: `window:`."""

from __future__ import annotations

import os
import subprocess
import sys

from kinemacolor.stream.errors import BadSink
from kinemacolor.stream.handoff import Stopped
from kinemacolor.stream.media import Item, Sink, is_frame
from kinemacolor.stream.sinks import window_view

_CLOSE_SECONDS = 5.0


class WindowSink(Sink):
    """Shows frames in a window; sound is not played.

    What its keys change is the view alone: other outputs of the same run stay as they are.
    Closing the window ends the run, as `Run.stop` does.

    Raises BadSink where there is no screen.
    """

    follows_size = True

    def __init__(self) -> None:
        _need_screen()
        self.pix_fmts = frozenset(("yuv420p", "yuv422p", "yuv444p"))
        self.description = f"window ({window_view.KEYS})"
        self._process = subprocess.Popen(
            [sys.executable, window_view.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # Qt complains there of fonts that nobody misses
        )

    def write(self, item: Item) -> None:
        """Shows a frame. Raises Stopped when the window was closed."""
        if not is_frame(item):
            return
        picture = item.to_ndarray(format="bgr24")
        pipe = self._process.stdin
        assert pipe is not None
        try:
            pipe.write(window_view.HEAD.pack(item.width, item.height))
            pipe.write(picture.data)
            pipe.flush()
        except (BrokenPipeError, OSError) as error:  # OSError: Windows
            self._closed(error)

    def finish(self) -> None:
        """Closes the window."""
        for pipe in (self._process.stdin, self._process.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:
                pass  # it is gone already
        try:
            self._process.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _closed(self, error: OSError) -> None:
        assert self._process.stdout is not None
        said = self._process.stdout.read().decode(errors="replace").strip()
        if self._process.wait() == 0:
            raise Stopped
        raise BadSink(f"the window cannot be shown: {said or 'no screen'}") from error


def _need_screen() -> None:
    if sys.platform in ("win32", "darwin"):
        return
    display = os.environ.get("DISPLAY", "")
    if not display and not os.environ.get("WAYLAND_DISPLAY"):
        raise BadSink(
            "window: needs a screen, and DISPLAY is not set; -o rtsp://@:8554/live needs none"
        )
