"""Writes to several sinks, each on its own thread: one that is slow or fails hurts no other."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import av.error
from kinemacolor.stream.errors import BadSink, StreamError
from kinemacolor.stream.handoff import Channel, Closed, StageGroup
from kinemacolor.stream.media import Item, Outcome, Sink, State, is_frame
from kinemacolor.stream.sources.connection import Backoff

log = logging.getLogger(__name__)

CAPACITY = 2
AGAIN = Backoff(first_seconds=1.0, longest_seconds=10.0)
_FAILURES = (StreamError, OSError, av.error.FFmpegError)

# Opens an output once more after it failed: (sink, its name). Raises SinkError or OSError.
Reopen = Callable[[], tuple[Sink, str]]


class Tee(Sink):
    """Gives everything to every sink.

    A sink that falls behind a live source misses frames, which are counted; for a film all wait
    for the slowest, since none may lose a frame. A sink that fails is said once, keeps what it
    has written, and leaves the others alone; only when none is left does writing fail.

    Args:
        names: of the outputs, as they may be shown.
        reopen: opens an output that failed again; None where that makes no sense.

    Raises BadSink when there is no pixel format that all of them take.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        *,
        live: bool,
        names: Sequence[str] | None = None,
        reopen: Sequence[Reopen | None] | None = None,
        again: Backoff = AGAIN,
    ) -> None:
        self.description = " + ".join(sink.description for sink in sinks)
        limits = [sink.pix_fmts for sink in sinks if sink.pix_fmts]
        self.pix_fmts = frozenset.intersection(*limits) if limits else frozenset()
        if limits and not self.pix_fmts:
            raise BadSink(f"no pixel format suits all of these outputs: {self.description}")
        self.full_range = all(sink.full_range for sink in sinks)
        self.follows_size = all(sink.follows_size for sink in sinks)
        names = names or [sink.description for sink in sinks]
        ways = reopen or [None] * len(sinks)
        self._branches = [
            _Branch(sink, name, live=live, reopen=way, waits=iter(again))
            for sink, name, way in zip(sinks, names, ways, strict=True)
        ]
        self._group = StageGroup(*(branch.channel for branch in self._branches))
        self._ended = False
        for branch in self._branches:
            self._group.start(branch.write_all)

    @property
    def dropped(self) -> dict[str, int]:
        """Frames that a sink was too slow for, or away, by its description."""
        return {b.sink.description: b.channel.dropped + b.missed for b in self._branches}

    @property
    def left_out(self) -> list[str]:
        """Streams of the source that some sink does not take, in words."""
        return [words for branch in self._branches for words in branch.sink.left_out]

    @property
    def worth_keeping(self) -> bool:
        """Whether some file is long enough that losing it would hurt."""
        return any(branch.sink.worth_keeping for branch in self._branches)

    @property
    def outcomes(self) -> list[Outcome]:
        return [branch.outcome for branch in self._branches]

    def write(self, item: Item) -> None:
        taken = [b.put(item if is_frame(item) else _copied(item)) for b in self._branches]
        if not any(taken) or all(branch.is_away for branch in self._branches):
            self._end(None)  # raises what went wrong, if it is more than outputs that failed
            raise self._failure()

    def finish(self) -> None:
        """Makes the outputs whole. Raises what the first failed of, when none is left."""
        for branch in self._branches:
            branch.channel.close()
        self._end(None)
        for branch in self._branches:
            branch.finish()
        if all(branch.state == "failed" for branch in self._branches):
            raise self._failure()

    def abandon(self, *, keep: bool) -> Path | None:
        for branch in self._branches:
            branch.channel.close() if keep else branch.channel.cancel()
        try:
            self._end(Closed())
        finally:
            kept = [branch.end_early(keep=keep) for branch in self._branches]
        return next((path for path in kept if path is not None), None)

    def _failure(self) -> BaseException:
        """The error of the output that failed last."""
        failed = [branch for branch in self._branches if branch.error is not None]
        last = max(failed, key=lambda branch: branch.failed_at)
        assert last.error is not None
        return last.error

    def _end(self, error: BaseException | None) -> None:
        """Joins the threads. Raises the first error that is none of an output, once."""
        if not self._ended:
            self._ended = True
            self._group.__exit__(None if error is None else type(error), error, None)


