"""Errors of whoever runs the RTSP server; what the server answers viewers is in message.py."""

from __future__ import annotations

from kinemacolor.stream.errors import SinkError


class RtspError(SinkError):
    """Base of the RTSP server's errors."""


class CannotServe(RtspError, OSError):
    """The address cannot be bound, or the server's thread has ended."""


class BadMedia(RtspError, ValueError):
    """What was to be published is not what it was declared to be."""
