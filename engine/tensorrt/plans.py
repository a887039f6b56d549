"""The plan for a model on this machine: from the cache, or built once and kept there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import onnx
from kinemacolor.engine.cuda.device import PyCudaDevice
from kinemacolor.engine.cuda.driver import Gpu, NoGpu, find_gpu, use_blocking_sync
from kinemacolor.engine.errors import BackendUnavailable
from kinemacolor.engine.graphs import fp16, int8
from kinemacolor.engine.graphs.color_error import (
    MEAN_LIMIT,
    ColorError,
    color_error,
    sample_pictures,
)
from kinemacolor.engine.spec import ModelSpec
from kinemacolor.engine.tensorrt.build import (
    OPTIMIZATION_LEVEL,
    EnginePrecision,
    OnProgress,
    Profile,
    build_plan,
    graph_for,
    is_rtx,
    load_tensorrt,
    module_name,
    needs_own_plan,
    precision_for,
    profile_for,
)
from kinemacolor.engine.tensorrt.cache import PlanCache, PlanKey, file_sha256

log = logging.getLogger(__name__)

LARGEST_BATCH = 8
_CONVERSIONS = {"fp16": fp16.CONVERSION, "fp32": "none", "int8": int8.CONVERSION}


def plan_key(
    trt: ModuleType,
    spec: ModelSpec,
    gpu: Gpu | None,
    *,
    precision: EnginePrecision,
    profile: Profile,
) -> PlanKey:
    """What the plan depends on. A plan of TensorRT for RTX is finished on the GPU that loads it.

    Args:
        gpu: only TensorRT for RTX builds without one.
    """
    portable = gpu is None or (is_rtx(trt) and not needs_own_plan(trt, gpu))
    return PlanKey(
        model=spec.name,
        model_sha256=file_sha256(spec.path),
        conversion=_CONVERSIONS[precision],
        precision=precision,
        module=trt.__name__,
        module_version=trt.__version__,
        gpu="portable" if portable or gpu is None else gpu.name,
        compute_capability="8.0 and later"
        if portable or gpu is None
        else ".".join(map(str, gpu.compute_capability)),
        profile=str(profile),
        flags=f"strongly typed, no TF32, optimization level {OPTIMIZATION_LEVEL}",
    )


def load_or_build(
    trt: ModuleType,
    spec: ModelSpec,
    key: PlanKey,
    profile: Profile,
    cache: PlanCache,
    *,
    gpu: Gpu | None = None,
    on_progress: OnProgress | None = None,
    on_wait: Callable[[], None] | None = None,
) -> bytes:
    """Returns the plan for a key. Of several processes that want it at once, one builds it.

    Args:
        gpu: to build on; TensorRT for RTX needs none.
        on_progress, on_wait: called while this or another process builds; may raise to give up.

    Raises BadModel or BuildFailed.
    """
    found = cache.find(key)
    if found.plan is not None:
        log.info("engine: %s, %s", cache.path(key), found.reason)
        return found.plan
    with cache.lock(key, on_wait):
        again = cache.find(key)
        if again.plan is not None:
            log.info("engine: %s, %s by another process", cache.path(key), again.reason)
            return again.plan
        log.info(
            "building a %s engine of %s with %s (%s)",
            key.precision,
            spec.name,
            module_name(trt),
            again.reason,
        )
        graph = graph_for(spec, key.precision)
        with _on_gpu(trt, gpu):
            built = build_plan(
                trt,
                graph,
                profile,
                gpu=gpu,
                timing_cache=cache.timings(key),
                on_progress=on_progress,
            )
        path = cache.store(
            key,
            built.plan,
            seconds=round(built.seconds, 2),
            tensors={name: [kind, list(shape)] for name, (kind, shape) in built.tensors.items()},
        )
        if built.timing_cache is not None:
            cache.store_timings(key, built.timing_cache)
    log.info("built in %.1f s: %s", built.seconds, path)
    return built.plan


@contextmanager
def _on_gpu(trt: ModuleType, gpu: Gpu | None) -> Iterator[None]:
    """TensorRT tunes on the thread's current GPU, which is the first unless somebody says so."""
    if gpu is None or is_rtx(trt):
        yield
        return
    if gpu.index == 0:
        use_blocking_sync()  # TensorRT makes the primary context, with flags of its own
        yield
        return
    device = PyCudaDevice(gpu.index)
    try:
        with device.current():
            yield
    finally:
        device.close()


def measure_fp16(spec: ModelSpec) -> ColorError:
    """What FP16 costs this model in colour, on the packaged photographs."""
    model = onnx.load(str(spec.path))
    pictures = sample_pictures(spec.height, spec.width)
    return color_error(model, graph_for(spec, "fp16"), pictures)


@dataclass(frozen=True)
class Prepared:
    """What `kinemacolor models build` has to tell."""

    path: Path
    module: str  # "tensorrt_rtx 1.7.1.116"
    target: str  # the GPU, or "every GPU of TensorRT for RTX, Ampere and later"
    profile: Profile
    reason: str  # why it was built, or since when it has been there
    was_built: bool
    precision: EnginePrecision
    cost: str  # what that precision costs in colour; empty for fp32


def prepare(
    spec: ModelSpec,
    *,
    precision: EnginePrecision = "fp16",
    device: int = 0,
    again: bool = False,
    cache: PlanCache | None = None,
    on_progress: OnProgress | None = None,
) -> Prepared:
    """Builds the engine of a model ahead of time. Without a GPU, TensorRT for RTX still does.

    Args:
        precision: of a float model; one in INT8 stays so.
        again: build it even if it is there.

    Raises BackendUnavailable, BadModel or BuildFailed.
    """
    cache = cache or PlanCache()
    gpu: Gpu | None = None
    try:
        gpu = find_gpu(device)
        trt = load_tensorrt()
    except NoGpu as error:
        try:
            trt = load_tensorrt(["tensorrt_rtx"])
        except BackendUnavailable as missing:
            raise BackendUnavailable(
                f"{error}. TensorRT for RTX builds without a GPU: pip install tensorrt-rtx"
            ) from missing
    precision = precision_for(spec, precision)
    profile = profile_for(spec, batch=LARGEST_BATCH)
    key = plan_key(trt, spec, gpu, precision=precision, profile=profile)
    if again:
        cache.discard(key)
    found = cache.find(key)
    load_or_build(trt, spec, key, profile, cache, gpu=gpu, on_progress=on_progress)
    cost = ""
    if precision == "int8":
        cost = f"{spec.quantization} (as the file is; TensorRT's signed codes are a bit coarser)"
    elif precision == "fp16":
        measured = measure_fp16(spec)
        cost = str(measured)
        if measured.mean > MEAN_LIMIT:
            log.warning("FP16 shows in the colours of %s: use --precision fp32", spec.name)
    return Prepared(
        path=cache.path(key),
        module=module_name(trt),
        target="every GPU of TensorRT for RTX, Ampere and later"
        if key.gpu == "portable"
        else str(gpu),
        profile=profile,
        reason="asked for again" if again else found.reason,
        was_built=found.plan is None,
        precision=precision,
        cost=cost,
    )
