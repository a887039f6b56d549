"""Hand frames from one thread to the next, and end all the threads together."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from math import inf
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):
    """The channel takes no more items, or the whole group is stopping."""


class Stopped(BaseException):
    """A run was told to end: by `Stop.request`, or because a window was closed.

    No error, so nothing that mends errors catches it, as with KeyboardInterrupt.
    """


class Stop:
    """A way to end a run from any thread. Once requested it stays so."""

    def __init__(self) -> None:
        self.error: BaseException | None = None  # what the run ends with, once requested
        self._requested = threading.Event()
        self._fail: Callable[[BaseException], None] | None = None
        self._lock = threading.RLock()  # a signal's handler may ask while this thread holds it

    def requested(self) -> bool:
        return self._requested.is_set()

    def request(self, error: BaseException | None = None) -> None:
        """Ends the run that this belongs to, or is going to belong to, with Stopped or `error`."""
        with self._lock:
            self.error = self.error or error or Stopped()
            self._requested.set()
            if self._fail is not None:
                self._fail(self.error)

    def sleep(self, seconds: float) -> None:
        """Waits. Raises Stopped, or what was asked for, as soon as the end is requested."""
        if self._requested.wait(seconds):
            raise self.error or Stopped()

    def attach(self, fail: Callable[[BaseException], None] | None) -> None:
        """Names what is to be failed with Stopped; None when there is nothing left to end."""
        with self._lock:
            self._fail = fail
            if fail is not None and self.error is not None:
                fail(self.error)


# What asks a process to end: Ctrl-C, `kill`, a terminal that is closed (there is none on Windows).
ENDING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
_KILL_SECONDS = 3.0


class Interrupts:
    """Handles the signals of ENDING: one asks, the next only says so, a third at once kills.

    Args:
        act: what the first signal does, on the main thread, with its number.
    """

    def __init__(self, act: Callable[[int], None]) -> None:
        self.act = act
        self._came: list[float] = []

    def __call__(self, number: int, frame: object) -> None:
        self._came.append(time.monotonic())
        if len(self._came) == 1:
            self.act(number)
        elif len(self._came) > 2 and self._came[-1] - self._came[-2] <= _KILL_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        else:
            with suppress(OSError):  # the terminal is gone
                os.write(2, b"finishing the output; once more within 3 s kills\n")


@contextmanager
def on_interrupt(act: Callable[[int], None]) -> Iterator[None]:
    """Lets a signal of ENDING do this for a while, on the main thread; elsewhere it does nothing.

    Where an `Interrupts` handles them already it goes on counting; else one does for this while,
    of the signals that have a handler in Python.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    for handler in before.values():
        if isinstance(handler, Interrupts):
            outer, handler.act = handler.act, act
            try:
                yield
            finally:
                handler.act = outer
            return
    handler = Interrupts(act)
    handled = {number: old for number, old in before.items() if callable(old)}
    for number in handled:  # not ignored, not the system's own
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in handled.items():
            signal.signal(number, old)


