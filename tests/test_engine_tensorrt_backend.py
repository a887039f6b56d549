"""The TensorRT backend's buffers and batches, on a stand-in that runs work as late as it may."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kinemacolor.engine.backend import Backend
from kinemacolor.engine.cuda.driver import Gpu
from kinemacolor.engine.errors import BackendUnavailable, EngineError
from kinemacolor.engine.graphs.fp16 import to_fp16
from kinemacolor.engine.inputs import Inputs
from kinemacolor.engine.load import choose, load
from kinemacolor.engine.onnxruntime_backend import OnnxRuntimeBackend
from kinemacolor.engine.spec import ModelSpec, read_spec
from kinemacolor.engine.tensorrt.backend import TensorRTBackend, find_plan, open_plan
from kinemacolor.engine.tensorrt.build import BuildStopped, Profile, build_plan, make_logger
from kinemacolor.engine.tensorrt.cache import PlanCache
from kinemacolor.engine.tensorrt.engine import LoadedEngine, PlanRejected
from kinemacolor.engine.tensorrt.handover import Handover
from kinemacolor.engine.tensorrt.plans import Plan

from tests.conftest import has_nvidia_gpu
from tests.fake_tensorrt import FakeDevice, FakeLogger, FakeTensorRT
from tests.models import write_model
from tests.networks import annealed_model

without_gpu = pytest.mark.skipif(has_nvidia_gpu(), reason="says what happens without a GPU")


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    return read_spec(write_model(tmp_path / "curve.onnx"))


@pytest.fixture
def reference(spec: ModelSpec) -> Iterator[OnnxRuntimeBackend]:
    backend = OnnxRuntimeBackend(spec)
    yield backend
    backend.close()


def backend_on(
    device: FakeDevice, spec: ModelSpec, *, batch: int = 4, trt: FakeTensorRT | None = None
) -> TensorRTBackend:
    trt = trt or FakeTensorRT(device)
    engine = LoadedEngine(trt, spec.path.read_bytes(), device, logger=FakeLogger())  # type: ignore[arg-type]
    return TensorRTBackend(spec, engine, precision="fp16", description="stand-in", batch=batch)


def pictures(number: int, height: int = 64, width: int = 96, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 100, (number, 1, height, width)).astype(np.float32)


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt_rtx"])
@pytest.mark.parametrize("number", [1, 3, 4, 8, 11])
def test_a_call_of_any_length_gives_the_models_colours(
    spec: ModelSpec, reference: OnnxRuntimeBackend, name: str, number: int
) -> None:
    device = FakeDevice()
    backend = backend_on(device, spec, trt=FakeTensorRT(device, name=name))
    L = pictures(number)
    np.testing.assert_allclose(backend(L), reference(L), atol=1e-4)
    backend.close()


def test_neighbouring_submits_share_a_batch(spec: ModelSpec, reference: OnnxRuntimeBackend) -> None:
    device = FakeDevice()
    trt = FakeTensorRT(device)
    backend = backend_on(device, spec, trt=trt)
    L = pictures(10)
    pending = [backend.submit(Inputs(picture[None])) for picture in L]
    for picture, one in zip(L, pending, strict=True):
        np.testing.assert_allclose(one.result(), reference(picture[None]), atol=1e-4)
    assert trt.batches == [4, 4, 2]
    backend.close()


def test_live_batches_hold_one_picture(spec: ModelSpec) -> None:
    device = FakeDevice()
    trt = FakeTensorRT(device)
    backend = backend_on(device, spec, trt=trt, batch=1)
    for picture in pictures(3):
        backend(picture[None])
    assert trt.batches == [1, 1, 1]
    backend.close()


def test_a_batch_computes_before_its_results_are_asked_for(spec: ModelSpec) -> None:
    """Double buffering: a full batch is under way while the next one fills."""
    device = FakeDevice()
    backend = backend_on(device, spec)
    backend.submit(Inputs(pictures(4)))
    backend.submit(Inputs(pictures(2)))
    assert device.uploads == 1  # the full one; the other waits for more pictures
    assert backend.overlap == 8
    backend(pictures(1))
    backend.close()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(st.integers(1, 6), st.sampled_from([(64, 96), (32, 32)]), st.booleans()),
        max_size=12,
    ),
    st.integers(1, 8),
)
def test_results_may_be_read_in_any_order(
    spec: ModelSpec,
    reference: OnnxRuntimeBackend,
    submits: list[tuple[int, tuple[int, int], bool]],
    batch: int,
) -> None:
    """Whatever is submitted, of whatever size, read at once or later, backwards, twice."""
    device = FakeDevice()
    backend = backend_on(device, spec, batch=batch)
    waiting = []
    for seed, (number, size, at_once) in enumerate(submits):
        L = pictures(number, *size, seed=seed)
        pending = backend.submit(Inputs(L))
        L_before = L.copy()
        if at_once:
            np.testing.assert_allclose(pending.result(), reference(L), atol=1e-4)
        waiting.append((L_before, pending))
    for L, pending in reversed(waiting):
        np.testing.assert_allclose(pending.result(), reference(L), atol=1e-4)
        np.testing.assert_allclose(pending.result(), reference(L), atol=1e-4)
    backend.close()


def test_the_caller_owns_its_results(spec: ModelSpec, reference: OnnxRuntimeBackend) -> None:
    device = FakeDevice()
    backend = backend_on(device, spec)
    first, second = (
        backend.submit(Inputs(pictures(2, seed=1))),
        backend.submit(Inputs(pictures(2, seed=2))),
    )
    first.result().fill(0)
    np.testing.assert_allclose(second.result(), reference(pictures(2, seed=2)), atol=1e-4)
    np.testing.assert_allclose(first.result(), reference(pictures(2, seed=1)), atol=1e-4)
    backend.close()


@pytest.mark.parametrize(("name", "graphs"), [("tensorrt", True), ("tensorrt_rtx", False)])
def test_repeated_shapes_run_as_cuda_graphs(
    spec: ModelSpec, reference: OnnxRuntimeBackend, name: str, graphs: bool
) -> None:
    device = FakeDevice()
    backend = backend_on(device, spec, trt=FakeTensorRT(device, name=name))
    for seed in range(6):
        L = pictures(4, seed=seed)
        np.testing.assert_allclose(backend(L), reference(L), atol=1e-4)
    L = pictures(3, seed=9)  # another shape in between must not confuse the graphs
    np.testing.assert_allclose(backend(L), reference(L), atol=1e-4)
    L = pictures(4, seed=10)
    np.testing.assert_allclose(backend(L), reference(L), atol=1e-4)
    assert (device.graphs_launched > 2) == graphs
    backend.close()


def test_batches_that_are_not_full_leave_the_graphs_right(
    spec: ModelSpec, reference: OnnxRuntimeBackend
) -> None:
    """A graph replays its context as it was; another shape may not have passed through it."""
    device = FakeDevice()
    backend = backend_on(device, spec)
    for seed, number in enumerate([4, 4, 4, 4, 4, 3, 4, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 1]):
        L = pictures(number, seed=seed)
        np.testing.assert_allclose(backend(L), reference(L), atol=1e-4)
    assert device.graphs_launched >= 4
    assert device.graphs_open <= 2  # one a slot
    backend.close()


def test_a_recording_that_fails_is_said_once_and_the_engine_runs_without(
    spec: ModelSpec, reference: OnnxRuntimeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    device = FakeDevice()
    device.records = False
    backend = backend_on(device, spec)
    for seed in range(6):
        L = pictures(4, seed=seed)
        np.testing.assert_allclose(backend(L), reference(L), atol=1e-4)
    backend.close()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert said[0].startswith("going on without CUDA graphs: ")


def test_an_engine_that_needs_no_scratch_memory_is_given_some(
    spec: ModelSpec, reference: OnnxRuntimeBackend
) -> None:
    """TensorRT refuses a context that manages no memory of its own and was never given any."""
    device = FakeDevice()
    backend = backend_on(device, spec, trt=FakeTensorRT(device, scratch_bytes=0))
    np.testing.assert_allclose(backend(pictures(3)), reference(pictures(3)), atol=1e-4)
    backend.close()


def test_out_of_memory_shrinks_the_batch_and_says_so(
    spec: ModelSpec, reference: OnnxRuntimeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    one = 64 * 96 * 4 + 2 * 16 * 24 * 4 + 1024  # L, ab and scratch memory of one picture
    device = FakeDevice(memory_bytes=5 * one)
    backend = backend_on(device, spec, batch=8)
    L = pictures(7)
    np.testing.assert_allclose(backend(L), reference(L), atol=1e-4)
    said = [record.getMessage() for record in caplog.records]
    assert [message.split(": ", 1)[1] for message in said] == [
        "going on with batches of 4 instead of 8",
        "going on with batches of 2 instead of 4",
    ]
    backend.close()


def test_no_memory_for_one_picture_is_an_error_and_no_grey_frame(spec: ModelSpec) -> None:
    device = FakeDevice(memory_bytes=10_000)
    backend = backend_on(device, spec)
    with pytest.raises(BackendUnavailable, match="no memory for one 96x64 picture"):
        backend(pictures(1))
    backend.close()


def test_a_run_that_fails_is_an_error_and_no_grey_frame(spec: ModelSpec) -> None:
    device = FakeDevice()
    trt = FakeTensorRT(device)
    backend = backend_on(device, spec, trt=trt)
    trt.fail = True
    with pytest.raises(EngineError, match="tensorrt 0 cannot run"):
        backend(pictures(1))
    backend.close()


def test_a_size_outside_the_profile_says_which_sizes_fit(spec: ModelSpec) -> None:
    device = FakeDevice()
    backend = backend_on(device, spec)
    with pytest.raises(BackendUnavailable, match="from 1x1x32x32 to 8x1x128x128, not 4x1x256x64"):
        backend(pictures(1, 256, 64))
    backend.close()


def test_a_plan_with_other_tensors_is_rejected(tmp_path: Path) -> None:
    device = FakeDevice()
    other = write_model(tmp_path / "other.onnx", names=("L", "colour"))
    with pytest.raises(PlanRejected, match="colour float32 instead of L and ab"):
        LoadedEngine(
            FakeTensorRT(device),  # type: ignore[arg-type]
            other.read_bytes(),
            device,
            logger=FakeLogger(),
        )


# The stand-in's GPU, and plans that are the model file itself.
GPU = Gpu(0, "Stand-in", (9, 0), 1 << 30, (13, 0))


class OnnxPlan(Plan):
    """A plan that takes no TensorRT to build."""

    builds = 0

    def load_or_build(
        self, on_progress: object = None, on_wait: Callable[[], None] | None = None
    ) -> bytes:
        found = self.cache.find(self.key)
        if found.plan is not None:
            return found.plan
        OnnxPlan.builds += 1
        self.cache.store(self.key, self.spec.path.read_bytes())
        return self.spec.path.read_bytes()


def plan_for(spec: ModelSpec, folder: Path, device: FakeDevice, name: str = "tensorrt") -> OnnxPlan:
    trt = FakeTensorRT(device, name=name)
    return OnnxPlan(trt, GPU, spec, "fp16", Profile(), PlanCache(folder))  # type: ignore[arg-type]


def test_a_plan_that_tensorrt_rejects_is_built_once_more(
    spec: ModelSpec,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = FakeDevice()
    monkeypatch.setattr("kinemacolor.engine.tensorrt.backend.PyCudaDevice", lambda index: device)
    monkeypatch.setattr("kinemacolor.engine.tensorrt.backend.make_logger", lambda trt: FakeLogger())
    plan = plan_for(spec, tmp_path / "plans", device)
    plan.cache.store(plan.key, b"made by another driver")
    monkeypatch.setattr(device, "close", lambda: None)  # the same stand-in serves both attempts
    OnnxPlan.builds = 0
    backend = open_plan(plan)
    assert OnnxPlan.builds == 1
    assert "rejects the plan" in caplog.text
    assert "building it again" in caplog.text
    assert backend.description == "tensorrt 0, fp16, Stand-in"
    assert backend(pictures(1)).shape == (1, 2, 16, 24)
    backend.close()


def test_kernels_that_were_finished_on_this_gpu_are_kept_for_the_next_start(
    spec: ModelSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """TensorRT for RTX finishes its kernels on the GPU, which takes seconds each time."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("kinemacolor.engine.tensorrt.backend.make_logger", lambda trt: FakeLogger())
    kept = []
    for _ in range(3):
        device = FakeDevice()
        plan = plan_for(spec, tmp_path / "plans", device, "tensorrt_rtx")
        open_plan(plan, device=device).close()
        kept.append(plan.cache.jit(plan.key, GPU.name))
    assert kept == [b"kernels", b"kernels again", b"kernels again again"]
    plan.cache.store_jit(plan.key, GPU.name, b"of another driver")
    open_plan(plan, device=FakeDevice()).close()
    assert "of another GPU or driver" in caplog.text
    assert plan.cache.jit(plan.key, GPU.name) == b"kernels"
    assert plan.cache.jit(plan.key, "another GPU") is None


