"""The timeline of a live source: it never jumps, and tells how old a frame is."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from kinemacolor.stream.sources.clock import TIME_BASE, LiveClock


class Watch:
    """A monotonic clock that the test winds."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def play(clock: LiveClock, watch: Watch, arrivals: list[tuple[float, float | None]]) -> list[float]:
    """Places frames of (seconds since the last arrival, source's time): their times."""
    placed = []
    for step, seconds in arrivals:
        watch.seconds += step
        placed.append(float(clock.place_frame(seconds) * TIME_BASE))
    return placed


def test_even_frames_stay_even_however_unevenly_they_arrive() -> None:
    watch = Watch()
    late = [0.0, 0.013, 0.002, 0.031, 0.0, 0.007] * 20
    arrivals = [
        (0.04 + late[i] - (late[i - 1] if i else 0.0), 5000 + 0.04 * i) for i in range(len(late))
    ]
    placed = play(LiveClock(watch), watch, arrivals)
    steps = [b - a for a, b in pairwise(placed)]
    assert max(abs(step - 0.04) for step in steps) < 2e-5  # one tick of 1/90000


def test_age_is_what_a_frame_was_late() -> None:
    watch = Watch()
    clock = LiveClock(watch)
    play(clock, watch, [(0.04, 0.04 * i) for i in range(10)])
    (time,) = play(clock, watch, [(0.04 + 0.3, 0.4)])
    assert abs(clock.now() - time - 0.3) < 1e-4


def test_a_clock_that_jumps_leaves_no_jump() -> None:
    watch = Watch()
    clock = LiveClock(watch)
    jumped = [(0.04, 0.04 * i + (3600 if 10 <= i < 20 else 0)) for i in range(30)]
    placed = play(clock, watch, jumped)
    steps = [b - a for a, b in pairwise(placed)]
    assert max(abs(step - 0.04) for step in steps) < 2e-5
    assert clock.jumps == 2


def test_a_lasting_delay_becomes_the_new_normal() -> None:
    # Else every frame after a change of route would be too old for ever, and dropped.
    watch = Watch()
    clock = LiveClock(watch)
    play(clock, watch, [(0.04, 0.04 * i) for i in range(10)])
    times = play(clock, watch, [(0.54, 0.4)] + [(0.04, 0.04 * i) for i in range(11, 160)])
    assert clock.now() - times[-1] < 0.001


def test_a_burst_at_the_start_does_not_make_later_frames_look_early() -> None:
    # Servers send what they hold since the last key frame at once.
    watch = Watch()
    clock = LiveClock(watch)
    times = play(clock, watch, [(0.001, 0.04 * i) for i in range(25)])
    times += play(clock, watch, [(0.04, 0.04 * i) for i in range(25, 50)])
    assert times == sorted(times)
    assert abs(clock.now() - times[-1]) < 0.001


def test_sound_moves_with_the_picture_and_waits_for_it() -> None:
    watch = Watch()
    clock = LiveClock(watch)
    assert clock.place_sound(1, 100.0) is None
    (time,) = play(clock, watch, [(0.5, 100.0)])
    sound = clock.place_sound(1, 100.01)
    assert sound is not None
    assert abs(sound - time - 0.01) < 1e-4


@given(
    st.lists(
        st.tuples(st.floats(0, 3), st.one_of(st.none(), st.floats(-1e6, 1e6, allow_nan=False))),
        max_size=60,
    )
)
def test_times_rise_and_are_never_in_the_future(arrivals: list[tuple[float, float | None]]) -> None:
    watch = Watch()
    clock = LiveClock(watch)
    last = -1
    for number, (step, seconds) in enumerate(arrivals):
        watch.seconds += step
        pts = clock.place_frame(seconds)
        assert pts > last
        # Frames that came at one instant are told apart by a tick each.
        assert float(pts * TIME_BASE) <= clock.now() + (number + 1) * float(TIME_BASE)
        last = pts
