"""Compiles engine/kernels.cu for the processor, and launches it like a GPU module."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kinemacolor.engine.cuda.kernels import SOURCE

HOST = Path(__file__).with_name("kernels_host.cpp")
_KINDS: dict[type, type] = {
    np.uint64: ctypes.c_uint64,
    np.int32: ctypes.c_int32,
    np.float32: ctypes.c_float,
}


class SurfaceStruct(ctypes.Structure):
    """struct Surface of kernels.cu."""

    _fields_ = [
        ("address", ctypes.c_uint64),
        *((name, ctypes.c_int32) for name in ("pitch", "width", "height", "wide", "shift", "step")),
    ]


def compile_for_host(folder: Path) -> ctypes.CDLL:
    """Skips the test where there is no C++ compiler."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler for the CPU build of the kernels")
    library = folder / "kernels.so"
    options = ["-std=c++17", "-O2", "-Wall", "-Werror", "-fPIC", "-shared"]
    define = f'-DKERNELS="{SOURCE}"'
    command = [compiler, *options, "-Wno-unused-function", define, str(HOST), "-o", str(library)]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(library))


def launcher(library: ctypes.CDLL) -> Callable[..., None]:
    """launch(name, grid, block, arguments, cuda_stream), as `Device.kernels` returns it."""

    def argument(value: Any) -> tuple[type, Any]:
        if isinstance(value, np.void):
            return SurfaceStruct, SurfaceStruct.from_buffer_copy(value.tobytes())
        kind = _KINDS[type(value)]
        return kind, kind(value.item())

    def launch(
        name: str,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: tuple[Any, ...],
        cuda_stream: Any,
    ) -> None:
        kinds, values = zip(*map(argument, arguments), strict=True)
        address = ctypes.c_void_p.in_dll(library, f"host_{name}").value
        function = ctypes.CFUNCTYPE(None, *[ctypes.c_int] * 4, *kinds)(address)
        assert grid[2] == block[2] == 1
        cuda_stream.add(lambda: function(grid[0], grid[1], block[0], block[1], *values))

    return launch
