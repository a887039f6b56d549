"""Memory, streams and kernels of one GPU, by PyCUDA; the rest of the engine knows only `Device`.

No GPU has run this file yet: its callers are tested with a stand-in that keeps CUDA's rules of
order (`tests/fake_tensorrt.py`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import numpy as np
from kinemacolor.engine.cuda.driver import LIBRARY, pop_context, use_blocking_sync
from kinemacolor.engine.errors import BackendUnavailable, EngineError
from numpy.typing import DTypeLike, NDArray

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING


class OutOfDeviceMemory(EngineError, MemoryError):
    """The GPU has no room for what was asked."""


class Event(Protocol):
    """A point in a cuda_stream."""

    def record(self, cuda_stream: Any) -> object: ...
    def synchronize(self) -> object:
        """Waits on the host until the point is reached."""


class Graph(Protocol):
    """Work that was captured once and is launched as a whole."""

    def launch(self, cuda_stream: Any) -> None: ...
    def close(self) -> None: ...


class Device(Protocol):
    """One GPU. Everything but `current` and `close` is called inside `with device.current():`."""

    def current(self) -> AbstractContextManager[None]:
        """Makes the GPU's primary context current on this thread."""

    def cuda_stream(self, *, blocking: bool = False) -> Any:
        """Returns a new cuda_stream with `handle`, `synchronize()` and `wait_for_event(event)`.

        Args:
            blocking: the cuda_stream runs after what is in the default stream, where FFmpeg
                works. While it is recorded, the default stream must not be used (CUDA error 906).
        """

    def event(self) -> Event: ...
    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Returns page-locked host memory, which copies need in order to run beside kernels."""

    def alloc(self, size_bytes: int) -> Any:
        """Returns device memory; `int()` gives its address. Raises OutOfDeviceMemory."""

    def free(self, memory: Any) -> None: ...
    def upload(self, memory: Any, array: NDArray[Any], cuda_stream: Any) -> None: ...
    def download(self, array: NDArray[Any], memory: Any, cuda_stream: Any) -> None: ...
    def capture(self, cuda_stream: Any, enqueue: Callable[[], None]) -> Graph:
        """Records what `enqueue` puts into the cuda_stream, without running it."""

    def kernels(self, cubin: bytes) -> Callable[..., None]:
        """Loads compiled kernels. Returns launch(name, grid, block, arguments, cuda_stream)."""

    def close(self) -> None: ...


def import_pycuda() -> Any:
    """Returns `pycuda.driver`, which needs libcuda: ask the driver first."""
    try:
        import pycuda.driver as cuda
    except ImportError as error:
        raise BackendUnavailable(
            f'TensorRT needs PyCUDA ({error}): pip install "kinemacolor[gpu]" '
            "(it is compiled on installation and needs g++ and CUDA's headers)"
        ) from error
    return cuda


class PyCudaDevice:
    """`Device` over PyCUDA, on the primary context, which TensorRT and FFmpeg share.

    Raises BackendUnavailable when PyCUDA is missing or does not start.
    """

    def __init__(self, index: int, *, library: str = LIBRARY) -> None:
        cuda = self._cuda = import_pycuda()
        self._library = library
        use_blocking_sync(index, library=library)
        try:
            cuda.init()
            self._context = cuda.Device(index).retain_primary_context()
        except cuda.Error as error:
            raise BackendUnavailable(f"PyCUDA cannot use GPU {index}: {error}") from error
        self._modules: list[Any] = []

    @contextmanager
    def current(self) -> Iterator[None]:
        try:
            self._context.push()
            try:
                yield
            finally:
                self._cuda.Context.pop()
        except self._cuda.MemoryError as error:
            raise OutOfDeviceMemory(f"the GPU is out of memory: {error}") from error
        except self._cuda.Error as error:  # after a failed kernel even push and pop raise
            raise EngineError(f"CUDA failed: {error}") from error

    def cuda_stream(self, *, blocking: bool = False) -> Any:
        return self._cuda.Stream(0 if blocking else _NON_BLOCKING)

    def event(self) -> Any:
        return self._cuda.Event(self._cuda.event_flags.DISABLE_TIMING)

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        return self._cuda.pagelocked_empty(shape, np.dtype(dtype))

    def alloc(self, size_bytes: int) -> Any:
        try:
            return self._cuda.mem_alloc(max(1, size_bytes))
        except self._cuda.MemoryError as error:
            raise OutOfDeviceMemory(f"the GPU has no {size_bytes >> 20} MiB left") from error

    def free(self, memory: Any) -> None:
        memory.free()

    def upload(self, memory: Any, array: NDArray[Any], cuda_stream: Any) -> None:
        self._cuda.memcpy_htod_async(memory, array, cuda_stream)

    def download(self, array: NDArray[Any], memory: Any, cuda_stream: Any) -> None:
        self._cuda.memcpy_dtoh_async(array, memory, cuda_stream)

    def capture(self, cuda_stream: Any, enqueue: Callable[[], None]) -> Graph:
        return DriverGraph(cuda_stream, enqueue)

    def kernels(self, cubin: bytes) -> Callable[..., None]:
        module = self._cuda.module_from_buffer(cubin)
        self._modules.append(module)
        functions: dict[str, Any] = {}

        def launch(
            name: str,
            grid: tuple[int, int, int],
            block: tuple[int, int, int],
            arguments: tuple[Any, ...],
            cuda_stream: Any,
        ) -> None:
            if name not in functions:
                functions[name] = module.get_function(name)
            functions[name](*arguments, grid=grid, block=block, stream=cuda_stream)

        return launch

    def close(self) -> None:
        with self.current():
            self._modules.clear()
        handle = self._context.handle
        self._context.detach()
        pop_context(handle, library=self._library)


class DriverGraph:
    """A CUDA graph, by calls of the driver itself: PyCUDA has none for graphs."""

    _THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL

    def __init__(self, cuda_stream: Any, enqueue: Callable[[], None]) -> None:
        self._driver = ctypes.CDLL(LIBRARY)
        self._ready = ctypes.c_void_p()
        handle, graph = ctypes.c_void_p(cuda_stream.handle), ctypes.c_void_p()
        self._check(self._driver.cuStreamBeginCapture_v2(handle, self._THREAD_LOCAL), "capture")
        try:
            try:
                enqueue()
            finally:
                ended = self._driver.cuStreamEndCapture(handle, ctypes.byref(graph))
            self._check(ended, "end of capture")
            ready, flags = ctypes.byref(self._ready), ctypes.c_ulonglong(0)
            status = self._driver.cuGraphInstantiateWithFlags(ready, graph, flags)
            self._check(status, "instantiation")
        finally:
            if graph:
                self._driver.cuGraphDestroy(graph)

    def launch(self, cuda_stream: Any) -> None:
        handle = ctypes.c_void_p(cuda_stream.handle)
        self._check(self._driver.cuGraphLaunch(self._ready, handle), "launch")

    def close(self) -> None:
        if self._ready:
            self._driver.cuGraphExecDestroy(self._ready)
            self._ready = ctypes.c_void_p()

    @staticmethod
    def _check(status: int, what: str) -> None:
        if status:
            raise EngineError(f"{what} of a CUDA graph failed: CUDA error {status}")
