"""What FFmpeg's filters do to a film before it is coloured."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import av.error
from kinemacolor.stream.color.carrier import make_graph
from kinemacolor.stream.errors import BadSource
from kinemacolor.stream.media import FieldOrder, Item
from kinemacolor.stream.options import FilmOptions
from kinemacolor.stream.sources.scan import Scan

log = logging.getLogger(__name__)


@dataclass
class Filtering:
    """A row of filters, and what comes out of it.

    Attributes:
        filters: names and arguments.
        order: which field of what comes out is shown first.
        pace: frames that come out for each that goes in.
    """

    filters: tuple[tuple[str, str | None], ...]
    order: FieldOrder = "progressive"
    pace: Fraction = Fraction(1)
    rate: Fraction | None = None
    _graph: Any = field(default=None, repr=False)
    _shape: tuple[Any, ...] = ()

    def of(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yields frames as the filters make them, and packets as they come."""
        for item in items:
            if isinstance(item, av.VideoFrame):
                yield from self._push(item)
            else:
                yield item
        yield from self._pull(None)

    def _push(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        shape = (frame.width, frame.height, frame.format.name, frame.time_base)
        if shape != self._shape:
            yield from self._pull(None)
            self._graph, self._shape = make_graph(frame, *self.filters, rate=self.rate), shape
        yield from self._pull(frame)

    def _pull(self, frame: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
        """Gives the filters a frame, or their end, and yields what they make of it."""
        if self._graph is None:
            return
        self._graph.vpush(frame)
        while True:
            try:
                yield self._graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return


def filtering_for(name: str, scan: Scan, options: FilmOptions, video: Any) -> Filtering | None:
    """Chooses what is done to a film, and says so in one line. None: nothing.

    Raises BadSource for a format that inverse telecine does not take.
    """
    if scan.telecined:
        hint = "" if options.inverse_telecine else "; --inverse-telecine gives the film back"
        log.warning("%s is film in fields (telecine, 2:3)%s", name, hint)
    if options.inverse_telecine:
        return _inverse_telecine(name, scan, video, deinterlace=options.deinterlace)
    if scan.order == "progressive":
        if options.deinterlace:
            log.warning("%s is progressive: --deinterlace changes nothing", name)
        return None
    if options.deinterlace:
        log.warning("%s is deinterlaced (bwdif): its luma is no longer the source's", name)
        return Filtering((("bwdif", f"mode=send_frame:parity={scan.order}:deint=all"),))
    log.info("%s is interlaced (%s): chroma is written field by field", name, scan.order)
    if not scan.lies:
        return None
    log.warning("%s is interlaced (%s), whatever its flags say: flagged so", name, scan.order)
    return Filtering((("setfield", f"mode={scan.order}"),), order=scan.order)


def _inverse_telecine(name: str, scan: Scan, video: Any, *, deinterlace: bool) -> Filtering:
    pix_fmt = video.codec_context.pix_fmt
    if av.VideoFormat(pix_fmt).components[0].bits != 8:
        raise BadSource(f"--inverse-telecine takes 8 bit, and {name} is {pix_fmt}")
    if not scan.telecined:
        log.warning(
            "%s does not look like film in fields: --inverse-telecine may lose frames", name
        )
    log.warning("%s: telecine is undone: four frames for each five, whole pictures", name)
    order = {"tff": "tff", "bff": "bff"}.get(scan.order, "auto")
    # What no field matches, such as a cut amid a picture, stays combed.
    combed = (("bwdif", "mode=send_frame:deint=interlaced"),) if deinterlace else ()
    filters = (("fieldmatch", f"order={order}:combmatch=full"), *combed, ("decimate", None))
    return Filtering(filters, pace=Fraction(4, 5), rate=video.average_rate)
