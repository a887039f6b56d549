"""What the driver says, in words: asked of a stand-in library that is compiled for the test."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
from kinemacolor.engine.cuda.driver import (
    Gpu,
    NoGpu,
    check_driver,
    find_gpu,
    gpu_count,
    use_blocking_sync,
)

from tests.fake_driver import driver, ffmpeg_takes


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


def test_a_context_that_somebody_else_made_is_fit_for_ffmpeg_afterwards(tmp_path: Path) -> None:
    """FFmpeg shares an active primary context with exactly one set of flags, else none."""
    library = driver(tmp_path)
    context = ctypes.c_void_p()
    ctypes.CDLL(library).cuDevicePrimaryCtxRetain(ctypes.byref(context), 0)
    assert not ffmpeg_takes(library)
    use_blocking_sync(library=library)
    assert ffmpeg_takes(library)
