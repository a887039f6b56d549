"""An RTSP server of our own: takes encoded access units, serves any number of players."""

from stream.rtsp.auth import Credentials
from stream.rtsp.broadcast import Stats
from stream.rtsp.errors import BadMedia, CannotServe, RtspError
from stream.rtsp.limits import Limits
from stream.rtsp.server import RtspServer
from stream.rtsp.tracks import AudioCodec

__all__ = [
    "AudioCodec",
    "BadMedia",
    "CannotServe",
    "Credentials",
    "Limits",
    "RtspError",
    "RtspServer",
    "Stats",
]
