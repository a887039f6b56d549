"""A GPU and a TensorRT runtime without either: ONNX Runtime on host memory, as late as allowed.

CUDA promises only that the work of one cuda_stream runs in order, and that a wait for an event
comes after what was recorded before it. `FakeDevice` does no more than that: work waits in its
cuda_stream until somebody synchronises, so a forgotten wait reads memory that nobody has
written, and the test that compares colours fails.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from kinemacolor.engine.cuda.device import OutOfDeviceMemory
from kinemacolor.engine.errors import EngineError

POISON = 0xFF  # bytes of fresh memory: NaN as float32


class FakeStream:
    """A queue of work that runs only when somebody waits for it.

    Args:
        default: the stream whose work a blocking one waits for; None makes a non-blocking one.
    """

    def __init__(self, number: int, default: FakeStream | None = None) -> None:
        self.handle = number
        self.default = default
        self.work: deque[Callable[[], None]] = deque()
        self.recording: list[Callable[[], None]] | None = None

    def add(self, step: Callable[[], None]) -> None:
        if self.recording is not None:
            self.recording.append(step)
            return
        if self.default is not None:
            event = FakeEvent()
            event.record(self.default)
            self.work.append(event.waiter())
        self.work.append(step)

    def synchronize(self) -> None:
        while self.work:
            self.work.popleft()()

    def wait_for_event(self, event: FakeEvent) -> None:
        self.add(event.waiter())


class FakeEvent:
    """The place in a cuda_stream where it was last recorded."""

    def __init__(self) -> None:
        self._stream: FakeStream | None = None
        self._reached: list[bool] = [True]

    def record(self, cuda_stream: FakeStream) -> None:
        reached = self._reached = [False]
        self._stream = cuda_stream
        cuda_stream.add(lambda: reached.__setitem__(0, True))

    def waiter(self) -> Callable[[], None]:
        """Runs the recorded stream, step by step, up to the place recorded so far."""
        stream, reached = self._stream, self._reached

        def wait() -> None:
            while not reached[0]:
                assert stream is not None
                stream.work.popleft()()

        return wait

    def synchronize(self) -> None:
        self.waiter()()


class FakeGraph:
    def __init__(self, device: FakeDevice, steps: list[Callable[[], None]]) -> None:
        self._device, self._steps, self._closed = device, steps, False
        device.graphs_open += 1

    def launch(self, cuda_stream: FakeStream) -> None:
        assert not self._closed, "a closed graph was launched"
        self._device.graphs_launched += 1
        for step in self._steps:
            cuda_stream.add(step)

    def close(self) -> None:
        assert not self._closed, "a graph was closed twice"
        self._closed = True
        self._device.graphs_open -= 1


class FakeMemory:
    def __init__(self, size_bytes: int) -> None:
        self.array = np.full(size_bytes, POISON, np.uint8)

    def __int__(self) -> int:
        return int(self.array.ctypes.data)


class FakeDevice:
    """`engine.cuda.device.Device` on host memory, all but its kernels: see `tests.host_kernels`."""

    def __init__(self, memory_bytes: int = 1 << 30) -> None:
        self.free_bytes = memory_bytes
        self.allocated: dict[int, FakeMemory] = {}
        self.default = FakeStream(0)  # FFmpeg's decoder copies its pictures in it
        self.streams: dict[int, FakeStream] = {}
        self.depth = 0
        self.graphs_open = self.graphs_launched = self.uploads = 0
        self.records = True  # else every recording fails
        self.closed = False

    @contextmanager
    def current(self) -> Iterator[None]:
        assert not self.closed
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1

    def cuda_stream(self, *, blocking: bool = False) -> FakeStream:
        self._must_be_current()
        stream = FakeStream(len(self.streams) + 1, self.default if blocking else None)
        self.streams[stream.handle] = stream
        return stream

    def event(self) -> FakeEvent:
        self._must_be_current()
        return FakeEvent()

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        self._must_be_current()
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return np.full(size, POISON, np.uint8).view(dtype).reshape(shape)

    def alloc(self, size_bytes: int) -> FakeMemory:
        self._must_be_current()
        if size_bytes > self.free_bytes:
            raise OutOfDeviceMemory(f"the GPU has no {size_bytes} bytes left")
        memory = FakeMemory(size_bytes)
        self.free_bytes -= size_bytes
        self.allocated[int(memory)] = memory
        return memory

    def free(self, memory: FakeMemory) -> None:
        self._must_be_current()
        del self.allocated[int(memory)]  # a KeyError is a double free
        memory.array.fill(POISON)
        self.free_bytes += memory.array.size

    def upload(self, memory: FakeMemory, array: np.ndarray, cuda_stream: FakeStream) -> None:
        self._must_be_current()
        self.uploads += 1
        cuda_stream.add(
            lambda: ctypes.memmove(int(memory), array.ctypes.data, array.nbytes) and None
        )

    def download(self, array: np.ndarray, memory: FakeMemory, cuda_stream: FakeStream) -> None:
        self._must_be_current()
        cuda_stream.add(
            lambda: ctypes.memmove(array.ctypes.data, int(memory), array.nbytes) and None
        )

    def capture(self, cuda_stream: FakeStream, enqueue: Callable[[], None]) -> FakeGraph:
        self._must_be_current()
        assert cuda_stream.default is None, "the decoder's next copy breaks off the recording"
        cuda_stream.recording = steps = []
        try:
            enqueue()
        finally:
            cuda_stream.recording = None
        if not self.records:
            raise EngineError("end of capture of a CUDA graph failed: CUDA error 901")
        return FakeGraph(self, steps)

    def close(self) -> None:
        assert not self.allocated, f"{len(self.allocated)} pieces of device memory leak"
        assert self.graphs_open == 0, "CUDA graphs leak"
        assert all(not stream.work for stream in self.streams.values()), "work was left behind"
        self.closed = True

    def _must_be_current(self) -> None:
        assert self.depth > 0, "the context is not current on this thread"


class FakeTensorRT:
    """The part of TensorRT's Python API that runs plans; a plan is the ONNX file itself."""

    TensorIOMode = SimpleNamespace(INPUT=0, OUTPUT=1)
    ExecutionContextAllocationStrategy = SimpleNamespace(STATIC=0, USER_MANAGED=2)
    CudaGraphStrategy = SimpleNamespace(DISABLED=0, WHOLE_GRAPH_CAPTURE=1)

    def __init__(
        self,
        device: FakeDevice,
        *,
        name: str = "tensorrt",
        largest: tuple[int, int, int] = (8, 128, 128),
        scratch_bytes: int = 1024,
    ) -> None:
        self.__name__, self.__version__ = name, "0"
        self.device = device
        self.largest = largest
        self.scratch_bytes = scratch_bytes  # for each picture in a batch
        self.batches: list[int] = []  # sizes of the batches that ran
        self.fail = False
        self.makes_contexts = True

    def nptype(self, kind: int) -> type:
        return {onnx.TensorProto.FLOAT: np.float32, onnx.TensorProto.FLOAT16: np.float16}[kind]

    def Runtime(self, logger: Any) -> FakeRuntime:
        return FakeRuntime(self)


