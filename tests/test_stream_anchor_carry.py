"""Known colours along the motion, and by what looks alike."""

from __future__ import annotations

import numpy as np
from kinemacolor.stream.anchor.anchors import Anchors, Source, carry_back
from kinemacolor.stream.anchor.known import Known, working_size
from kinemacolor.stream.anchor.match import Exemplar, alikeness, cells_of, match
from kinemacolor.stream.anchor.reference import Reference, shown
from kinemacolor.stream.anchor.spread import spread, to_points

from tests.anchors import panned, picture

SIZE = (96, 144)


def known_frames(frames: int, seed: int = 0) -> list[Known]:
    return [shown(Reference(each).read(), SIZE, "bt601") for each in panned(frames, seed=seed)]


def carried_error(found: np.ndarray, truth: Known) -> float:
    """In CIELAB units, away from where new things come in."""
    return float(np.abs(found - truth.ab)[:, 4:-4, 4:-24].mean())


def test_colours_go_with_the_motion_and_are_exact_at_their_own_frame() -> None:
    frames = known_frames(12)
    anchors = Anchors(*SIZE)
    for number, frame in enumerate(frames):
        own = Source(0, frame) if number == 0 else None
        glimpse = anchors.look(frame.L, own)
        nothing = np.zeros((2, 24, 36), np.float32)
        found, firm, shares = anchors.paint(glimpse, nothing)
        if number == 0:
            assert np.array_equal(found, frame.ab)
        else:
            assert firm is not None
            assert carried_error(found, frame) < 0.25 * np.abs(frame.ab).mean()
        assert shares[0] > 0.7


def test_colours_go_back_to_the_frames_before_as_far_as_the_shot() -> None:
    before, shot = known_frames(5, seed=3), known_frames(10)
    planes = [each.L for each in (*before, *shot)]
    trails = carry_back(Source(0, shot[-1]), planes)
    assert set(trails) == set(range(5, 14))
    anchors = Anchors(*SIZE)
    glimpse = anchors.look(shot[3].L, None, [(Source(0, shot[-1]), trails[8])])
    found, _, _ = anchors.paint(glimpse, np.zeros((2, 24, 36), np.float32))
    assert carried_error(found[:, :, 10:], Known(shot[3].L, shot[3].ab[:, :, 10:], shot[3].L)) < 3


def test_nothing_is_carried_over_a_cut() -> None:
    one, other = known_frames(2), known_frames(2, seed=3)
    anchors = Anchors(*SIZE)
    anchors.paint(anchors.look(one[0].L, Source(0, one[0])), np.zeros((2, 24, 36), np.float32))
    glimpse = anchors.look(other[0].L)
    assert glimpse.carried == {}
    found, firm, _ = anchors.paint(glimpse, np.zeros((2, 24, 36), np.float32))
    assert firm is None
    assert np.abs(found).max() == 0


def test_where_nothing_is_known_the_network_has_its_say() -> None:
    frame = known_frames(1)[0]
    sure = np.ones(SIZE, np.float32)
    sure[:, 72:] = 0
    anchors = Anchors(*SIZE)
    glimpse = anchors.look(frame.L, Source(0, Known(frame.L, frame.ab, sure)))
    found, _, _ = anchors.paint(glimpse, np.full((2, 24, 36), 7, np.float32))
    assert np.allclose(found[:, :, :72], frame.ab[:, :, :72], atol=1e-4)
    assert np.abs(found[:, :, 72:] - 7).max() < 0.5


def features_of(known: Known) -> np.ndarray:
    """As good as a network's: ab itself, and L, in cells of 8 points."""
    planes = np.stack([known.L, *known.ab])
    return planes.reshape(3, 12, 8, 18, 8).mean((2, 4))


def test_likes_have_the_colours_of_what_looks_like_them() -> None:
    one, other = known_frames(20)[0], known_frames(20)[19]
    exemplar = Exemplar.of(one, cells_of(features_of(one), (3,), one.L))
    cells = cells_of(features_of(other), (3,), other.L)
    found, rows = match([exemplar], cells)
    ab, sure = to_points(spread(found, rows), cells.L, other.L)
    assert sure[:, :-24].mean() > 0.8
    assert carried_error(ab, other) < 0.5 * np.abs(other.ab).mean()
    assert alikeness(exemplar, cells) > 0.5


def test_an_unrelated_picture_says_nothing() -> None:
    one = known_frames(1)[0]
    random = np.random.default_rng(0)
    features, others = random.normal(0, 1, (2, 64, 12, 18)).astype(np.float32)
    exemplar = Exemplar.of(one, cells_of(features, (64,), one.L))
    strange = cells_of(others, (64,), np.full(SIZE, 99, np.float32))
    found, _ = match([exemplar], strange)
    assert found.sure.max() < 0.05
    assert alikeness(exemplar, strange) < 0.05


def test_the_points_are_those_of_the_chroma_or_fewer() -> None:
    assert working_size(854, 480) == (240, 427)
    assert working_size(64, 48) == (24, 32)
    rows, columns = working_size(1920, 1080)
    assert rows * columns <= 427 * 240 * 1.01
    assert picture().shape == (96, 144, 3)