def test_a_plan_that_no_build_can_mend_is_kept(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU that is full, or that TensorRT does not know, rejects every plan."""
    device = FakeDevice()
    monkeypatch.setattr("kinemacolor.engine.tensorrt.backend.make_logger", lambda trt: FullGpu())
    plan = plan_for(spec, tmp_path / "plans", device)
    plan.cache.store(plan.key, b"a good one")
    with pytest.raises(PlanRejected, match="out of memory"):
        open_plan(plan, device=device)
    assert plan.cache.find(plan.key).plan == b"a good one"
    assert device.closed


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt_rtx"])
def test_a_gpu_without_memory_for_a_context_keeps_the_plan(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Another build would not make room."""
    device = FakeDevice()
    monkeypatch.setattr("kinemacolor.engine.tensorrt.backend.make_logger", lambda trt: FullGpu())
    plan = plan_for(spec, tmp_path / "plans", device, name)
    plan.trt.makes_contexts = False
    OnnxPlan.builds = 0
    with pytest.raises(PlanRejected, match="makes no context: CUDA is out of memory") as caught:
        open_plan(plan, device=device)
    assert caught.value.lasting
    assert OnnxPlan.builds == 1
    assert device.closed


def test_nothing_of_tensorrt_outlives_the_device_when_a_plan_is_rejected(spec: ModelSpec) -> None:
    """A runtime that is freed after the context crashes; the exception holds what it came from."""
    device = FakeDevice()
    trt, alive = FakeTensorRT(device), list[weakref.ref[object]]()
    make = trt.Runtime

    def make_runtime(logger: object) -> object:
        runtime = make(logger)
        alive.append(weakref.ref(runtime))
        return runtime

    trt.Runtime = make_runtime  # type: ignore[assignment, method-assign]
    with pytest.raises(PlanRejected) as caught:
        LoadedEngine(trt, b"another plan", device, logger=FakeLogger())  # type: ignore[arg-type]
    assert caught.value.__traceback__ is not None
    assert [reference() for reference in alive] == [None]


class FullGpu(FakeLogger):
    def said(self, default: object = "") -> str:
        return "CUDA is out of memory"


@without_gpu
def test_auto_goes_on_with_the_processor_when_the_gpu_fails_after_the_build(
    spec: ModelSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The whole way of `load`: a real engine is built meanwhile, then PyCUDA finds no GPU."""
    pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx builds real plans")
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(
        "kinemacolor.engine.load.choose", lambda device: ("tensorrt", "a GPU that is not there")
    )
    monkeypatch.setattr("kinemacolor.engine.tensorrt.backend.find_gpu", lambda index: GPU)
    backend = load(spec.path)
    assert isinstance(backend, Handover)
    L = pictures(1)
    before = backend(L)
    backend._thread.join(30)
    np.testing.assert_array_equal(backend(L), before)
    assert "until the engine is ready, the processor computes" in caplog.text
    assert "built in" in caplog.text
    assert "no TensorRT: " in caplog.text
    assert f"going on with {backend.description}" in caplog.text
    assert backend.name in ("openvino", "onnxruntime")
    backend.close()


class Constant(Backend):
    """A backend whose every ab is one number."""

    precision = "fp32"

    def __init__(self, spec: ModelSpec, value: float) -> None:
        self.name = self.description = f"constant {value}"
        self.spec, self.value, self.closed = spec, value, False

    def submit(self, inputs: Inputs) -> Constant:
        return self

    def result(self) -> np.ndarray:
        return np.full((1, 2, 1, 1), self.value, np.float32)

    def close(self) -> None:
        self.closed = True


def test_the_processor_computes_until_the_engine_is_ready(
    spec: ModelSpec, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first, second = Constant(spec, 1), Constant(spec, 2)
    may_finish, finished = threading.Event(), threading.Event()

    def build(check: Callable[[], None]) -> None:
        may_finish.wait(10)
        finished.set()

    handover = Handover(first, build, lambda: second)
    early = handover.submit(Inputs(pictures(1)))
    assert handover.description == "constant 1"
    may_finish.set()
    finished.wait(10)
    handover._thread.join(10)
    assert handover(pictures(1))[0, 0, 0, 0] == 2
    assert early.result()[0, 0, 0, 0] == 1  # what was under way stays readable
    assert handover.description == "constant 2"
    assert "the engine is ready: going on with constant 2" in caplog.text
    handover.close()
    assert first.closed
    assert second.closed


class Able(Constant):
    """A backend that can do everything."""

    overlap, in_background, takes_any_size = 3, True, True


def test_a_handover_promises_nothing_that_the_second_backend_cannot_do(spec: ModelSpec) -> None:
    """What is asked before a `submit` must hold for it, and any may be the second backend's."""
    handover = Handover(Able(spec, 1), lambda check: None, lambda: Constant(spec, 2))
    assert handover.overlap == 3
    assert not handover.in_background
    assert not handover.takes_any_size
    handover._thread.join(10)
    handover(pictures(1))
    assert handover.overlap == 0
    handover.close()


def test_a_build_that_fails_leaves_the_processor_at_work(
    spec: ModelSpec, caplog: pytest.LogCaptureFixture
) -> None:
    def build(check: Callable[[], None]) -> None:
        raise EngineError("cannot build the engine: no kernel for this GPU")

    handover = Handover(Constant(spec, 1), build, lambda: Constant(spec, 2))
    handover._thread.join(10)
    assert handover(pictures(1))[0, 0, 0, 0] == 1
    assert handover(pictures(1))[0, 0, 0, 0] == 1
    assert caplog.text.count("no kernel for this GPU: going on with constant 1") == 1
    handover.close()


def test_closing_gives_up_the_build(spec: ModelSpec, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stopped = []

    def build(check: Callable[[], None]) -> None:
        try:
            while True:
                check()
        except BuildStopped:
            stopped.append(True)
            raise

    Handover(Constant(spec, 1), build, lambda: Constant(spec, 2)).close()
    assert stopped
    assert "kinemacolor models build" in caplog.text


@without_gpu
def test_the_real_runtime_rejects_a_real_plan_without_a_gpu_and_says_why() -> None:
    """TensorRT for RTX builds plans here, and its own runtime is asked to load one."""
    trt = pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx builds real plans")
    plan = build_plan(trt, to_fp16(annealed_model()), Profile()).plan
    with pytest.raises(PlanRejected, match=r"tensorrt_rtx .* rejects the plan: invalid") as caught:
        LoadedEngine(trt, plan, FakeDevice(), logger=make_logger(trt))
    assert "CUDA" in str(caught.value)


@without_gpu
def test_asked_for_by_name_without_a_driver_it_is_one_clear_line(spec: ModelSpec) -> None:
    with pytest.raises(BackendUnavailable, match=r"no NVIDIA driver|NVIDIA driver says") as caught:
        load(spec.path, "tensorrt")
    assert "\n" not in str(caught.value)


@without_gpu
def test_auto_says_why_there_is_no_tensorrt() -> None:
    name, why = choose()
    assert name in ("openvino", "onnxruntime")
    assert "no TensorRT: " in why


def test_bfloat16_is_refused_with_another_way(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinemacolor.engine.tensorrt.backend.find_gpu", lambda index: GPU)
    with pytest.raises(BackendUnavailable, match="not bf16: use --precision fp16"):
        find_plan(spec, precision="bf16")


@without_gpu
def test_a_precision_that_was_asked_for_is_kept_on_the_processor(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """auto may take another backend than TensorRT, but never another arithmetic in silence."""
    monkeypatch.setattr(
        "kinemacolor.engine.load.choose", lambda device: ("tensorrt", "a GPU that is not there")
    )
    backend = load(spec.path, precision="fp32")
    assert backend.precision == "fp32"
    assert "no TensorRT: no NVIDIA driver" in caplog.text
    backend.close()


@pytest.mark.needs_gpu
def test_on_a_gpu_the_colours_are_those_of_the_processor(
    spec: ModelSpec, reference: OnnxRuntimeBackend, tmp_path: Path
) -> None:
    backend = open_plan(find_plan(spec, cache=PlanCache(tmp_path / "plans")))
    L = pictures(11, 128, 128)
    for _ in range(3):
        np.testing.assert_allclose(backend(L), reference(L), atol=0.2)  # FP16: 11 bits of 100
    backend.close()
