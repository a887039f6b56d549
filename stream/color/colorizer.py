"""Where a frame becomes colour: painter -> L -> network -> ab -> steady -> painter."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import av
import numpy as np
from kinemacolor.engine.backend import Backend, Pending
from kinemacolor.stream.anchor.known import Colors, Plane
from kinemacolor.stream.anchor.stage import Seen, Stage
from kinemacolor.stream.color.asking import Asking, may_be_late, practise_lateness
from kinemacolor.stream.color.chroma import resize
from kinemacolor.stream.color.costs import Stopwatch
from kinemacolor.stream.color.frames import FrameEncoding
from kinemacolor.stream.color.host_painter import HostPainter
from kinemacolor.stream.color.painter import Canvas, Painter, Style
from kinemacolor.stream.color.tempo import Tempo
from kinemacolor.stream.measure.stats import Stats
from kinemacolor.stream.media import Item
from kinemacolor.stream.steady.smoothing import Steady, make_steady
from numpy.typing import NDArray

log = logging.getLogger(__name__)

# Batches under way at once. Two cores are kept busy by two; the third hides the gap between.
OVERLAP = 3


@dataclass
class Work:
    """One frame on its way through the colorizer."""

    canvas: Canvas
    pending: Pending | None  # None: not a key frame, its colours are carried from others
    rough: bool  # pending: of a smaller input
    ab: NDArray[np.float32] | None = None  # (2, h, w), final
    seen: Seen | None = None  # what known colours say of it
    firm: tuple[Colors, Plane] | None = None  # ab that stands after smoothing, and how firmly

    def settle(self, ab: NDArray[np.float32]) -> None:
        """Takes the smoothed ab; where colours are known, those stand."""
        self.ab = ab if self.firm is None else _with_firm(ab, *self.firm)
        self.firm = self.seen = None


class Colorizer:
    """Gives frames their colours, several under way at once. Use it on one thread.

    Args:
        backend: runs the network. It stays the caller's.
        steady: smooths ab in time; the default leaves each frame by itself.
        style: how colours are painted; may be changed while frames are on their way.
        painter: paints frames; the default does so in memory, in `pix_fmts`. Is closed with this.
        pix_fmts, full_range: what the sink takes; no formats means any.
        tempo: keeps a run in time.
        overlap: pictures in the network at once; a backend that batches asks for more.
        known: carries colours that the user knows; needs a painter in memory.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        steady: Steady | None = None,
        style: Style = Style(),  # noqa: B008  (frozen)
        painter: Painter[Any] | None = None,
        pix_fmts: Collection[str] = frozenset(),
        full_range: bool = True,
        tempo: Tempo | None = None,
        overlap: int = OVERLAP,
        known: Stage | None = None,
    ) -> None:
        self.backend = backend
        self.steady = make_steady("off") if steady is None else steady
        self.style = style
        self.painter: Painter[Any] = painter or HostPainter(pix_fmts, full_range=full_range)
        self.tempo = tempo
        self.overlap = overlap
        self.known = known

    @property
    def encoding(self) -> FrameEncoding | None:
        """What the codes of the last frame meant."""
        return self.painter.encoding

    def colorize(
        self, items: Iterable[Item], stats: Stats | None = None, *, live: bool = False
    ) -> Iterator[Item]:
        """Yields every frame coloured, in order, and every packet as it came, in its place.

        Args:
            live: no frame waits for another, and on key frames none but the first of a shot for
                the network (`Asking`).
        """
        stats = stats or Stats()
        watch = Stopwatch(stats, live=live)
        passage = Passage(self, watch, stats, live=live)
        for item in watch.watch(items):
            passage.enter(item)
            yield from passage.leaving()
            if self.tempo is not None and isinstance(item, av.VideoFrame):
                step = self.tempo.frame(*watch.lap(), stats.period_seconds)
                if step is not None:
                    log.warning("%s", step.message)
                    stats.took(step)
        yield from passage.end()

    def warm_up(self, frame: av.VideoFrame, *, period_seconds: float | None = None) -> None:
        """Does all that is done live with such frames: the first time takes as long as ten others.

        Args:
            period_seconds: from one frame to the next, if known; what is far too slow for that
                is then given up before the first frame, and work in the background practised if
                the network takes much of it.
        """
        steady = make_steady("live")
        other = Colorizer(self.backend, steady=steady, style=self.style, painter=self.painter)
        for _ in range(3):
            stats = Stats()  # of the last
            for _ in other.colorize([frame], stats, live=True):
                pass
        network = stats.seconds["infer"]
        if self.tempo is not None and period_seconds is not None:
            self.tempo.expect(sum(stats.seconds.values()), network, period_seconds)
        keeps_up = period_seconds is not None and network < period_seconds / 4
        if may_be_late(self.backend, self.steady, self.tempo) and not keeps_up:
            practise_lateness(self.backend, self.painter.look(frame, self.backend.spec))

    def close(self) -> None:
        """Closes the painter."""
        self.painter.close()


