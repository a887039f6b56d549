"""The GPU benchmark's own code, on the stand-in for a GPU and on the processor."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
from kinemacolor.engine.onnxruntime_backend import OnnxRuntimeBackend
from kinemacolor.engine.spec import read_spec
from kinemacolor.engine.tensorrt.engine import LoadedEngine

from benchmarks.gpu import Row, make_clip, path_rows, show, time_engine
from benchmarks.gpu_parity import fp16_rows, parity_rows
from tests.conftest import has_nvidia_gpu
from tests.fake_tensorrt import FakeDevice, FakeLogger, FakeTensorRT
from tests.models import write_model

ROOT = Path(__file__).parent.parent
FILM = ROOT / "samples" / "film.mp4"


@pytest.mark.parametrize("batch", [1, 8])
def test_the_engine_is_timed_with_all_its_buffers_in_order(tmp_path: Path, batch: int) -> None:
    plan = write_model(tmp_path / "curve.onnx").read_bytes()
    device = FakeDevice()
    engine = LoadedEngine(FakeTensorRT(device), plan, device, logger=FakeLogger())  # type: ignore[arg-type]
    row = time_engine(engine, batch, 64, 64, rounds=6, warm_up_seconds=0)
    assert row["batch"] == batch
    assert all(value > 0 for value in row.values())
    engine.close()


def test_the_path_is_measured_and_the_processor_agrees_with_itself(tmp_path: Path) -> None:
    clip = make_clip(FILM, 120, tmp_path, frames=60)
    with av.open(str(clip)) as made:
        assert sum(1 for _ in made.decode(video=0)) == 60
    backend = OnnxRuntimeBackend(read_spec(write_model(tmp_path / "curve.onnx")))
    rows = list(path_rows(backend, [clip]))
    assert [row["sink"] for row in rows] == ["null:", "x264"]
    assert all(row["fps"] > 0 for row in rows)
    parity = next(parity_rows(backend, clip))
    assert parity == {
        "what": "the network",
        "frames": 48,
        "luma equal": True,
        "CIEDE2000 mean": 0.0,
        "in bounds": True,
    }
    [fp16] = fp16_rows(backend)
    assert (fp16["CIEDE2000 mean"], fp16["in bounds"]) == (0.0, True)
    backend.close()


def test_a_section_that_crashes_is_a_row() -> None:
    def rows() -> Iterator[Row]:
        yield {"batch": 1}
        raise IndexError("tuple index out of range")

    assert show("engine", rows()) == [
        {"batch": 1},
        {"not measured": "IndexError: tuple index out of range"},
    ]


@pytest.mark.skipif(has_nvidia_gpu(), reason="says what happens without a GPU")
def test_without_a_gpu_it_says_so_and_fails(tmp_path: Path) -> None:
    model = write_model(tmp_path / "curve.onnx")
    command = [sys.executable, "-m", "benchmarks.gpu", "--model", str(model)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "CIEDE2000 mean" in done.stdout
    assert "nothing else can be measured here: " in done.stderr