class Channel(Generic[T]):
    """A bounded, ordered hand-off between two threads.

    `put` waits while the channel is full. With `drop_oldest` it never waits: it discards the
    oldest item instead, which is what a live source needs. Items that are not `counted` (small
    ones that travel between the others) take no room and are never dropped.
    Leaving a `with` block closes the channel; iteration then yields what is left and ends.
    """

    def __init__(
        self,
        capacity: int,
        *,
        drop_oldest: bool = False,
        counted: Callable[[T], bool] = lambda item: True,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")
        self.dropped = 0
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._drop_oldest = drop_oldest
        self._counted = counted
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: T) -> None:
        """Adds `item`. Raises Closed once the channel is closed or cancelled."""
        with self._changed:
            if self._drop_oldest:
                if self._counted(item):
                    self._make_room()
            else:
                self._wait_until(lambda: self._closed or len(self) < self._capacity)
            if self._closed:
                raise Closed
            self._items.append(item)
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                self._wait_until(lambda: self._closed or self._items)
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item

    def take(self, timeout_seconds: float) -> T | None:
        """Returns the next item, or None when none came in time. Raises EOFError at the end."""
        with self._changed:
            self._wait_until(lambda: self._closed or self._items, timeout_seconds)
            if self._items:
                self._changed.notify_all()
                return self._items.popleft()
            if self._closed:
                raise EOFError
            return None

    def closed_within(self, timeout_seconds: float) -> bool:
        """Waits that long for the channel to be closed: a sleep that ends with the run."""
        with self._changed:
            self._wait_until(lambda: self._closed, timeout_seconds)
            return self._closed

    def __len__(self) -> int:
        return sum(map(self._counted, self._items))

    def close(self) -> None:
        """Takes no more items; those already here can still be read."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def cancel(self) -> None:
        """Closes, and throws away what is here."""
        with self._changed:
            self._items.clear()
            self.close()

    def __enter__(self) -> Channel[T]:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _make_room(self) -> None:
        counted = [i for i, item in enumerate(self._items) if self._counted(item)]
        if len(counted) == self._capacity:
            del self._items[counted[0]]
            self.dropped += 1

    def _wait_until(self, ready: Callable[[], object], timeout_seconds: float = inf) -> None:
        deadline = time.monotonic() + timeout_seconds
        # Half a second at most lets Ctrl-C through: Windows cannot interrupt an endless wait.
        while not ready() and (left := deadline - time.monotonic()) > 0:
            self._changed.wait(timeout=min(left, 0.5))


class StageGroup:
    """Threads that end together: the first error stops them all and is raised.

    Stages started here run in their own thread; the body of the `with` block is one more
    stage, on the caller's thread. Leaving the block joins every thread.

    On the main thread, Ctrl-C, SIGTERM and SIGHUP are one more error of the group. They are not
    raised where they arrive: that may be between taking a lock and the block that gives it back,
    and every other thread would wait for it for ever.
    """

    def __init__(self, *channels: Channel[Any], stop: Stop | None = None) -> None:
        self._channels = channels
        self._stop = stop
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []
        self._entered = False
        self._signals: AbstractContextManager[None] = on_interrupt(self._interrupt)

    def start(self, stage: Callable[[], None]) -> None:
        """Runs `stage` on a thread of its own, named after it."""
        thread = threading.Thread(target=self._run, args=(stage,), name=stage.__name__)
        self._threads.append(thread)
        thread.start()

    def __enter__(self) -> StageGroup:
        if self._stop is not None:
            self._stop.attach(self._fail)
        self._signals.__enter__()
        self._entered = True
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        try:
            self._join(error)
        finally:
            if self._stop is not None:
                self._stop.attach(None)
            if self._entered:  # a group may only start threads, and end them
                self._signals.__exit__(None, None, None)
        if self._errors and self._errors[0] is not error:
            raise self._errors[0]
        return isinstance(error, Closed)

    def _join(self, error: BaseException | None) -> None:
        if error is not None and not isinstance(error, Closed):
            self._fail(error)
        while any(thread.is_alive() for thread in self._threads):
            try:
                for thread in self._threads:
                    thread.join()
            except BaseException as late:  # Ctrl-C where the handlers are not this group's
                self._fail(late)

    def _interrupt(self, number: int) -> None:
        # The channels' locks are re-entrant, so this may run while the main thread holds one.
        self._fail(KeyboardInterrupt(number))

    def _run(self, stage: Callable[[], None]) -> None:
        try:
            stage()
        except Closed:
            pass
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._errors.append(error)
        for channel in self._channels:
            channel.cancel()


class Task(Generic[T]):
    """Work on a thread of its own, whose result or error is for whoever waits for it."""

    def __init__(self, work: Callable[[], T], *, name: str) -> None:
        self._work = work
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name)
        self._thread.start()

    def join(self, timeout_seconds: float | None = None) -> T:
        """Waits, and returns the result. Raises the work's error, or TimeoutError."""
        self._thread.join(timeout_seconds)
        if self._thread.is_alive():
            raise TimeoutError(f"{self._thread.name} goes on after {timeout_seconds:g} s")
        if self._error is not None:
            raise self._error
        return self._result[0]

    def _run(self) -> None:
        try:
            self._result.append(self._work())
        except BaseException as error:  # raised again by `join`
            self._error = error
