"""The GPU by PyCUDA, over stand-ins for the driver and for PyCUDA's contexts."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from engine.cuda import PyCudaDevice
from tests.fake_driver import driver, fake_pycuda, ffmpeg_takes


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
