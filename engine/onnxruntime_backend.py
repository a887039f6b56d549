"""Runs a model in ONNX Runtime: everywhere, on its CPU, CoreML, DirectML or CUDA provider."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime as ort
from kinemacolor.engine.backend import Backend, Background
from kinemacolor.engine.errors import BackendUnavailable, BadModel
from kinemacolor.engine.inputs import Inputs
from kinemacolor.engine.spec import ModelSpec
from numpy.typing import NDArray

_WANTED = [f"{kind}ExecutionProvider" for kind in ("CUDA", "CoreML", "Dml", "CPU")]


def abilities() -> str:
    """Returns what ONNX Runtime computes on here, in words."""
    providers = [p.removesuffix("ExecutionProvider") for p in ort.get_available_providers()]
    return f"{ort.__version__}, {', '.join(providers)}"


class OnnxRuntimeBackend(Backend):
    """Backend over an `onnxruntime.InferenceSession`; float32, and INT8 where a model has it."""

    name = "onnxruntime"
    takes_any_size = in_background = True

    def __init__(self, spec: ModelSpec, *, precision: str = "auto", threads: int | None = None):
        if precision not in ("auto", "fp32"):
            raise BackendUnavailable(
                f"ONNX Runtime computes in fp32 here, not {precision}: "
                "use --precision fp32, or --backend openvino for bf16"
            )
        self.spec = spec
        self.precision = "int8" if spec.quantization else "fp32"
        options = ort.SessionOptions()
        options.log_severity_level = 3  # errors; warnings speak of graph internals
        if threads:
            options.intra_op_num_threads = threads
        available = ort.get_available_providers()
        providers = [name for name in _WANTED if name in available]
        try:
            self._session = ort.InferenceSession(str(spec.path), options, providers=providers)
        except Exception as error:  # onnxruntime's classes share no base but Exception
            raise BadModel(f"ONNX Runtime cannot run {spec.path}: {error}") from error
        words = "int8 and fp32" if spec.quantization else "fp32"
        used = self._session.get_providers()[0].removesuffix("ExecutionProvider")
        self.description = f"ONNX Runtime {ort.__version__} {used}, {words}"
        # One worker: `run` releases the interpreter lock, and frames stay in order.
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="onnxruntime")

    @property
    def gives_features(self) -> bool:
        return self.spec.features is not None

    def submit(self, inputs: Inputs) -> OnnxRuntimePending:
        return OnnxRuntimePending(self._session, inputs, self._worker)

    def close(self) -> None:
        self._worker.shutdown()


class OnnxRuntimePending(Background):
    """One run of a session, on its worker thread."""

    features: NDArray[np.float16] | None = None

    def __init__(
        self, session: ort.InferenceSession, inputs: Inputs, worker: ThreadPoolExecutor
    ) -> None:
        self._options = ort.RunOptions()
        self._future: Future[list[NDArray[Any]]] = worker.submit(
            session.run, inputs.outputs, inputs.tensors, self._options
        )

    def result(self) -> NDArray[np.float32]:
        ab, *more = self._future.result()
        if more:
            (self.features,) = more
        return ab

    def done(self) -> bool:
        return self._future.done()

    def cancel(self) -> None:
        self._options.terminate = True
        self._future.cancel()
