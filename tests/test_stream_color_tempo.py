"""What a run gives up to keep its rate: in order, once, for a reason that lasts, nothing fixed."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kinemacolor.engine.backend import Backend, Pending
from kinemacolor.engine.inputs import Inputs
from kinemacolor.engine.spec import ModelSpec
from kinemacolor.stream.color.colorizer import Colorizer
from kinemacolor.stream.color.tempo import (
    LONGEST,
    PATIENCE_SECONDS,
    TARGET_LOAD,
    WINDOW_FRAMES,
    Tempo,
)
from kinemacolor.stream.measure.latency import Latency
from kinemacolor.stream.measure.stats import Stats, Step
from kinemacolor.stream.options import LiveOptions, Options
from kinemacolor.stream.pipeline import run
from kinemacolor.stream.run.assemble import make_tempo
from kinemacolor.stream.sinks.null import NullSink
from kinemacolor.stream.sources.open import open_source
from kinemacolor.stream.steady.keyframes import KeyFrames
from kinemacolor.stream.steady.smoothing import make_steady
from numpy.typing import NDArray

PERIOD = 0.04
LIMIT = 0.2


@dataclass
class Machine:
    """One that needs so many seconds for a frame, and more for one that it infers."""

    tempo: Tempo
    key_frames: KeyFrames
    fixed: float
    network: float
    steps: list[Step] = field(default_factory=list)
    late: float = 0.0  # seconds that the next frame has waited
    dropped_before: list[int] = field(default_factory=list)  # frames, by each step
    dropped: int = 0
    _since: int = LONGEST

    def run(self, frames: int) -> list[str]:
        for _ in range(frames):
            if self.late > LIMIT:
                self.dropped += 1
                self.late -= PERIOD
                continue
            self._since += 1
            inferred = self._since >= self.key_frames.every
            network = self.network * self.tempo.area_share if inferred else None
            self._since = 0 if inferred else self._since
            work = self.fixed + (network or 0.0)
            self.late = max(0.0, self.late + work - PERIOD)
            step = self.tempo.frame(work, network, PERIOD)
            if step is not None:
                self.steps.append(step)
                self.dropped_before.append(self.dropped)
        return [step.name for step in self.steps]


def machine(network: float, fixed: float = 0.006, **options: bool) -> Machine:
    key_frames = KeyFrames(1)
    return Machine(Tempo(key_frames, limit_seconds=LIMIT, **options), key_frames, fixed, network)


def settle(fixed: float, inference: float, windows: int = 40) -> list[int]:
    """Distances over time in a film, where a frame costs `fixed + inference / every` periods."""
    key_frames = KeyFrames(1)
    tempo = Tempo(key_frames)
    distances = []
    for _ in range(windows):
        load = fixed + inference / key_frames.every
        steps = [tempo.frame(load * PERIOD, None, PERIOD) for _ in range(WINDOW_FRAMES)]
        assert not any(steps)
        distances.append(key_frames.every)
    return distances


def test_in_a_film_a_fast_network_sees_every_frame() -> None:
    assert set(settle(0.1, 0.3)) == {1}


@given(fixed=st.floats(0.05, 0.5), inference=st.floats(0.1, 4.0))
def test_a_film_keeps_real_time_where_it_can_and_comes_to_rest(
    fixed: float, inference: float
) -> None:
    distances = settle(fixed, inference)
    every = distances[-1]
    assert distances[-10:] == [every] * 10
    assert fixed + inference / every <= TARGET_LOAD + 1e-9 or every == LONGEST


def test_a_film_says_how_far_apart_its_key_frames_are(caplog: pytest.LogCaptureFixture) -> None:
    tempo = Tempo(KeyFrames(1))
    with caplog.at_level("INFO"):
        for _ in range(WINDOW_FRAMES):
            assert tempo.frame(2 * PERIOD, None, PERIOD) is None
    assert caplog.messages == ["key frames at most 3 apart (the work took 200 % of real time)"]


def test_a_film_gives_nothing_else_up() -> None:
    key_frames = KeyFrames(1)
    tempo = Tempo(key_frames)
    assert not any(tempo.frame(5.0, 4.0, PERIOD) for _ in range(1000))
    assert key_frames.every == LONGEST
    assert tempo.area_share == 1


def test_a_fast_network_gives_nothing_up() -> None:
    fast = machine(0.03)
    assert fast.run(3000) == []
    assert fast.tempo.level == 0


def test_the_first_step_comes_before_any_frame_is_dropped_and_is_enough() -> None:
    slow = machine(0.056)
    assert slow.run(3000) == ["key frames"]
    assert slow.dropped == 0
    assert slow.steps[0].message == (
        "colours need 62 ms of 40 ms a frame, the network 56 ms of it: "
        "colours are now inferred on key frames only (--every auto)"
    )


def test_a_much_too_slow_network_goes_all_the_way_in_order() -> None:
    slow = machine(0.8)
    assert slow.run(3000) == ["key frames", "input 0.7", "input 0.5", "drop"]
    assert [step.level for step in slow.steps] == [1, 2, 3, 4]
    assert "one inference of the network takes 800 ms" in slow.steps[1].message
    assert "frames later than 200 ms are dropped" in slow.steps[3].message


def test_a_smaller_input_is_enough_where_one_inference_took_too_long() -> None:
    slow = machine(0.25)
    assert slow.run(3000) == ["key frames", "input 0.7"]
    assert slow.tempo.area_share == 0.7


def test_who_is_hardly_too_slow_has_time_to_recover() -> None:
    slow = machine(0.036)  # 42 ms of 40 ms a frame: four seconds until one is dropped
    assert slow.run(30) == []
    slow.network = 0.03
    assert slow.run(1000) == []
    slow.network = 0.036
    assert slow.run(100) == ["key frames"]
    assert slow.dropped == 0


def test_one_or_two_slow_frames_change_nothing() -> None:
    tempo = Tempo(KeyFrames(1), limit_seconds=LIMIT)
    for number in range(1000):
        stalled = number % 10 < 2
        assert tempo.frame(3.0 if stalled else 0.02, 0.01, PERIOD) is None


def test_a_network_that_is_not_what_is_slow_is_left_alone() -> None:
    busy = machine(0.003, fixed=0.06)
    assert busy.run(1000) == ["drop"]
    assert busy.tempo.area_share == 1
    assert busy.key_frames.every == 1
    busy.fixed = 0.01
    assert busy.run(3000) == ["drop", "in time"]
    assert busy.tempo.level == 0


def test_what_the_user_fixed_stays() -> None:
    assert machine(0.056, fixed=0.006).run(1000) == ["key frames"]
    fixed = machine(0.4, fixed=0.006)
    fixed.tempo = Tempo(fixed.key_frames, limit_seconds=LIMIT, fixed=True, shares=())
    assert fixed.run(1000) == ["drop"]
    assert fixed.key_frames.every == 1
    every = KeyFrames(6)
    given_every = Machine(Tempo(every, limit_seconds=LIMIT, fixed=True), every, 0.006, 0.3)
    assert given_every.run(1000) == ["input 0.7", "input 0.5"]
    assert every.every == 6


def test_key_frames_that_were_asked_for_are_no_step() -> None:
    assert machine(0.056, skips=True).run(1000) == []
    assert machine(0.8, skips=True).run(1000) == ["input 0.7", "input 0.5", "drop"]


@settings(max_examples=25, deadline=None)
@given(fixed=st.floats(0.002, 0.06), network=st.floats(0.001, 1.5))
def test_it_comes_to_rest(fixed: float, network: float) -> None:
    """Costs that stay the same are answered once: two minutes without a step back or forth."""
    tried = machine(network, fixed)
    names = tried.run(3000)
    order = ["key frames", "input 0.7", "input 0.5", "drop"]
    assert names == [name for name in order if name in names]
    assert tried.tempo.level == (tried.steps[-1].level if names else 0)


def test_room_that_lasts_gives_the_input_back_and_ever_more_slowly() -> None:
    hog = machine(0.25)
    hog.run(1000)
    times = []
    for _ in range(3):
        hog.network = 0.05  # the other program that took the processor ended
        before, frames = len(hog.steps), 0
        while len(hog.steps) == before:
            hog.run(1)
            frames += 1
        times.append(frames * PERIOD)
        assert hog.steps[-1].name == "input 1"
        assert hog.tempo.area_share == 1
        hog.network = 0.25
        hog.run(1000)
        assert hog.tempo.area_share == 0.7
    assert PATIENCE_SECONDS <= times[0] < PATIENCE_SECONDS + 5
    assert times[1] > 1.9 * times[0]
    assert times[2] > 1.9 * times[1]


def test_the_distance_goes_back_when_there_is_room() -> None:
    slow = machine(0.2)
    slow.run(500)
    assert slow.key_frames.every > 4
    slow.network = 0.01
    slow.run(500)
    assert slow.key_frames.every == 1


@pytest.mark.parametrize("share", [0.7, 0.5])
@pytest.mark.parametrize("size", [(640, 480), (1920, 1080), (1080, 1920), (10, 4000)])
def test_a_smaller_input_keeps_the_shape_and_the_models_multiple(
    share: float, size: tuple[int, int]
) -> None:
    spec = ModelSpec(Path("m.onnx"), "m")
    height, width = spec.input_size(*size, share=share)
    assert height % 32 == width % 32 == 0
    assert 0.8 * share <= height * width / (256 * 256) <= share
    aspect = min(max(size[0] / size[1], 1 / 4), 4)
    assert 0.6 < width / height / aspect < 1.6
    small = ModelSpec(Path("m.onnx"), "m", height=64, width=64)
    assert small.input_size(*size, share=share) in ((32, 32), (32, 64), (64, 32))


class Sleeper(Backend):
    """A network that sleeps for so long, in proportion to its input."""

    name = description = "sleeper"
    precision = "fp32"
    takes_any_size = True

    def __init__(self, seconds: float, *, fixed_size: bool = False) -> None:
        self.seconds = seconds
        self.spec = ModelSpec(Path("s.onnx"), "s", fixed_size=fixed_size)
        self.sizes: list[tuple[int, int]] = []

    def submit(self, inputs: Inputs) -> Sleeping:
        height, width = inputs.L.shape[2:]
        self.sizes.append((height, width))
        return Sleeping(self.seconds * height * width / 256**2, (1, 2, height // 4, width // 4))

    def close(self) -> None:
        pass


@dataclass
class Sleeping(Pending):
    seconds: float
    shape: tuple[int, ...]

    def result(self) -> NDArray[np.float32]:
        time.sleep(self.seconds)
        return np.full(self.shape, 20, np.float32)


@dataclass
class Played:
    network: Sleeper
    stats: Stats
    latency: Latency

    @property
    def steps(self) -> list[str]:
        return [step.name for _, step in self.stats.steps]


def play(network: Sleeper, seconds: int, *, fps: int = 10, **options: object) -> Played:
    """A test picture as if live, through the whole data path."""
    chosen = Options.of(max_latency_ms=300, **options)  # type: ignore[arg-type]
    every = chosen.color.every
    source = open_source(f"test:128x128@{fps}#{seconds}", live=LiveOptions(realtime=True))
    steady = make_steady("live", every=every if isinstance(every, int) else 1)
    colorizer = Colorizer(
        network, steady=steady, tempo=make_tempo(network, chosen, steady, live=True)
    )
    latency = Latency.of(source, max_seconds=0.3)
    stats = run(source, colorizer, NullSink(), latency=latency)
    source.close()
    return Played(network, stats, latency)


def test_a_live_run_of_a_fast_network_takes_no_step(caplog: pytest.LogCaptureFixture) -> None:
    played = play(Sleeper(0.005), 3)
    assert played.steps == []
    assert played.stats.frames_out == played.stats.inferred == 30
    assert not caplog.records


def test_a_live_run_of_a_slow_network_keeps_every_frame(caplog: pytest.LogCaptureFixture) -> None:
    played = play(Sleeper(0.14), 6)
    assert played.steps == ["key frames"]
    assert played.stats.frames_out + played.latency.dropped.total() == 60
    assert played.stats.inferred < 45
    (said,) = [record.getMessage() for record in caplog.records]
    assert "key frames only (--every auto)" in said


def test_a_live_run_that_cannot_be_kept_up_says_each_step_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    played = play(Sleeper(0.8), 9, fps=25)
    assert played.steps == ["key frames", "input 0.7", "input 0.5", "drop"]
    assert [record.getMessage() for record in caplog.records] == [
        step.message for _, step in played.stats.steps
    ]
    assert played.latency.dropped["late"] + played.latency.dropped["queue"] > 0
    areas = [height * width for height, width in played.network.sizes]
    assert areas == sorted(areas, reverse=True)
    assert len(set(areas)) == 3


def test_a_network_of_fixed_size_keeps_it() -> None:
    played = play(Sleeper(0.6, fixed_size=True), 6, fps=25)
    assert played.steps == ["key frames", "drop"]
    assert set(played.network.sizes) == {(256, 256)}
