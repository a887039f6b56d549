"""The pace finds the shortest distance of key frames that keeps real time, and stays there."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from kinemacolor.stream.color.pace import LONGEST, TARGET_LOAD, Pace
from kinemacolor.stream.steady.keyframes import KeyFrames


def settle(fixed: float, inference: float, windows: int = 40) -> list[int]:
    """Distances over time for a machine whose frame costs `fixed + inference / every`."""
    key_frames = KeyFrames(1)
    pace = Pace(key_frames, Fraction(25))
    distances = []
    for _ in range(windows):
        pace.adapt(fixed + inference / key_frames.every)
        distances.append(key_frames.every)
    return distances


def test_a_fast_network_sees_every_frame() -> None:
    assert set(settle(0.1, 0.3)) == {1}


@given(fixed=st.floats(0.05, 0.5), inference=st.floats(0.1, 4.0))
def test_the_pace_keeps_real_time_where_it_can_and_comes_to_rest(
    fixed: float, inference: float
) -> None:
    distances = settle(fixed, inference)
    every = distances[-1]
    assert distances[-10:] == [every] * 10
    assert fixed + inference / every <= TARGET_LOAD or every == LONGEST


def test_items_pass_the_watch_unchanged() -> None:
    pace = Pace(KeyFrames(1), Fraction(25))
    assert list(pace.watch(iter([1, 2, 3]))) == [1, 2, 3]
