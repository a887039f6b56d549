"""What a live run gives up when the machine cannot keep the rate: one step at a time, said once."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from kinemacolor.stream.color.pace import LONGEST, WINDOW_FRAMES, distance
from kinemacolor.stream.measure.stats import Stats
from kinemacolor.stream.steady.keyframes import KeyFrames

log = logging.getLogger(__name__)

SHARES = (0.7, 0.5)  # of the area of the network's input
ALL_FRAMES = 8  # of the window while every frame is inferred
BEHIND = 1 / 3  # of the time that a frame may be late: so far behind before the first step
KEY_WINDOW = 3 * LONGEST  # of the windows after it: three key frames at least
INFERENCES = 3  # that must have been too slow, by their median
OURS = ("extract", "infer", "steady", "chroma")  # the stages on the colorizing thread
SMALL_SHARE = 0.1  # of the work: a network that takes no more is not what is slow
BUSY = 0.6  # of the time: so long the network may be at work beside everything else
SHARED = 2.0  # times as long as alone an inference takes there, at the most
HOPELESS = 1.5  # periods that the work on one frame may take before the first frame comes
ROOM = 0.7  # of the time there is: that little must suffice before a step is taken back
PATIENCE_SECONDS = 60.0  # for so long at first, and twice as long after each time


@dataclass(frozen=True)
class Step:
    """One step down, or one back.

    Its level is that of all that is given up by then: 1 key frames only, 2 and 3 a smaller input
    of the network as well, 4 frames that are late are dropped.
    """

    level: int
    name: str  # "key frames", "input 0.7", "drop"
    message: str


class Degrade:
    """First key frames only, then a smaller input of the network, and only then dropped frames.

    The first step is taken when the work has fallen a third of the time that a frame may be late
    behind what it plays: soon where it is far too slow, and late where it hardly is. On key frames
    the next is taken when the work on three of them and what lies between took longer than they
    play, or one inference longer than a frame may be late. The two slowest of the last frames
    count as the third: a stall is no overload.

    An inference in the background holds no frame up; it counts for half of the time that it takes
    beside everything else.

    The distance of key frames follows the load (`stream.color.pace`), back to 1 as well. The
    rest is taken back when its cost would have left room for a whole minute; after each time the
    wait is twice as long. Knows no clock: all that it is given are durations.

    Args:
        key_frames: of the steadier; their distance is changed.
        shares: sizes of the network's input to try, as shares of its area; none for a network of
            fixed size.
        limit_seconds: how late a frame may be (`--max-latency`).
        fixed: the distance of the key frames stays as it is.
        skips: key frames only from the start (`--every auto`).
    """

    def __init__(
        self,
        key_frames: KeyFrames,
        *,
        limit_seconds: float,
        shares: Sequence[float] = SHARES,
        fixed: bool = False,
        skips: bool = False,
    ) -> None:
        self._key_frames = key_frames
        self._limit = limit_seconds
        self._shares = (1.0, *shares)
        self._fixed = fixed
        self._skips = skips
        self._size = 0  # index of the share in use
        self._drops = False
        self._calm_seconds = 0.0
        self._patience = PATIENCE_SECONDS
        self._seen = (0.0, 0.0)
        self._ahead: list[Step] = []  # taken before the first frame
        self._start_window()
        self._start_background()

    @property
    def area_share(self) -> float:
        """How much of its preferred area the network's input should have."""
        return self._shares[self._size]

    @property
    def level(self) -> int:
        """See `Step`; 0 while nothing is given up."""
        return 4 if self._drops else 1 + self._size if self._size else int(self._skips)

    def watch(self, stats: Stats) -> None:
        """Counts the frame whose work was just added to a run's counters; tells a step."""
        before, period = self._seen, stats.period_seconds
        self._seen = seen = _seconds(stats)
        steps, self._ahead = self._ahead, []
        if period is not None:
            waited = seen[1] - before[1] if seen[1] > before[1] else None
            step = self.frame(seen[0] - before[0], waited, period)
            steps += [step] if step is not None else []
        for step in steps:
            log.warning("%s", step.message)
            stats.steps.append((round(stats.elapsed_seconds, 3), step))

    def expect(self, stats: Stats, period_seconds: float) -> None:
        """Takes the steps that one frame's counters, all of them waited for, leave no doubt of."""
        work, network = _seconds(stats)
        if self._fixed or work < HOPELESS * period_seconds:
            return
        self._work.extend([work] * INFERENCES)
        self._network.extend([network] * INFERENCES)
        if not self._skips and (step := self._down(period_seconds)) is not None:
            self._ahead.append(step)
        self._key_frames.every = _least_distance(network, period_seconds)
        self._start_window()

    def arrived(self, network_seconds: float) -> None:
        """Counts an inference that ran in the background."""
        self._background.append(network_seconds)

    def frame(
        self, work_seconds: float, network_seconds: float | None, period_seconds: float
    ) -> Step | None:
        """Counts a frame, and returns the step that was taken because of it.

        Args:
            work_seconds: all the work on it, `network_seconds` included.
            network_seconds: of its inference; None: its colours were carried.
            period_seconds: from one frame of the source to the next.
        """
        self._work.append(work_seconds)
        self._network.append(network_seconds)
        self._frames += 1
        self._fall_behind(work_seconds, period_seconds)
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
        length = KEY_WINDOW if self._skips or self._key_frames.every > 1 else ALL_FRAMES
        self._work: deque[float] = deque(maxlen=length)
        self._network: deque[float | None] = deque(maxlen=length)  # of the same frames
        self._frames = 0
        self._behind_seconds = 0.0

    def _start_background(self) -> None:
        self._background: deque[float] = deque(maxlen=INFERENCES)

    def _fall_behind(self, work: float, period: float) -> None:
        slowest = sorted(self._work)[-3:]
        counted = min(work, slowest[0]) if len(slowest) == 3 else 0.0
        self._behind_seconds = max(0.0, self._behind_seconds + counted - period)

    def _total(self) -> float:
        """Seconds of work in the window, the two slowest frames counting as the third."""
        slowest = sorted(self._work)
        return sum(slowest[:-2]) + 2 * slowest[-3] if len(slowest) > 2 else 0.0

    def _inferences(self) -> list[float]:
        return [seconds for seconds in self._network if seconds is not None]

    def _inference(self, at_least: int = INFERENCES) -> float:
        """Seconds that a frame has to wait for one; 0 as long as there were too few to say."""
        waited, beside = self._inferences(), self._background
        return max(
            median(waited) if len(waited) >= at_least else 0.0,
            median(beside) / SHARED if len(beside) >= at_least else 0.0,
        )

    def _beside(self) -> float:
        """Seconds a frame that the network is at work in the background."""
        return median(self._background) / self._key_frames.every if self._background else 0.0

    def _overload(self, period: float) -> bool:
        if self._work.maxlen == ALL_FRAMES:
            over = self._behind_seconds > BEHIND * self._limit
        else:  # it need not be full: what it holds may be more than all of it may take
            over = self._total() > KEY_WINDOW * period
        if not self._fixed and not self._skips:
            return over
        at_end = self._fixed or self._key_frames.every >= LONGEST
        return (over and at_end) or self._inference() > self._limit

    def _network_share(self) -> float:
        beside = len(self._work) * self._beside()
        return (sum(self._inferences()) + beside) / max(sum(self._work) + beside, 1e-9)

    def _down(self, period: float) -> Step | None:
        if self._drops:
            return None
        why = self._why(period)
        helps = self._network_share() > SMALL_SHARE or self._inference() > self._limit
        if helps and not self._fixed and not self._skips:
            self._skips = True
            load = self._total() / len(self._work) / period
            self._key_frames.every = distance(self._key_frames.every, load)
            name, what = "key frames", "colours are now inferred on key frames only (--every auto)"
        elif helps and self._size + 1 < len(self._shares):
            self._size += 1
            self._start_background()
            name = f"input {self.area_share:g}"
            what = f"its input now has {self.area_share:g} of its area"
        else:
            self._drops = True
            name, what = "drop", f"frames later than {1000 * self._limit:.0f} ms are dropped"
        self._start_window()
        return Step(self.level, name, f"{why}: {what}")

    def _why(self, period: float) -> str:
        if (self._skips or self._fixed) and self._inference() > self._limit:
            return f"one inference of the network takes {1000 * self._inference():.0f} ms"
        work = 1000 * (self._total() / len(self._work) + self._beside())
        network = work * self._network_share()
        return (
            f"colours need {work:.0f} ms of {1000 * period:.0f} ms a frame, "
            f"the network {network:.0f} ms of it"
        )

    def _follow_load(self, period: float) -> None:
        if not self._skips or self._frames % WINDOW_FRAMES:
            return
        latest = list(self._work)[-WINDOW_FRAMES:]
        wanted = distance(self._key_frames.every, sum(latest) / len(latest) / period)
        if self._background:
            wanted = max(wanted, _least_distance(median(self._background), period))
        if wanted != self._key_frames.every:
            self._key_frames.every = wanted
            self._start_window()

    def _larger_fits(self, period: float) -> bool:
        """Whether the next larger input would leave room, if its cost grows with its area."""
        inferences = self._inferences()
        inference = self._inference(at_least=1)
        if len(self._work) < (self._work.maxlen or 0) or not inference:
            return False
        inference *= self._shares[self._size - 1] / self.area_share if self._size else 1.0
        farthest = LONGEST if self._skips else len(self._work) / max(len(inferences), 1)
        carried = (sum(self._work) - sum(inferences)) / len(self._work)
        return carried + inference / farthest < ROOM * period and inference < ROOM * self._limit

    def _up(self) -> Step:
        at_full = self._size == 0
        self._size = max(0, self._size - 1)
        self._drops = False
        self._patience *= 2
        self._calm_seconds = 0.0
        self._start_window()
        self._start_background()
        if at_full:
            return Step(self.level, "in time", "colours keep the rate again")
        share = f"{self.area_share:g}"
        return Step(self.level, f"input {share}", f"there is room: the input has {share} again")


def _least_distance(network: float, period: float) -> int:
    """The distance of key frames at which the network leaves time for everything else."""
    return min(LONGEST, math.ceil(network / (BUSY * period)))


def _seconds(stats: Stats) -> tuple[float, float]:
    """Seconds of all the work on the colorizing thread, and of waiting for the network."""
    return sum(stats.seconds[stage] for stage in OURS), stats.seconds["infer"]
