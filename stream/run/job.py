"""Which sources of one command line go to which sinks."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kinemacolor.stream.address import (
    LocalFile,
    Pipe,
    SinkAddress,
    SourceAddress,
    is_still,
    parse_sink,
    parse_source,
)
from kinemacolor.stream.errors import BadSink, BadSource, SourceNotFound
from kinemacolor.stream.options import LiveOptions
from kinemacolor.stream.sinks.partial import is_partial
from kinemacolor.stream.sources.pictures import pictures_in

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


@dataclass(frozen=True)
class Job:
    """One source, and the outputs that take its frames."""

    source: SourceAddress
    sinks: tuple[SinkAddress, ...]

    @classmethod
    def of(cls, source: str | Path, *sinks: str | Path) -> Job:
        """Parses addresses. Raises BadSource, BadSink or NotYetError."""
        return cls(parse_source(source), tuple(map(parse_sink, sinks)))

    def is_live(self, options: LiveOptions) -> bool:
        """Whether frames come at the source's own pace."""
        return self.source.live or options.plays_films

    @property
    def is_done(self) -> bool:
        """Whether its outputs are files, and all there already."""
        files = [sink.path for sink in self.sinks if isinstance(sink, LocalFile)]
        return len(files) == len(self.sinks) and all(path.exists() for path in files)


def plan_jobs(
    sources: Sequence[str],
    outputs: Sequence[str] = (),
    *,
    cuts: Path | None = None,
    sequence: bool = False,
) -> list[Job]:
    """Pairs every source with its sinks; folders are opened, one level deep.

    Args:
        outputs: none: beside each source; several: all of them take one source.
        cuts: a list of cuts, which belongs to one film.
        sequence: a folder's pictures are one film.

    Raises SourceNotFound, BadSource, BadSink or NotYetError, before anything is written.
    """
    output = outputs[0] if outputs else None
    if output == "":
        raise BadSink("the output is an empty name: is a variable not set?")
    found: list[SourceAddress] = []
    many = len(sources) > 1
    for text in sources:
        source = parse_source(text)
        if sequence and isinstance(source, LocalFile) and source.path.is_dir():
            found.append(pictures_in(source.path))
        elif isinstance(source, LocalFile) and source.path.is_dir():
            found += _films_in(source.path)
            many = True
        elif isinstance(source, LocalFile) and not source.path.exists():
            raise SourceNotFound(f"no such file: {source}")
        else:
            found.append(source)
    if cuts is not None and len(found) > 1:
        raise BadSource(f"{cuts} lists the cuts of one film, and there are {len(found)} sources")
    if not many:
        (only,) = found
        sink = parse_sink(output) if output is not None else _beside(only)
        return [_alone(Job(only, (sink, *map(parse_sink, outputs[1:]))))]
    if len(outputs) > 1:
        raise BadSink(f"several outputs take one source, not {len(found)}")
    if output is None:
        return _checked([Job(source, (_beside(source, found),)) for source in found])
    if output == "null:":
        return [Job(source, (parse_sink(output),)) for source in found]
    return _into_folder(found, output)


def _alone(job: Job) -> Job:
    """Returns the job, if no output is its source, or another output. Raises BadSink."""
    places = [sink.place for sink in job.sinks if sink.place is not None]
    for number, place in enumerate(places):
        if place.resolve() in (other.resolve() for other in places[:number]):
            raise BadSink(f"{place} is given twice as an output")
        if isinstance(job.source, Pipe) and _is_standard_input(place):
            raise BadSink(f"output and source are the same file: {place} is standard input")
    return job


def _is_standard_input(path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(0), path.stat())
    except OSError:  # closed, or nothing there yet
        return False


def _into_folder(sources: Sequence[SourceAddress], output: str) -> list[Job]:
    folder = Path(output)
    if (
        output == "-"
        or (":" in output[2:] and not folder.is_dir())
        or folder.is_file()
        or folder.suffix.lower() in FILM_SUFFIXES
    ):
        raise BadSink(f"{len(sources)} sources need an output folder, not {output}")
    names = [_sink_name(Path(source.text), sources) for source in sources]
    sinks = [parse_sink(folder / name) for name in names]
    jobs = _checked([Job(source, (sink,)) for source, sink in zip(sources, sinks, strict=True)])
    folder.mkdir(parents=True, exist_ok=True)
    return jobs


def _beside(source: SourceAddress, every: Sequence[SourceAddress] = ()) -> SinkAddress:
    """film.mkv to film-color.mkv, in the same folder."""
    if isinstance(source, Pipe):
        return parse_sink("-")
    if not isinstance(source, LocalFile):
        raise BadSink(f"say with -o where the colours of {source} go")
    path = source.path
    if not path.is_file():
        raise BadSink(f"{source} is a pipe: say with -o where its colours go")
    beside = [s for s in every if isinstance(s, LocalFile) and s.path.parent == path.parent]
    name = _sink_name(path, beside)
    return parse_sink(path.with_name(f"{name.stem}{_RESULT}{name.suffix}"))


def _checked(jobs: list[Job]) -> list[Job]:
    """Returns the jobs, if no two of them write the same file. Raises BadSink."""
    sources: dict[str, SourceAddress] = {}
    for job in jobs:
        sink = job.sinks[0].text
        if sink in sources:
            both = f"{sources[sink]} and {job.source}"
            raise BadSink(f"{both} would both become {sink}: colorize them apart")
        sources[sink] = job.source
    return jobs


def _films_in(folder: Path) -> list[LocalFile]:
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
    return [LocalFile(str(path), path) for path in found]


def _is_ours(path: Path, originals: set[str]) -> bool:
    """Whether this program made a file: film-color.mkv beside film.mkv, film.partial.mkv."""
    if is_partial(path):
        return True
    return path.stem.endswith(_RESULT) and path.stem.removesuffix(_RESULT) in originals


def _sink_name(source: Path, every: Sequence[SourceAddress]) -> Path:
    """The source's name, with a container's suffix that takes the result.

    Of film.mpg beside film.mkv that is film.mpg.mkv, else both would be film.mkv.
    """
    if _keeps_suffix(source):
        return Path(source.name)
    name = Path(f"{source.stem}.mkv")
    others = [Path(address.text) for address in every]
    alike = [path for path in others if path != source and path.stem == name.stem]
    if any(path.suffix.lower() == ".mkv" or not _keeps_suffix(path) for path in alike):
        return Path(f"{source.name}.mkv")
    return name


def _keeps_suffix(source: Path) -> bool:
    return source.suffix.lower() in SAME_CONTAINER or is_still(source)
