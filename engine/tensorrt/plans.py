"""The plan for a model on this machine: from the cache, or built once and kept there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType

from kinemacolor.engine.cuda.device import PyCudaDevice
from kinemacolor.engine.cuda.driver import Gpu, use_blocking_sync
from kinemacolor.engine.graphs import fp16, int8
from kinemacolor.engine.spec import ModelSpec
from kinemacolor.engine.tensorrt import build
from kinemacolor.engine.tensorrt.cache import PlanCache, PlanKey, file_sha256

log = logging.getLogger(__name__)

LARGEST_BATCH = 8
_CONVERSIONS = {"fp16": fp16.CONVERSION, "fp32": "none", "int8": int8.CONVERSION}


@dataclass(frozen=True)
class Plan:
    """All that is needed to find or build the engine of a model: made ahead, on any thread."""

    trt: ModuleType
    gpu: Gpu | None  # only TensorRT for RTX builds without one
    spec: ModelSpec
    precision: build.EnginePrecision  # see `precision_for`
    profile: build.Profile
    cache: PlanCache

    @cached_property
    def key(self) -> PlanKey:
        """What the plan depends on. A plan of TensorRT for RTX is finished on the GPU it meets."""
        gpu = self.gpu
        if gpu is not None and build.is_rtx(self.trt) and not build.needs_own_plan(self.trt, gpu):
            gpu = None  # portable
        return PlanKey(
            model=self.spec.name,
            model_sha256=file_sha256(self.spec.path),
            conversion=_CONVERSIONS[self.precision],
            precision=self.precision,
            module=self.trt.__name__,
            module_version=self.trt.__version__,
            gpu="portable" if gpu is None else gpu.name,
            compute_capability="8.0 and later"
            if gpu is None
            else ".".join(map(str, gpu.compute_capability)),
            profile=str(self.profile),
            flags=f"strongly typed, no TF32, optimization level {build.OPTIMIZATION_LEVEL}",
        )

    def is_built(self) -> bool:
        """Whether the cache has the plan."""
        return self.cache.find(self.key).plan is not None

    def load_or_build(
        self, on_progress: build.OnProgress | None = None, on_wait: Callable[[], None] | None = None
    ) -> bytes:
        """Returns the plan's bytes. Of several processes that want it at once, one builds it.

        Args:
            on_progress, on_wait: called while this or another process builds; may raise to give up.

        Raises BadModel or BuildFailed.
        """
        cache, key = self.cache, self.key
        found = cache.find(key)
        if found.plan is not None:
            log.info("engine: %s, %s", cache.path(key), found.reason)
            return found.plan
        with cache.lock(key, on_wait):
            again = cache.find(key)
            if again.plan is not None:
                log.info("engine: %s, %s by another process", cache.path(key), again.reason)
                return again.plan
            return self._build(again.reason, on_progress)

    def _build(self, reason: str, on_progress: build.OnProgress | None) -> bytes:
        """Builds the plan, and stores it with what the build measured."""
        trt, cache, key = self.trt, self.cache, self.key
        words = self.precision, self.spec.name, build.module_name(trt), reason
        log.info("building a %s engine of %s with %s (%s)", *words)
        graph = build.graph_for(self.spec, self.precision)
        with _on_gpu(trt, self.gpu):
            built = build.build_plan(
                trt,
                graph,
                self.profile,
                gpu=self.gpu,
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


def plan_for(
    trt: ModuleType, gpu: Gpu | None, spec: ModelSpec, precision: str, cache: PlanCache | None
) -> Plan:
    """Returns the plan of a model in its own sizes, for batches of up to LARGEST_BATCH.

    Args:
        precision: that was asked for: "fp16", "fp32" or "auto".
        cache: default: the user's.
    """
    profile = build.profile_for(spec, batch=LARGEST_BATCH)
    return Plan(trt, gpu, spec, build.precision_for(spec, precision), profile, cache or PlanCache())


@contextmanager
def _on_gpu(trt: ModuleType, gpu: Gpu | None) -> Iterator[None]:
    """Makes a GPU the thread's current one: TensorRT tunes on that one, by default the first."""
    if gpu is None or build.is_rtx(trt):
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
