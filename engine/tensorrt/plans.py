"""The plan for a model on this machine: from the cache, or built once and kept there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

from kinemacolor.engine.cuda.device import PyCudaDevice
from kinemacolor.engine.cuda.driver import Gpu, use_blocking_sync
from kinemacolor.engine.graphs import fp16, int8
from kinemacolor.engine.spec import ModelSpec
from kinemacolor.engine.tensorrt.build import (
    OPTIMIZATION_LEVEL,
    EnginePrecision,
    OnProgress,
    Profile,
    build_plan,
    graph_for,
    is_rtx,
    module_name,
    needs_own_plan,
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
    """Makes a GPU the thread's current one: TensorRT tunes on that one, by default the first."""
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
