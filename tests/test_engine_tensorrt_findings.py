"""What doctor says of the GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
from kinemacolor.engine.cuda.driver import Gpu
from kinemacolor.engine.tensorrt.cache import PlanCache
from kinemacolor.engine.tensorrt.findings import examine_gpu

from tests.conftest import has_nvidia_gpu

GPU = Gpu(0, "Stand-in", (9, 0), 24 << 30, (11, 8))


@pytest.mark.skipif(has_nvidia_gpu(), reason="says what happens without a GPU")
def test_without_a_gpu_there_is_one_line_that_says_why(tmp_path: Path) -> None:
    [(subject, good, detail)] = examine_gpu(cache=PlanCache(tmp_path))
    assert (subject, good) == ("NVIDIA GPU", False)
    assert "NVIDIA driver" in detail


def test_everything_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU whose driver is too old for every TensorRT, a path without nvcc, one engine."""
    monkeypatch.setattr("kinemacolor.engine.tensorrt.findings.find_gpu", lambda device: GPU)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "kinema.plan").touch()
    found = {
        subject: (good, detail) for subject, good, detail in examine_gpu(cache=PlanCache(tmp_path))
    }
    good, detail = found["NVIDIA GPU"]
    assert good
    assert detail == "Stand-in, compute capability 9.0, 24 GiB, driver for CUDA 11.8"
    good, detail = found["tensorrt"]
    assert not good
    assert "driver is too old" in detail or "pip install" in detail
    assert found["nvcc"][0] is False
    assert found["engines"] == (True, f"kinema in {tmp_path}")
