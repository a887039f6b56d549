"""How files are written: tried before long work begins, and put in their place when whole."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def check_writable(path: Path) -> None:
    """Fails now rather than after hours of work; an existing file stays as it is.

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


@contextmanager
def replacing(path: Path, *, mode: int | None = None) -> Iterator[Path]:
    """Yields a path beside `path` to write to, which takes its place when the block ends well.

    After an error the file that was there is untouched, and nothing is left beside it.

    Args:
        mode: permission bits of the file, from its first byte on; default: the user's own.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if mode is not None:
            partial.touch(mode)
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
