"""Writes the frames of a film that are worth painting, grey or in colour."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import av
from kinemacolor.engine.spec import find_model, read_spec
from kinemacolor.stream.address import LocalFile, parse_source
from kinemacolor.stream.anchor.known import Plane
from kinemacolor.stream.anchor.learn import lightness_of
from kinemacolor.stream.anchor.stills import Folder, grey_of, rgb_of, worth_painting
from kinemacolor.stream.color.colorizer import Colorizer
from kinemacolor.stream.color.host_painter import HostPainter
from kinemacolor.stream.errors import BadSource, SourceNotFound
from kinemacolor.stream.media import is_frame
from kinemacolor.stream.options import Options
from kinemacolor.stream.run.run import open_network
from kinemacolor.stream.sources.open import open_source
from kinemacolor.stream.steady.smoothing import make_steady


def write_stills(
    film: str | Path,
    folder: Path,
    *,
    colored: bool = False,
    contact_sheet: bool = False,
    overwrite: bool = False,
    model: str = "kinema",
) -> list[Path]:
    """Writes one frame of each shot, and another wherever much new comes to sight.

    Args:
        colored: in the network's colours, to be corrected.
        contact_sheet: all of them as one picture, too.
        model: of `colored`.

    Returns:
        the files written.

    Raises StreamError.
    """
    address = parse_source(str(film))
    if not isinstance(address, LocalFile) or address.is_still:
        raise BadSource(f"{film} is no film: stills are taken of a film in a file")
    if not address.path.is_file():
        raise SourceNotFound(f"no such file: {film}")
    numbers = list(worth_painting(_planes(address)))
    out = Folder(folder, overwrite=overwrite)
    for number, frame in _frames(address, set(numbers), colored=colored, model=model):
        out.write(number, rgb_of(frame) if colored else grey_of(frame))
    if contact_sheet:
        out.write_contact_sheet()
    return out.written


def _planes(address: LocalFile) -> Iterator[Plane]:
    painter, spec = HostPainter(), read_spec(find_model("kinema"))
    with closing(open_source(address)) as source:
        for item in source:
            if is_frame(item):
                yield lightness_of(painter.look(item, spec))


def _frames(
    address: LocalFile, numbers: set[int], *, colored: bool, model: str
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yields frames by their numbers."""
    with closing(open_source(address)) as source:
        if not colored:
            frames = (item for item in source if is_frame(item))
            yield from ((n, frame) for n, frame in enumerate(frames) if n in numbers)
            return
        with open_network(Options.of(model=model)) as network:
            colorizer = Colorizer(network, steady=make_steady("film"))
            frames = (item for item in colorizer.colorize(source) if is_frame(item))
            yield from ((n, frame) for n, frame in enumerate(frames) if n in numbers)
