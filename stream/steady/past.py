"""What is known at each frame from those before it, and how a frame's own colours join that."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from kinemacolor.stream.steady.cuts import FLASH_FRAMES, Link
from kinemacolor.stream.steady.memory import Memory
from kinemacolor.stream.steady.motion import Plane, View
from numpy.typing import NDArray

Colors = NDArray[Any]  # (2, h, w) float32, CIELAB units

GUESS = 4.0  # frames that a colour guessed from its surroundings counts for
GIVES_WAY = 5  # frames in which rough colours give way to better ones, in even steps


class Past:
    """What is known at the last few frames: a shot may go on from before a flash."""

    def __init__(self, longest: float) -> None:
        """longest: frames that the mean rests on at most, the newest left out."""
        self._longest = longest
        self._known: dict[int, tuple[Memory, Memory]] = {}  # the mean; the last key frame's own
        self._expecting: list[Link] = []  # a key frame whose colours are late, and those after it
        self._rough = False  # the last key frame's colours were
        self._giving_way = 0  # frames for which rough colours still do

    def add(
        self, link: Link, ab: Colors | None, *, hold: bool = False, rough: bool = False
    ) -> Memory:
        """Returns what is known at this frame, its own colours included.

        Args:
            ab: its own colours, at any size; None if it is no key frame.
            hold: until the next key frame the colours of the last one stand in. The mean then
                moves a little on every frame, instead of far on the key frames.
            rough: however long they stand in, better ones take their place in GIVES_WAY frames.

        Raises ValueError: the frame starts a shot and has no colours of its own.
        """
        carried: Memory | None = None
        key: Memory | None = None
        if link.parent is not None and link.motion is not None:
            mean, key = self._known[link.parent]
            carried = mean.carry(link.motion.back, link.view)
        if ab is not None:
            key = Memory.start(link.view, resize(ab, link.view.L))
            self._expecting, self._rough, self._giving_way = [], rough, 0
        elif key is None or link.motion is None:
            raise ValueError(f"frame {link.index} starts a shot and needs its own ab planes")
        elif hold:
            key = key.carry(link.motion.back, link.view, single=True)

        if hold and carried is not None:
            # What was uncovered since the last key frame gets colours at once, and keeps them a
            # while: the network's own come gently.
            left, longest = self._giving_way, self._longest
            if left:
                self._giving_way -= 1
                longest = max(left - 1.0, 0.25)
            guess = carried.filled(link.view, count=1 if self._rough else max(GUESS, left))
            certain = 0.0 if self._rough else key.count
            memory = guess.blend(link.view, key.ab, longest=longest, certain=certain)
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
        """Takes the colours that were expected, of any size, and carries them to the frames since.

        Nothing happens if a cut or other colours came in between.
        """
        if not self._expecting:
            return
        first, *since = self._expecting
        keys = {first.index: Memory.start(first.view, resize(ab, first.view.L))}
        for link in since:
            if link.parent in keys and link.motion is not None:
                keys[link.index] = keys[link.parent].carry(link.motion.back, link.view, single=True)
        for link in self._expecting:
            if link.index in keys and link.index in self._known:
                self._known[link.index] = self._known[link.index][0], keys[link.index]
        if self._rough:
            self._giving_way = GIVES_WAY
        self._expecting, self._rough = [], False


def blend(memory: Memory | None, view: View, ab: Colors | None, longest: float) -> Memory:
    """Adds a frame's own colours, of any size, to what is known at it.

    Args:
        memory: carried to this frame; None where nothing is known, at the start of a shot.
        ab: None if it is no key frame.
        longest: frames that the mean rests on at most, this one left out.
    """
    if ab is None:
        return memory or Memory.nothing(view)
    ab = resize(ab, view.L)
    return memory.blend(view, ab, longest=longest) if memory else Memory.start(view, ab)


def join(past: Memory, later: Memory | None) -> Colors:
    """Returns the mean of both, each weighed by what it rests on; no `later` ends a shot."""
    if later is None:
        return past.ab
    share = later.count / (past.count + later.count + 1e-3)
    return past.ab + (later.ab - past.ab) * share


def with_detail(steady: Colors, ab: Colors | None) -> Colors:
    """Returns `steady` at the size of `ab`, with the detail that only the larger planes have.

    Without `ab`, as between key frames, and at the same size that is `steady` itself.
    """
    if ab is None or ab.shape == steady.shape:
        return steady
    return ab + resize(steady - resize(ab, steady[0]), ab[0])


def resize(ab: Colors, like: Plane) -> Colors:
    """Returns ab planes at the size of a plane (h, w): means over areas, if that is smaller.

    Planes that have the size already are returned as they are.
    """
    if ab.shape[1:] == like.shape:
        return ab
    way = cv2.INTER_AREA if like.shape[0] < ab.shape[1] else cv2.INTER_LINEAR
    return np.stack([cv2.resize(plane, like.shape[::-1], interpolation=way) for plane in ab])
