"""Keeps a run in time: how far apart key frames are and, live, what else is given up for it."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from statistics import median

from kinemacolor.stream.color.costs import INFERENCES, Costs
from kinemacolor.stream.measure.stats import Step
from kinemacolor.stream.steady.keyframes import KeyFrames

log = logging.getLogger(__name__)

WINDOW_FRAMES = 12
LONGEST = 12  # frames from one inference to the next: colours carried further grow stale
TARGET_LOAD = 0.85  # of real time; what is left absorbs slower frames
RELAXED_LOAD = 0.7  # under the target, so that the distance does not swing

SHARES = (0.7, 0.5)  # of the area of the network's input
ALL_FRAMES = 8  # of the window while every frame is inferred
BEHIND = 1 / 3  # of the time that a frame may be late: so far behind before the first step
KEY_WINDOW = 3 * LONGEST  # of the windows after it: three key frames at least
SMALL_SHARE = 0.1  # of the work: a network that takes no more is not what is slow
BUSY = 0.6  # of the time: so long the network may be at work beside everything else
HOPELESS = 1.5  # periods that the work on one frame may take before the first frame comes
ROOM = 0.7  # of the time there is: that little must suffice before a step is taken back
PATIENCE_SECONDS = 60.0  # for so long at first, and twice as long after each time


class Tempo:
    """Moves the distance of key frames with the load; live, it gives up more where that must be.

    Live, that is in order: key frames only, then a smaller input of the network, and only then
    dropped frames. The first step is taken when the work has fallen a third of the time that a
    frame may be late behind what it plays: soon where it is far too slow, and late where it hardly
    is. On key frames the next is taken when the work on three of them and what lies between took
    longer than they play, or one inference longer than a frame may be late (`Costs`).

    The distance of key frames goes back to 1 as well. The rest is taken back when its cost would
    have left room for a whole minute; after each time the wait is twice as long. Knows no clock:
    all that it is given are durations.

    Args:
        key_frames: of the steadier; their distance is changed.
        limit_seconds: how late a frame may be (`--max-latency`). None: it may be as late as it
            is, and only the distance changes, from key frames only on (a film's `--every auto`).
        shares: sizes of the network's input to try, as shares of its area; none for a network of
            fixed size.
        fixed: the distance of the key frames stays as it is.
        skips: key frames only from the start (`--every auto`).
    """

    def __init__(
        self,
        key_frames: KeyFrames,
        *,
        limit_seconds: float | None = None,
        shares: Sequence[float] = SHARES,
        fixed: bool = False,
        skips: bool = False,
    ) -> None:
        self._key_frames = key_frames
        self._may_be_late = limit_seconds is None
        self._limit = math.inf if limit_seconds is None else limit_seconds
        self._shares = (1.0, *shares)
        self._fixed = fixed
        self._skips = skips or self._may_be_late
        self._size = 0  # index of the share in use
        self._drops = False
        self._behind_seconds = self._calm_seconds = 0.0
        self._patience = PATIENCE_SECONDS
        self._ahead: Step | None = None  # taken before the first frame
        self._costs = Costs()
        self._start_window()

    @property
    def area_share(self) -> float:
        """How much of its preferred area the network's input should have."""
        return self._shares[self._size]

    @property
    def level(self) -> int:
        """See `Step`; 0 while nothing is given up."""
        return 4 if self._drops else 1 + self._size if self._size else int(self._skips)

    def expect(self, work_seconds: float, network_seconds: float, period_seconds: float) -> None:
        """Takes the steps that one frame, all of it waited for, leaves no doubt of."""
        if self._fixed or work_seconds < HOPELESS * period_seconds:
            return
        self._costs.add(work_seconds, network_seconds, times=INFERENCES)
        if not self._skips:
            self._ahead = self._down(period_seconds)
        self._key_frames.every = _least_distance(network_seconds, period_seconds)
        self._start_window()

    def arrived(self, network_seconds: float) -> None:
        """Counts an inference that ran in the background."""
        self._costs.background.append(network_seconds)

    def frame(
        self, work_seconds: float, network_seconds: float | None, period_seconds: float | None
    ) -> Step | None:
        """Counts a frame, and returns the step that was taken because of it, or before it.

        Args:
            work_seconds: all the work on it, `network_seconds` included.
            network_seconds: of its inference; None: its colours were carried.
            period_seconds: from one frame of the source to the next; None: not yet known.
        """
        ahead, self._ahead = self._ahead, None
        if ahead is not None or period_seconds is None:
            return ahead
        self._costs.add(work_seconds, network_seconds)
        if self._may_be_late:
            self._follow_load(period_seconds)
            return None
        late = self._costs.steady_work(work_seconds) - period_seconds
        self._behind_seconds = max(0.0, self._behind_seconds + late)
        if self._overload(period_seconds):
            self._calm_seconds = 0.0
            return self._down(period_seconds)
        self._follow_load(period_seconds)
        if not (self._size or self._drops) or not self._larger_fits(period_seconds):
            self._calm_seconds = 0.0
            return None
        self._calm_seconds += period_seconds
        return self._up() if self._calm_seconds >= self._patience else None

    def _start_window(self) -> None:
        on_key_frames = self._skips or self._key_frames.every > 1
        self._costs.start(KEY_WINDOW if on_key_frames else ALL_FRAMES)
        self._behind_seconds = 0.0

    def _overload(self, period: float) -> bool:
        if self._costs.work.maxlen == ALL_FRAMES:
            over = self._behind_seconds > BEHIND * self._limit
        else:  # it need not be full: what it holds may be more than all of it may take
            over = self._costs.total() > KEY_WINDOW * period
        if not self._fixed and not self._skips:
            return over
        at_end = self._fixed or self._key_frames.every >= LONGEST
        return (over and at_end) or self._costs.inference() > self._limit

    def _down(self, period: float) -> Step | None:
        if self._drops:
            return None
        why = self._why(period)
        share = self._costs.network_share(self._key_frames.every)
        helps = share > SMALL_SHARE or self._costs.inference() > self._limit
        if helps and not self._fixed and not self._skips:
            self._skips = True
            self._key_frames.every = distance(self._key_frames.every, self._costs.mean() / period)
            name, what = "key frames", "colours are now inferred on key frames only (--every auto)"
        elif helps and self._size + 1 < len(self._shares):
            self._size += 1
            self._costs.start_background()
            name = f"input {self.area_share:g}"
            what = f"its input now has {self.area_share:g} of its area"
        else:
            self._drops = True
            name, what = "drop", f"frames later than {1000 * self._limit:.0f} ms are dropped"
        self._start_window()
        return Step(self.level, name, f"{why}: {what}")

    def _why(self, period: float) -> str:
        inference, every = self._costs.inference(), self._key_frames.every
        if (self._skips or self._fixed) and inference > self._limit:
            return f"one inference of the network takes {1000 * inference:.0f} ms"
        work = 1000 * (self._costs.mean() + self._costs.beside(every))
        network = work * self._costs.network_share(every)
        return (
            f"colours need {work:.0f} ms of {1000 * period:.0f} ms a frame, "
            f"the network {network:.0f} ms of it"
        )

    def _follow_load(self, period: float) -> None:
        if not self._skips or self._costs.count % WINDOW_FRAMES:
            return
        latest = list(self._costs.work)[-WINDOW_FRAMES:]
        load = sum(latest) / len(latest) / period
        wanted = distance(self._key_frames.every, load)
        if self._costs.background:
            wanted = max(wanted, _least_distance(median(self._costs.background), period))
        if wanted == self._key_frames.every:
            return
        if self._may_be_late:
            log.info(
                "key frames at most %d apart (the work took %.0f %% of real time)",
                wanted,
                100 * load,
            )
        self._key_frames.every = wanted
        self._start_window()

    def _larger_fits(self, period: float) -> bool:
        """Whether the next larger input would leave room, if its cost grows with its area."""
        costs, inferences = self._costs, self._costs.inferences()
        inference = costs.inference(at_least=1)
        if not costs.is_full or not inference:
            return False
        inference *= self._shares[self._size - 1] / self.area_share if self._size else 1.0
        farthest = LONGEST if self._skips else len(costs.work) / max(len(inferences), 1)
        carried = (sum(costs.work) - sum(inferences)) / len(costs.work)
        return carried + inference / farthest < ROOM * period and inference < ROOM * self._limit

    def _up(self) -> Step:
        at_full = self._size == 0
        self._size = max(0, self._size - 1)
        self._drops = False
        self._patience *= 2
        self._calm_seconds = 0.0
        self._start_window()
        self._costs.start_background()
        if at_full:
            return Step(self.level, "in time", "colours keep the rate again")
        share = f"{self.area_share:g}"
        return Step(self.level, f"input {share}", f"there is room: the input has {share} again")


def distance(every: int, load: float) -> int:
    """The distance of key frames at which a load, measured at `every`, would be the target."""
    if load > TARGET_LOAD:
        return min(LONGEST, max(every + 1, math.ceil(every * load / TARGET_LOAD)))
    if every > 1 and load * every / (every - 1) < RELAXED_LOAD:
        return every - 1  # which would still leave room
    return every


def _least_distance(network: float, period: float) -> int:
    """The distance of key frames at which the network leaves time for everything else."""
    return min(LONGEST, math.ceil(network / (BUSY * period)))
