"""Asks the NVIDIA driver what is there, through ctypes, before any GPU library is touched.

TensorRT's own answer without a driver is a null pointer or a crash.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from typing import Any

from kinemacolor.engine.errors import BackendUnavailable

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"

# CUresult codes of cuda.h that a user can do something about.
_REASONS = {
    34: "a stub library stands in for the driver: take CUDA's stubs folder out of the library path",
    46: "the GPU is in use by another process in exclusive mode",
    100: "it finds no GPU (CUDA_VISIBLE_DEVICES may hide it; a container needs --gpus all)",
    802: "the GPU is not ready: is nvidia-fabricmanager running?",
    803: "its library and its kernel module differ in version: restart the machine",
    804: "a CUDA compatibility library is loaded that this GPU does not support",
}
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
# What the driver brings beside CUDA for video; containers leave it out unless asked.
_VIDEO = (
    {"NVDEC": "nvcuvid.dll", "NVENC": "nvEncodeAPI64.dll"}
    if sys.platform == "win32"
    else {"NVDEC": "libnvcuvid.so.1", "NVENC": "libnvidia-encode.so.1"}
)
_BLOCKING_SYNC = 4  # CU_CTX_SCHED_BLOCKING_SYNC


class NoGpu(BackendUnavailable):
    """No NVIDIA driver, no GPU, or too old a driver."""


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU as its driver describes it."""

    index: int
    name: str
    compute_capability: tuple[int, int]  # (9, 0)
    memory_bytes: int
    driver_cuda: tuple[int, int]  # the newest CUDA that the driver runs: (13, 0)

    def __str__(self) -> str:
        major, minor = self.compute_capability
        return (
            f"{self.name}, compute capability {major}.{minor}, {self.memory_bytes / 2**30:.0f} GiB"
        )


def find_gpu(index: int = 0, *, library: str = LIBRARY) -> Gpu:
    """Returns the GPU of that number.

    Raises NoGpu with the reason and what to do.
    """
    driver = _open(library)
    count = gpu_count(library=library)
    if not 0 <= index < count:
        known = "0 is" if count == 1 else f"0 to {count - 1} are"
        raise NoGpu(f"there is no GPU {index}: {known}")
    device, number, memory = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(256)
    _check(driver.cuDeviceGet(ctypes.byref(device), index))
    _check(driver.cuDeviceGetName(name, len(name), device))
    _check(driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device))
    capability = []
    for attribute in (_MAJOR, _MINOR):
        _check(driver.cuDeviceGetAttribute(ctypes.byref(number), attribute, device))
        capability.append(number.value)
    _check(driver.cuDriverGetVersion(ctypes.byref(number)))
    version = number.value  # 12040 is CUDA 12.4
    return Gpu(
        index=index,
        name=name.value.decode(errors="replace"),
        compute_capability=(capability[0], capability[1]),
        memory_bytes=memory.value,
        driver_cuda=(version // 1000, version % 1000 // 10),
    )


def gpu_count(*, library: str = LIBRARY) -> int:
    """Returns how many GPUs the driver has, at least one. Raises NoGpu with the reason."""
    driver = _open(library)
    _check(driver.cuInit(0))
    count = ctypes.c_int()
    _check(driver.cuDeviceGetCount(ctypes.byref(count)))
    if count.value < 1:
        _check(100)
    return count.value


def missing_library(unit: str) -> str | None:
    """Returns what the driver lacks for NVDEC or NVENC, and how to get it; None if nothing."""
    try:
        ctypes.CDLL(_VIDEO[unit])
    except OSError:
        return (
            f"{unit} needs the driver's {_VIDEO[unit]}, which is missing: start a container with "
            "NVIDIA_DRIVER_CAPABILITIES=compute,utility,video"
        )
    return None


def check_driver(gpu: Gpu, cuda_major: int, needed_by: str) -> None:
    """Raises NoGpu when the driver is older than the CUDA that a package was made with."""
    if gpu.driver_cuda[0] < cuda_major:
        has = ".".join(map(str, gpu.driver_cuda))
        raise NoGpu(
            f"the NVIDIA driver is too old: it runs CUDA up to {has}, and {needed_by} needs CUDA "
            f"{cuda_major}: update the driver, or install the CUDA {gpu.driver_cuda[0]} packages"
        )


def use_blocking_sync(index: int = 0, *, library: str = LIBRARY) -> None:
    """Gives a GPU's primary context the flags that FFmpeg demands of one that it shares.

    FFmpeg refuses a context that is active with others: "Primary context already active with
    incompatible flags" (libavutil/hwcontext_cuda.c). So this comes before each call that may
    make the context, and before FFmpeg looks at it; since CUDA 11 it changes an active one, too.

    Raises NoGpu with the reason.
    """
    driver = _open(library)
    _check(driver.cuInit(0))
    device = ctypes.c_int()
    _check(driver.cuDeviceGet(ctypes.byref(device), index))
    _check(driver.cuDevicePrimaryCtxSetFlags_v2(device, _BLOCKING_SYNC))


def pop_context(handle: int, *, library: str = LIBRARY) -> None:
    """Takes a context off this thread's stack, if it is the current one.

    PyCUDA pushes a primary context in order to release it, and cuDevicePrimaryCtxRelease pops
    nothing: whatever the thread does next would be done in a context that is gone.
    """
    driver, current = _open(library), ctypes.c_void_p()
    if driver.cuCtxGetCurrent(ctypes.byref(current)) == 0 and current.value == handle:
        driver.cuCtxPopCurrent_v2(ctypes.byref(current))


def _open(library: str) -> Any:
    try:
        return ctypes.CDLL(library)
    except OSError as error:
        raise NoGpu(
            f"no NVIDIA driver ({library} is missing): install one, or use --backend openvino"
        ) from error


def _check(status: int) -> None:
    if status:
        reason = _REASONS.get(status, "it does not start")
        raise NoGpu(f"the NVIDIA driver says: {reason} (CUDA error {status})")
