"""Steady colour: what the network says of each frame, made consistent along the motion."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from stream.steady.cuts import FLASH_FRAMES, Link, ShotLinker
from stream.steady.keyframes import KeyFrames, Want
from stream.steady.memory import Memory
from stream.steady.motion import Plane, View, view_of

SteadyMode = Literal["off", "live", "film"]
Colors = NDArray[Any]  # (2, h, w) float32, CIELAB units

LONGEST_LIVE = 12.0  # frames that the mean rests on, at strength 1
LONGEST_FILM = 8.0  # the same, on either side
GUESS = 4.0  # frames that a colour guessed from its surroundings counts for
BLOCK, LOOK_AHEAD = 8, 12  # frames given out at once; later frames each of them profits from


class Steady(Protocol):
    """Takes the frames of one stream in order. Use it from one thread."""

    cuts: list[int]  # numbers of the frames that start a shot, the very first one left out
    delay: int  # the most frames that it holds back
    carries: bool  # whether frames may come without ab planes of their own
    waits: bool  # whether `late` may give a frame's own ab planes
    key_frames: KeyFrames

    def wants(self, L: Plane, *, busy: bool = False) -> Want:
        """Whether the next frame should go through the network.

        Ask once for every frame or for none, in order; frames may be asked about ahead of their
        push.

        Args:
            L: (H, W) float32, 0..100.
            busy: the network is at a frame that was wanted SOON.
        """
        ...

    def push(self, L: Plane, ab: Colors | None, *, rough: bool = False) -> list[Colors]:
        """Takes a frame and returns the ab planes that are now final, in order.

        Args:
            L: (H, W) float32, 0..100, as the network saw it.
            ab: (2, h, w) float32, CIELAB units; it must not be written to afterwards. None: its
                colours are carried from the frames around it.
            rough: a first guess: live, the next frame is wanted SOON, and its colours soon
                outweigh these.
        """
        ...

    def late(self, ab: Colors) -> None:
        """Takes the ab planes of the last frame that was wanted SOON and pushed without any.

        They are carried to the frame pushed last, and serve from the next one on.
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
    frames = Frames(ShotLinker(cuts), KeyFrames(every))
    if mode == "live":
        return Live(frames, longest=LONGEST_LIVE * strength)
    return Film(frames, longest=LONGEST_FILM * strength)


class Unchanged:
    """Lets every frame pass."""

    delay = 0
    carries = waits = False

    def __init__(self) -> None:
        self.cuts: list[int] = []
        self.key_frames = KeyFrames(1)

    def wants(self, L: Plane, *, busy: bool = False) -> Want:
        return Want.NOW

    def push(self, L: Plane, ab: Colors | None, *, rough: bool = False) -> list[Colors]:
        if ab is None:
            raise ValueError("steady off needs the ab planes of every frame")
        return [ab]

    def late(self, ab: Colors) -> None:
        raise NotImplementedError("every frame has its own ab planes")

    def flush(self) -> list[Colors]:
        return []


class Frames:
    """Links the frames of a stream, and picks the key frames: what both smoothers start from."""

    def __init__(self, linker: ShotLinker, key_frames: KeyFrames) -> None:
        self.cuts: list[int] = []
        self._linker = linker
        self.key_frames = key_frames
        self._asked: deque[tuple[Link, Want]] = deque()  # about, but not yet pushed

    def wants(self, L: Plane, busy: bool) -> Want:
        link = self._linker.link(view_of(L))
        want = self.key_frames.wants(link, busy=busy)
        self._asked.append((link, want))
        return want

    def take(self, L: Plane) -> tuple[Link, Want]:
        """Returns how the next frame hangs on those before it, and what was said of it."""
        if self._asked:
            link, want = self._asked.popleft()
        else:
            link, want = self._linker.link(view_of(L)), Want.NOTHING
        if link.is_cut:
            self.cuts.append(link.index)
        elif link.parent is not None and link.resumes:
            self.cuts[:] = [cut for cut in self.cuts if cut <= link.parent]
        return link, want

    def start_over(self) -> None:
        self._linker.start_over()
        self.key_frames.start_over()
        self._asked.clear()


class Live:
    """A recursive mean along the motion: each frame profits from those before it."""

    delay = 0
    carries = waits = True

    def __init__(self, frames: Frames, *, longest: float) -> None:
        self.cuts, self.key_frames = frames.cuts, frames.key_frames
        self._frames = frames
        self._past = Past(longest)

    def wants(self, L: Plane, *, busy: bool = False) -> Want:
        return self._frames.wants(L, busy)

    def push(self, L: Plane, ab: Colors | None, *, rough: bool = False) -> list[Colors]:
        hold = self.key_frames.every > 1
        link, want = self._frames.take(L)
        memory = self._past.add(link, ab, hold=hold, rough=rough)
        if rough:
            self.key_frames.ask_again()
        if ab is None and want is Want.SOON:
            self._past.expect(link)
        return [with_detail(memory.ab, ab)]

    def late(self, ab: Colors) -> None:
        self._past.learn(ab)

    def flush(self) -> list[Colors]:
        self._frames.start_over()
        return []


