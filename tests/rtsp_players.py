"""Real RTSP players as commands: how to start each, and how to read what it says at its end."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_VLC_PLUGINS = Path("/usr/lib/x86_64-linux-gnu/vlc/plugins")
_VLC_START_SECONDS = 4  # it is asked for its counters so much later than the frames last
# live555 says this of every connection it makes.
_CHATTER = re.compile(r"Created new TCP socket \d+ for connection")
# What VLC's counters say of frames, buffers and packets that did not make it.
_LOSS = re.compile(r"(?:lost|corrupted) +: +[1-9]")

# Reads with PyAV, prints one line; the FFmpeg inside the wheel is not the system's.
_PYAV = """
import av, sys
av.logging.set_level(av.logging.WARNING)
url, transport, frames = sys.argv[1], sys.argv[2], int(sys.argv[3])
with av.open(url, options={"rtsp_transport": transport}, timeout=10) as source:
    seen, sound = [], 0
    for frame in source.decode(video=0, audio=0):
        if isinstance(frame, av.VideoFrame):
            seen.append(frame.pts or 0)  # FFmpeg's parser loses the first time of any RTP stream
        else:
            sound += 1
        if len(seen) >= frames:
            break
assert sound, "no sound"
print("frames", len(seen), "steps", sorted({b - a for a, b in zip(seen[1:], seen[2:])}))
"""


@dataclass(frozen=True)
class Result:
    """How one player fared: its exit code, the frames it showed and every line of complaint."""

    code: int
    frames: int
    complaints: list[str]


@dataclass(frozen=True)
class Player:
    """`command(url, transport, frames)` plays so many frames (VLC: at least) and ends by itself."""

    name: str
    command: Callable[[str, str, int], list[str]]
    frames: Callable[[str], int]
    missing: Callable[[], str]

    def play(self, url: str, transport: str, frames: int, *, timeout: float) -> Result:
        environment = dict(os.environ)
        environment["GST_DEBUG"] = "*:1,rtpjitterbuffer:2,rtph264depay:2,libav:2"
        environment["GST_DEBUG_NO_COLOR"] = "1"
        try:
            done = subprocess.run(
                self.command(url, transport, frames),
                env=environment,
                capture_output=True,
                text=True,
                timeout=timeout,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired as error:
            output = (error.stdout or b"").decode(errors="replace")
            complaints = (error.stderr or b"").decode(errors="replace").splitlines()
            return Result(-1, self.frames(output), [*complaints, f"still there after {timeout} s"])
        complaints = [
            line
            for line in done.stderr.splitlines()
            if line.strip() and not _CHATTER.fullmatch(line)
        ]
        complaints += [line for line in done.stdout.splitlines() if _LOSS.search(line)]
        return Result(done.returncode, self.frames(done.stdout), complaints)


def _ffmpeg(url: str, transport: str, frames: int) -> list[str]:
    return [
        *("ffmpeg", "-hide_banner", "-nostdin", "-v", "warning", "-nostats"),
        *("-progress", "pipe:1", "-rtsp_transport", transport, "-i", url),
        *("-map", "0", "-frames:v", str(frames), "-f", "null", "-"),
    ]


def _last_number(pattern: str) -> Callable[[str], int]:
    return lambda output: int((re.findall(pattern, output) or ["0"])[-1])


def _gstreamer(url: str, transport: str, frames: int) -> list[str]:
    # 25 fps against 46.875 audio frames a second: both branches end at about the same time.
    sound = str(int(frames / 25 * 46.875))
    return [
        *("gst-launch-1.0", "-v", "rtspsrc", f"location={url}", f"protocols={transport}"),
        *("latency=200", "name=s"),
        *("s.", "!", "rtph264depay", "!", "h264parse", "!", "avdec_h264", "!"),
        *("identity", f"eos-after={frames + 1}", "!"),
        *("fakesink", "name=pictures", "silent=false", "sync=true"),
        *("s.", "!", "rtpmp4gdepay", "!", "aacparse", "!", "avdec_aac", "!"),
        *("identity", f"eos-after={sound}", "!", "fakesink", "sync=true"),
    ]


def _pyav(url: str, transport: str, frames: int) -> list[str]:
    return [sys.executable, "-c", _PYAV, url, transport, str(frames)]


def _vlc(url: str, transport: str, frames: int) -> list[str]:
    options = ["--rtsp-tcp"] if transport == "tcp" else []
    command = [
        *("cvlc", "-q", "--intf", "oldrc", "--rc-fake-tty", "--vout", "dummy", "--aout", "dummy"),
        *("--no-dbus", "--no-video-title-show", *options, url),
    ]
    if os.geteuid() == 0:  # VLC refuses to run as root
        command = ["runuser", "-u", "nobody", "--", *command]
    talk = f"(sleep {frames / 25 + _VLC_START_SECONDS}; echo stats; sleep 0.5; echo shutdown)"
    return ["sh", "-c", f"{talk} | {shlex.join(command)}"]


def _program(name: str) -> Callable[[], str]:
    return lambda: "" if shutil.which(name) else f"{name} is not installed"


def _vlc_missing() -> str:
    if not shutil.which("cvlc"):
        return "cvlc is not installed"
    if _VLC_PLUGINS.exists() and not list(_VLC_PLUGINS.rglob("liblive555*")):
        return "this VLC was built without its RTSP plugin (live555), as Debian 12 builds it"
    return ""


PLAYERS = {
    player.name: player
    for player in (
        Player("ffmpeg", _ffmpeg, _last_number(r"(?m)^frame=(\d+)$"), _program("ffmpeg")),
        Player(
            "gstreamer",
            _gstreamer,
            lambda output: output.count("GstFakeSink:pictures: last-message = chain"),
            _program("gst-launch-1.0"),
        ),
        Player("pyav", _pyav, _last_number(r"frames (\d+)"), lambda: ""),
        Player("vlc", _vlc, _last_number(r"frames displayed +: +(\d+)"), _vlc_missing),
    )
}
