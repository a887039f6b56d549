"""Runs a model in OpenVINO: the fastest on x86-64 CPUs, in bfloat16 where the CPU has it."""

from __future__ import annotations

import sys
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from engine.errors import BackendUnavailable, BadModel
from engine.spec import ModelSpec

# Importing openvino reports the import to its makers, over the network and on a thread that
# lives as long as the process. Nobody asked for that: without the reporter it uses its stub.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
import openvino as ov  # noqa: E402

_PRECISIONS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


def abilities() -> str:
    """What it computes in on this machine, in words."""
    can = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    precision = "bf16" if "BF16" in can else "fp32 (this CPU has no bf16)"
    return f"{ov.__version__.split('-')[0]}, {precision}"


class OpenVINOBackend:
    """Backend over one compiled model and a few infer requests that overlap."""

    name = "openvino"
    takes_any_size = True  # and goes from one to another without preparation
    in_background = True  # see `engine.backend.Background`

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
        try:
            self._compiled = core.compile_model(core.read_model(spec.path), "CPU", config)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise BadModel(f"OpenVINO cannot run {spec.path}: {reason}") from error
        self._idle: list[ov.InferRequest] = []
        cpu = core.get_property("CPU", "FULL_DEVICE_NAME").strip()
        version = ov.__version__.split("-")[0]
        words = f"int8 and {precision}" if spec.quantization else precision
        self.description = f"OpenVINO {version}, {words}, {cpu}"

    def __call__(self, L: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.submit(L).result()

    def submit(self, L: NDArray[np.float32]) -> OpenVINOPending:
        request = self._idle.pop() if self._idle else self._compiled.create_infer_request()
        request.start_async({"L": L}, share_inputs=True)
        return OpenVINOPending(request, L, self._idle)

    def close(self) -> None:
        self._idle.clear()


class OpenVINOPending:
    """One infer request under way; its request goes back to `idle` when the result is read."""

    def __init__(self, request: ov.InferRequest, L: NDArray[np.float32], idle: list) -> None:
        self._request = request
        self._L = L  # shared with the request, so it must live as long
        self._idle = idle

    def result(self) -> NDArray[np.float32]:
        self._request.wait()
        ab = self._request.get_tensor("ab").data.copy()
        self._idle.append(self._request)
        return ab

    def done(self) -> bool:
        return self._request.wait_for(0)

    def cancel(self) -> None:
        self._request.cancel()
        with suppress(RuntimeError):  # that it was cancelled
            self._request.wait()
        self._idle.append(self._request)