class Film:
    """The same mean forwards and backwards, over a window of frames held back."""

    delay = BLOCK + LOOK_AHEAD - 1
    carries = True
    waits = False

    def __init__(self, frames: Frames, *, longest: float) -> None:
        self.cuts, self.key_frames = frames.cuts, frames.key_frames
        self._longest = longest
        self._frames = frames
        self._past = Past(longest)
        self._held: list[tuple[Link, Colors | None]] = []

    def wants(self, L: Plane, *, busy: bool = False) -> Want:
        return self._frames.wants(L, busy)

    def push(self, L: Plane, ab: Colors | None, *, rough: bool = False) -> list[Colors]:
        link, _ = self._frames.take(L)
        self._held.append((link, ab))
        return self._release(BLOCK) if len(self._held) > self.delay else []

    def late(self, ab: Colors) -> None:
        raise NotImplementedError("what is known later is used for what came before, already")

    def flush(self) -> list[Colors]:
        ready = self._release(len(self._held))
        self._frames.start_over()
        return ready

    def _release(self, number: int) -> list[Colors]:
        later = self._later()
        ready = []
        for link, ab in self._held[:number]:
            past = self._past.add(link, ab)
            ready.append(with_detail(join(past, later.get(link.index)), ab))
        del self._held[:number]
        return ready

    def _later(self) -> dict[int, Memory]:
        """Returns what the later frames know of each held frame, by its index."""
        known: dict[int, Memory] = {}
        views = {link.index: link.view for link, _ in self._held}
        for link, ab in reversed(self._held):
            memory = blend(known.get(link.index), link.view, ab, self._longest)
            if link.parent in views and link.motion is not None:
                known[link.parent] = memory.carry(link.motion.ahead, views[link.parent])
        return known


class Past:
    """What is known at the last few frames: a shot may go on from before a flash."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._known: dict[int, tuple[Memory, Memory]] = {}  # the mean; the last key frame's own
        self._expecting: list[Link] = []  # a key frame whose colours are late, and those after it
        self._rough = False  # the last key frame's colours were

    def add(
        self, link: Link, ab: Colors | None, *, hold: bool = False, rough: bool = False
    ) -> Memory:
        """Returns what is known at this frame, its own colours included.

        Args:
            ab: its own colours; None if it is no key frame.
            hold: until the next key frame the colours of the last one stand in. The mean then
                moves a little on every frame, instead of far on the key frames.
            rough: however long they stand in, they count for one frame.
        """
        carried: Memory | None = None
        key: Memory | None = None
        if link.parent is not None and link.motion is not None:
            mean, key = self._known[link.parent]
            carried = mean.carry(link.motion.back, link.view)
        if ab is not None:
            key = Memory.start(link.view, resize(ab, link.view.L))
            self._expecting, self._rough = [], rough
        elif key is None or link.motion is None:
            raise ValueError(f"frame {link.index} starts a shot and needs its own ab planes")
        elif hold:
            key = key.carry(link.motion.back, link.view, single=True)

        if hold and carried is not None:
            # What was uncovered since the last key frame gets colours at once, and keeps them a
            # while: the network's own come gently.
            guess = carried.filled(link.view, count=1 if self._rough else GUESS)
            certain = 0.0 if self._rough else key.count
            memory = guess.blend(link.view, key.ab, longest=self._longest, certain=certain)
        else:
            memory = blend(carried, link.view, ab, self._longest)
        self._known[link.index] = memory, key
        self._known.pop(link.index - FLASH_FRAMES - 1, None)
        if self._expecting:
            self._expecting.append(link)
        return memory

    def expect(self, link: Link) -> None:
        """Says that the frame just added will get its own colours later."""
        self._expecting = [link]

    def learn(self, ab: Colors) -> None:
        """Takes the colours that were expected, and carries them to the frames since."""
        if not self._expecting:
            return
        first, *since = self._expecting
        keys = {first.index: Memory.start(first.view, resize(ab, first.view.L))}
        for link in since:
            if link.parent in keys and link.motion is not None:
                keys[link.index] = keys[link.parent].carry(link.motion.back, link.view, single=True)
        for link in self._expecting:
            if link.index in keys and link.index in self._known:
                mean, key = self._known[link.index][0], keys[link.index]
                if self._rough:
                    mean = mean.blend(link.view, key.ab, longest=1, certain=key.count)
                self._known[link.index] = mean, key
        self._expecting, self._rough = [], False


def blend(memory: Memory | None, view: View, ab: Colors | None, longest: float) -> Memory:
    """Adds a frame's own colours, if it has any, to what is known at it."""
    if ab is None:
        return memory or Memory.nothing(view)
    ab = resize(ab, view.L)
    return memory.blend(view, ab, longest=longest) if memory else Memory.start(view, ab)


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
    return ab + resize(steady - resize(ab, steady[0]), ab[0])


def resize(ab: Colors, like: Plane) -> Colors:
    """Returns ab planes at the size of another plane."""
    if ab.shape[1:] == like.shape:
        return ab
    height, width = like.shape
    shrinks = height < ab.shape[1]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.stack([cv2.resize(plane, (width, height), interpolation=way) for plane in ab])
