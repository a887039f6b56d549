"""One plan, loaded: its execution context, and the buffers of the batches under way."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.build import is_rtx, module_name
from engine.cuda import Device, Event, Graph, OutOfDeviceMemory
from engine.errors import BackendUnavailable, EngineError

log = logging.getLogger(__name__)

Shape = tuple[int, int, int, int]  # of L: (N, 1, H, W)


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
    """The buffers of one batch; two of them let copies run beside the other's computation."""

    L: NDArray[np.float32]  # pinned: (capacity, 1, H, W)
    ab: NDArray[np.float32]  # pinned: (capacity, 2, h, w)
    L_device: Any
    ab_device: Any
    uploaded: Event
    computed: Event
    downloaded: Event
    graphs: dict[Shape, Graph] = field(default_factory=dict)
    ran: set[Shape] = field(default_factory=set)  # shapes that have run once, without a graph


class LoadedEngine:
    """Runs batches of L asynchronously. Use it from one thread.

    Three cuda_streams: one computes, one copies in, one copies out; events put them in order.

    Args:
        plan: from the cache, so made by this very TensorRT. A plan is executable code.
        jit: kernels that TensorRT for RTX finished on this GPU before; see `jit`.
        graphs: replay each shape as a CUDA graph from its second run on. TensorRT for RTX has
            its own switch for that, which is set instead.

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
        self._shape: Shape | None = None  # that the execution context is set to
        self._scratch: Any = None
        self._scratch_bytes = 0
        with device.current():
            self._runtime = trt.Runtime(logger)
            self._engine = self._runtime.deserialize_cuda_engine(plan)
            if self._engine is None:
                reason, lasting = self._why(plan)
                raise PlanRejected(
                    f"{module_name(trt)} rejects the plan: {reason}", lasting=lasting
                )
            self._check_tensors()
            self._jit: Any = None
            self._context = self._make_context(graphs, jit)
            self.compute = device.cuda_stream()
            self._copy_in, self._copy_out = device.cuda_stream(), device.cuda_stream()
        self.largest_batch = int(self._engine.get_tensor_profile_shape("L", 0)[2][0])

    def bind(self, capacity: int, height: int, width: int, *, slots: int = 2) -> None:
        """Makes buffers for batches of up to `capacity` pictures.

        Raises:
            OutOfDeviceMemory: nothing is kept then; a smaller capacity may fit.
            BackendUnavailable: the plan was not built for this size.
        """
        with self.device.current():
            self._release_buffers()
            try:
                ab_shape = self._set_shape((capacity, 1, height, width))
                for _ in range(slots):
                    self.slots.append(self._make_slot((capacity, 1, height, width), ab_shape))
            except OutOfDeviceMemory:
                self._release_buffers()
                raise
            self.capacity = capacity

    def start(self, slot: Slot, number: int) -> None:
        """Computes the first `number` pictures of a slot's L; returns before they are done."""
        shape = (number, *slot.L.shape[1:])
        with self.device.current():
            self.device.upload(slot.L_device, slot.L[:number], self._copy_in)
            slot.uploaded.record(self._copy_in)
            self.compute.wait_for_event(slot.uploaded)
            self._compute(slot, shape)
            slot.computed.record(self.compute)
            self._copy_out.wait_for_event(slot.computed)
            self.device.download(slot.ab[:number], slot.ab_device, self._copy_out)
            slot.downloaded.record(self._copy_out)

    def wait(self, slot: Slot) -> None:
        """Returns when the slot's ab is there."""
        with self.device.current():
            slot.downloaded.synchronize()

    def enqueue(self, shape: Shape, L_address: int, ab_address: int) -> None:
        """Puts one run over device memory into `compute`. Call it inside `device.current()`."""
        self._set_shape(shape)
        self._context.set_tensor_address("L", L_address)
        self._context.set_tensor_address("ab", ab_address)
        if not self._context.execute_async_v3(self.compute.handle):
            raise EngineError(f"{module_name(self.trt)} cannot run: {self._logger.said()}")

    def ab_shape(self, shape: Shape) -> Shape:
        """The shape of ab (N, 2, h, w) for a shape of L."""
        with self.device.current():
            return self._set_shape(shape)

    def jit(self) -> bytes | None:
        """The kernels that TensorRT for RTX has finished by now, for the next start; else None."""
        with self.device.current():
            return None if self._jit is None else bytes(self._jit.serialize())

    def close(self) -> None:
        """Frees everything, in the order that TensorRT wants, and the device's context last."""
        with self.device.current():
            for cuda_stream in (self._copy_in, self.compute, self._copy_out):
                cuda_stream.synchronize()
            self._drop_graphs()
            self._context = self._jit = self._engine = self._runtime = None
            self._release_buffers()
            self.compute = self._copy_in = self._copy_out = None
        self.device.close()

    def _compute(self, slot: Slot, shape: Shape) -> None:
        graph = slot.graphs.get(shape)
        if graph is None and self._graphs and shape in slot.ran:
            # The first run of a shape sets things up, which cannot be captured.
            graph = slot.graphs[shape] = self.device.capture(
                self.compute, lambda: self._run(slot, shape)
            )
        if graph is not None:
            graph.launch(self.compute)
            return
        self._run(slot, shape)
        slot.ran.add(shape)

    def _run(self, slot: Slot, shape: Shape) -> None:
        self.enqueue(shape, int(slot.L_device), int(slot.ab_device))

    def _set_shape(self, shape: Shape) -> Shape:
        """Sets the input's shape and the scratch memory that it needs; returns ab's shape."""
        if shape != self._shape:
            self._shape = None
            if not self._context.set_input_shape("L", shape):
                takes = " to ".join(
                    "x".join(map(str, shape))
                    for shape in self._engine.get_tensor_profile_shape("L", 0)[::2]
                )
                raise BackendUnavailable(
                    f"the engine takes L from {takes}, not {'x'.join(map(str, shape))}: "
                    "build it for this size"
                )
            missing = self._context.infer_shapes()
            if missing:
                raise EngineError(f"the engine's shapes stay open: {', '.join(missing)}")
            needed = int(self._context.update_device_memory_size_for_shapes())
            if needed > self._scratch_bytes:
                self._drop_graphs()  # they hold the old scratch memory's address
                if self._scratch is not None:
                    self.compute.synchronize()
                    self.device.free(self._scratch)
                self._scratch, self._scratch_bytes = None, 0
                self._scratch = self.device.alloc(needed)
                self._scratch_bytes = needed
            if self._scratch is not None:
                self._context.set_device_memory(int(self._scratch), self._scratch_bytes)
            self._shape = shape
        n, two, h, w = self._context.get_tensor_shape("ab")
        return (int(n), int(two), int(h), int(w))

    def _make_slot(self, L_shape: Shape, ab_shape: Shape) -> Slot:
        device = self.device
        L, ab = device.pinned(L_shape, np.float32), device.pinned(ab_shape, np.float32)
        L_device = device.alloc(L.nbytes)
        try:
            ab_device = device.alloc(ab.nbytes)
        except OutOfDeviceMemory:
            device.free(L_device)
            raise
        events = (device.event(), device.event(), device.event())
        return Slot(L, ab, L_device, ab_device, *events)

    def _make_context(self, graphs: bool, jit: bytes | None) -> Any:
        trt, engine = self.trt, self._engine
        # Scratch memory for the shapes in use, instead of for the largest that the plan allows.
        strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if not is_rtx(trt):
            context = engine.create_execution_context(strategy)
        else:
            config = engine.create_runtime_config()
            config.set_execution_context_allocation_strategy(strategy)
            if graphs:
                config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            self._jit = config.create_runtime_cache()
            if jit is not None and not self._jit.deserialize(jit):
                log.info("the kept kernels are of another GPU or driver: they are made anew")
            config.set_runtime_cache(self._jit)
            context = engine.create_execution_context(config)
        if context is None:
            raise PlanRejected(f"{module_name(trt)} makes no context: {self._logger.said()}")
        return context

    def _check_tensors(self) -> None:
        engine, trt = self._engine, self.trt
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        kinds = {name: np.dtype(trt.nptype(engine.get_tensor_dtype(name))) for name in names}
        if kinds != {"L": np.dtype(np.float32), "ab": np.dtype(np.float32)}:
            found = ", ".join(f"{name} {kind}" for name, kind in kinds.items())
            raise PlanRejected(f"the plan has {found} instead of L and ab in float32")

    def _why(self, plan: bytes) -> tuple[str, bool]:
        """Why a plan does not load, and whether another build would not load either."""
        reason = self._logger.said()
        if not hasattr(self._runtime, "get_engine_validity"):
            return reason, "memory" in reason.lower()
        validity, diagnostics = self._runtime.get_engine_validity(plan)
        flags = self.trt.EngineInvalidityDiagnostics.__members__.values()
        found = [flag.name.lower() for flag in flags if diagnostics & int(flag.value)]
        named = ", ".join(found) or "no reason given"
        return f"{validity.name.lower()} ({named}): {reason}", bool(_LASTING & {*found})

    def _release_buffers(self) -> None:
        self._drop_graphs()
        for slot in self.slots:
            self.device.free(slot.L_device)
            self.device.free(slot.ab_device)
        self.slots.clear()
        if self._scratch is not None:
            self.device.free(self._scratch)
        self._scratch, self._scratch_bytes, self._shape, self.capacity = None, 0, None, 0

    def _drop_graphs(self) -> None:
        for slot in self.slots:
            for graph in slot.graphs.values():
                graph.close()
            slot.graphs.clear()