class FakeLogger:
    """What `engine.tensorrt.build.make_logger` makes, as far as running goes."""

    def said(self, default: object = "it does not say why") -> str:
        return str(default)


class FakeRuntime:
    def __init__(self, trt: FakeTensorRT) -> None:
        self._trt = trt

    def deserialize_cuda_engine(self, plan: bytes) -> FakeEngine | None:
        return FakeEngine(self._trt, plan) if b"\n\x01L" in plan else None


class FakeEngine:
    def __init__(self, trt: FakeTensorRT, plan: bytes) -> None:
        graph = onnx.load_from_string(plan).graph
        self._ends = [*graph.input, *graph.output]
        self.trt = trt
        self.num_io_tensors = len(self._ends)
        self.session = ort.InferenceSession(plan, providers=["CPUExecutionProvider"])

    def get_tensor_name(self, index: int) -> str:
        return self._ends[index].name

    def get_tensor_dtype(self, name: str) -> int:
        return next(e.type.tensor_type.elem_type for e in self._ends if e.name == name)

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        n, h, w = self.trt.largest
        return [(1, 1, 32, 32), (n, 1, h, w), (n, 1, h, w)]

    def create_runtime_config(self) -> Any:
        return SimpleNamespace(
            set_execution_context_allocation_strategy=lambda strategy: None,
            create_runtime_cache=FakeRuntimeCache,
            set_runtime_cache=lambda kernels: True,
        )

    def create_execution_context(self, config: Any) -> FakeContext | None:
        return FakeContext(self) if self.trt.makes_contexts else None


