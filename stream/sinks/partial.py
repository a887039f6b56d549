"""Names an output until it is whole; each run has a name of its own, and harms no other."""

from __future__ import annotations

import errno
import itertools
import os
import re
from contextlib import suppress
from pathlib import Path

from kinemacolor.stream.errors import SinkExists


def reserve(path: Path) -> Path:
    """Makes an empty file beside an output, under a name that no other run has or left.

    `film.partial.mkv`, or `film.partial-2.mkv` where that is there, and so on. It lies beside the
    output, so that the renaming stays within one file system, and its suffix stays last, because
    that names the container. Raises OSError.
    """
    for number in itertools.count(1):
        partial = partial_name(path, number)
        try:
            partial.touch(exist_ok=False)
        except FileExistsError:
            continue
        return partial
    raise AssertionError


def partial_name(path: Path, number: int = 1) -> Path:
    """Returns a temporary name of an output: film.partial.mkv, film.partial-2.mkv, ..."""
    mark = "partial" if number == 1 else f"partial-{number}"
    return path.with_name(f"{path.stem}.{mark}{path.suffix}")


def next_name(path: Path) -> Path:
    """Returns the first of film-2.mkv, film-3.mkv, ... that is not there, nor in work."""
    for number in itertools.count(2):
        name = path.with_name(f"{path.stem}-{number}{path.suffix}")
        if not (name.exists() or partial_name(name).exists()):
            return name
    raise AssertionError


def moved_to(partial: Path, identity: tuple[int, int]) -> Path | None:
    """Finds a file that this process writes, and that is not where it was.

    Args:
        identity: its device and inode.

    Returns None where the system does not say. Raises FileNotFoundError when it was removed.
    """
    try:
        numbers = os.listdir("/proc/self/fd")
    except OSError:
        return None
    for number in numbers:
        with suppress(OSError):  # closed meanwhile
            link = f"/proc/self/fd/{number}"
            found = os.stat(link)
            if (found.st_dev, found.st_ino) == identity:
                place = Path(os.readlink(link))
                if place.exists():
                    return place
    raise FileNotFoundError(errno.ENOENT, "removed", str(partial))


def is_partial(path: Path) -> bool:
    """Whether a file has a name that `partial_name` makes."""
    return re.search(r"\.partial(-\d+)?$", path.stem) is not None


def publish(partial: Path, path: Path, *, overwrite: bool) -> None:
    """Gives a whole output its name.

    Raises:
        SinkExists: without `overwrite`, something has come to be there in the meantime. The
            output keeps the name that it has.
        OSError: it cannot be renamed.
    """
    if overwrite:
        os.replace(partial, path)
        return
    try:
        os.link(partial, path)  # unlike a renaming, it fails where something is
    except OSError as error:
        if path.exists():
            raise SinkExists(
                f"{path} has come to be there meanwhile: what this run wrote is {partial}"
            ) from error
        os.replace(partial, path)  # no hard links here, or a link to nothing in the way
    else:
        partial.unlink()
