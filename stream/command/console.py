"""What the commands print with, and how they end on an error."""

from __future__ import annotations

import io
import logging
import sys
from contextlib import suppress
from enum import IntEnum
from typing import NoReturn, TextIO

from rich.console import Console


class Exit(IntEnum):
    """How a command ends; docs/exit-codes.md says the same to users."""

    OK = 0
    FAILED = 1  # nothing came of it, or not of all; `verify`: a difference
    USAGE = 2  # the command line makes no sense
    OUTPUT_FAILED = 6  # one of several outputs failed, another is whole
    BROKEN_OFF = 7  # the source ended before the end that it promised; the result is kept
    SIGNAL = 128  # and the signal's number


# Standard output may be a pipe that takes frames, so everything said goes to standard error.
console = Console(stderr=True, highlight=False, markup=False)


def fail(message: str, status: int = Exit.FAILED) -> NoReturn:
    """Prints an error as one line and exits."""
    first_line = " ".join(message.split())
    print(f"kinemacolor: {first_line}", file=sys.stderr)
    raise SystemExit(status)


def start_log(quiet: bool) -> None:
    """Sends what the packages log to the console; quiet: errors only."""
    import av.logging

    # FFmpeg's own lines: errors come as exceptions. A level would make a decoder's thread wait
    # for the interpreter lock while the one that holds it waits for that thread.
    av.logging.set_level(None)
    logging.basicConfig(
        level=logging.ERROR if quiet else logging.INFO,
        handlers=[_ConsoleHandler()],
        format="%(message)s",
    )


class _ConsoleHandler(logging.Handler):
    """Prints a record on one line above the progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        console.print(level + self.format(record), soft_wrap=True)


def drop_what_cannot_be_said() -> None:
    """Makes standard error swallow what it cannot print: a terminal that is gone costs no film."""
    if not isinstance(sys.stderr, _Unfailing):
        sys.stderr = _Unfailing(sys.stderr)


class _Unfailing(io.TextIOBase):
    """Prints as another file does, and drops what that does not take."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._file.encoding

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):  # EIO, EPIPE, or closed
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._file.flush()

    def isatty(self) -> bool:
        return self._file.isatty()

    def fileno(self) -> int:
        return self._file.fileno()
