"""Outputs that are written at the end of long work are tried before it begins."""

from __future__ import annotations

import errno
from pathlib import Path


def check_writable(path: Path) -> None:
    """Fails now rather than after hours of work; a file that is there stays as it is.

    Raises the OSError that writing would end in: no such folder, a folder, no permission.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder, and a file is to be written", path)
    there = path.exists()
    try:
        path.open("a").close()
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "its folder does not exist", path) from error
    if not there:
        path.unlink()
