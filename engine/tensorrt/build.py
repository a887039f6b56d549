"""Builds a TensorRT plan of an ONNX graph: with TensorRT 10.13 to 11, or TensorRT for RTX."""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import onnx
from kinemacolor.engine.cuda.driver import Gpu
from kinemacolor.engine.errors import BackendUnavailable, BadModel, EngineError
from kinemacolor.engine.graphs.features import without_features
from kinemacolor.engine.graphs.fp16 import to_fp16
from kinemacolor.engine.graphs.int8 import to_symmetric
from kinemacolor.engine.spec import ModelSpec

log = logging.getLogger(__name__)

MODULES = ("tensorrt", "tensorrt_rtx")
WORKSPACE_BYTES = 2 << 30
OPTIMIZATION_LEVEL = 3  # TensorRT's own default, of 0 to 5

PORTABLE_FROM = (8, 0)  # plans of TensorRT for RTX run on Ampere and later unless told otherwise

EnginePrecision = Literal["fp16", "fp32", "int8"]
Triple = tuple[int, int, int]  # smallest, best and largest


class BuildFailed(EngineError, RuntimeError):
    """TensorRT does not take the model; the text holds what it said."""


class BuildStopped(EngineError):
    """A build was given up because its engine is no longer wanted."""


@dataclass(frozen=True)
class Profile:
    """The shapes an engine takes: a TensorRT optimization profile for L (N, 1, H, W)."""

    batches: Triple = (1, 4, 8)
    heights: Triple = (128, 256, 512)
    widths: Triple = (128, 256, 512)

    def __str__(self) -> str:
        low, best, high = (f"{h}x{w}" for h, w in zip(self.heights, self.widths, strict=True))
        size = best if low == high else f"{low} to {high}, best at {best}"
        return f"batch {'-'.join(map(str, self.batches))}, {size}"

    @property
    def shapes(self) -> tuple[tuple[int, int, int, int], ...]:
        """Smallest, best and largest shape of L."""
        sides = zip(self.batches, self.heights, self.widths, strict=True)
        return tuple((n, 1, height, width) for n, height, width in sides)

    def takes(self, height: int, width: int) -> bool:
        """Whether pictures of this size fit."""
        return (
            self.heights[0] <= height <= self.heights[2]
            and self.widths[0] <= width <= self.widths[2]
        )


