"""Which sources of one command line go to which sinks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stream.errors import BadSink, BadSource, SourceNotFound
from stream.live.uri import LiveOptions, is_live
from stream.sources import local_path
from stream.stills.still import is_still

# Containers that hold what this program writes; other sources go into Matroska.
SAME_CONTAINER = frozenset((".mp4", ".mkv", ".mov", ".m4v", ".webm", ".ts", ".mts", ".m2ts"))
FILM_SUFFIXES = SAME_CONTAINER | frozenset(
    (
        ".mpg",
        ".mpeg",
        ".vob",
        ".flv",
        ".wmv",
        ".ogv",
        ".mxf",
        ".dv",
        ".y4m",
        ".3gp",
        ".h264",
        ".hevc",
    )
)
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
            found = sorted(str(p) for p in path.iterdir() if _is_ours(p))
            if not found:
                raise BadSource(f"no video and no picture in the folder {path}")
            files += found
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
        return [Job(file, _beside(file)) for file in files]
    if output == "null:":
        return [Job(file, output) for file in files]
    folder = Path(output)
    if (
        output == "-"
        or ":" in output[2:]
        or folder.is_file()
        or folder.suffix.lower() in FILM_SUFFIXES
    ):
        raise BadSink(f"{len(files)} sources need an output folder, not {output}")
    jobs = [Job(file, str(folder / _sink_name(Path(file)))) for file in files]
    doubles = {job.sink for job in jobs if sum(other.sink == job.sink for other in jobs) > 1}
    if doubles:
        raise BadSink(f"several sources would become {min(doubles)}: colorize them apart")
    folder.mkdir(parents=True, exist_ok=True)
    return jobs


def _is_no_file(source: str) -> bool:
    """Whether a source is a pipe, a test picture, a device or a stream."""
    return source == "-" or source.startswith("test:") or is_live(source, LiveOptions())


def is_no_film(source: str) -> bool:
    """Whether a source is anything but a film's file: a picture, or what is no file at all."""
    return _is_no_file(source) or is_still(source)


def _beside(source: str) -> str:
    """film.mkv to film-color.mkv, in the same folder."""
    if source == "-":
        return "-"
    if _is_no_file(source):
        raise BadSink(f"say with -o where the colours of {source} go")
    path = Path(source)
    if not path.is_file():
        raise BadSink(f"{source} is a pipe: say with -o where its colours go")
    return str(path.with_name(f"{path.stem}-color{_sink_name(path).suffix}"))


def _is_ours(path: Path) -> bool:
    return not path.is_dir() and (path.suffix.lower() in FILM_SUFFIXES or is_still(path))


def _sink_name(source: Path) -> Path:
    keep = source.suffix.lower() in SAME_CONTAINER or is_still(source)
    return Path(source.name) if keep else Path(f"{source.stem}.mkv")
