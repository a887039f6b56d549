"""What can go wrong on the way of a frame."""

from kinemacolor.errors import KinemacolorError


class StreamError(KinemacolorError):
    """Base of every error that `stream` raises on purpose; its text is meant for the user."""


class SourceError(StreamError):
    """A source cannot be opened or read."""


class SourceNotFound(SourceError, FileNotFoundError):
    """There is nothing at the source's path."""


class BadSource(SourceError, ValueError):
    """The source holds no picture that can be decoded."""


class SinkError(StreamError):
    """A sink cannot be opened or written."""


class SinkExists(SinkError, FileExistsError):
    """The output is there already, and overwriting was not asked for."""


class BadSink(SinkError, ValueError):
    """No such container, codec or pixel format for the output."""


class NotYetError(StreamError, NotImplementedError):
    """A source, sink or option that is planned and not part of this version."""


class BadReference(StreamError, ValueError):
    """A colour still that cannot be used: its name, its kind or its shape."""


class BadHint(StreamError, ValueError):
    """A hint, or a file of hints, that cannot be used."""
