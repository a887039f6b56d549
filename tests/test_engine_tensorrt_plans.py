"""From a model file to its plan and back, with plans that TensorRT for RTX really builds."""

from __future__ import annotations

import ctypes
import json
import logging
import multiprocessing
from pathlib import Path
from types import ModuleType

import onnx
import pytest
from kinemacolor.engine.cuda.driver import Gpu, use_blocking_sync
from kinemacolor.engine.errors import BackendUnavailable
from kinemacolor.engine.spec import ModelSpec, read_spec
from kinemacolor.engine.tensorrt.build import BuildProgress, Profile
from kinemacolor.engine.tensorrt.cache import PlanCache
from kinemacolor.engine.tensorrt.plans import Plan, _on_gpu
from kinemacolor.engine.tensorrt.prepare import measure_fp16, prepare

from tests.fake_driver import driver, ffmpeg_takes
from tests.networks import annealed_model

GPU = Gpu(0, "NVIDIA H200", (9, 0), 141 << 30, (13, 0))
PROFILE = Profile()


@pytest.fixture(scope="module")
def trt() -> ModuleType:
    return pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx builds real plans")


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    path = tmp_path / "tiny.onnx"
    onnx.save(annealed_model(), str(path))
    return read_spec(path)


def plan(trt: ModuleType, spec: ModelSpec, cache: PlanCache) -> bytes:
    return Plan(trt, GPU, spec, "fp16", PROFILE, cache).load_or_build()


def test_a_plan_is_built_once_and_then_read(
    trt: ModuleType, spec: ModelSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    cache = PlanCache(tmp_path / "plans")
    first = plan(trt, spec, cache)
    assert "building a fp16 engine of tiny" in caplog.text
    assert "none has been built yet" in caplog.text
    caplog.clear()
    assert plan(trt, spec, cache) == first
    assert "building" not in caplog.text


def test_a_changed_model_is_built_again_and_the_message_says_so(
    trt: ModuleType, spec: ModelSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    cache = PlanCache(tmp_path / "plans")
    first = plan(trt, spec, cache)
    onnx.save(annealed_model(seed=1), str(spec.path))
    second = plan(trt, spec, cache)
    assert second != first
    assert "the model file changed" in caplog.text


def test_a_damaged_plan_is_built_again(
    trt: ModuleType, spec: ModelSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    cache = PlanCache(tmp_path / "plans")
    first = plan(trt, spec, cache)
    file = next(cache.folder.glob("*.plan"))
    file.write_bytes(first[:100])
    assert len(plan(trt, spec, cache)) == len(first)
    assert f"the plan has 100 bytes of {len(first)}" in caplog.text


def test_the_sidecar_tells_types_and_shapes(
    trt: ModuleType, spec: ModelSpec, tmp_path: Path
) -> None:
    cache = PlanCache(tmp_path / "plans")
    plan(trt, spec, cache)
    words = json.loads(next(cache.folder.glob("*.json")).read_text())
    assert words["tensors"]["L"] == ["float", [-1, 1, -1, -1]]
    assert words["made from"]["module"] == "tensorrt_rtx"
    assert words["made from"]["gpu"] == "portable"


def test_a_plan_of_full_tensorrt_is_tied_to_the_gpu(spec: ModelSpec) -> None:
    class FullTensorRT:  # its name and version are all that a key asks for
        __name__ = "tensorrt"
        __version__ = "11.4.0.106"

    key = Plan(FullTensorRT(), GPU, spec, "fp32", PROFILE, PlanCache(spec.path.parent)).key  # type: ignore[arg-type]
    assert (key.gpu, key.compute_capability, key.conversion) == ("NVIDIA H200", "9.0", "none")


def test_turing_gets_a_plan_of_its_own(trt: ModuleType, spec: ModelSpec, tmp_path: Path) -> None:
    """Portable plans of TensorRT for RTX are for Ampere and later."""
    turing = Gpu(0, "NVIDIA T4", (7, 5), 16 << 30, (13, 0))
    cache = PlanCache(tmp_path / "plans")
    own = Plan(trt, turing, spec, "fp16", PROFILE, cache)
    assert (own.key.gpu, own.key.compute_capability) == ("NVIDIA T4", "7.5")
    assert own.load_or_build() != plan(trt, spec, cache)
    assert len(list(cache.folder.glob("*.plan"))) == 2


def test_older_gpus_are_refused_in_words(trt: ModuleType, spec: ModelSpec, tmp_path: Path) -> None:
    pascal = Gpu(0, "GTX 1080", (6, 1), 8 << 30, (12, 0))
    own = Plan(trt, pascal, spec, "fp16", PROFILE, PlanCache(tmp_path / "plans"))
    with pytest.raises(BackendUnavailable, match=r"does not support GTX 1080, .* 6\.1"):
        own.load_or_build()


def test_the_cost_of_fp16_is_measured_on_photographs(spec: ModelSpec) -> None:
    error = measure_fp16(spec)
    assert error.pictures == 4
    assert 0 < error.mean < 1
    assert str(error).startswith("FP16 against FP32 on 4 pictures: CIEDE2000 mean 0.")


def build_beside_another(model: Path, folder: Path, told: multiprocessing.Queue[str]) -> None:
    import tensorrt_rtx

    class Tell(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.put(record.getMessage())

    logging.getLogger("kinemacolor.engine").addHandler(Tell())
    logging.getLogger("kinemacolor.engine").setLevel(logging.INFO)
    plan(tensorrt_rtx, read_spec(model), PlanCache(folder))


def test_two_processes_that_want_an_engine_build_it_once(
    trt: ModuleType, spec: ModelSpec, tmp_path: Path
) -> None:
    spawn = multiprocessing.get_context("spawn")
    told: multiprocessing.Queue[str] = spawn.Queue()
    arguments = (spec.path, tmp_path / "plans", told)
    processes = [spawn.Process(target=build_beside_another, args=arguments) for _ in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    said = []
    while not told.empty():
        said.append(told.get())
    assert sum(line.startswith("building a fp16 engine") for line in said) == 1
    assert sum(line.startswith("engine: ") for line in said) == 1
    told.close()
    told.join_thread()


def test_an_engine_is_prepared_ahead_of_time_and_once(
    trt: ModuleType, spec: ModelSpec, tmp_path: Path
) -> None:
    """What `kinemacolor models build` does; here on whatever this machine has."""
    cache, told = PlanCache(tmp_path / "plans"), list[BuildProgress]()
    first = prepare(spec, cache=cache, on_progress=told.append)
    assert first.was_built
    assert first.reason == "none has been built yet"
    assert first.path.is_file()
    assert told[-1].fraction == 1.0
    assert first.cost.startswith("FP16 against FP32")
    second = prepare(spec, cache=cache)
    assert not second.was_built
    assert second.reason.startswith("built 2")
    assert prepare(spec, cache=cache, again=True).was_built
    single = prepare(spec, precision="fp32", cache=cache)
    assert single.path != first.path
    assert single.cost == ""


def test_tensorrt_builds_on_a_context_that_ffmpeg_can_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT makes the first GPU's primary context itself: its flags are set before."""
    library = driver(tmp_path)
    monkeypatch.setattr(
        "kinemacolor.engine.tensorrt.plans.use_blocking_sync",
        lambda: use_blocking_sync(library=library),
    )
    context = ctypes.c_void_p()
    with _on_gpu(ModuleType("tensorrt"), Gpu(0, "Stand-in", (9, 0), 1 << 30, (13, 0))):
        ctypes.CDLL(library).cuDevicePrimaryCtxRetain(ctypes.byref(context), 0)
    assert ffmpeg_takes(library)
