"""Which sources of one command line go to which sinks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stream.errors import BadSink, BadSource, SourceNotFound
from stream.live.uri import LiveOptions, is_live
from stream.partial import is_partial
from stream.sources import local_path
from stream.stills.still import is_still

log = logging.getLogger(__name__)

# Containers that hold what this program writes; other sources go into Matroska.
SAME_CONTAINER = frozenset((".mp4", ".mkv", ".mov", ".m4v", ".webm", ".ts", ".mts", ".m2ts"))
FILM_SUFFIXES = SAME_CONTAINER | frozenset(
    (
        *(".mpg", ".mpeg", ".m1v", ".m2v", ".vob", ".evo", ".mpv", ".m4p", ".m2p", ".mod"),
        *(".avi", ".divx", ".asf", ".wmv", ".flv", ".f4v", ".3gp", ".3g2", ".rm", ".rmvb"),
        *(".ogv", ".ogm", ".mxf", ".gxf", ".dv", ".dif", ".nut", ".y4m", ".gif", ".mjpeg"),
        *(".h264", ".264", ".avc", ".hevc", ".h265", ".265", ".ivf", ".obu", ".vc1", ".mk3d"),
    )
)
_RESULT = "-color"  # what a result beside its source has in its name
_KINDS = (
    "a file, a folder, -, test:, webcam:, v4l2:, avfoundation:, dshow:, screen:, rtsp://, rtmp://,"
    " http://, udp://, srt:// and tcp:// are"
)


@dataclass(frozen=True)
class Job:
    """One source and where it goes."""

    source: str
    sink: str
    more: tuple[str, ...] = ()  # further sinks of the same frames


def plan_jobs(
    sources: list[str],
    output: str | None,
    *,
    more: Sequence[str] = (),
    cuts: Path | None = None,
) -> list[Job]:
    """Pairs every source with its sink; folders are opened, one level deep.

    Args:
        more: further sinks, of one source only.
        cuts: a list of cuts, which belongs to one film.

    Raises SourceNotFound, BadSource or BadSink, before anything is written.
    """
    files: list[str] = []
    many = len(sources) > 1
    if output == "":
        raise BadSink("the output is an empty name: is a variable not set?")
    for uri in sources:
        if not uri:  # to Path it would be the current folder
            raise BadSource("a source is an empty name: is a variable not set?")
        source = local_path(uri)
        path = Path(source)
        if source != "-" and path.is_dir():
            files += _films_in(path)
            many = True
        elif _is_no_file(source) or path.exists():
            files.append(source)
        elif "://" in source:
            raise BadSource(f"there is no source {source.split('://', 1)[0]}://; {_KINDS}")
        else:
            raise SourceNotFound(f"no such file: {path}")
    if cuts is not None and len(files) > 1:
        raise BadSource(f"{cuts} lists the cuts of one film, and there are {len(files)} sources")
    if not many:
        sink = output if output is not None else _beside(files[0])
        return [Job(files[0], sink, tuple(more))]
    if more:
        raise BadSink(f"several outputs take one source, not {len(files)}")
    if output is None:
        return _checked([Job(file, _beside(file, files)) for file in files])
    if output == "null:":
        return [Job(file, output) for file in files]
    folder = Path(output)
    if (
        output == "-"
        or (":" in output[2:] and not folder.is_dir())
        or folder.is_file()
        or folder.suffix.lower() in FILM_SUFFIXES
    ):
        raise BadSink(f"{len(files)} sources need an output folder, not {output}")
    jobs = _checked([Job(file, str(folder / _sink_name(Path(file), files))) for file in files])
    folder.mkdir(parents=True, exist_ok=True)
    return jobs


def _is_no_file(source: str) -> bool:
    """Whether a source is a pipe, a test picture, a device or a stream."""
    return source == "-" or source.startswith("test:") or is_live(source, LiveOptions())


def is_no_film(source: str) -> bool:
    """Whether a source is anything but a film's file: a picture, or what is no file at all."""
    return _is_no_file(source) or is_still(source)


def _beside(source: str, all_sources: Sequence[str] = ()) -> str:
    """film.mkv to film-color.mkv, in the same folder."""
    if source == "-":
        return "-"
    if _is_no_file(source):
        raise BadSink(f"say with -o where the colours of {source} go")
    path = Path(source)
    if not path.is_file():
        raise BadSink(f"{source} is a pipe: say with -o where its colours go")
    name = _sink_name(path, [p for p in all_sources if Path(p).parent == path.parent])
    return str(path.with_name(f"{name.stem}{_RESULT}{name.suffix}"))


def _checked(jobs: list[Job]) -> list[Job]:
    """The jobs, if no two of them write the same file. Raises BadSink."""
    sources: dict[str, str] = {}
    for job in jobs:
        if job.sink in sources:
            both = f"{sources[job.sink]} and {job.source}"
            raise BadSink(f"{both} would both become {job.sink}: colorize them apart")
        sources[job.sink] = job.source
    return jobs


def _films_in(folder: Path) -> list[str]:
    """The films and pictures of a folder, without what this program made of them.

    Raises BadSource when there is none.
    """
    paths = sorted(path for path in folder.iterdir() if not path.is_dir())
    films = [path for path in paths if path.suffix.lower() in FILM_SUFFIXES or is_still(path)]
    if not films:
        raise BadSource(f"no video and no picture in the folder {folder}")
    originals = {path.stem for path in films} | {path.name for path in films}
    found = [path for path in films if not _is_ours(path, originals)]
    for count, what in (
        (len(films) - len(found), "results of an earlier run"),
        (len(paths) - len(films), "files that are no film and no picture by their suffix"),
    ):
        if count:
            log.info("%s: %d skipped: %s", folder, count, what)
    if not found:
        raise BadSource(f"the folder {folder} holds parts of results only, and no film")
    return [str(path) for path in found]


def _is_ours(path: Path, originals: set[str]) -> bool:
    """Whether this program made a file: film-color.mkv beside film.mkv, film.partial.mkv."""
    if is_partial(path):
        return True
    return path.stem.endswith(_RESULT) and path.stem.removesuffix(_RESULT) in originals


def _sink_name(source: Path, all_sources: Sequence[str]) -> Path:
    """The source's name, with a container's suffix that takes the result.

    Of film.mpg beside film.mkv that is film.mpg.mkv, else both would be film.mkv.
    """
    if _keeps_suffix(source):
        return Path(source.name)
    name = Path(f"{source.stem}.mkv")
    alike = [path for path in map(Path, all_sources) if path != source and path.stem == name.stem]
    if any(path.suffix.lower() == ".mkv" or not _keeps_suffix(path) for path in alike):
        return Path(f"{source.name}.mkv")
    return name


def _keeps_suffix(source: Path) -> bool:
    return source.suffix.lower() in SAME_CONTAINER or is_still(source)
