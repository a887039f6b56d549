"""Cameras: no camera is here, so a stand-in for the device list, and FFmpeg's own test device."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import pytest
from kinemacolor.stream.address import Camera, parse_source
from kinemacolor.stream.errors import BadSource, SourceError
from kinemacolor.stream.options import LiveOptions, parse_size
from kinemacolor.stream.sources.camera import (
    CameraModes,
    capture_options,
    devices,
    open_camera,
    parse_modes,
    resolve,
)
from kinemacolor.stream.sources.reconnecting import ReconnectingSource

from kinemacolor.errors import BadOption

# What FFmpeg 7.1 prints for `-list_formats all` of a v4l2 camera.
V4L2 = [
    "Raw       :     yuyv422 :           YUYV 4:2:2 : 640x480 320x240 1280x720\n",
    "Compressed:       mjpeg :          Motion-JPEG : 640x480 1920x1080\n",
]
DSHOW = [
    "DirectShow video device options (from video devices)\n",
    "  pixel_format=yuyv422  min s=640x480 fps=5 max s=640x480 fps=30\n",
    "  vcodec=mjpeg  min s=1280x720 fps=5 max s=1280x720 fps=30.0003\n",
]


class Device:
    """What PyAV says of a device; its own class cannot be told from outside."""

    def __init__(self, name: str, description: str, media_types: list[str]) -> None:
        self.name, self.description, self.media_types = name, description, media_types


def camera(text: str) -> Camera:
    address = parse_source(text)
    assert isinstance(address, Camera)
    return address


def test_devices_are_listed_with_their_modes() -> None:
    def found(format: str) -> list[Any]:
        assert format == "v4l2"
        return [Device("/dev/video0", "HD Webcam", []), Device("hw:0", "Microphone", ["audio"])]

    def modes(format: str, name: str) -> list[str]:
        assert (format, name) == ("v4l2", "/dev/video0")
        return V4L2

    assert devices(found, modes, "linux") == [
        CameraModes(
            "/dev/video0",
            "HD Webcam",
            ("yuyv422 640x480 320x240 1280x720", "mjpeg 640x480 1920x1080"),
        )
    ]


def test_a_system_without_cameras_lists_none() -> None:
    def found(format: str) -> list[Any]:
        raise av.error.OSError(5, "Input/output error")

    assert devices(found, platform="linux") == []


def test_modes_of_dshow() -> None:
    assert parse_modes(DSHOW) == ["yuyv422 640x480 30 fps", "mjpeg 1280x720 30.0003 fps"]


@pytest.mark.parametrize(
    ("uri", "platform", "device"),
    [
        ("webcam:0", "linux", ("v4l2", "/dev/video0")),
        ("webcam:", "linux", ("v4l2", "/dev/video0")),
        ("v4l2:/dev/video2", "linux", ("v4l2", "/dev/video2")),
        ("webcam:1", "darwin", ("avfoundation", "1")),
        ("webcam:HD Webcam", "win32", ("dshow", "video=HD Webcam")),
        ("screen:", "win32", ("gdigrab", "desktop")),
        ("screen::1.0", "linux", ("x11grab", ":1.0")),
    ],
)
def test_the_same_name_means_a_camera_on_every_system(
    uri: str, platform: str, device: tuple[str, str]
) -> None:
    assert resolve(camera(uri), platform) == device


def test_a_device_of_another_system_is_an_error_that_says_which_is_ours() -> None:
    with pytest.raises(BadSource, match="webcam:0 or v4l2:"):
        resolve(camera("dshow:video=x"), "linux")


def test_what_is_asked_of_a_camera() -> None:
    options = LiveOptions(size=parse_size("1280x720"), fps=Fraction(30), input_format="mjpeg")
    assert capture_options(options) == {
        "video_size": "1280x720",
        "framerate": "30",
        "input_format": "mjpeg",
    }
    with pytest.raises(BadOption, match="WIDTHxHEIGHT"):
        parse_size("big")


def test_a_camera_that_is_not_there_is_an_error_at_once() -> None:
    with pytest.raises(SourceError, match="No such file"):
        open_camera(camera("v4l2:/dev/video97"), LiveOptions())


def test_a_capture_device_is_read_as_cameras_are() -> None:
    """FFmpeg's test picture is a capture device, too; and it gives raw frames, as cameras do."""

    def connect() -> Any:
        return av.open("testsrc2=size=160x120:rate=25,format=yuyv422", format="lavfi")

    source = ReconnectingSource("camera", connect)
    frames = []
    for item in source:
        assert isinstance(item, av.VideoFrame)
        frames.append(item)
        if len(frames) == 5:
            break
    source.close()
    assert frames[0].format.name == "yuyv422"
    assert [f.pts for f in frames] == sorted({f.pts for f in frames if f.pts is not None})
