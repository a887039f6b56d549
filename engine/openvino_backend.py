"""Runs a model in OpenVINO: the fastest on x86-64 CPUs, in bfloat16 where the CPU has it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from kinemacolor.engine.backend import Backend, Background
from kinemacolor.engine.errors import BackendUnavailable, BadModel
from kinemacolor.engine.inputs import Inputs
from kinemacolor.engine.spec import ModelSpec
from numpy.typing import NDArray

# Importing openvino reports the import to its makers, over the network and on a thread that
# lives as long as the process. Nobody asked for that: without the reporter it uses its stub.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
import openvino as ov  # noqa: E402

SIZES = 2  # that keep a compiled model of their own; a live picture has two, whole and rough
_PRECISIONS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


def abilities() -> str:
    """Returns the precision that OpenVINO computes in on this machine, in words."""
    can = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    precision = "bf16" if "BF16" in can else "fp32 (this CPU has no bf16)"
    return f"{ov.__version__.split('-')[0]}, {precision}"


@dataclass(eq=False)
class Compiled:
    """A model ready to run, and its infer requests that are not in use."""

    model: ov.CompiledModel
    idle: list[ov.InferRequest] = field(default_factory=list)


class OpenVINOBackend(Backend):
    """Backend over a compiled model and a few infer requests that overlap.

    OpenVINO (2026.4) takes other sizes for the size of a run that was cancelled, and answers in
    wrong shapes or not at all. So a compiled model of which a run was cancelled goes on with that
    size alone, and other sizes get a compiled model of their own.
    """

    name = "openvino"
    takes_any_size = in_background = True

    def __init__(
        self,
        spec: ModelSpec,
        *,
        precision: str = "auto",
        batch: int | None = None,
        threads: int | None = None,
    ) -> None:
        core = ov.Core()
        can = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "auto":
            precision = "bf16" if "BF16" in can else "fp32"
        elif precision != "fp32" and precision.upper() not in can:
            raise BackendUnavailable(
                f"this CPU has no {precision} arithmetic for OpenVINO: use --precision fp32"
            )
        self.spec = spec
        self.precision = "int8" if spec.quantization else precision
        config: dict[str, object] = {
            "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
            # Several requests on one thread each beat one request on all threads: a small
            # network's layers are too short to share. One that is alone wants them all.
            "PERFORMANCE_HINT": "LATENCY" if batch == 1 else "THROUGHPUT",
        }
        if threads:
            config["INFERENCE_NUM_THREADS"] = threads
        self._core, self._config = core, config
        # By what is wanted: outputs that nobody asks for are not even computed.
        self._any: dict[bool, Compiled] = {False: self._compile(features=False)}  # takes every size
        self._of_one_size: dict[tuple[bool, tuple[int, ...]], Compiled] = {}  # and the shape of L
        cpu = core.get_property("CPU", "FULL_DEVICE_NAME").strip()
        version = ov.__version__.split("-")[0]
        words = f"int8 and {precision}" if spec.quantization else precision
        self.description = f"OpenVINO {version}, {words}, {cpu}"

    @property
    def gives_features(self) -> bool:
        return self.spec.features is not None

    def submit(self, inputs: Inputs) -> OpenVINOPending:
        wanted = inputs.features
        compiled = self._of_one_size.get((wanted, inputs.L.shape)) or self._any.get(wanted)
        if compiled is None:
            compiled = self._any[wanted] = self._compile(features=wanted)
        idle = compiled.idle
        request = idle.pop() if idle else compiled.model.create_infer_request()
        request.start_async(inputs.tensors, share_inputs=True)
        return OpenVINOPending(request, inputs, compiled, self._cancelled)

    def close(self) -> None:
        self._any.clear()
        self._of_one_size.clear()

    def _compile(self, *, features: bool) -> Compiled:
        try:
            model = self._core.read_model(self.spec.path)
            if not features:
                for result in model.get_results():
                    if "features" in result.input_value(0).get_names():
                        model.remove_result(result)
            return Compiled(self._core.compile_model(model, "CPU", self._config))
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise BadModel(f"OpenVINO cannot run {self.spec.path}: {reason}") from error

    def _cancelled(self, compiled: Compiled, inputs: Inputs) -> None:
        if compiled is self._any.get(inputs.features):
            del self._any[inputs.features]
            if len(self._of_one_size) == SIZES:
                del self._of_one_size[next(iter(self._of_one_size))]
            self._of_one_size[inputs.features, inputs.L.shape] = compiled


class OpenVINOPending(Background):
    """One infer request under way. It may be used again once its result is read."""

    features: NDArray[np.float16] | None = None

    def __init__(
        self,
        request: ov.InferRequest,
        inputs: Inputs,
        compiled: Compiled,
        cancelled: Callable[[Compiled, Inputs], None],
    ) -> None:
        self._request = request
        self._inputs = inputs  # shared with the request, so they must live as long
        self._compiled = compiled
        self._cancelled = cancelled

    def result(self) -> NDArray[np.float32]:
        self._request.wait()
        ab = self._request.get_tensor("ab").data.copy()
        if self._inputs.features:
            self.features = self._request.get_tensor("features").data.copy()
        self._compiled.idle.append(self._request)
        return ab

    def done(self) -> bool:
        return self._request.wait_for(0)

    def cancel(self) -> None:
        self._request.cancel()
        with suppress(RuntimeError):  # that it was cancelled
            self._request.wait()
        self._compiled.idle.append(self._request)
        self._cancelled(self._compiled, self._inputs)