class _Branch:
    """One output, and what becomes of it. `write_all` runs on its own thread, the rest after it."""

    def __init__(
        self, sink: Sink, name: str, *, live: bool, reopen: Reopen | None, waits: Iterator[float]
    ) -> None:
        self.sink, self.name = sink, name
        self.channel: Channel[Item] = Channel(CAPACITY, drop_oldest=live, counted=is_frame)
        self.state: State = "whole"
        self.error: Exception | None = None  # the last
        self.failed_at = 0.0
        self.missed = 0
        self._first_cause = ""
        self._files: list[str] = []
        self._reopen = reopen if live else None  # a film with a gap is no film
        self._waits, self._next_try = waits, 0.0
        self._resumes_in: str | None = None  # opened again, and no frame taken yet
        self._away_since = 0.0

    @property
    def is_away(self) -> bool:
        """Whether nothing is written, now or for good."""
        return self.state == "failed"

    @property
    def outcome(self) -> Outcome:
        return Outcome(self.name, self.state, self._first_cause or None, tuple(self._files))

    def put(self, item: Item) -> bool:
        """Hands an item over; False when this output takes no more."""
        try:
            self.channel.put(item)
        except Closed:
            return False
        return True

    def write_all(self) -> None:
        for item in self.channel:
            if self.state == "failed" and not self._is_back(item):
                self.missed += is_frame(item)
                continue
            try:
                self.sink.write(item)
            except _FAILURES as error:
                self._fail(error)
                if self._reopen is None:
                    self.channel.cancel()
                    return
            else:
                if self._resumes_in is not None:
                    self._say_back(self._resumes_in)

    def finish(self) -> None:
        if self.state == "failed":
            return
        try:
            self.sink.finish()
        except _FAILURES as error:
            self._fail(error)

    def end_early(self, *, keep: bool) -> Path | None:
        if self.state == "failed":
            return None
        self.state = "stopped"
        kept = self.sink.abandon(keep=keep)
        if kept is not None:
            self._files.append(str(kept))
        return kept

    def _fail(self, error: Exception) -> None:
        now = time.monotonic()
        if self.state != "failed":
            self._away_since = now
        self.state, self.error, self.failed_at = "failed", error, now
        self._first_cause = self._first_cause or str(error)
        try:
            kept = self.sink.abandon(keep=True)
        except _FAILURES as late:
            log.debug("while abandoning %s: %s", self.name, late)
            kept = None
        where = "" if kept is None else f"; what was written is in {kept}"
        if kept is not None:
            self._files.append(str(kept))
        if self._resumes_in is None:  # else it is still away, which was said
            log.warning("output %s failed: %s%s", self.name, error, where)
        self._resumes_in = None
        self._next_try = self.failed_at + next(self._waits)

    def _is_back(self, item: Item) -> bool:
        """Tries to open the output again, now and then, when a frame comes."""
        if self._reopen is None or not is_frame(item) or time.monotonic() < self._next_try:
            return False
        try:
            self.sink, name = self._reopen()
        except _FAILURES as error:
            log.debug("%s: %s", self.name, error)
            self._next_try = time.monotonic() + next(self._waits)
            return False
        self._resumes_in = name
        return True

    def _say_back(self, name: str) -> None:
        """Notes that what was opened again takes frames."""
        self.state, self._resumes_in = "resumed", None
        away = time.monotonic() - self._away_since
        log.warning("output %s goes on after %.1f s, in %s", self.name, away, name)
        if name != self.name:
            self._files.append(name)


def _copied(packet: Any) -> Any:
    """Copies a packet, so that a sink may point it at its own stream."""
    copy = av.Packet(bytes(packet))
    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
    copy.duration, copy.is_keyframe = packet.duration, packet.is_keyframe
    copy.stream = packet.stream
    return copy
