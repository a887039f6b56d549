"""Runs a model in TensorRT on an NVIDIA GPU, in small batches, two of them at a time.

No GPU has run this yet. Buffers and batches are tested with a stand-in runtime that executes as
late as it may, so that a missing wait gives wrong colours there, too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from kinemacolor.engine.backend import Backend, Pending
from kinemacolor.engine.cuda.device import Device, OutOfDeviceMemory, PyCudaDevice, import_pycuda
from kinemacolor.engine.cuda.driver import check_driver, find_gpu
from kinemacolor.engine.errors import BackendUnavailable
from kinemacolor.engine.inputs import Inputs
from kinemacolor.engine.spec import ModelSpec
from kinemacolor.engine.tensorrt.build import (
    MODULES,
    OnProgress,
    cuda_major,
    load_tensorrt,
    make_logger,
    module_name,
)
from kinemacolor.engine.tensorrt.cache import PlanCache
from kinemacolor.engine.tensorrt.engine import LoadedEngine, PlanRejected, Slot
from kinemacolor.engine.tensorrt.plans import Plan, plan_for
from numpy.typing import NDArray

log = logging.getLogger(__name__)

# Pictures in a batch. One launch costs the GPU about as much as several small pictures do.
FILE_BATCH = 4


class TensorRTBackend(Backend):
    """Backend over one loaded engine. Pictures of neighbouring submits share a batch.

    A batch starts when it is full, or when a result of it is asked for. With fewer than `overlap`
    pictures under way, every batch holds a single one.

    Args:
        batch: pictures in a batch; shrinks, and says so, where device memory does not suffice.
        on_close: called with the engine before it is closed.
    """

    name = "tensorrt"

    def __init__(
        self,
        spec: ModelSpec,
        engine: LoadedEngine,
        *,
        precision: str,
        description: str,
        batch: int = FILE_BATCH,
        on_close: Callable[[LoadedEngine], None] | None = None,
    ) -> None:
        self._on_close = on_close
        self.spec, self.precision, self.description = spec, precision, description
        self.engine = engine
        self._batch = max(1, min(batch, engine.largest_batch))
        self._size: tuple[int, int] | None = None  # (H, W) that the buffers are for
        self._open: Batch | None = None
        self._running: dict[int, Batch] = {}  # by the number of their slot
        self._next_slot = 0

    @property
    def overlap(self) -> int:
        """Two batches of pictures: one computes while the next fills.

        A batch of one starts at once, so that no other picture is needed.
        """
        return 2 * self._batch if self._batch > 1 else 0

    def submit(self, inputs: Inputs) -> TensorRTPending:
        L = inputs.L
        parts, done = [], 0
        while done < len(L):
            batch = self._batch_for(L.shape[2], L.shape[3])
            number = min(len(L) - done, self.engine.capacity - batch.filled)
            first = batch.filled
            batch.slot.L[first : first + number] = L[done : done + number]
            batch.filled += number
            done += number
            parts.append(Part(batch, first, number))
            if batch.filled == self.engine.capacity:
                self._start(batch)
        return TensorRTPending(self, parts)

    def close(self) -> None:
        self._open = None
        self._running.clear()
        try:
            if self._on_close is not None:
                self._on_close(self.engine)
        finally:
            self.engine.close()

    def finish(self, batch: Batch) -> NDArray[np.float32]:
        """Waits for a batch, starts it if it has not begun, and returns its ab."""
        if batch.ab is None:
            if batch is self._open:
                self._start(batch)
            self.engine.wait(batch.slot)
            batch.ab = batch.slot.ab[: batch.filled].copy()  # the slot is free for the next one
            self._running.pop(batch.number)
        return batch.ab

    def _batch_for(self, height: int, width: int) -> Batch:
        """Returns the batch that fills now, or a new one in the slot that was idle longest."""
        if self._size != (height, width):
            self._bind(height, width)
        if self._open is None:
            number = self._next_slot
            if number in self._running:
                self.finish(self._running[number])
            self._open = Batch(number, self.engine.slots[number])
            self._next_slot = (number + 1) % len(self.engine.slots)
        return self._open

    def _start(self, batch: Batch) -> None:
        self._open = None
        self._running[batch.number] = batch
        self.engine.start(batch.slot, batch.filled)

    def _bind(self, height: int, width: int) -> None:
        """Makes buffers for another size; for fewer pictures if the GPU has no room for more."""
        if self._open is not None:
            self._start(self._open)
        for batch in list(self._running.values()):
            self.finish(batch)
        self._next_slot, self._size = 0, None
        while True:
            try:
                self.engine.bind(self._batch, height, width)
            except OutOfDeviceMemory as error:
                if self._batch == 1:
                    raise BackendUnavailable(
                        f"the GPU has no memory for one {width}x{height} picture ({error}): close "
                        "what else uses it, or take --backend openvino"
                    ) from error
                smaller = self._batch // 2
                log.warning(
                    "%s: going on with batches of %d instead of %d", error, smaller, self._batch
                )
                self._batch = smaller
            else:
                self._size = (height, width)
                return


@dataclass
class Batch:
    """Pictures that run together."""

    number: int  # of its slot
    slot: Slot
    filled: int = 0
    ab: NDArray[np.float32] | None = None  # (filled, 2, h, w), when it is done


@dataclass(frozen=True)
class Part:
    """The pictures of one submit within one batch."""

    batch: Batch
    first: int
    number: int


class TensorRTPending(Pending):
    """Pictures on their way, in one batch or several."""

    def __init__(self, backend: TensorRTBackend, parts: list[Part]) -> None:
        self._backend, self._parts = backend, parts

    def result(self) -> NDArray[np.float32]:
        parts = [self._backend.finish(p.batch)[p.first : p.first + p.number] for p in self._parts]
        return np.concatenate(parts)


def find_plan(
    spec: ModelSpec,
    *,
    precision: str = "auto",
    device: int = 0,
    cache: PlanCache | None = None,
    modules: tuple[str, ...] = MODULES,
) -> Plan:
    """Examines driver, GPU and packages, in that order, and returns the plan that is needed.

    Args:
        device: number of the GPU.

    Raises BackendUnavailable with the first thing that is missing.
    """
    gpu = find_gpu(device)
    if precision not in ("auto", "fp16", "fp32"):
        raise BackendUnavailable(
            f"TensorRT engines are built in fp16 or fp32 here, not {precision}: "
            "use --precision fp16, or --backend openvino for bf16"
        )
    trt = load_tensorrt(modules)
    check_driver(gpu, cuda_major(trt), module_name(trt))
    return plan_for(trt, gpu, spec, precision, cache)


def open_plan(
    plan: Plan,
    *,
    batch: int = FILE_BATCH,
    device: Device | None = None,
    on_progress: OnProgress | None = None,
) -> TensorRTBackend:
    """Builds the plan unless it is in the cache, and loads it.

    A plan in the cache that TensorRT rejects is deleted and built once more.

    Raises BackendUnavailable, BadModel or BuildFailed.
    """
    gpu = plan.gpu
    assert gpu is not None  # `find_plan` finds one
    blob, was_built = plan.load_or_build(on_progress), False
    while True:
        device = device or PyCudaDevice(gpu.index)
        try:
            kept = plan.cache.jit(plan.key, gpu.name)
            logger = make_logger(plan.trt)
            engine = LoadedEngine(plan.trt, blob, device, logger=logger, jit=kept)
        except PlanRejected as error:
            device.close()
            device = None
            if was_built or error.lasting:
                raise
            plan.cache.discard(plan.key)
            log.warning("%s: building it again", error)
            blob, was_built = plan.load_or_build(on_progress), True
        else:
            break

    def keep_kernels(engine: LoadedEngine) -> None:
        finished = engine.jit()
        if finished is not None and finished != kept:
            plan.cache.store_jit(plan.key, gpu.name, finished)

    return TensorRTBackend(
        plan.spec,
        engine,
        precision=plan.precision,
        description=f"{module_name(plan.trt)}, {plan.precision}, {gpu.name}",
        batch=batch,
        on_close=keep_kernels,
    )


def usable(device: int = 0, modules: tuple[str, ...] = MODULES) -> tuple[bool, str]:
    """Whether `auto` should take TensorRT, and why or why not, in words."""
    try:
        gpu = find_gpu(device)
        trt = load_tensorrt(modules)
        check_driver(gpu, cuda_major(trt), module_name(trt))
        import_pycuda()
    except BackendUnavailable as error:
        return False, str(error)
    return True, f"{module_name(trt)} on {gpu.name}"
