"""Key frames in the background: live frames leave at once, and what the network says comes late."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from kinemacolor.engine.backend import Backend, Background
from kinemacolor.engine.inputs import Inputs
from kinemacolor.engine.spec import ModelSpec
from kinemacolor.stream.color.asking import FIRST_LOOK
from kinemacolor.stream.color.colorizer import Colorizer
from kinemacolor.stream.color.tempo import BUSY, LONGEST, Tempo
from kinemacolor.stream.measure.stats import Stats
from kinemacolor.stream.steady.cuts import ShotLinker
from kinemacolor.stream.steady.keyframes import KeyFrames, Want
from kinemacolor.stream.steady.memory import Memory
from kinemacolor.stream.steady.motion import view_of
from kinemacolor.stream.steady.smoothing import make_steady
from numpy.typing import NDArray

from tests import media
from tests.shots import flat_ab, pan

PERIOD, LIMIT = 0.04, 0.2


@dataclass
class Slow(Backend):
    """A network whose every picture has one colour, known after so many more looks at it."""

    looks: int
    fixed_size: bool = False
    submitted: list[Answer] = field(default_factory=list)
    name = description = "slow"
    precision = "fp32"
    takes_any_size = in_background = True

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec(Path("s.onnx"), "s", fixed_size=self.fixed_size)

    def submit(self, inputs: Inputs) -> Answer:
        self.submitted.append(Answer(self.looks, inputs.L.shape[2:], 10.0 * len(self.submitted)))
        return self.submitted[-1]

    def close(self) -> None:
        pass


@dataclass
class Answer(Background):
    looks: int
    size: tuple[int, ...]
    color: float
    waited: bool = False  # its result was asked for before it was there
    cancelled: bool = False

    def done(self) -> bool:
        self.looks -= 1
        return self.looks <= 0

    def result(self) -> NDArray[np.float32]:
        assert not self.cancelled
        self.waited = self.looks > 0
        return np.full((1, 2, self.size[0] // 4, self.size[1] // 4), self.color, np.float32)

    def cancel(self) -> None:
        self.cancelled = True


def frames(count: int, shot: int = 0) -> list[av.VideoFrame]:
    rng = np.random.default_rng(shot)
    luma = rng.integers(20, 230, (12, 16), np.uint8).repeat(16, 0).repeat(16, 1)
    made = []
    for index in range(count):
        planes = media.neutral_planes(luma, "yuv420p")
        frame = media.frame_from_planes(planes, "yuv420p")
        frame.pts, frame.time_base = index, Fraction(1, 25)
        made.append(frame)
    return made


def live(network: Slow, every: int = 4) -> Colorizer:
    return Colorizer(network, steady=make_steady("live", every=every))


def test_only_the_first_frame_of_a_shot_waits_and_for_a_smaller_input() -> None:
    network, stats = Slow(looks=3), Stats()
    out = list(live(network).colorize([*frames(20, 0), *frames(20, 1)], stats, live=True))
    assert len(out) == 40
    assert [answer.waited for answer in network.submitted].count(True) == 2
    areas = [answer.size[0] * answer.size[1] for answer in network.submitted]
    assert [area < 1.1 * FIRST_LOOK * max(areas) for area in areas] == [
        answer.waited for answer in network.submitted
    ]
    finished = [answer for answer in network.submitted if not answer.cancelled]
    assert stats.inferred == len(finished)


def test_the_rest_of_a_shot_takes_the_full_input_from_its_second_frame_on() -> None:
    network = Slow(looks=2)
    colorizer = live(network, every=12)
    for item in colorizer.colorize(frames(2), live=True):
        assert item is not None
    assert len(network.submitted) == 2
    assert network.submitted[0].size < network.submitted[1].size


def test_a_network_of_fixed_size_gets_its_size_and_is_asked_once() -> None:
    network = Slow(looks=2, fixed_size=True)
    list(live(network, every=12).colorize(frames(5), live=True))
    assert [answer.size for answer in network.submitted] == [(256, 256)]


def test_late_colours_come_to_the_frames_after_them() -> None:
    network = Slow(looks=3)
    out = list(live(network, every=30).colorize(frames(25), live=True))
    cb = [float(media.planes_of(frame)[1].mean()) for frame in out]
    assert cb[0] == cb[1] == cb[2] == cb[3]  # the first look's: 0
    assert cb[4] != cb[3]
    assert abs(cb[-1] - cb[-2]) <= abs(cb[5] - cb[4])


def test_a_cut_and_the_end_cancel_what_nobody_needs_any_more() -> None:
    network = Slow(looks=1000)
    list(live(network).colorize([*frames(5, 0), *frames(5, 1)], live=True))
    waited = [answer.waited for answer in network.submitted]
    assert waited == [True, False, True, False]
    assert [answer.cancelled for answer in network.submitted] == [False, True, False, True]


@pytest.mark.parametrize("without", ["background", "key frames", "live"])
def test_elsewhere_every_frame_waits_for_its_own(without: str) -> None:
    network = Slow(looks=3)
    colorizer = live(network, every=1 if without == "key frames" else 4)
    if without == "background":
        network.in_background = False  # type: ignore[misc]
    list(colorizer.colorize(frames(12), live=without != "live"))
    assert all(answer.waited for answer in network.submitted)
    assert len({answer.size for answer in network.submitted}) == 1


def test_an_error_in_the_background_is_an_error() -> None:
    class Failing(Slow):
        def submit(self, inputs: Inputs) -> Answer:
            answer = super().submit(inputs)
            if len(self.submitted) == 2:
                answer.result = _fail  # type: ignore[method-assign]
            return answer

    with pytest.raises(RuntimeError, match="broke"):
        list(live(Failing(looks=1)).colorize(frames(12), live=True))


def _fail() -> NDArray[np.float32]:
    raise RuntimeError("the network broke")


def test_late_colours_end_as_if_they_had_been_there() -> None:
    """A pan: what is carried to a later frame is what stood there from the start."""
    pictures = pan(3, 60)
    ways = []
    for delay in (0, 4):
        steady, out = make_steady("live", every=8), []
        key = -1
        for t, L in enumerate(pictures):
            want = steady.wants(L, busy=0 <= key < t < key + delay)
            ab = flat_ab(0, 0) if want is Want.NOW else None
            if want is Want.SOON:
                key = t
                ab = flat_ab(30, -20) if delay == 0 else None
            if delay and t == key + delay:
                steady.late(flat_ab(30, -20))
            out += steady.push(L, ab)
        ways.append(np.array([ab.mean((1, 2)) for ab in out]))
    at_once, late = ways
    assert np.abs(at_once[10] - late[10]).max() > 1
    assert np.allclose(at_once[-1], late[-1], atol=2)
    assert np.allclose(late[-1], (30, -20), atol=3)


def test_a_busy_network_is_asked_for_a_new_shot_only() -> None:
    def links() -> list[Want]:
        steady = make_steady("live", every=3)
        shots = [*pan(1, 10), *pan(2, 10)]
        return [steady.wants(L, busy=t > 0) for t, L in enumerate(shots)]

    wanted = links()
    assert [t for t, want in enumerate(wanted) if want] == [0, 10]
    assert wanted[10] is Want.NOW


def test_the_distance_leaves_a_busy_network_time() -> None:
    key_frames = KeyFrames(1)
    tempo = Tempo(key_frames, limit_seconds=LIMIT, skips=True)
    for _ in range(4):
        tempo.arrived(0.19)
        for _ in range(12):
            assert tempo.frame(0.02, None, PERIOD) is None
    assert key_frames.every == round(0.19 / (BUSY * PERIOD) + 0.5)


def test_an_inference_in_the_background_may_take_longer_than_a_frame_may_be_late() -> None:
    key_frames = KeyFrames(LONGEST)
    tempo = Tempo(key_frames, limit_seconds=LIMIT, skips=True)

    def steps(network: float) -> list[str]:
        names = []
        for _ in range(5):
            tempo.arrived(network * tempo.area_share)
            for _ in range(12):
                step = tempo.frame(0.02, None, PERIOD)
                names += [step.name] if step is not None else []
        return names

    assert steps(0.3) == []
    assert steps(0.5) == ["input 0.7"]
    assert steps(0.3) == []


def test_a_network_that_is_far_too_slow_is_known_before_the_first_frame() -> None:
    key_frames = KeyFrames(1)
    tempo = Tempo(key_frames, limit_seconds=LIMIT)
    tempo.expect(0.15, 0.14, PERIOD)
    assert key_frames.every == 6
    step = tempo.frame(0.01, None, None)
    assert step is not None
    assert step.name == "key frames"
    assert "the network 140 ms of it" in step.message
    assert tempo.frame(0.01, None, None) is None


def test_what_may_keep_up_or_was_chosen_is_not_judged_ahead() -> None:
    for work, options in ((0.05, {}), (0.15, {"fixed": True})):
        key_frames = KeyFrames(1)
        Tempo(key_frames, limit_seconds=LIMIT, **options).expect(work, 0.04, PERIOD)
        assert key_frames.every == 1


def test_a_rough_guess_soon_gives_way_however_long_it_stood_in() -> None:
    steady, L = make_steady("live", every=12), pan(5, 1)[0]
    out = []
    for t in range(20):
        want = steady.wants(L)
        assert want == {0: Want.NOW, 1: Want.SOON, 13: Want.SOON}.get(t, Want.NOTHING)
        ab = flat_ab(-20, 0) if t == 0 else None
        out += steady.push(L, ab, rough=t == 0)
        if t == 8:
            steady.late(flat_ab(20, 0))
    a = [float(plane[0].mean()) for plane in out]
    assert a[:9] == [pytest.approx(-20, abs=0.1)] * 9
    assert np.diff(a[8:13]) == pytest.approx([8, 8, 8, 8], abs=0.5)  # a fifth of the way each
    assert a[13] > 15


def test_colours_carried_far_are_doubted_once_for_what_stays_different() -> None:
    """A shirt that got a shade darker after the key frame is not forgotten for it."""
    pictures = pan(6, 12)
    darker = [L.copy() for L in pictures]
    for t, L in enumerate(darker[1:], 1):
        L[30:60, 60 - 2 * t : 110 - 2 * t] *= 0.95
    views = [view_of(L) for L in darker]
    linker = ShotLinker()
    links = [linker.link(view) for view in views]
    start = Memory.start(views[0], np.full((2, *views[0].L.shape), 20, np.float32))
    often = once = start
    for link in links[1:]:
        assert link.motion is not None
        often = often.carry(link.motion.back, link.view)
        once = once.carry(link.motion.back, link.view, single=True)
    assert np.all(once.count >= often.count - 1e-6)
    assert float(once.count.mean()) > float(often.count.mean()) + 0.02


def test_dropping_work_and_looking_roughly_are_practised_before_the_first_frame() -> None:
    """A backend may have to prepare for both, which would hold up the first cut."""
    network = Slow(looks=3)
    live(network).warm_up(frames(1)[0])
    *_, dropped, rough = network.submitted
    assert dropped.cancelled
    assert rough.waited
    assert np.prod(rough.size) < 1.1 * FIRST_LOOK * np.prod(dropped.size)
    network = Slow(looks=3)
    live(network).warm_up(frames(1)[0], period_seconds=60)  # it keeps up
    assert not any(answer.cancelled for answer in network.submitted)
    network = Slow(looks=3)
    live(network, every=1).warm_up(frames(1)[0])  # every frame waits for its own
    assert not any(answer.cancelled for answer in network.submitted)
