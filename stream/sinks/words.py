"""Says in the user's words what the system refused a sink."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av.error
from kinemacolor.stream.errors import SinkError

_READER_GONE = "the reader of the pipe went away"


@contextmanager
def errors_in_words(target: Path | str) -> Iterator[None]:
    """Turns what FFmpeg and the system raise into SinkErrors that name the target.

    Args:
        target: the file that is written, or the name of a pipe or a network address.
    """
    try:
        yield
    except SinkError:
        raise
    except av.error.PyAVCallbackError as error:  # PyAV's word for what a pipe raised
        raise SinkError(_READER_GONE) from error
    except (OSError, av.error.FFmpegError) as error:
        raise SinkError(_in_words(error, target)) from error


def _in_words(error: Exception, target: Path | str) -> str:
    match error.errno if isinstance(error, OSError) else None:
        case errno.EPIPE:
            return _READER_GONE
        case errno.ENOSPC | errno.EFBIG | errno.EDQUOT:
            return f"no space left for {target}: free some, or choose another folder"
        case errno.EACCES | errno.EROFS if isinstance(target, Path):
            return f"cannot write to {target.parent}: no permission"
        case _:
            return f"cannot write {target}: {last_words(error)}"


def last_words(error: Any) -> str:
    """Returns FFmpeg's own last line where an error carries one, else the system's reason."""
    logged = getattr(error, "log", None)
    return logged[2].strip() if logged else getattr(error, "strerror", None) or str(error)
