"""Opens cameras and screens, which every system names otherwise, and lists what they can do."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import av
import av.error
from kinemacolor.stream.address import Camera
from kinemacolor.stream.errors import BadSource, SourceError
from kinemacolor.stream.options import LiveOptions
from kinemacolor.stream.sources.connection import Backoff, reason_of
from kinemacolor.stream.sources.reconnecting import ReconnectingSource

log = logging.getLogger(__name__)

OPEN_SECONDS, READ_SECONDS = 10.0, 5.0


@dataclass(frozen=True)
class Grabber:
    """FFmpeg's device of one system: its format, and what it calls a camera or the screen."""

    format: str
    camera: Callable[[str], str]  # from `0` or a name
    screen: Callable[[], tuple[str, str]]  # (format, name)


def _v4l2(name: str) -> str:
    return f"/dev/video{name}" if name.isdigit() else name


GRABBERS = {
    "linux": Grabber("v4l2", _v4l2, lambda: ("x11grab", os.environ.get("DISPLAY", ":0"))),
    "darwin": Grabber("avfoundation", str, lambda: ("avfoundation", "Capture screen 0")),
    "win32": Grabber("dshow", lambda name: f"video={name}", lambda: ("gdigrab", "desktop")),
}


@dataclass(frozen=True)
class CameraModes:
    """One camera, and the sizes and rates it offers, in the system's own words."""

    name: str
    description: str
    modes: tuple[str, ...] = ()


def open_camera(
    address: Camera, options: LiveOptions, *, duration_seconds: float | None = None
) -> ReconnectingSource:
    """Opens `webcam:0`, `v4l2:/dev/video0`, `avfoundation:`, `dshow:` or `screen:`.

    Raises SourceError, or BadSource for a kind that this system does not have.
    """
    format, name = resolve(address)
    wanted = capture_options(options)
    if format == "x11grab" and options.size is None:
        wanted.pop("video_size", None)

    def connect() -> Any:
        return av.open(name, format=format, options=wanted, timeout=(OPEN_SECONDS, READ_SECONDS))

    try:
        return ReconnectingSource(
            str(address),
            connect,
            backoff=Backoff(give_up_seconds=options.give_up_seconds),
            duration_seconds=duration_seconds,
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(
            f"cannot open {address}: {reason_of(error)}; `kinemacolor devices` lists cameras"
        ) from error


def resolve(address: Camera, platform: str = sys.platform) -> tuple[str, str]:
    """Turns a camera's address into FFmpeg's format and device name on a system."""
    grabber = GRABBERS.get(platform, GRABBERS["linux"])
    kind, name = address.kind, address.name
    match kind:
        case "screen":
            format, default = grabber.screen()
            return format, name or default
        case "webcam":
            return grabber.format, grabber.camera(name or "0")
        case _ if kind == grabber.format:
            return grabber.format, grabber.camera(name or "0")
        case _:
            raise BadSource(f"{kind}: is not this system's; use webcam:0 or {grabber.format}:")


def capture_options(options: LiveOptions) -> dict[str, str]:
    """Returns FFmpeg's options for what is asked of a camera; systems share their names."""
    wanted = {}
    if options.size is not None:
        wanted["video_size"] = f"{options.size[0]}x{options.size[1]}"
    if options.fps is not None:
        wanted["framerate"] = str(options.fps)
    if options.input_format is not None:
        wanted["input_format"] = options.input_format
    return wanted


def devices(
    found: Callable[[str], list[Any]] = av.enumerate_input_devices,
    modes: Callable[[str, str], list[str]] | None = None,
    platform: str = sys.platform,
) -> list[CameraModes]:
    """Lists the cameras of this system with their modes.

    Args:
        found: lists the devices of one of FFmpeg's formats (`av.DeviceInfo`).
        modes: what FFmpeg prints when it is asked for a device's modes.
    """
    format = GRABBERS.get(platform, GRABBERS["linux"]).format
    try:
        listed = found(format)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        log.debug("no %s devices: %s", format, error)
        return []
    ask = modes or printed_modes
    return [
        CameraModes(d.name, d.description, tuple(parse_modes(ask(format, d.name))))
        for d in listed
        if not d.media_types or "video" in d.media_types
    ]


def printed_modes(format: str, name: str) -> list[str]:
    """Returns FFmpeg's own lines about a camera's modes, which it prints instead of opening it."""
    question = {"v4l2": "list_formats", "dshow": "list_options"}.get(format)
    if question is None:  # AVFoundation tells its modes only to those who ask for a wrong one
        return []
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        with av.logging.Capture() as lines, suppress(av.error.FFmpegError, OSError):
            # It prints, and ends in an error.
            av.open(name, format=format, options={question: "all"}, timeout=READ_SECONDS).close()
        return [line for _, _, line in lines]
    finally:
        av.logging.set_level(level)


def parse_modes(lines: list[str]) -> list[str]:
    """Reads `yuyv422 640x480 1280x720` out of each line that names a format.

    FFmpeg's v4l2 prints "Raw : yuyv422 : YUYV 4:2:2 : 640x480 320x240"; dshow prints
    "pixel_format=yuyv422  min s=640x480 fps=5 max s=640x480 fps=30".
    """
    modes = []
    for line in lines:
        if v4l2 := re.match(r"\s*(?:Raw|Compressed)\s*:\s*(\S+) :[^:]*(?:.*:)?\s*(.*\S)", line):
            modes.append(f"{v4l2[1]} {v4l2[2]}")
        elif dshow := re.search(
            r"(?:pixel_format|vcodec)=(\S+).*max s=(\d+x\d+) fps=([\d.]+)", line
        ):
            modes.append(f"{dshow[1]} {dshow[2]} {float(dshow[3]):g} fps")
    return list(dict.fromkeys(modes))