def profile_for(spec: ModelSpec, *, batch: int = 8) -> Profile:
    """Returns a model's optimization profile: its one size, or 1:4 to 4:1 of its area.

    Args:
        batch: the most pictures at once.
    """
    batches = (1, max(1, batch // 2), batch)
    if spec.fixed_size:
        return Profile(batches, (spec.height,) * 3, (spec.width,) * 3)
    unit = spec.multiple
    side = (spec.height * spec.width) ** 0.5
    low = max(unit, int(side / 2) // unit * unit)
    high = max(spec.height, spec.width, spec.height * spec.width // low // unit * unit)
    return Profile(batches, (low, spec.height, high), (low, spec.width, high))


@dataclass(frozen=True)
class BuildProgress:
    """How far a build is."""

    phase: str  # TensorRT's own name for what it is doing
    fraction: float  # 0..1, never falls
    elapsed_seconds: float

    @property
    def remaining_seconds(self) -> float | None:
        """The estimated rest; None while there is nothing to estimate from."""
        if self.fraction < 0.02:
            return None
        return self.elapsed_seconds * (1 - self.fraction) / self.fraction


OnProgress = Callable[[BuildProgress], None]


@dataclass(frozen=True)
class Built:
    """A plan, and what TensorRT made of the model's inputs and outputs."""

    plan: bytes
    tensors: dict[str, tuple[str, tuple[int, ...]]]  # name to type and shape; -1 is free
    seconds: float
    timing_cache: bytes | None = None


def load_tensorrt(names: Sequence[str] = MODULES) -> ModuleType:
    """Imports the first TensorRT module that works.

    Raises BackendUnavailable with the reason for each that does not.
    """
    tried = []
    for name in names:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            tried.append(f"{name} is not installed")
        except (ImportError, OSError) as error:
            # The wheels are bindings alone; their libraries come from NVIDIA's own index.
            tried.append(f"{name} is installed, but its libraries are not ({error})")
    raise BackendUnavailable(f'no TensorRT: {"; ".join(tried)}: pip install "kinemacolor[gpu]"')


def module_name(trt: ModuleType) -> str:
    """Returns "tensorrt 11.4.0.106", for example."""
    return f"{trt.__name__} {trt.__version__}"


def cuda_major(trt: ModuleType) -> int:
    """Returns the CUDA major version that a TensorRT package was made with; 12 if unsaid."""
    for major in (14, 13):
        try:
            importlib.metadata.distribution(f"{trt.__name__.replace('_', '-')}-cu{major}")
        except importlib.metadata.PackageNotFoundError:
            continue
        return major
    return 12


def is_rtx(trt: ModuleType) -> bool:
    """Whether plans are portable between GPUs and finished on the GPU that loads them."""
    return "rtx" in trt.__name__


def needs_own_plan(trt: ModuleType, gpu: Gpu) -> bool:
    """Whether this GPU is too old for the portable plans of TensorRT for RTX (Turing is)."""
    return is_rtx(trt) and gpu.compute_capability < PORTABLE_FROM


def graph_for(spec: ModelSpec, precision: str) -> onnx.ModelProto:
    """Returns the model's graph in the types in which TensorRT is to compute."""
    model = without_features(onnx.load(str(spec.path)))
    match precision:
        case "fp16":
            return to_fp16(model)
        case "int8":
            return to_symmetric(model)
        case _:
            return model


def precision_for(spec: ModelSpec, asked: str) -> EnginePrecision:
    """Returns what an engine of the model computes in; an INT8 model stays in INT8."""
    if spec.quantization:
        return "int8"
    return "fp32" if asked == "fp32" else "fp16"


def build_plan(
    trt: ModuleType,
    model: onnx.ModelProto,
    profile: Profile,
    *,
    gpu: Gpu | None = None,
    timing_cache: bytes | None = None,
    on_progress: OnProgress | None = None,
) -> Built:
    """Compiles a graph. TensorRT for RTX does so without a GPU; TensorRT needs one.

    Args:
        gpu: that the plan is for; None makes a portable one with TensorRT for RTX.
        timing_cache: of an earlier build by the same module on the same GPU.
        on_progress: called on this thread; what it raises stops the build and is raised here.

    Raises:
        BadModel: the ONNX parser does not take the graph.
        BuildFailed: TensorRT cannot build the engine.
    """
    begin = time.perf_counter()
    logger = make_logger(trt)
    try:
        builder = trt.Builder(logger)
    except TypeError as error:  # "factory function returned nullptr": no driver
        raise BuildFailed(f"{module_name(trt)} does not start: {logger.said(error)}") from error
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model.SerializeToString()):
        errors = [parser.get_error(i) for i in range(parser.num_errors)]
        reasons = "; ".join(f"{e.node_operator()} {e.node_name()}: {e.desc()}" for e in errors)
        raise BadModel(f"{module_name(trt)} does not take the model: {reasons}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    config.builder_optimization_level = OPTIMIZATION_LEVEL
    config.clear_flag(trt.BuilderFlag.TF32)  # what is in float32 has need of it: 11 bits are FP16
    shapes = builder.create_optimization_profile()
    shapes.set_shape("L", *profile.shapes)
    if config.add_optimization_profile(shapes) < 0:
        raise BuildFailed(f"{module_name(trt)} does not take the profile {profile}")
    if gpu is not None and needs_own_plan(trt, gpu):
        config.num_compute_capabilities = 1
        config.set_compute_capability(_capability(trt, gpu), 0)
    timings = None if is_rtx(trt) else _use_timings(config, timing_cache)
    monitor = None
    if hasattr(trt, "IProgressMonitor"):
        monitor = _monitor(trt, on_progress)
        config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    if monitor is not None and monitor.error is not None:
        raise monitor.error
    if plan is None:
        raise BuildFailed(f"{module_name(trt)} cannot build the engine: {logger.said()}")
    seconds = time.perf_counter() - begin
    if on_progress is not None:
        on_progress(BuildProgress("built", 1.0, seconds))
    ends = [network.get_input(i) for i in range(network.num_inputs)]
    ends += [network.get_output(i) for i in range(network.num_outputs)]
    return Built(
        plan=bytes(plan),
        tensors={t.name: (t.dtype.name.lower(), tuple(t.shape)) for t in ends},
        seconds=seconds,
        timing_cache=bytes(config.get_timing_cache().serialize()) if timings is not None else None,
    )


def _capability(trt: ModuleType, gpu: Gpu) -> Any:
    name = "SM{}{}".format(*gpu.compute_capability)
    try:
        return trt.ComputeCapability.__members__[name]
    except KeyError:
        raise BackendUnavailable(
            f"{module_name(trt)} does not support {gpu}: it needs 7.5 or later"
        ) from None


def _use_timings(config: Any, stored: bytes | None) -> Any:
    """Gives a build the timings of an earlier one, unless they are of another GPU or version."""
    timings = config.create_timing_cache(stored or b"")
    if timings is None or not config.set_timing_cache(timings, False):
        log.info("the stored timings are of another GPU or TensorRT: measuring anew")
        timings = config.create_timing_cache(b"")
        config.set_timing_cache(timings, False)
    return timings


def make_logger(trt: ModuleType) -> Any:
    """Returns a TensorRT logger that keeps errors for exceptions to tell, and prints nothing."""

    class Logger(trt.ILogger):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(message.strip())
            log.debug("tensorrt: %s", message)

        def said(self, default: object = "it does not say why") -> str:
            return "; ".join(self.errors[-2:]) or str(default)

    return Logger()


def _monitor(trt: ModuleType, on_progress: OnProgress | None) -> Any:
    """Returns a progress monitor that turns TensorRT's nested phases into one rising fraction."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.error: BaseException | None = None
            self._begin = time.perf_counter()
            self._fraction = 0.0
            self._phases: dict[str, list[int]] = {}  # open ones, outermost first: done, steps

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            self._phases[name] = [0, max(1, steps)]

        def step_complete(self, name: str, step: int) -> bool:
            if name in self._phases:
                self._phases[name][0] = step + 1
            return self._tell(name)

        def phase_finish(self, name: str) -> None:
            self._phases.pop(name, None)

        def _tell(self, name: str) -> bool:
            inner = 0.0
            for done, steps in reversed(self._phases.values()):
                inner = min(1.0, (done + inner) / steps)
            self._fraction = max(self._fraction, inner)
            elapsed = time.perf_counter() - self._begin
            try:
                if on_progress is not None and self.error is None:
                    on_progress(BuildProgress(name, self._fraction, elapsed))
            except BaseException as error:  # through C++ it would end the process
                self.error = error
            return self.error is None

    return Monitor()
