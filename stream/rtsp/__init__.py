"""Serves encoded access units over RTSP to any number of players."""

from kinemacolor.stream.rtsp.auth import Credentials
from kinemacolor.stream.rtsp.broadcast import Stats
from kinemacolor.stream.rtsp.errors import BadMedia, CannotServe, RtspError
from kinemacolor.stream.rtsp.limits import Limits
from kinemacolor.stream.rtsp.server import RtspServer
from kinemacolor.stream.rtsp.tracks import AudioTrack

__all__ = [
    "AudioTrack",
    "BadMedia",
    "CannotServe",
    "Credentials",
    "Limits",
    "RtspError",
    "RtspServer",
    "Stats",
]
