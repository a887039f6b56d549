"""Writes a film to a file that has its name only when it is whole."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import av.error
from kinemacolor.stream.errors import BadSink, SinkError, SinkExists
from kinemacolor.stream.media import Item, Sink, Source, is_frame
from kinemacolor.stream.options import EncodeOptions
from kinemacolor.stream.sinks.film_writer import FilmWriter, open_container
from kinemacolor.stream.sinks.partial import moved_to, partial_name, publish, reserve
from kinemacolor.stream.sinks.words import errors_in_words

log = logging.getLogger(__name__)

# A file that broke off is worth keeping from this length on.
KEEP_SECONDS = 10.0
LOOK_SECONDS = 1.0  # how often the file is looked for: its folder may have been moved or removed


class FilmSink(Sink):
    """Writes a film under a temporary name, which becomes the real one when the film is whole.

    Args:
        trimmed: the frames are a part of the source's.
        from_zero: the first frame is at zero, whatever its time: a recording goes on in this file.
    """

    def __init__(
        self,
        path: Path,
        source: Source,
        *,
        options: EncodeOptions,
        overwrite: bool,
        trimmed: bool = False,
        from_zero: bool = False,
    ) -> None:
        check_target(path, source.info.name, overwrite=overwrite)
        self._path = path
        self._source = source
        self._overwrite = overwrite
        open_container(path, source).close()  # it says what no container takes, by the right name
        with errors_in_words(path):
            partial = _take_name(path)
            try:
                self._writer = FilmWriter(
                    partial, source, options, trimmed=trimmed, from_zero=from_zero
                )
                at = partial.stat()
            except BaseException:
                partial.unlink()
                raise
        self._partial: Path | None = partial  # until it has its name
        self._was_moved = False
        self._identity = at.st_dev, at.st_ino
        self._looked = time.monotonic()
        self.pix_fmts, self.description = self._writer.pix_fmts, self._writer.description
        self.full_range = self._writer.full_range

    @property
    def left_out(self) -> Sequence[str]:
        return self._writer.left_out

    @property
    def worth_keeping(self) -> bool:
        return self._writer.seconds >= KEEP_SECONDS

    def write(self, item: Item) -> None:
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._look()
        with errors_in_words(self._path):
            if is_frame(item):
                self._writer.write(item)
                self.description = self._writer.description
            else:
                self._writer.copy(item)

    def finish(self) -> None:
        """Writes the trailer and gives the file its name.

        Raises SinkError: nothing came, or, without `overwrite`, another file has that name now.
        """
        if not self._writer.is_begun:
            self.abandon(keep=False)
            raise BadSink(f"no frame of {self._source.info.name} could be decoded")
        self._look()
        with errors_in_words(self._path):
            self._writer.close()
        partial, self._partial = self._partial, None  # whole: from here on nothing removes it
        assert partial is not None
        try:
            publish(partial, self._path, overwrite=self._overwrite)
        except OSError as error:
            if isinstance(error, SinkExists):
                raise
            raise SinkError(
                f"{self._path} cannot have its name ({error.strerror}): the whole film is {partial}"
            ) from error
        if self._was_moved:
            log.warning("the whole film is %s", self._path)

    def abandon(self, *, keep: bool) -> Path | None:
        partial, self._partial = self._partial, None
        if partial is None:
            return None
        kept = keep and self._writer.is_begun
        try:
            self._writer.close(flush=kept)
        except (av.error.FFmpegError, OSError) as error:
            log.debug("while abandoning %s: %s", partial, error)
        if kept and partial.exists():
            return partial
        partial.unlink(missing_ok=True)
        return None

    def _look(self) -> None:
        """Looks whether the file is where it was. Raises SinkError when it was removed."""
        self._looked = time.monotonic()
        partial = self._partial
        if partial is None or partial.exists():
            return
        try:
            found = moved_to(partial, self._identity)
        except FileNotFoundError as error:
            raise SinkError(
                f"{partial} was removed while it was written, or the folder that it lay in"
            ) from error
        if found is None:
            log.warning("%s is no longer there: moved, or removed", partial)
            return
        log.warning("%s was moved: the film goes on in %s", partial, found)
        self._partial, self._path = found, found.with_name(self._path.name)
        self._was_moved = True


def _take_name(path: Path) -> Path:
    """Makes a temporary name of this run's own; says so when there is one of another."""
    usual, partial = partial_name(path), reserve(path)
    if partial != usual:
        log.warning("%s is another run's, and stays: this one writes %s", usual, partial)
    return partial


def check_target(path: Path, source_name: str, *, overwrite: bool) -> None:
    """Raises SinkExists, BadSink or SinkError when nothing may be written at a path."""
    source = Path(source_name)
    if path.exists() and source.exists() and path.samefile(source):
        raise BadSink(f"output and source are the same file: {path}")
    if path.is_dir():
        raise BadSink(f"{path} is a folder: add a file name")
    if path.exists() and not overwrite:
        raise SinkExists(f"{path} exists: --overwrite replaces it")
    if not path.parent.is_dir():
        raise SinkError(f"no such folder: {path.parent}")
    if path.suffix.lower() == ".m3u8":
        raise BadSink(f"{path} is a playlist with segments: write it with -o hls:FOLDER")
    if not path.suffix:
        raise BadSink(f"{path} has no suffix to name its container: use .mp4 or .mkv, say")
