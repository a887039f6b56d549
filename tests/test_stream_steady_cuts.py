"""Cuts: found at once, and told from what only looks like one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from kinemacolor.stream.steady.cuts import FLASH_FRAMES, Link, ShotLinker
from kinemacolor.stream.steady.motion import view_of

from tests.shots import H, W, dissolve, grain, pan, picture


def links_of(frames: list[np.ndarray], cuts=None) -> list[Link]:
    linker = ShotLinker(cuts)
    return [linker.link(view_of(frame)) for frame in frames]


def cuts_of(frames: list[np.ndarray]) -> list[int]:
    """Returns what is known of cuts after the last frame."""
    cuts: list[int] = []
    for link in links_of(frames):
        if link.is_cut:
            cuts.append(link.index)
        elif link.resumes:
            cuts = [cut for cut in cuts if cut <= link.parent]
    return cuts


ALIKE = 0.35  # correlation of two pictures from which a cut between them may pass for motion


@settings(max_examples=25, deadline=None)
@given(
    seeds=st.lists(st.integers(0, 10**6), min_size=2, max_size=5, unique=True),
    length=st.integers(FLASH_FRAMES + 1, 12),
    step=st.integers(0, 6),
    noise=st.sampled_from([0, 1, 4]),
)
def test_hard_cuts_are_found_on_their_frame(seeds, length, step, noise):
    shots = [pan(seed, length, step) for seed in seeds]
    for one, other in pairwise(shots):  # pictures made by chance may look alike: 1 pair in 25
        assume(np.corrcoef(one[-1].ravel(), other[0].ravel())[0, 1] < ALIKE)
    frames = [frame for seed in seeds for frame in grain(pan(seed, length, step), noise)]
    assert cuts_of(frames) == [length * i for i in range(1, len(seeds))]


def test_a_dissolve_is_no_cut():
    assert cuts_of(dissolve(pan(1, 30), pan(2, 30), 12)) == []


def test_fades_through_black_are_no_cuts():
    one, other = pan(1, 24), pan(2, 24)
    out = [frame * (1 - t / 12) for t, frame in enumerate(one[12:])]
    back = [frame * (t / 12) for t, frame in enumerate(other[:12])]
    assert cuts_of(one[:12] + out + [one[0] * 0] * 5 + back + other[12:]) == []


@pytest.mark.parametrize("gain", [0.5, 0.7, 1.4, 2.0])
def test_an_exposure_jump_is_no_cut(gain):
    frames = pan(1, 30)
    frames[10:13] = [(frame * gain).clip(0, 100) for frame in frames[10:13]]
    assert cuts_of(frames) == []


@pytest.mark.parametrize("length", range(1, FLASH_FRAMES + 1))
def test_the_shot_goes_on_after_a_flash(length):
    frames = pan(1, 30, step=1)
    rng = np.random.default_rng(0)
    for t in range(10, 10 + length):
        frames[t] = (frames[t] * 0.1 + 90 + rng.normal(0, 1, (H, W))).clip(0, 100)
        frames[t] = frames[t].astype(np.float32)
    links = links_of(frames)
    assert cuts_of(frames) == []
    after = links[10 + length]
    assert after.parent in (9, 9 + length)  # bridged, or the flash itself was followed
    assert all(link.parent == link.index - 1 for link in links[11 + length :])


def test_what_is_known_from_outside_is_not_looked_for():
    frames = pan(1, 10) + pan(2, 10)
    assert [link.index for link in links_of(frames, cuts=[4]) if link.is_cut] == [4]
    assert not any(link.is_cut for link in links_of(frames, cuts=[]))


def test_another_size_starts_a_shot():
    links = links_of([picture(1)] * 3 + [picture(1, 128, 128)] * 3)
    assert [link.is_cut for link in links] == [False] * 3 + [True] + [False] * 2
    assert links[3].parent is None


def test_a_black_lead_in_ends_with_a_cut():
    black = np.zeros((H, W), np.float32)
    assert cuts_of([black] * 10 + pan(1, 10)) == [10]


def test_repeats_and_backward_motion_are_no_cuts():
    frames = pan(1, 12)
    repeated = [frame for frame in frames for _ in range(3)]
    assert cuts_of(repeated + frames[::-1]) == []


@pytest.mark.parametrize("value", [0, 50, 100])
def test_a_picture_of_one_lightness_has_no_cuts(value):
    assert cuts_of([np.full((H, W), value, np.float32)] * 5) == []


@pytest.mark.parametrize("size", [(4, 4), (32, 256), (256, 32), (33, 47)])
def test_any_size_of_picture(size):
    frames = [picture(1, *size)] * 4 + [picture(2, *size)] * 4
    assert len(links_of(frames)) == 8
