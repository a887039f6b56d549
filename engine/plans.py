"""The plan for a model on this machine: from the cache, or built once and kept there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import ModuleType

import onnx

from engine.build import (
    OPTIMIZATION_LEVEL,
    EnginePrecision,
    OnProgress,
    Profile,
    build_plan,
    graph_for,
    is_rtx,
    module_name,
)
from engine.cache import PlanCache, PlanKey, file_sha256
from engine.driver import Gpu
from engine.fp16 import CONVERSION
from engine.fp16_error import ColorError, color_error, sample_pictures
from engine.spec import ModelSpec

log = logging.getLogger(__name__)


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
    portable = is_rtx(trt) or gpu is None
    return PlanKey(
        model=spec.name,
        model_sha256=file_sha256(spec.path),
        conversion=CONVERSION if precision == "fp16" else "none",
        precision=precision,
        module=trt.__name__,
        module_version=trt.__version__,
        gpu="portable" if portable or gpu is None else gpu.name,
        compute_capability="any"
        if portable or gpu is None
        else ".".join(map(str, gpu.compute_capability)),
        profile=str(profile),
        flags=f"strongly typed, optimization level {OPTIMIZATION_LEVEL}",
    )


def load_or_build(
    trt: ModuleType,
    spec: ModelSpec,
    key: PlanKey,
    profile: Profile,
    cache: PlanCache,
    *,
    on_progress: OnProgress | None = None,
    on_wait: Callable[[], None] | None = None,
) -> bytes:
    """Returns the plan for a key. Of several processes that want it at once, one builds it.

    Args:
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
        built = build_plan(
            trt,
            graph_for(spec, "fp16" if key.precision == "fp16" else "fp32"),
            profile,
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


def measure_fp16(spec: ModelSpec) -> ColorError:
    """What FP16 costs this model in colour, on the packaged photographs."""
    model = onnx.load(str(spec.path))
    pictures = sample_pictures(spec.height, spec.width)
    return color_error(model, graph_for(spec, "fp16"), pictures)
