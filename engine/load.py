"""The choice of what runs a model."""

from __future__ import annotations

import logging
import platform
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

from kinemacolor.engine.backend import Backend, BackendName, Precision
from kinemacolor.engine.cuda.driver import NoGpu, find_gpu
from kinemacolor.engine.spec import DEFAULT_MODEL, find_model, read_spec
from kinemacolor.engine.tensorrt.backend import FILE_BATCH, find_plan, open_plan, usable
from kinemacolor.engine.tensorrt.handover import open_beside, tell_progress

log = logging.getLogger(__name__)


def load(
    model: str | Path = DEFAULT_MODEL,
    backend: BackendName = "auto",
    precision: Precision = "auto",
    *,
    device: int = 0,
    batch: int | None = None,
    threads: int | None = None,
) -> Backend:
    """Opens a model file on the backend asked for, or on the best one this machine has.

    Args:
        device: number of the GPU, for TensorRT.
        batch: pictures that TensorRT computes together, 4 unless said otherwise. 1 answers
            soonest, on OpenVINO too; the default does most a second.
        threads: processor cores to use; default: all.

    Raises:
        ModelNotFound, BadModel: the file is missing or breaks the contract.
        BackendUnavailable: a backend asked for by name cannot run here; the text says why.
        ValueError: unknown backend or precision.
    """
    for what, name, names in (
        ("backend", backend, get_args(BackendName)),
        ("precision", precision, get_args(Precision)),
    ):
        if name not in names:
            raise ValueError(f"unknown {what} {name!r}: one of {', '.join(names)}")
    spec = read_spec(find_model(model))
    chosen, why = (backend, "asked for") if backend != "auto" else choose(device)
    log.info("backend: %s (%s)", chosen, why)
    match chosen:
        case "tensorrt" if backend == "tensorrt":
            plan = find_plan(spec, precision=precision, device=device)
            return open_plan(plan, batch=batch or FILE_BATCH, on_progress=tell_progress())
        case "tensorrt":
            on_cpu, _ = choose_cpu()
            # The processor stands in until the engine is built; it need not have fp16.
            meanwhile: Precision = "auto" if precision == "fp16" else precision
            return open_beside(
                spec,
                precision,
                lambda: load(spec.path, on_cpu, meanwhile, batch=batch, threads=threads),
                device=device,
                batch=batch or FILE_BATCH,
            )
        case "openvino":
            from kinemacolor.engine.openvino_backend import OpenVINOBackend

            return OpenVINOBackend(spec, precision=precision, batch=batch, threads=threads)
        case _:
            from kinemacolor.engine.onnxruntime_backend import OnnxRuntimeBackend

            return OnnxRuntimeBackend(spec, precision=precision, threads=threads)


def choose(device: int = 0) -> tuple[BackendName, str]:
    """Returns the best backend here and the reason in words."""
    try:
        find_gpu(device)
        good, reason = usable(device)
    except NoGpu as error:
        good, reason = False, str(error).partition(" (")[0]
    if good:
        return "tensorrt", reason
    name, why = choose_cpu()
    return name, f"{why}; no TensorRT: {reason}"


def choose_cpu() -> tuple[BackendName, str]:
    """Returns the best backend for the processor and the reason in words."""
    machine = platform.machine().lower()
    if machine not in ("x86_64", "amd64"):
        return "onnxruntime", f"OpenVINO is chosen on x86-64 only, this is {machine}"
    if find_spec("openvino") is None:
        return "onnxruntime", "OpenVINO is not installed: pip install openvino"
    return "openvino", "the fastest on an x86-64 CPU"
