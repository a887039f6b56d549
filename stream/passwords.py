"""Reads passwords from where no other process sees them: the environment, or a file."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from kinemacolor.stream.errors import StreamError

OF_VIEWERS, OF_SOURCES = "KINEMACOLOR_PASSWORD", "KINEMACOLOR_SOURCE_PASSWORD"


def read_password(variable: str) -> str:
    """Returns what a variable holds, or the file that VARIABLE_FILE names; empty without both.

    Raises StreamError: the file cannot be read.
    """
    password = os.environ.get(variable, "")
    if not password and (name := os.environ.get(f"{variable}_FILE")):
        try:
            password = Path(name).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise StreamError(f"cannot read {name}: {why}") from error
    return password


def with_password(url: str) -> str:
    """Gives a URL that names a user alone the password of sources, if there is one.

    Every process of the machine can read a command line: `rtsp://user@host/` needs no secret there.
    """
    parts = urlsplit(url)
    if not parts.username or parts.password is not None:
        return url
    password = read_password(OF_SOURCES)
    if not password:
        return url
    user, _, place = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{place}"))
