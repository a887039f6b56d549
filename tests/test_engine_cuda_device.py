"""The GPU by PyCUDA, over stand-ins for the driver and for PyCUDA's contexts."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from kinemacolor.engine.cuda.device import PyCudaDevice
from kinemacolor.engine.errors import EngineError

from tests.fake_driver import current_context, driver, fake_pycuda, ffmpeg_takes


@pytest.fixture
def library(tmp_path: Path) -> str:
    return driver(tmp_path, count=2)


@pytest.fixture
def pycuda(library: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    cuda = fake_pycuda(library)
    package = ModuleType("pycuda")
    package.driver = cuda  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", cuda)
    return cuda


@pytest.mark.parametrize("index", [0, 1])
def test_ffmpeg_shares_the_context_that_pycuda_made(
    library: str, pycuda: ModuleType, index: int
) -> None:
    """The network opens before the film does: PyCUDA alone would retain it with other flags."""
    device = PyCudaDevice(index, library=library)
    assert ffmpeg_takes(library, index)
    device.close()


def test_a_closed_device_is_not_current_any_more(library: str, pycuda: ModuleType) -> None:
    """PyCUDA leaves a primary context on the thread's stack when it releases it."""
    first, second = PyCudaDevice(0, library=library), PyCudaDevice(1, library=library)
    with first.current():
        second.close()
        assert current_context(library) == first._context.handle
    first.close()
    assert current_context(library) is None


def test_a_gpu_that_is_lost_is_one_line(library: str, pycuda: ModuleType) -> None:
    """After a kernel failed every call of CUDA fails, that which makes a context current too."""
    device = PyCudaDevice(0, library=library)

    def work() -> None:
        with device.current():
            pycuda.Context.sick = True

    for _ in range(2):  # it is lost inside, and before
        with pytest.raises(EngineError, match=r"CUDA failed: .*illegal memory access"):
            work()


def test_only_a_stream_that_asks_for_it_waits_for_the_default_one(
    library: str, pycuda: ModuleType
) -> None:
    """FFmpeg copies in the default stream, which breaks off the recording of a blocking one."""
    device = PyCudaDevice(0, library=library)
    non_blocking = 1  # CU_STREAM_NON_BLOCKING
    with device.current():
        assert device.cuda_stream().flags == non_blocking
        assert device.cuda_stream(blocking=True).flags == 0
    device.close()
