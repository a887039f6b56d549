"""Builds the engine of a model ahead of time, and measures what its precision costs in colour."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import onnx
from kinemacolor.engine.cuda.driver import Gpu, NoGpu, find_gpu
from kinemacolor.engine.errors import BackendUnavailable
from kinemacolor.engine.graphs.color_error import (
    MEAN_LIMIT,
    ColorError,
    color_error,
    sample_pictures,
)
from kinemacolor.engine.graphs.features import without_features
from kinemacolor.engine.spec import ModelSpec
from kinemacolor.engine.tensorrt import build
from kinemacolor.engine.tensorrt.cache import PlanCache
from kinemacolor.engine.tensorrt.plans import plan_for

log = logging.getLogger(__name__)


def measure_fp16(spec: ModelSpec) -> ColorError:
    """What FP16 costs this model in colour, on the packaged photographs."""
    model = without_features(onnx.load(str(spec.path)))
    pictures = sample_pictures(spec.height, spec.width)
    return color_error(model, build.graph_for(spec, "fp16"), pictures)


@dataclass(frozen=True)
class Prepared:
    """What `kinemacolor models build` has to tell."""

    path: Path
    module: str  # "tensorrt_rtx 1.7.1.116"
    target: str  # the GPU, or "every GPU of TensorRT for RTX, Ampere and later"
    profile: build.Profile
    reason: str  # why it was built, or since when it has been there
    was_built: bool
    precision: build.EnginePrecision
    cost: str  # what that precision costs in colour; empty for fp32


def prepare(
    spec: ModelSpec,
    *,
    precision: build.EnginePrecision = "fp16",
    device: int = 0,
    again: bool = False,
    cache: PlanCache | None = None,
    on_progress: build.OnProgress | None = None,
) -> Prepared:
    """Builds the engine of a model ahead of time. Without a GPU, TensorRT for RTX still does.

    Args:
        precision: of a float model; one in INT8 stays so.
        again: build it even if it is there.

    Raises BackendUnavailable, BadModel or BuildFailed.
    """
    gpu: Gpu | None = None
    try:
        gpu = find_gpu(device)
        trt = build.load_tensorrt()
    except NoGpu as error:
        try:
            trt = build.load_tensorrt(["tensorrt_rtx"])
        except BackendUnavailable as missing:
            raise BackendUnavailable(
                f"{error}. TensorRT for RTX builds without a GPU: pip install tensorrt-rtx"
            ) from missing
    plan = plan_for(trt, gpu, spec, precision, cache)
    cache = plan.cache
    if again:
        cache.discard(plan.key)
    found = cache.find(plan.key)
    plan.load_or_build(on_progress)
    cost = ""
    if plan.precision == "int8":
        cost = f"{spec.quantization} (as the file is; TensorRT's signed codes are a bit coarser)"
    elif plan.precision == "fp16":
        measured = measure_fp16(spec)
        cost = str(measured)
        if measured.mean > MEAN_LIMIT:
            log.warning("FP16 shows in the colours of %s: use --precision fp32", spec.name)
    return Prepared(
        path=cache.path(plan.key),
        module=build.module_name(trt),
        target="every GPU of TensorRT for RTX, Ampere and later"
        if plan.key.gpu == "portable"
        else str(gpu),
        profile=plan.profile,
        reason="asked for again" if again else found.reason,
        was_built=found.plan is None,
        precision=plan.precision,
        cost=cost,
    )