class Passage:
    """The frames that are on their way through a colorizer, with the packets between them."""

    def __init__(self, parts: Colorizer, watch: Stopwatch, stats: Stats, *, live: bool) -> None:
        self._parts, self._watch, self._stats = parts, watch, stats
        known = parts.known
        self._asking = Asking(
            parts.backend,
            parts.steady,
            parts.tempo,
            live=live and known is None,  # what is known of a frame joins its own colours
            features=known is not None and known.wants_features,
        )
        self._overlap = 0 if live else parts.overlap
        self._leaving: deque[Work | av.Packet] = deque()  # in the source's order
        self._running: deque[Work] = deque()  # in the network
        self._settling: deque[Work] = deque()  # waiting for their final ab

    def enter(self, item: Item) -> None:
        """Takes the next of the source's items; hands frames to the network and to the steadier."""
        if not isinstance(item, av.VideoFrame):
            self._leaving.append(item)
            return
        self._take_late()
        with self._watch.time("extract"):
            canvas = self._parts.painter.look(item, self._parts.backend.spec)
            work = Work(canvas, *self._asking.ask(canvas))
        if self._parts.known is not None:
            with self._watch.time("steady", frame=False):
                work.seen = self._parts.known.look(canvas)
        self._leaving.append(work)
        self._running.append(work)
        # A backend may ask for more under way, and for another number as time goes on.
        overlap = max(self._overlap, self._parts.backend.overlap)
        # A carried frame at the front waits for nothing but its turn.
        while self._running and (self._running[0].pending is None or self._asked() > overlap):
            self._settle(self._running.popleft())

    def leaving(self) -> Iterator[Item]:
        """Yields what nothing holds up any more."""
        while self._leaving:
            first = self._leaving[0]
            if isinstance(first, Work):
                if first.ab is None:
                    return
                with self._watch.time("chroma"):
                    colored = self._parts.painter.paint(first.canvas, first.ab, self._style())
                self._leaving.popleft()
                yield colored
            else:
                self._leaving.popleft()
                yield first

    def end(self) -> Iterator[Item]:
        """Yields all that is still on its way."""
        while self._running:
            self._settle(self._running.popleft())
            yield from self.leaving()
        self._asking.give_up()
        self._assign(self._parts.steady.flush())
        yield from self.leaving()

    def _asked(self) -> int:
        return sum(work.pending is not None for work in self._running)

    def _settle(self, work: Work) -> None:
        """Waits for a frame's ab, and hands it to the steadier."""
        ab = features = None
        if work.pending is not None:
            with self._watch.time("infer"):
                ab = work.pending.result()[0]
            found = work.pending.features
            features = None if found is None else found[0]
            self._stats.inferred += 1
        self._settling.append(work)
        with self._watch.time("steady"):
            if self._parts.known is not None and work.seen is not None:
                own = None if ab is None else ab * np.float32(self._parts.style.saturation)
                ab, work.firm = self._parts.known.paint(work.seen, own, features)
            final = self._parts.steady.push(work.canvas.L, ab, rough=work.rough)
        self._assign(final)

    def _style(self) -> Style:
        """The style that frames are painted in: what is known is not to be more saturated."""
        style = self._parts.style
        return style if self._parts.known is None else replace(style, saturation=1.0)

    def _assign(self, planes: list[NDArray[np.float32]]) -> None:
        for ab in planes:
            self._settling.popleft().settle(ab)

    def _take_late(self) -> None:
        ab = self._asking.late_answer()
        if ab is None:
            return
        self._stats.inferred += 1
        with self._watch.time("steady", frame=False):
            self._parts.steady.late(ab)


def _with_firm(ab: Colors, firm: Colors, share: Plane) -> Colors:
    """Puts colours (2, H, W) in the place of others, as far as they are firm."""
    if float(share.min()) >= 1:
        return firm
    height, width = share.shape
    big = np.stack([resize(plane, width, height) for plane in ab])
    return big + (firm - big) * share
