"""What the commands print with, and how they end on an error."""

from __future__ import annotations

import logging
import sys
from typing import NoReturn

from rich.console import Console

FAILED = 1  # exit status
# Standard output may be a pipe that takes frames, so everything said goes to standard error.
console = Console(stderr=True, highlight=False, markup=False)


def fail(message: str, status: int = FAILED) -> NoReturn:
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
