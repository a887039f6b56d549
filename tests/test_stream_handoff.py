"""The channel's laws, and threads that end together."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kinemacolor.stream.handoff import Channel, Closed, StageGroup

SOON = 5.0  # seconds: more than any hand-off takes, less than a hang


@given(st.lists(st.integers()), st.integers(1, 8))
@settings(max_examples=40, deadline=None)
def test_everything_arrives_in_order(items: list[int], capacity: int) -> None:
    channel: Channel[int] = Channel(capacity)

    def produce() -> None:
        with channel:
            for item in items:
                channel.put(item)

    with StageGroup(channel) as group:
        group.start(produce)
        assert list(channel) == items


@given(st.lists(st.integers()), st.integers(1, 8))
def test_drop_oldest_keeps_the_newest_and_counts_the_rest(items: list[int], capacity: int) -> None:
    channel: Channel[int] = Channel(capacity, drop_oldest=True)
    for item in items:
        channel.put(item)  # never waits
    channel.close()
    kept = list(channel)
    assert kept == items[-capacity:]
    assert channel.dropped == len(items) - len(kept)


@given(st.lists(st.integers(0, 9), max_size=60), st.integers(1, 5))
def test_what_is_not_counted_never_drops(items: list[int], capacity: int) -> None:
    """Sound goes by while pictures are dropped."""
    channel: Channel[int] = Channel(capacity, drop_oldest=True, counted=lambda n: n % 2 == 0)
    for item in items:
        channel.put(item)
    channel.close()
    kept = list(channel)
    pictures = [n for n in items if n % 2 == 0]
    assert [n for n in kept if n % 2] == [n for n in items if n % 2]
    assert [n for n in kept if n % 2 == 0] == pictures[-capacity:]
    assert channel.dropped + len(kept) == len(items)


def test_a_full_channel_waits_for_its_reader() -> None:
    channel: Channel[int] = Channel(2)
    reached: list[int] = []

    def produce() -> None:
        with channel:
            for number in range(5):
                channel.put(number)
                reached.append(number)

    with StageGroup(channel) as group:
        group.start(produce)
        deadline = time.monotonic() + SOON
        while len(channel) < 2 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.02)
        assert reached == [0, 1]
        assert list(channel) == [0, 1, 2, 3, 4]


def test_a_closed_channel_gives_what_is_left_and_takes_no_more() -> None:
    channel: Channel[int] = Channel(4)
    channel.put(1)
    channel.close()
    with pytest.raises(Closed):
        channel.put(2)
    assert list(channel) == [1]


def test_a_cancelled_channel_gives_nothing() -> None:
    channel: Channel[int] = Channel(4)
    channel.put(1)
    channel.cancel()
    assert list(channel) == []


def test_a_channel_needs_room() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Channel(0)


def run_stages(
    channel: Channel[int], *stages: Callable[[], None], body: Callable[[], None]
) -> None:
    with StageGroup(channel) as group:
        for stage in stages:
            group.start(stage)
        body()


def fill(channel: Channel[int]) -> None:
    for number in range(1000):
        channel.put(number)


def drain(channel: Channel[int]) -> None:
    for _ in channel:
        pass


def fail(error: BaseException) -> None:
    raise error


def test_the_first_error_stops_a_stage_that_waits_to_put() -> None:
    channel: Channel[int] = Channel(1)
    with pytest.raises(ZeroDivisionError):
        run_stages(channel, lambda: fill(channel), body=lambda: fail(ZeroDivisionError()))


def test_the_first_error_stops_a_stage_that_waits_to_read() -> None:
    channel: Channel[int] = Channel(1)
    with pytest.raises(ZeroDivisionError):
        run_stages(channel, lambda: drain(channel), body=lambda: fail(ZeroDivisionError()))


@pytest.mark.parametrize("wait", [fill, drain])
def test_an_error_in_a_thread_is_raised_once_on_the_caller(
    wait: Callable[[Channel[int]], None],
) -> None:
    channel: Channel[int] = Channel(1)
    with pytest.raises(ArithmeticError, match="of the thread"):
        run_stages(
            channel, lambda: fail(ArithmeticError("of the thread")), body=lambda: wait(channel)
        )


def test_of_two_errors_the_first_is_raised() -> None:
    channel: Channel[int] = Channel(1)

    def fail_later() -> None:
        drain(channel)  # until the first error cancels the channel
        raise LookupError("second")

    with pytest.raises(ArithmeticError, match="first"):
        run_stages(
            channel,
            fail_later,
            lambda: fail(ArithmeticError("first")),
            body=lambda: drain(channel),
        )


def test_an_interrupt_stops_all() -> None:
    channel: Channel[int] = Channel(1)
    with pytest.raises(KeyboardInterrupt):
        run_stages(channel, lambda: fill(channel), body=lambda: fail(KeyboardInterrupt()))


def test_a_signal_is_an_error_of_the_group_wherever_it_arrives() -> None:
    """Raised where it arrives, it left a lock taken now and then, and the run hung for ever."""
    before = signal.getsignal(signal.SIGINT)

    def hand_over(channel: Channel[int]) -> None:
        drained = threading.Thread(target=drain, args=(channel,))
        drained.start()
        try:
            for number in itertools.count():
                channel.put(number)
        finally:
            drained.join(SOON)
            assert not drained.is_alive()

    for milliseconds in range(1, 31):
        channel: Channel[int] = Channel(2)
        timer = threading.Timer(milliseconds / 1000, lambda: signal.raise_signal(signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            run_stages(channel, body=lambda channel=channel: hand_over(channel))  # type: ignore[misc]
        timer.join()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_reader_may_give_up_waiting() -> None:
    channel: Channel[int] = Channel(2, drop_oldest=True)
    assert channel.take(0.01) is None
    assert not channel.closed_within(0.01)
    channel.put(1)
    assert channel.take(SOON) == 1
    channel.put(2)
    channel.close()
    assert channel.closed_within(SOON)
    assert channel.take(SOON) == 2
    with pytest.raises(EOFError):
        channel.take(SOON)


def test_a_writer_goes_on_when_an_item_was_taken() -> None:
    channel: Channel[int] = Channel(1)
    channel.put(1)

    def produce() -> None:
        with channel:
            channel.put(2)

    with StageGroup(channel) as group:
        group.start(produce)
        assert channel.take(SOON) == 1
        assert channel.take(SOON) == 2


ENDED_BY_SIGNALS = """
import os, signal, sys, time
from kinemacolor.stream.handoff import Interrupts, on_interrupt

interrupts = Interrupts(lambda number: sys.exit("too early"))
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, interrupts)
with on_interrupt(lambda number: print("asked", number, flush=True)):
    for name in sys.argv[1:]:
        os.kill(os.getpid(), getattr(signal, name))
        time.sleep(0.01)
print("finished")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
@pytest.mark.parametrize(
    ("names", "status", "printed"),
    [
        (("SIGINT",), 0, "asked 2\nfinished\n"),
        (("SIGINT", "SIGINT"), 0, "asked 2\nfinished\n"),
        (("SIGHUP", "SIGHUP"), 0, "asked 1\nfinished\n"),
        (("SIGINT", "SIGINT", "SIGINT"), -2, "asked 2\n"),
        (("SIGTERM", "SIGTERM", "SIGTERM"), -15, "asked 15\n"),
    ],
)
def test_a_signal_asks_a_second_says_so_and_a_third_kills(
    names: tuple[str, ...], status: int, printed: str
) -> None:
    """Two Ctrl-C within 200 ms lost a recording now and then."""
    done = subprocess.run(
        [sys.executable, "-c", ENDED_BY_SIGNALS, *names], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (status, printed)
    assert done.stderr.count("finishing the output") == (len(names) > 1)
