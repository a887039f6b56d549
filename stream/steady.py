"""Steady colour: what the network says of each frame, made consistent along the motion."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from stream.keyframes import KeyFrames
from stream.memory import Memory
from stream.motion import MotionMeter, Path, Plane, View, view_of

SteadyMode = Literal["off", "live", "film"]
Colors = NDArray[Any]  # (2, h, w) float32, CIELAB units

LONGEST_LIVE = 12.0  # frames that the mean rests on, at strength 1
LONGEST_FILM = 8.0  # the same, on either side
BLOCK, LOOK_AHEAD = 8, 12  # frames given out at once; later frames each of them profits from
CUT_SEEN = 0.35  # in-shot 0.8 and more of the picture is seen in both frames; at cuts under 0.2


class Steady(Protocol):
    """Takes the frames of one stream in order. Use it from one thread."""

    cuts: list[int]  # numbers of the frames that start a shot, the very first one left out
    delay: int  # the most frames that it holds back

    def wants(self, L: Plane) -> bool:
        """Whether the next frame should go through the network.

        Ask once for every frame or for none, in order; frames may be asked about ahead of their
        push. L: (H, W) float32, 0..100.
        """
        ...

    def push(self, L: Plane, ab: Colors | None) -> list[Colors]:
        """Takes a frame and returns the ab planes that are now final, in order.

        Args:
            L: (H, W) float32, 0..100, as the network saw it.
            ab: (2, h, w) float32, CIELAB units; it must not be written to afterwards. None: its
                colours are carried from the frames around it.
        """
        ...

    def flush(self) -> list[Colors]:
        """Returns what is still held back. The next push starts a new shot."""
        ...


def make_steady(
    mode: SteadyMode,
    *,
    strength: float = 1.0,
    cuts: Collection[int] | None = None,
    every: int = 1,
) -> Steady:
    """Returns the smoother of one stream.

    Args:
        mode: "off"; "live": from the past only, no delay; "film": from both sides.
        strength: 0 leaves everything as it is, 1 is normal, 2 remembers twice as long.
        cuts: frame numbers where shots start, known from outside: then none is looked for.
        every: infer at least every so many frames, and carry colours to the others.
    """
    if strength < 0:
        raise ValueError(f"strength must be 0 or more, got {strength}")
    if mode not in ("off", "live", "film"):
        raise ValueError(f"unknown steady mode {mode!r}: one of off, live, film")
    if mode == "off" or strength == 0:
        if every != 1:
            raise ValueError(f"steady off cannot carry colours over every {every} frames")
        return Unchanged()
    steps = Steps(cuts, KeyFrames(every))
    if mode == "live":
        return Live(steps, longest=LONGEST_LIVE * strength)
    return Film(steps, longest=LONGEST_FILM * strength)


class Unchanged:
    """Lets every frame pass."""

    delay = 0

    def __init__(self) -> None:
        self.cuts: list[int] = []

    def wants(self, L: Plane) -> bool:
        return True

    def push(self, L: Plane, ab: Colors | None) -> list[Colors]:
        if ab is None:
            raise ValueError("steady off needs the ab planes of every frame")
        return [ab]

    def flush(self) -> list[Colors]:
        return []


@dataclass(frozen=True)
class Step:
    """One frame and its way from the frame before."""

    index: int
    view: View
    back: Path | None  # to the frame before; None: nothing before belongs to it
    ahead: Path | None  # from the frame before
    is_cut: bool
    wanted: bool  # it should go through the network


class Steps:
    """Compares each frame with the one before, and looks for cuts and key frames."""

    def __init__(self, cuts: Collection[int] | None, key_frames: KeyFrames) -> None:
        self._known_cuts = None if cuts is None else frozenset(cuts)
        self._key_frames = key_frames
        self._index = 0
        self._before: View | None = None
        self._meter = MotionMeter(1, 1)
        self._ahead_of_push: deque[Step] = deque()

    def wants(self, L: Plane) -> bool:
        self._ahead_of_push.append(self._next(L))
        return self._ahead_of_push[-1].wanted

    def take(self, L: Plane) -> Step:
        return self._ahead_of_push.popleft() if self._ahead_of_push else self._next(L)

    def start_over(self) -> None:
        self._before = None
        self._ahead_of_push.clear()

    def _next(self, L: Plane) -> Step:
        view = view_of(L)
        back, ahead, is_cut = None, None, False
        if self._before is None or self._before.L.shape != view.L.shape:
            self._meter = MotionMeter(view.L.shape[1], view.L.shape[0])
            is_cut = self._before is not None
        elif self._known_cuts is not None and self._index in self._known_cuts:
            is_cut = True
        else:
            back, ahead = self._meter.both(self._before, view)
            is_cut = self._known_cuts is None and float(back.seen.mean()) < CUT_SEEN
            if is_cut:
                back = ahead = None
        wanted = self._key_frames.wants(view, back)
        step = Step(self._index, view, back, ahead, is_cut, wanted)
        self._before = view
        self._index += 1
        return step


class Live:
    """A recursive mean along the motion: each frame profits from those before it."""

    delay = 0

    def __init__(self, steps: Steps, *, longest: float) -> None:
        self.cuts: list[int] = []
        self._longest = longest
        self._steps = steps
        self._memory: Memory | None = None

    def wants(self, L: Plane) -> bool:
        return self._steps.wants(L)

    def push(self, L: Plane, ab: Colors | None) -> list[Colors]:
        step = self._steps.take(L)
        if step.is_cut:
            self.cuts.append(step.index)
        self._memory = advance(self._memory, step.back, step.view, ab, self._longest)
        return [with_detail(self._memory.ab, ab)]

    def flush(self) -> list[Colors]:
        self._memory = None
        self._steps.start_over()
        return []


class Film:
    """The same mean forwards and backwards, over a window of frames held back."""

    delay = BLOCK + LOOK_AHEAD - 1

    def __init__(self, steps: Steps, *, longest: float) -> None:
        self.cuts: list[int] = []
        self._longest = longest
        self._steps = steps
        self._held: list[tuple[Step, Colors | None]] = []
        self._memory: Memory | None = None

    def wants(self, L: Plane) -> bool:
        return self._steps.wants(L)

    def push(self, L: Plane, ab: Colors | None) -> list[Colors]:
        step = self._steps.take(L)
        if step.is_cut:
            self.cuts.append(step.index)
        self._held.append((step, ab))
        return self._release(BLOCK) if len(self._held) > self.delay else []

    def flush(self) -> list[Colors]:
        ready = self._release(len(self._held))
        self._memory = None
        self._steps.start_over()
        return ready

    def _release(self, number: int) -> list[Colors]:
        later = self._known_later()
        ready = []
        for (step, ab), after in zip(self._held[:number], later, strict=False):
            self._memory = advance(self._memory, step.back, step.view, ab, self._longest)
            ready.append(with_detail(join(self._memory, after), ab))
        del self._held[:number]
        return ready

    def _known_later(self) -> list[Memory | None]:
        """Returns for each held frame what the frames after it know, carried back to it."""
        found: list[Memory | None] = []
        memory: Memory | None = None
        way: Path | None = None  # from this frame to the one after
        for step, ab in reversed(self._held):
            carried = None if memory is None or way is None else memory.carry(way, step.view)
            found.append(carried)
            memory = advance(memory, way, step.view, ab, self._longest)
            way = step.ahead
        return found[::-1]


def advance(
    memory: Memory | None, way: Path | None, view: View, ab: Colors | None, longest: float
) -> Memory:
    """Takes a memory along `way` to the next frame and adds that frame's own colours to it."""
    if ab is not None and ab.shape[1:] != view.L.shape:
        planes = [cv2.resize(p, view.L.shape[::-1], interpolation=cv2.INTER_AREA) for p in ab]
        ab = np.stack(planes)  # (2, h, w)
    if memory is None or way is None:
        return Memory.nothing(view) if ab is None else Memory.start(view, ab)
    carried = memory.carry(way, view)
    return carried if ab is None else carried.blend(view, ab, longest=longest)


def join(past: Memory, later: Memory | None) -> Colors:
    """Returns the mean of both, each with the weight of what it rests on."""
    if later is None:
        return past.ab
    share = later.count / (past.count + later.count + 1e-3)
    return past.ab + (later.ab - past.ab) * share


def with_detail(steady: Colors, ab: Colors | None) -> Colors:
    """Returns `steady` at the size of `ab`, with the detail that only the larger planes have."""
    if ab is None or ab.shape == steady.shape:
        return steady
    height, width = ab.shape[1:]
    low = [cv2.resize(plane, steady.shape[:0:-1], interpolation=cv2.INTER_AREA) for plane in ab]
    change = [cv2.resize(plane, (width, height)) for plane in steady - np.stack(low)]
    return ab + np.stack(change)
