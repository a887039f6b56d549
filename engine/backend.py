"""The object that runs a model: what it takes, what it gives, and what it can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from kinemacolor.engine.inputs import Inputs

if TYPE_CHECKING:  # the names below are read by the command line, which has to start at once
    import numpy as np
    from kinemacolor.engine.spec import ModelSpec
    from numpy.typing import NDArray

BackendName = Literal["auto", "tensorrt", "openvino", "onnxruntime"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


class Pending(Protocol):
    """A batch on its way through the network."""

    @property
    def features(self) -> NDArray[np.float16] | None:
        """(N, C, H/8, W/8), once the result is read, where the inputs asked for it; else None."""
        return None

    def result(self) -> NDArray[np.float32]:
        """Waits, and returns ab: (N, 2, h, w) float32, CIELAB units. The caller owns it."""


class Background(Pending, Protocol):
    """A batch that the caller may look after from time to time; see `Backend.in_background`."""

    def done(self) -> bool:
        """Whether `result` would return at once."""

    def cancel(self) -> None:
        """Ends the batch soon, finished or not; its result cannot be read any more."""


class Backend(Protocol):
    """Runs one model. Use it from one thread; close it there."""

    name: str  # "openvino"
    description: str  # "OpenVINO 2026.4, bf16, Intel Xeon"
    precision: str  # "fp32", "bf16", "fp16" or "int8": what it really computes in
    spec: ModelSpec

    @property
    def overlap(self) -> int:
        """The least number of pictures that should be under way; 0 where any number is right."""
        return 0

    @property
    def in_background(self) -> bool:
        """Whether every batch that `submit` returns is a `Background`."""
        return False

    @property
    def takes_any_size(self) -> bool:
        """Whether the backend goes from one picture size to another without preparation."""
        return False

    @property
    def gives_features(self) -> bool:
        """Whether inputs may ask for the model's output `features`."""
        return False

    def __call__(self, L: NDArray[np.float32]) -> NDArray[np.float32]:
        """L: (N, 1, H, W) float32, 0..100. Returns ab: (N, 2, h, w) float32, CIELAB units."""
        return self.submit(Inputs(L)).result()

    def submit(self, inputs: Inputs) -> Pending:
        """Starts a batch and returns at once."""

    def close(self) -> None:
        """Frees what the backend holds; no batch of it can be read afterwards."""
