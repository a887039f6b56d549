"""One plan, loaded: its execution context, and the buffers of the batches under way."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from kinemacolor.engine.cuda.device import Device, Event, Graph, OutOfDeviceMemory
from kinemacolor.engine.errors import BackendUnavailable, EngineError
from kinemacolor.engine.tensorrt.build import is_rtx, module_name
from numpy.typing import NDArray

log = logging.getLogger(__name__)

Shape = tuple[int, int, int, int]  # of L: (N, 1, H, W)

SLOTS = 2  # batches under way: one computes while the other is copied
LEAST_SCRATCH_BYTES = 256

# Reasons of TensorRT for RTX that another build of the same plan would meet again.
_LASTING = frozenset(
    [
        "cuda_error",
        "insufficient_gpu_memory",
        "old_cuda_driver",
        "old_cuda_runtime",
        "unsupported_cc",
    ]
)


class PlanRejected(BackendUnavailable):
    """TensorRT does not load a plan on this GPU.

    Attributes:
        lasting: building it again would not help.
    """

    def __init__(self, message: str, *, lasting: bool = False) -> None:
        super().__init__(message)
        self.lasting = lasting


@dataclass
class Slot:
    """The buffers of one batch. With two slots, one is copied while the other computes.

    Each slot has its own execution context: a recorded graph replays the state that the context
    had, so no other shape may run in it meanwhile.
    """

    context: Any
    L: NDArray[np.float32]  # pinned: (capacity, 1, H, W)
    ab: NDArray[np.float32]  # pinned: (capacity, 2, h, w)
    L_device: Any
    ab_device: Any
    uploaded: Event
    computed: Event
    downloaded: Event
    shape: Shape | None = None  # that the context has run in
    graph: Graph | None = None  # of that shape


class LoadedEngine:
    """Runs batches of L asynchronously. Use it from one thread.

    Three cuda_streams: one computes, one copies in, one copies out; events put them in order.

    Args:
        plan: from the cache, so made by this very TensorRT. A plan is executable code.
        jit: kernels that TensorRT for RTX finished on this GPU before; see `jit`.
        graphs: replay a slot's shape as a CUDA graph from its second run on. TensorRT for RTX
            has its own switch for that, which is set instead.

    Raises PlanRejected with what TensorRT says.
    """

    def __init__(
        self,
        trt: ModuleType,
        plan: bytes,
        device: Device,
        *,
        logger: Any,
        jit: bytes | None = None,
        graphs: bool = True,
    ) -> None:
        self.trt, self.device, self._logger = trt, device, logger
        self._graphs = graphs and not is_rtx(trt)
        self.slots: list[Slot] = []
        self.capacity = 0
        self._scratch: Any = None  # shared: `compute` runs one batch after the other
        self._scratch_bytes = 0
        self._engine: Any = None
        self._jit: Any = None
        with device.current():
            self._runtime = trt.Runtime(logger)
            try:
                self._load(plan)
                self._contexts = self._make_contexts(graphs, jit)
            except PlanRejected:
                # The exception holds this frame: nothing of TensorRT may outlive the device.
                self._jit = self._engine = self._runtime = None
                raise
            self.compute = device.cuda_stream()
            self._copy_in, self._copy_out = device.cuda_stream(), device.cuda_stream()

    def bind(self, capacity: int, height: int, width: int) -> None:
        """Makes buffers for batches of up to `capacity` pictures.

        Raises:
            OutOfDeviceMemory: nothing is kept then; a smaller capacity may fit.
            BackendUnavailable: the plan was not built for this size.
        """
        shape = (capacity, 1, height, width)
        with self.device.current():
            self._release_buffers()
            try:
                for context in self._contexts:
                    self._set_shape(context, shape)
                    self.slots.append(self._make_slot(context, shape))
            except OutOfDeviceMemory:
                self._release_buffers()
                raise
            self.capacity = capacity

    def start(self, slot: Slot, number: int) -> None:
        """Computes the first `number` pictures of a slot's L; returns before they are done."""
        with self.device.current():
            self.device.upload(slot.L_device, slot.L[:number], self._copy_in)
            slot.uploaded.record(self._copy_in)
            self.compute.wait_for_event(slot.uploaded)
            self.run(slot, number)
            slot.computed.record(self.compute)
            self._copy_out.wait_for_event(slot.computed)
            self.device.download(slot.ab[:number], slot.ab_device, self._copy_out)
            slot.downloaded.record(self._copy_out)

    def wait(self, slot: Slot) -> None:
        """Returns when the slot's ab is there."""
        with self.device.current():
            slot.downloaded.synchronize()

    def run(self, slot: Slot, number: int) -> None:
        """Enqueues in `compute` a run over the first `number` pictures in the slot's device memory.

        Call it inside `device.current()`, when the slot's last run is over.
        """
        shape = (number, *slot.L.shape[1:])
        if shape != slot.shape:
            # The first run in a shape sets things up, which cannot be recorded.
            self._forget(slot)
            self._set_shape(slot.context, shape)
            self._enqueue(slot)
            slot.shape = shape
            return
        if slot.graph is None and self._graphs:
            slot.graph = self._record(slot)
        if slot.graph is None:
            self._enqueue(slot)
        else:
            slot.graph.launch(self.compute)

    def jit(self) -> bytes | None:
        """Returns the kernels that TensorRT for RTX has finished by now; other ones have none."""
        with self.device.current():
            return None if self._jit is None else bytes(self._jit.serialize())

    def close(self) -> None:
        """Frees everything, in the order that TensorRT wants, and the device's context last."""
        with self.device.current():
            for cuda_stream in (self._copy_in, self.compute, self._copy_out):
                cuda_stream.synchronize()
            for slot in self.slots:
                self._forget(slot)
                slot.context = None
            self._contexts.clear()
            self._jit = self._engine = self._runtime = None
            self._release_buffers()
            self.compute = self._copy_in = self._copy_out = None
        self.device.close()

    def _record(self, slot: Slot) -> Graph | None:
        try:
            return self.device.capture(self.compute, lambda: self._enqueue(slot))
        except EngineError as error:
            log.warning("going on without CUDA graphs: %s", error)
            self._graphs = False
            return None

    def _enqueue(self, slot: Slot) -> None:
        if not slot.context.execute_async_v3(self.compute.handle):
            raise EngineError(f"{module_name(self.trt)} cannot run: {self._logger.said()}")

    def _set_shape(self, context: Any, shape: Shape) -> None:
        """Sets the input's shape and the scratch memory that it needs."""
        if not context.set_input_shape("L", shape):
            takes = " to ".join(
                "x".join(map(str, shape))
                for shape in self._engine.get_tensor_profile_shape("L", 0)[::2]
            )
            raise BackendUnavailable(
                f"the engine takes L from {takes}, not {'x'.join(map(str, shape))}: "
                "take --backend openvino or onnxruntime"
            )
        missing = context.infer_shapes()
        if missing:
            raise EngineError(f"the engine's shapes stay open: {', '.join(missing)}")
        # A context without memory of its own is given some even if it needs none.
        needed = max(int(context.update_device_memory_size_for_shapes()), LEAST_SCRATCH_BYTES)
        if needed > self._scratch_bytes:
            self._grow_scratch(needed)
        context.set_device_memory(int(self._scratch), self._scratch_bytes)

    def _grow_scratch(self, size_bytes: int) -> None:
        if self._scratch is not None:
            self.compute.synchronize()
            for slot in self.slots:  # the old memory's address is in each
                self._forget(slot)
            self.device.free(self._scratch)
        self._scratch, self._scratch_bytes = None, 0
        self._scratch = self.device.alloc(size_bytes)
        self._scratch_bytes = size_bytes

    def _make_slot(self, context: Any, L_shape: Shape) -> Slot:
        device = self.device
        ab_shape = tuple(int(side) for side in context.get_tensor_shape("ab"))
        L, ab = device.pinned(L_shape, np.float32), device.pinned(ab_shape, np.float32)
        L_device = device.alloc(L.nbytes)
        try:
            ab_device = device.alloc(ab.nbytes)
        except OutOfDeviceMemory:
            device.free(L_device)
            raise
        context.set_tensor_address("L", int(L_device))
        context.set_tensor_address("ab", int(ab_device))
        events = (device.event(), device.event(), device.event())
        return Slot(context, L, ab, L_device, ab_device, *events)

    def _load(self, plan: bytes) -> None:
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            reason, lasting = self._why(plan)
            raise PlanRejected(
                f"{module_name(self.trt)} rejects the plan: {reason}", lasting=lasting
            )
        self._check_tensors()
        self.largest_batch = int(self._engine.get_tensor_profile_shape("L", 0)[2][0])

    def _make_contexts(self, graphs: bool, jit: bytes | None) -> list[Any]:
        trt = self.trt
        # Scratch memory for the shapes in use, instead of for the largest that the plan allows.
        config = strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if is_rtx(trt):
            config = self._engine.create_runtime_config()
            config.set_execution_context_allocation_strategy(strategy)
            if graphs:
                config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            self._jit = config.create_runtime_cache()
            if jit is not None and not self._jit.deserialize(jit):
                log.info("the kept kernels are of another GPU or driver: they are made anew")
            config.set_runtime_cache(self._jit)
        contexts = [self._engine.create_execution_context(config) for _ in range(SLOTS)]
        if None in contexts:
            reason = self._logger.said()
            raise PlanRejected(
                f"{module_name(trt)} makes no context: {reason}", lasting=_of_memory(reason)
            )
        return contexts

    def _check_tensors(self) -> None:
        engine, trt = self._engine, self.trt
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        kinds = {name: np.dtype(trt.nptype(engine.get_tensor_dtype(name))) for name in names}
        if kinds != {"L": np.dtype(np.float32), "ab": np.dtype(np.float32)}:
            found = ", ".join(f"{name} {kind}" for name, kind in kinds.items())
            raise PlanRejected(f"the plan has {found} instead of L and ab in float32")

    def _why(self, plan: bytes) -> tuple[str, bool]:
        """Returns why a plan does not load, and whether another build would not load either."""
        reason = self._logger.said()
        if not hasattr(self._runtime, "get_engine_validity"):
            return reason, _of_memory(reason)
        validity, diagnostics = self._runtime.get_engine_validity(plan)
        flags = self.trt.EngineInvalidityDiagnostics.__members__.values()
        found = [flag.name.lower() for flag in flags if diagnostics & int(flag.value)]
        named = ", ".join(found) or "no reason given"
        return f"{validity.name.lower()} ({named}): {reason}", bool(_LASTING & {*found})

    def _release_buffers(self) -> None:
        for slot in self.slots:
            self._forget(slot)
            self.device.free(slot.L_device)
            self.device.free(slot.ab_device)
        self.slots.clear()
        if self._scratch is not None:
            self.device.free(self._scratch)
        self._scratch, self._scratch_bytes, self.capacity = None, 0, 0

    def _forget(self, slot: Slot) -> None:
        """Drops a slot's graph: its next run sets shape and memory again."""
        if slot.graph is not None:
            slot.graph.close()
        slot.graph = slot.shape = None


def _of_memory(reason: str) -> bool:
    return "memory" in reason.lower()
