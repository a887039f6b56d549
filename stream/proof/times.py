"""Whether every frame and every packet is at its own time, or all of them moved by one constant.

A source whose clock starts again in its midst (captures that were joined) is as many parts as
that: the result puts each behind the one before it, at the part's own pace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from kinemacolor.stream.proof.check import Check

_JOIN_SECONDS = 1.0  # the longest step from a part to the next, where frames are not far apart
_JUMP_SECONDS = 10.0  # FFmpeg's dts_delta_threshold: such a step is a clock that was set anew
_WITH_SOUND_SECONDS = 0.1  # by which parts of the sound and of the picture may differ at a joint


class Clock:
    """Which of a frame's two times counts: FFmpeg's guess (libavcodec/decode.c).

    AVI keeps decode times only; those of presentation that come of it run to and fro.
    """

    def __init__(self) -> None:
        self._faulty = {"pts": 0, "dts": 0}
        self._last: dict[str, int] = {}

    def best(self, pts: int | None, dts: int | None) -> int | None:
        """Returns the better one, in ticks."""
        for name, ticks in (("pts", pts), ("dts", dts)):
            if ticks is not None:
                self._faulty[name] += ticks <= self._last.get(name, ticks - 1)
                self._last[name] = ticks
        if pts is not None and (dts is None or self._faulty["pts"] <= self._faulty["dts"]):
            return pts
        return dts


@dataclass(frozen=True)
class Moved:
    """How far a result's times lie behind the source's: of each part, and the worst from that."""

    parts: tuple[float, ...] = ()
    worst: float = 0.0
    joints: tuple[float, ...] = ()  # seconds from each part to the next, in the result

    @property
    def first(self) -> float:
        return self.parts[0] if self.parts else 0.0


def moved(ours: Sequence[float], theirs: Sequence[float], tick: float, *, jumps: bool) -> Moved:
    """Compares times one by one.

    Args:
        ours, theirs: seconds, as many of each.
        tick: the coarser time base.
        jumps: a step forward of more than ten seconds may be a clock that was set anew.
    """
    parts: list[float] = []
    joints: list[float] = []
    worst = 0.0
    for index, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        step = our - ours[index - 1] if index else 0.0
        there = their - theirs[index - 1] if index else 0.0
        anew = jumps and step > _JUMP_SECONDS and abs(there - step) > 2 * tick
        if index == 0 or step <= 0 or anew:
            parts.append(their - our)
            if index:
                joints.append(there)
        worst = max(worst, abs(their - our - parts[-1]))
    return Moved(tuple(parts), worst, tuple(joints))


def check_times(
    ours: Sequence[float | None],
    theirs: Sequence[float | None],
    tick: float,
    *,
    jumps: bool,
    sound: Sequence[float],
    may_move: bool = False,
) -> tuple[Check, Moved]:
    """Checks the frames' times.

    Args:
        ours, theirs: seconds; None where a frame has no time.
        sound: how far each track of sound moved.
        may_move: the film is silent, and the container does not keep where it starts.
    """
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=False) if a is not None and b is not None]
    if not pairs:
        return _without_times(ours, theirs), Moved()
    shift = moved([a for a, _ in pairs], [b for _, b in pairs], tick, jumps=jumps)
    # Half a tick is what rounding into the coarser time base may move a frame; the first one
    # may have been rounded the other way.
    steady = shift.worst <= tick + 1e-9
    detail = f"largest difference {1000 * shift.worst:.3f} ms, a tick is {1000 * tick:.3f} ms"
    if shift.joints:
        usual = median(b - a for (_, a), (_, b) in pairwise(pairs))
        longest = max(_JOIN_SECONDS, 4 * usual)
        closed = all(0 < joint <= longest for joint in shift.joints)
        steady = steady and closed
        parts = f"{len(shift.parts)} parts, whose clocks start anew"
        detail += f"; {parts}, {'follow' if closed else 'do not follow'} each other"
    if abs(shift.first) <= tick / 2 + 1e-9:
        return Check("times", steady, detail), shift
    together = bool(sound) and all(abs(track - shift.first) <= 0.002 + tick for track in sound)
    along = "with the sound" if together else "the sound does not move along"
    if may_move:
        together, along = True, "which is silent"
    detail += f"; the container moved every frame by {1000 * shift.first:.3f} ms, {along}"
    return Check("times", steady and together, detail), shift


def _without_times(ours: Sequence[float | None], theirs: Sequence[float | None]) -> Check:
    """Of a source that has none, the result's must rise."""
    if not ours or not theirs:
        return Check("times", False, "no frame to compare")
    known = [time for time in theirs if time is not None]
    rise = all(b > a for a, b in pairwise(known))
    return Check("times", rise, "the source has no times" + ("" if rise else "; they do not rise"))


def fits_picture(track: Moved, picture: Moved, tolerance: float) -> bool:
    """Whether packets of another stream stayed, or moved as the picture did, part by part."""
    if track.worst > tolerance:
        return False
    if len(track.parts) == 1 and abs(track.first) <= tolerance:
        return True  # where the picture moved alone, its own check says so
    if len(track.parts) != len(picture.parts):
        return abs(track.first - picture.first) <= tolerance
    loose = tolerance if len(track.parts) == 1 else max(tolerance, _WITH_SOUND_SECONDS)
    return all(abs(a - b) <= loose for a, b in zip(track.parts, picture.parts, strict=True))
