"""Opens what an address names as a source."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import av
import av.error
from kinemacolor.stream import address as kinds
from kinemacolor.stream.errors import BadSource, SourceError, SourceNotFound
from kinemacolor.stream.handoff import Stop
from kinemacolor.stream.media import Source
from kinemacolor.stream.options import FilmOptions, LiveOptions
from kinemacolor.stream.sources.camera import open_camera
from kinemacolor.stream.sources.film import ContainerSource, films_in
from kinemacolor.stream.sources.filtering import filtering_for
from kinemacolor.stream.sources.network import open_network_source
from kinemacolor.stream.sources.pictures import PicturesSource
from kinemacolor.stream.sources.realtime import RealtimeSource
from kinemacolor.stream.sources.scan import Scan, look
from kinemacolor.stream.sources.still import StillSource

log = logging.getLogger(__name__)


def open_source(
    address: str | Path | kinds.SourceAddress,
    *,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    copy_times: bool = False,
    live: LiveOptions | None = None,
    film: FilmOptions | None = None,
    stop: Stop | None = None,
) -> Source:
    """Opens a source by its address.

    A file's path, `-` (stdin), `test:[WxH][@RATE][#SECONDS]`, a URL, `webcam:0` or `screen:`.

    Args:
        start_seconds, duration_seconds: the part of a film that is read, from its first time on.
        copy_times: the part keeps the film's times; else a part that starts later begins at zero.
        live: what is asked of a camera, of a stream, or of a film played as if it were live.
        film: what is done to a film's pictures.
        stop: ends the wait for a network source that is not there yet.

    Raises:
        SourceNotFound: no such file.
        BadSource: no video in it, or nothing that can be decoded.
    """
    if isinstance(address, str | Path):
        address = kinds.parse_source(address)
    live, film = live or LiveOptions(), film or FilmOptions()
    for option, of in _without_use(address, live).items():
        log.warning("%s says something of %s: no effect here", option, of)
    if start_seconds > 0 and address.live:
        raise BadSource("--start needs a film that lies here: what is live or far away has none")
    match address:
        case kinds.NetworkStream():
            return open_network_source(
                address,
                wait=live.wait,
                give_up_seconds=live.give_up_seconds,
                duration_seconds=duration_seconds,
                stop=stop,
            )
        case kinds.ImageSequence():
            return PicturesSource(
                address,
                rate=live.fps,
                start_seconds=start_seconds,
                duration_seconds=duration_seconds,
                from_zero=start_seconds > 0 and not copy_times,
            )
        case kinds.Camera():
            return open_camera(address, live, duration_seconds=duration_seconds)
        case _ if live.plays_films:
            played = _playable(address, live)
            scan = _scan_of(played)  # once, not in every turn
            return RealtimeSource(
                lambda: _open_film(played, film, scan, start_seconds=start_seconds, from_zero=True),
                loop=live.loop,
                duration_seconds=duration_seconds,
            )
        case _:
            return _open_film(
                address,
                film,
                _scan_of(address),
                start_seconds=start_seconds,
                duration_seconds=duration_seconds,
                from_zero=start_seconds > 0 and not copy_times,
            )


def _open_film(
    address: kinds.LocalFile | kinds.Pipe | kinds.TestPicture,
    options: FilmOptions,
    scan: Scan | None,
    *,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    from_zero: bool = False,
) -> Source:
    """Opens what has a beginning and an end, and is read as fast as it is coloured."""
    name, seekable = str(address), False
    match address:
        case kinds.TestPicture():
            container = _open(name, address.graph, format="lavfi")
        case kinds.Pipe():
            container = _open("standard input", sys.stdin.buffer)
        case kinds.LocalFile(path=path):
            _check_file(path)
            if address.is_still:
                return StillSource(path)
            container, seekable = _open(name, kinds.file_url(path)), path.is_file()
    return ContainerSource(
        name,
        container,
        seekable=seekable,
        start_seconds=start_seconds,
        duration_seconds=duration_seconds,
        from_zero=from_zero,
        filtering=lambda video: filtering_for(name, scan, options, video) if scan else None,
    )


def _scan_of(address: kinds.LocalFile | kinds.Pipe | kinds.TestPicture) -> Scan | None:
    """Looks at the first frames of a film file. None: it is none, or cannot be decoded."""
    if not isinstance(address, kinds.LocalFile) or address.is_still or not address.path.is_file():
        return None
    _check_file(address.path)
    with _open(str(address), kinds.file_url(address.path)) as container:
        films = films_in(container)
        context = films[0].codec_context if films else None
        if context is None or context.pix_fmt is None:
            return None  # whoever opens it next says what is wrong with it
        films[0].thread_type = "AUTO"
        return look(container, films[0])


def _check_file(path: Path) -> None:
    if not path.exists():
        raise SourceNotFound(f"no such file: {path}")
    if path.is_dir():
        raise BadSource(f"{path} is a folder: give its files, or an output folder with -o")
    if path.is_file() and path.stat().st_size == 0:  # a named pipe has no size
        raise BadSource(f"{path} is empty (0 bytes)")


def _playable(
    address: kinds.LocalFile | kinds.Pipe | kinds.TestPicture, live: LiveOptions
) -> kinds.LocalFile | kinds.TestPicture:
    """Returns a film that can be played as if it were live. Raises BadSource."""
    if isinstance(address, kinds.Pipe):
        raise BadSource("standard input cannot be played as if live: give a file")
    if isinstance(address, kinds.LocalFile):
        if not address.path.exists():
            raise SourceNotFound(f"no such file: {address}")
        if live.loop and not address.path.is_file():
            raise BadSource(f"{address} is no file, and cannot be played twice: leave --loop out")
    return address


def _without_use(address: kinds.SourceAddress, live: LiveOptions) -> dict[str, str]:
    """Returns options that were given and have no effect on a source, and what they are for."""
    is_camera = isinstance(address, kinds.Camera)
    is_pictures = isinstance(address, kinds.ImageSequence)
    is_network = isinstance(address, kinds.NetworkStream)
    given: dict[str, tuple[object, bool, str]] = {
        "--size": (live.size, is_camera, "cameras"),
        "--fps": (live.fps, is_camera or is_pictures, "cameras and numbered pictures"),
        "--input-format": (live.input_format, is_camera, "cameras"),
        "--give-up": (live.give_up_seconds, address.live, "sources that come back"),
        "--wait": (live.wait, is_network, "network sources"),
    }
    return {
        option: what
        for option, (value, used, what) in given.items()
        if not used and value not in (None, False)
    }


def _open(name: str, file: Any, *, format: str | None = None) -> Any:
    """Opens a container. Raises SourceError."""
    try:
        return av.open(file, format=format, metadata_errors="replace")
    except av.error.FFmpegError as error:
        hint = "; is it a film at all?" if isinstance(error, av.error.InvalidDataError) else ""
        raise BadSource(f"cannot open {name}: {error.strerror or error}{hint}") from error
    except OSError as error:
        raise SourceError(f"cannot open {name}: {error.strerror or error}") from error
