"""A stand-in for libcuda, compiled for the test: what it says of its GPU, and its contexts.

Its primary context has flags, users, and a place on each thread's stack, by the rules of CUDA's
driver API: flags may change while it is active, and releasing it pops nothing off the stack.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SOURCE = r"""
#include <string.h>
#include <stddef.h>
int cuInit(unsigned flags) { return INIT; }
int cuDeviceGetCount(int *n) { *n = COUNT; return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return 0; }
int cuDeviceGetName(char *name, int n, int device) { strncpy(name, "Stand-in", n); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)24 << 30; return 0; }
int cuDeviceGetAttribute(int *v, int which, int device) { *v = which == 75 ? 8 : 6; return 0; }
int cuDriverGetVersion(int *version) { *version = 12040; return 0; }

static struct { unsigned flags; int users; } primary[COUNT + 1];
static __thread void *stack[16];
static __thread int depth;
int cuDevicePrimaryCtxSetFlags_v2(int device, unsigned flags) {
    primary[device].flags = flags;
    return 0;
}
int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) {
    *flags = primary[device].flags;
    *active = primary[device].users > 0;
    return 0;
}
int cuDevicePrimaryCtxRetain(void **context, int device) {
    ++primary[device].users;
    *context = &primary[device];
    return 0;
}
int cuDevicePrimaryCtxRelease_v2(int device) { return --primary[device].users < 0 ? 201 : 0; }
int cuCtxPushCurrent_v2(void *context) { stack[depth++] = context; return 0; }
int cuCtxPopCurrent_v2(void **context) {
    if (!depth) return 201;
    *context = stack[--depth];
    return 0;
}
int cuCtxGetCurrent(void **context) { *context = depth ? stack[depth - 1] : 0; return 0; }
"""


def driver(folder: Path, *, init: int = 0, count: int = 1) -> str:
    """Returns the library's path. Skips the test where there is no C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to make the stand-in driver with")
    source, library = folder / "cuda.c", folder / "libcuda_stand_in.so"
    source.write_text(SOURCE)
    options = ["-shared", "-fPIC", f"-DINIT={init}", f"-DCOUNT={count}"]
    subprocess.run([compiler, *options, "-o", library, source], check=True)
    return str(library)


def ffmpeg_takes(library: str, device: int = 0) -> bool:
    """Whether FFmpeg would share the primary context (cuda_context_init of hwcontext_cuda.c)."""
    flags, active = ctypes.c_uint(), ctypes.c_int()
    state = ctypes.CDLL(library).cuDevicePrimaryCtxGetState
    assert state(device, ctypes.byref(flags), ctypes.byref(active)) == 0
    return not active.value or flags.value == 4  # CU_CTX_SCHED_BLOCKING_SYNC


def current_context(library: str) -> int | None:
    """What lies on top of this thread's stack."""
    context = ctypes.c_void_p()
    ctypes.CDLL(library).cuCtxGetCurrent(ctypes.byref(context))
    return context.value


def fake_pycuda(library: str) -> ModuleType:
    """`pycuda.driver` as far as contexts and streams go, over the stand-in.

    A context is retained without flags. To detach one that is not current, PyCUDA 2026.1 pushes
    it first and takes the release for a pop (context::detach of src/cpp/cuda.hpp).
    """
    cuda, lib = ModuleType("pycuda.driver"), ctypes.CDLL(library)

    class Error(Exception):
        pass

    class MemoryError(Error):
        pass

    class Context:
        sick = False  # after a failed kernel every call fails

        def __init__(self, device: int) -> None:
            self._device, handle = device, ctypes.c_void_p()
            lib.cuDevicePrimaryCtxRetain(ctypes.byref(handle), device)
            self.handle = handle.value

        def push(self) -> None:
            if Context.sick:
                raise Error("cuCtxPushCurrent failed: an illegal memory access was encountered")
            lib.cuCtxPushCurrent_v2(ctypes.c_void_p(self.handle))

        @staticmethod
        def pop() -> None:
            if Context.sick:
                raise Error("cuCtxPopCurrent failed: an illegal memory access was encountered")
            assert lib.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p())) == 0

        def detach(self) -> None:
            lib.cuCtxPushCurrent_v2(ctypes.c_void_p(self.handle))
            assert lib.cuDevicePrimaryCtxRelease_v2(self._device) == 0

    class Device:
        def __init__(self, index: int) -> None:
            self._index = index

        def retain_primary_context(self) -> Context:
            return Context(self._index)

    class Stream:
        def __init__(self, flags: int = 0) -> None:
            self.flags = flags

    contents: dict[str, Any] = {"init": lambda: None, "Error": Error, "MemoryError": MemoryError}
    vars(cuda).update(contents, Context=Context, Device=Device, Stream=Stream)
    return cuda
