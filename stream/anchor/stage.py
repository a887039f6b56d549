"""The stage between the network and steady colour: carries what the user knows to every frame."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from kinemacolor.engine.backend import Pending
from kinemacolor.engine.inputs import Inputs
from kinemacolor.stream.anchor.anchors import Anchors, Glimpse, Source, carry_back
from kinemacolor.stream.anchor.carry import Trail
from kinemacolor.stream.anchor.given import Given, report_of
from kinemacolor.stream.anchor.known import Colors, Plane
from kinemacolor.stream.anchor.learn import (
    Eyes,
    Lesson,
    input_of,
    learn,
    learn_likes,
    lightness_of,
)
from kinemacolor.stream.anchor.match import Cells, Exemplar, alikeness, cells_of
from kinemacolor.stream.color.host_painter import HostCanvas
from kinemacolor.stream.errors import BadReference
from numpy.typing import NDArray

log = logging.getLogger(__name__)

HORIZON = 250  # frames before its own to which a known picture is carried back
ASKED = 4  # known pictures that a frame asks for likes
ASKED_AGAIN = 25  # frames after which those are chosen anew
LEAST_ALIKE = 0.03  # share of a frame's cells that must have likes in a picture


@dataclass(frozen=True)
class Timing:
    """Where a source's frames stand in its film.

    Attributes:
        first: number of the first frame that comes.
        period_seconds: from one frame to the next.
        offset_seconds: what is added to a frame's own time to have its time in the film.
        reopen: yields the film's frames from a time on; None: none can be had before it comes.
    """

    first: int = 0
    period_seconds: float = 0.04
    offset_seconds: float = 0.0
    reopen: Callable[[float], Iterator[HostCanvas]] | None = None


@dataclass(frozen=True, eq=False)
class Seen:
    """A frame on its way from `look` to `paint`.

    Attributes:
        shot_began: number of its shot's first frame.
        exact: see `Lesson.exact`.
        pending: the features, where the run's network gives none.
    """

    glimpse: Glimpse
    frame: int
    shot_began: int
    L: Plane
    exact: tuple[Colors, Plane] | None
    pending: Pending | None


class Stage:
    """Known colours for the frames of one source. Use it on the backend's thread.

    Args:
        given: what the user gave.
        eyes: the run's network, and the one that gives features.
        own_eyes: whether that is another one.
        strength: 0..1, how much known colours count.
        cuts: numbers of the frames that start shots, counted from the first that comes, if known.
    """

    def __init__(
        self,
        given: Sequence[Given],
        eyes: Eyes,
        *,
        own_eyes: bool = False,
        strength: float = 1.0,
        cuts: Collection[int] | None = None,
        timing: Timing = Timing(),
    ) -> None:
        self.given, self._eyes, self._own_eyes = list(given), eyes, own_eyes
        self._strength, self._cuts, self._timing = np.float32(strength), cuts, timing
        self._frame = timing.first - 1
        self._anchors: Anchors | None = None
        self._waiting = dict(enumerate(self.given))  # by number
        self._sources: dict[int, tuple[Source, Lesson]] = {}  # of frames to come, by frame
        self._later: dict[int, list[tuple[Source, Trail]]] = {}  # by frame
        self._exemplars: dict[int, Exemplar] = {}  # for every shot, by number
        self._of_shot: dict[int, tuple[int, Exemplar]] = {}  # frame, and for its shot, by number
        self._shot_began = timing.first
        self._asked: list[int] = []  # numbers
        self._asked_at = 0

    @property
    def wants_features(self) -> bool:
        """Whether the run's network is to give features."""
        return not self._own_eyes

    def look(self, canvas: HostCanvas) -> Seen:
        """Takes the next frame, before the network has answered."""
        self._frame += 1
        L = lightness_of(canvas)
        if self._anchors is None:
            self._learn_free(canvas)
        if self._anchors is None or self._anchors.size != L.shape:
            self._anchors = Anchors(*L.shape, cuts=self._cuts, strength=float(self._strength))
        self._take_due(canvas, L)
        source, lesson = self._sources.pop(self._frame, (None, None))
        glimpse = self._anchors.look(L, source, self._later.pop(self._frame, ()))
        if glimpse.sight.link.parent is None:
            self._shot_began = self._frame
        pending = None
        if self._own_eyes and (self._exemplars or self._of_shot):
            seer = self._eyes.seer
            pending = seer.submit(Inputs(input_of(seer, L), features=True))
        exact = None if lesson is None else lesson.exact
        return Seen(glimpse, self._frame, self._shot_began, L, exact, pending)

    def paint(
        self, seen: Seen, ab: Colors | None, features: NDArray[Any] | None
    ) -> tuple[Colors, tuple[Colors, Plane] | None]:
        """Gives a frame its colours.

        Args:
            ab: (2, any, any), the network's; None where it was not asked.
            features: (C, h, w), of the same pass.

        Returns:
            ab (2, h, w), to be made steady, and what is to stand whatever comes of that: ab at any
            size, and how firmly (0..1).
        """
        assert self._anchors is not None
        if seen.pending is not None:
            seen.pending.result()
            features = None if seen.pending.features is None else seen.pending.features[0]
        cells = None
        asked: list[tuple[int, Exemplar]] = []
        if features is not None and (self._exemplars or self._of_shot):
            cells = cells_of(features, self._eyes.parts, seen.L)
            asked = self._worth_asking(seen, cells)
        painted, firm, shares = self._anchors.paint(seen.glimpse, ab, cells, asked)
        for number, share in shares.items():
            self.given[number].count(seen.frame, share)
        if seen.exact is not None:
            colors, sure = seen.exact
            return painted, (colors, sure * self._strength)
        return painted, None if firm is None else (painted, firm)

    def report(self) -> dict[str, Any]:
        """What `--report` says of references and hints."""
        return dict(report_of(self.given))

    def warn(self) -> None:
        """Says which references and hints were of no use."""
        for each in self.given:
            for use in each.uses:
                if not use.fits:
                    why = f": {use.note}" if use.note else ": nothing in the film looks like it"
                    if each.frame is not None and each.frame > self._frame:
                        why = f": it ends at frame {self._frame}"
                    log.warning("%s was not used%s", use.name, why)

    def _learn_free(self, canvas: HostCanvas) -> None:
        """Learns the pictures that belong to no frame."""
        colorspace = canvas.encoding.encoding.colorspace
        for number, given in list(self._waiting.items()):
            if given.frame is None and given.time is None and given.reference is not None:
                del self._waiting[number]
                self._exemplars[number] = learn_likes(given.reference, colorspace, self._eyes)

    def _take_due(self, canvas: HostCanvas, L: Plane) -> None:
        """Learns what belongs to this frame, and to those that can be carried back to it."""
        period = self._timing.period_seconds
        seconds = (canvas.frame.time or 0.0) + self._timing.offset_seconds
        due = [
            (ahead, number)
            for number, given in self._waiting.items()
            if (ahead := given.comes_in(self._frame, seconds, period)) is not None
            and ahead <= HORIZON
        ]
        for ahead, number in sorted(due):
            given = self._waiting[number]
            if ahead == 0:
                self._introduce(number, given, self._frame, canvas, L)
            elif ahead > 0:
                # A known picture is carried back to the one before it, and no farther.
                between = any(self._frame < each < self._frame + ahead for each in self._sources)
                if self._timing.reopen is None or between:
                    continue
                self._carry_back(number, given, seconds, ahead)
            del self._waiting[number]

    def _introduce(
        self, number: int, given: Given, frame: int, canvas: HostCanvas, L: Plane
    ) -> Source | None:
        """Learns what is known of a frame. Says so and goes on where it cannot be used."""
        try:
            lesson = learn(given, canvas, L, self._eyes)
        except BadReference as error:
            log.warning("%s", error)
            given.uses[0].note = str(error)
            return None
        if lesson is None:
            log.warning("%s does not look like frame %d of the film", given.name, frame)
            given.uses[0].note = f"it does not look like frame {frame}"
            return None
        source = Source(number, lesson.known)
        self._sources[frame] = source, lesson
        self._of_shot[number] = frame, lesson.exemplar
        if lesson.elsewhere is not None:
            self._exemplars[number] = lesson.elsewhere
        return source

    def _carry_back(self, number: int, given: Given, seconds: float, ahead: int) -> None:
        """Reads on to the frame of something known, and carries its colours back."""
        assert self._timing.reopen is not None
        planes: list[Plane] = []
        canvas: HostCanvas | None = None
        # Half a frame earlier: times are rounded to ticks.
        for canvas in self._timing.reopen(seconds - self._timing.period_seconds / 2):
            planes.append(lightness_of(canvas))
            if len(planes) > ahead or planes[-1].shape != planes[0].shape:
                break
        if canvas is None or len(planes) <= ahead:
            return  # the film ends before
        frame = self._frame + ahead
        source = self._introduce(number, given, frame, canvas, planes[-1])
        if source is None:
            return
        for index, trail in carry_back(source, planes).items():
            self._later.setdefault(self._frame + index, []).append((source, trail))

    def _worth_asking(self, seen: Seen, cells: Cells) -> list[tuple[int, Exemplar]]:
        """Chooses the known pictures whose likes are in the shot."""
        glimpse, offers = seen.glimpse, dict(self._exemplars)
        for number, (frame, exemplar) in list(self._of_shot.items()):
            if number in glimpse.carried or seen.shot_began <= frame <= seen.frame:
                offers[number] = exemplar
            elif frame < seen.shot_began:
                del self._of_shot[number]
        old = seen.frame - self._asked_at >= ASKED_AGAIN or not self._asked
        if old or glimpse.sight.link.parent is None or glimpse.own is not None:
            self._asked_at = seen.frame
            ranked = sorted(
                ((alikeness(each, cells), number) for number, each in offers.items()), reverse=True
            )
            self._asked = [number for share, number in ranked[:ASKED] if share > LEAST_ALIKE]
        return [(number, offers[number]) for number in self._asked if number in offers]
