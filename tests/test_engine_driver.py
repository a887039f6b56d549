"""What the driver says, in words: asked of a stand-in library that is compiled for the test."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from engine.driver import Gpu, NoGpu, check_driver, find_gpu, gpu_count

# The eight calls of libcuda that are used, answering what the macros say.
STAND_IN = r"""
#include <string.h>
#include <stddef.h>
int cuInit(unsigned flags) { return INIT; }
int cuDeviceGetCount(int *n) { *n = COUNT; return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return 0; }
int cuDeviceGetName(char *name, int n, int device) { strncpy(name, "Stand-in", n); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)24 << 30; return 0; }
int cuDeviceGetAttribute(int *v, int which, int device) { *v = which == 75 ? 8 : 6; return 0; }
int cuDriverGetVersion(int *version) { *version = 12040; return 0; }
"""


def driver(folder: Path, *, init: int = 0, count: int = 1) -> str:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to make the stand-in driver with")
    source, library = folder / "cuda.c", folder / "libcuda_stand_in.so"
    source.write_text(STAND_IN)
    options = ["-shared", "-fPIC", f"-DINIT={init}", f"-DCOUNT={count}"]
    subprocess.run([compiler, *options, "-o", library, source], check=True)
    return str(library)


def test_a_gpu_is_described(tmp_path: Path) -> None:
    gpu = find_gpu(1, library=driver(tmp_path, count=2))
    assert gpu == Gpu(1, "Stand-in", (8, 6), 24 << 30, (12, 4))
    assert str(gpu) == "Stand-in, compute capability 8.6, 24 GiB"


def test_no_driver_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NoGpu, match=r"no NVIDIA driver .* use --backend openvino"):
        find_gpu(library=str(tmp_path / "libcuda.so.1"))


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (100, "finds no GPU"),
        (803, "restart the machine"),
        (34, "stub library"),
        (999, "does not start"),
    ],
)
def test_a_driver_that_does_not_start_says_why(tmp_path: Path, status: int, words: str) -> None:
    with pytest.raises(NoGpu, match=rf"{words}.*\(CUDA error {status}\)"):
        find_gpu(library=driver(tmp_path, init=status))


def test_a_driver_without_a_gpu_counts_as_none(tmp_path: Path) -> None:
    with pytest.raises(NoGpu, match="finds no GPU"):
        gpu_count(library=driver(tmp_path, count=0))


def test_a_number_beyond_the_last_gpu_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoGpu, match="there is no GPU 2: 0 to 1 are"):
        find_gpu(2, library=driver(tmp_path, count=2))


def test_too_old_a_driver_is_refused_before_tensorrt_is_touched(tmp_path: Path) -> None:
    gpu = find_gpu(library=driver(tmp_path))
    check_driver(gpu, 12, "tensorrt 10.16")
    with pytest.raises(NoGpu, match=r"runs CUDA up to 12\.4, and tensorrt_rtx 1\.7 needs CUDA 13"):
        check_driver(gpu, 13, "tensorrt_rtx 1.7")