class FakeRuntimeCache:
    """Finished kernels of TensorRT for RTX: takes back what it gave out, and nothing else."""

    def __init__(self) -> None:
        self._kernels = b"kernels"

    def deserialize(self, kernels: bytes) -> bool:
        fits = kernels.startswith(b"kernels")
        self._kernels = kernels + b" again" if fits else self._kernels
        return fits

    def serialize(self) -> bytes:
        return self._kernels


class FakeContext:
    """Any change makes its graphs invalid; the first run after one cannot be recorded."""

    def __init__(self, engine: FakeEngine) -> None:
        self._engine, self._trt = engine, engine.trt
        self._shape: tuple[int, ...] | None = None
        self._addresses: dict[str, int] = {}
        self._scratch: tuple[int, int] | None = None
        self._changes = 0
        self._settled = False  # has run since the last change

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._change()
        low, _, high = self._engine.get_tensor_profile_shape(name, 0)
        fits = all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))
        self._shape = shape if fits else None
        return fits

    def infer_shapes(self) -> list[str]:
        return [] if self._shape else ["L"]

    def update_device_memory_size_for_shapes(self) -> int:
        assert self._shape is not None
        return self._shape[0] * self._trt.scratch_bytes

    def set_device_memory(self, address: int, size: int) -> None:
        self._change()
        self._scratch = (address, size)

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        assert self._shape is not None
        n, _, h, w = self._shape
        return self._shape if name == "L" else (n, 2, h // 4, w // 4)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._change()
        self._addresses[name] = address
        return True

    def execute_async_v3(self, handle: int) -> bool:
        if self._trt.fail:
            return False
        cuda_stream = self._trt.device.streams[handle]
        recording = cuda_stream.recording is not None
        assert self._settled or not recording, "the first run in a shape cannot be recorded"
        self._settled = True
        shape, addresses, recorded = self._shape, dict(self._addresses), self._changes
        assert shape is not None
        assert self._scratch is not None, "no scratch memory was set"
        address, size = self._scratch
        assert size >= self.update_device_memory_size_for_shapes(), "too little scratch memory"

        def run() -> None:
            memory = self._trt.device.allocated
            assert not recording or self._changes == recorded, "the graph is of another state"
            assert address in memory, "the scratch memory is gone"
            assert {*addresses.values()} <= {*memory}, "a tensor's memory is gone"
            L = memory[addresses["L"]].array.view(np.float32)
            feed = L[: int(np.prod(shape))].reshape(shape).copy()
            ab = self._engine.session.run(["ab"], {"L": feed})[0]
            memory[addresses["ab"]].array.view(np.float32)[: ab.size] = ab.ravel()
            self._trt.batches.append(shape[0])

        cuda_stream.add(run)
        return True

    def _change(self) -> None:
        streams = self._trt.device.streams.values()
        assert all(s.recording is None for s in streams), "changed while it is recorded"
        self._changes += 1
        self._settled = False
