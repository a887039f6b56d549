"""Steady colour: what the network says of each frame, made consistent along the motion."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Protocol

from kinemacolor.stream.options import SteadyMode
from kinemacolor.stream.steady.cuts import Link, ShotLinker
from kinemacolor.stream.steady.keyframes import KeyFrames, Want
from kinemacolor.stream.steady.memory import Memory
from kinemacolor.stream.steady.motion import Plane, view_of
from kinemacolor.stream.steady.past import Colors, Past, blend, join, with_detail

LONGEST_LIVE = 12.0  # frames that the mean rests on, at strength 1
LONGEST_FILM = 8.0  # the same, on either side
BLOCK, LOOK_AHEAD = 8, 12  # frames given out at once; later frames each of them profits from


class Steady(Protocol):
    """Takes the frames of one stream in order. Use it from one thread."""

    cuts: list[int]  # numbers of the frames that start a shot, the very first one left out
    delay: int = 0  # the most frames that it holds back
    carries: bool = False  # whether frames may come without ab planes of their own
    waits: bool = False  # whether `late` may give a frame's own ab planes
    key_frames: KeyFrames

    def wants(self, L: Plane, *, busy: bool = False) -> Want:
        """Whether the next frame should go through the network.

        Ask once for every frame or for none, in order; frames may be asked about ahead of their
        push.

        Args:
            L: (H, W) float32, 0..100.
            busy: the network is at a frame that was wanted SOON.
        """

    def push(self, L: Plane, ab: Colors | None, *, rough: bool = False) -> list[Colors]:
        """Takes a frame and returns the ab planes that are now final, in order.

        Args:
            L: (H, W) float32, 0..100, as the network saw it.
            ab: (2, h, w) float32, CIELAB units; it must not be written to afterwards. None: its
                colours are carried from the frames around it.
            rough: a first guess: live, the next frame is wanted SOON, and its colours soon
                outweigh these.
        """

    def late(self, ab: Colors) -> None:
        """Takes the ab planes of the last frame that was wanted SOON and pushed without any.

        They are carried to the frame pushed last, and serve from the next one on.
        """
        raise TypeError("no frame gets its ab planes late")

    def flush(self) -> list[Colors]:
        """Returns what is still held back. The next push starts a new shot."""
        return []


def make_steady(
    mode: SteadyMode, *, strength: float = 1.0, cuts: Collection[int] | None = None, every: int = 1
) -> Steady:
    """Returns the smoother of one stream.

    Args:
        mode: "off"; "live": from the past only, no delay; "film": from both sides.
        strength: 0 leaves everything as it is, 1 is normal, 2 remembers twice as long.
        cuts: frame numbers where shots start, known from outside: then none is looked for.
        every: infer at least every so many frames, and carry colours to the others.

    Raises ValueError: a mode that does not exist, a strength below 0, or an `every` that is below
    1, or above it where nothing is carried.
    """
    if strength < 0:
        raise ValueError(f"strength must be 0 or more, got {strength}")
    if mode not in ("off", "live", "film"):
        raise ValueError(f"unknown steady mode {mode!r}: one of off, live, film")
    if mode == "off" or strength == 0:
        if every != 1:
            raise ValueError(f"steady off cannot carry colours over every {every} frames")
        return Unchanged()
    if mode == "live":
        return Live(cuts, every, longest=LONGEST_LIVE * strength)
    return Film(cuts, every, longest=LONGEST_FILM * strength)


class Unchanged(Steady):
    """Lets every frame pass."""

    def __init__(self) -> None:
        self.cuts: list[int] = []
        self.key_frames = KeyFrames(1)

    def wants(self, L: Plane, *, busy: bool = False) -> Want:
        return Want.NOW

    def push(self, L: Plane, ab: Colors | None, *, rough: bool = False) -> list[Colors]:
        if ab is None:
            raise ValueError("steady off needs the ab planes of every frame")
        return [ab]


class Linked(Steady):
    """Links the frames of a stream, and picks the key frames: what both smoothers start from."""

    carries = True

    def __init__(self, cuts: Collection[int] | None, every: int, *, longest: float) -> None:
        self.cuts: list[int] = []
        self.key_frames = KeyFrames(every)
        self._linker = ShotLinker(cuts)
        self._asked: deque[tuple[Link, Want]] = deque()  # about, but not yet pushed
        self._longest = longest
        self._past = Past(longest)

    def wants(self, L: Plane, *, busy: bool = False) -> Want:
        link = self._linker.link(view_of(L))
        want = self.key_frames.wants(link, busy=busy)
        self._asked.append((link, want))
        return want

    def _take(self, L: Plane) -> tuple[Link, Want]:
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

    def flush(self) -> list[Colors]:
        self._linker.start_over()
        self.key_frames.start_over()
        self._asked.clear()
        return []


class Live(Linked):
    """A recursive mean along the motion: each frame profits from those before it."""

    waits = True

    def push(self, L: Plane, ab: Colors | None, *, rough: bool = False) -> list[Colors]:
        hold = self.key_frames.every > 1
        link, want = self._take(L)
        memory = self._past.add(link, ab, hold=hold, rough=rough)
        if rough:
            self.key_frames.ask_again()
        if ab is None and want is Want.SOON:
            self._past.expect(link)
        return [with_detail(memory.ab, ab)]

    def late(self, ab: Colors) -> None:
        self._past.learn(ab)


class Film(Linked):
    """The same mean forwards and backwards, over a window of frames held back."""

    delay = BLOCK + LOOK_AHEAD - 1

    def __init__(self, cuts: Collection[int] | None, every: int, *, longest: float) -> None:
        super().__init__(cuts, every, longest=longest)
        self._held: list[tuple[Link, Colors | None]] = []

    def push(self, L: Plane, ab: Colors | None, *, rough: bool = False) -> list[Colors]:
        link, _ = self._take(L)
        self._held.append((link, ab))
        return self._release(BLOCK) if len(self._held) > self.delay else []

    def flush(self) -> list[Colors]:
        ready = self._release(len(self._held))
        super().flush()
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
