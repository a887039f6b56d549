"""What the system refuses, in the user's words."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import av.error
import pytest
from kinemacolor.stream.errors import SinkError, SinkExists
from kinemacolor.stream.sinks.words import errors_in_words


@pytest.mark.parametrize(
    ("number", "target", "said"),
    [
        (errno.ENOSPC, Path("x/film.mkv"), "no space left for x/film.mkv: free some"),
        (errno.EFBIG, "standard output", "no space left for standard output"),
        (errno.EACCES, Path("x/film.mkv"), "cannot write to x: no permission"),
        (errno.EROFS, Path("x/film.mkv"), "cannot write to x: no permission"),
        (errno.EACCES, "udp://h:1", "cannot write udp://h:1: Permission denied"),
        (errno.EPIPE, "the pipe", "the reader of the pipe went away"),
        (errno.EIO, Path("film.mkv"), f"cannot write film.mkv: {os.strerror(errno.EIO)}"),
    ],
)
def test_an_error_of_the_system(number: int, target: Path | str, said: str) -> None:
    with pytest.raises(SinkError, match=said) as caught, errors_in_words(target):
        raise OSError(number, os.strerror(number))
    assert isinstance(caught.value.__cause__, OSError)


def test_errors_of_ffmpeg_and_of_our_own() -> None:
    with pytest.raises(SinkError, match=r"cannot write film\.mkv: no"), errors_in_words("film.mkv"):
        raise av.error.InvalidDataError(1, "no")
    with pytest.raises(SinkExists, match="there"), errors_in_words("film.mkv"):
        raise SinkExists("there")  # a SinkError and an OSError, and in words already
    with pytest.raises(ValueError, match="a bug"), errors_in_words("film.mkv"):
        raise ValueError("a bug")
