"""One contract over every backend that runs here: same answers, overlapping, owned results."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kinemacolor.engine.backend import Backend
from kinemacolor.engine.errors import BackendUnavailable, BadModel, ModelNotFound
from kinemacolor.engine.inputs import Inputs
from kinemacolor.engine.load import choose, load

from tests.models import write_model

BACKENDS = ["openvino", "onnxruntime"]
# Between two float32 programs that add in another order; ab reaches 110.
FP32_TOLERANCE = 1e-3
# bfloat16 keeps 8 bits of a number: 100 is known to 0.4, and errors add up over two layers.
BF16_TOLERANCE = 1.0


def lightness(batch: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 100, (batch, 1, height, width)).astype(np.float32)


def expected(L: np.ndarray, stride: int = 4) -> np.ndarray:
    """What `write_model` computes, in NumPy."""
    n, _, h, w = L.shape
    mean = L.reshape(n, h // stride, stride, w // stride, stride).mean(axis=(2, 4))
    return np.stack([0.6 * mean - 20, -0.4 * mean + 30], axis=1).astype(np.float32)


@pytest.fixture(params=BACKENDS)
def name(request: pytest.FixtureRequest) -> str:
    if find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return request.param


@pytest.fixture
def backend(name: str, tmp_path: Path) -> Iterator[Backend]:
    model = write_model(tmp_path / "tiny.onnx")
    opened = load(model, name, "fp32", threads=1)  # type: ignore[arg-type]
    yield opened
    opened.close()


def test_it_says_what_it_is(backend: Backend, name: str) -> None:
    assert backend.name == name
    assert backend.precision == "fp32"
    assert "fp32" in backend.description
    assert backend.spec.name == "tiny"


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 64, 96), (2, 128, 32), (1, 256, 480)])
def test_any_batch_and_size_gives_the_networks_answer(
    backend: Backend, shape: tuple[int, int, int]
) -> None:
    L = lightness(*shape)
    ab = backend(L)
    assert ab.dtype == np.float32
    assert ab.shape == (shape[0], 2, shape[1] // 4, shape[2] // 4)
    np.testing.assert_allclose(ab, expected(L), atol=FP32_TOLERANCE)


def test_sizes_may_change_from_call_to_call(backend: Backend) -> None:
    for seed, size in enumerate([(64, 64), (96, 64), (64, 64), (32, 128)]):
        L = lightness(1, *size, seed=seed)
        np.testing.assert_allclose(backend(L), expected(L), atol=FP32_TOLERANCE)


def test_many_batches_overlap_and_each_gets_its_own_answer(backend: Backend) -> None:
    pictures = [lightness(1, 64, 64, seed=i) for i in range(12)]
    pending = [backend.submit(Inputs(L)) for L in pictures]
    for L, waiting in zip(pictures, pending, strict=True):
        np.testing.assert_allclose(waiting.result(), expected(L), atol=FP32_TOLERANCE)


def test_one_picture_at_a_time_gives_the_same_colours(tmp_path: Path, name: str) -> None:
    """`batch=1` lets one picture have every core, which the other way shares out."""
    model = write_model(tmp_path / "tiny.onnx")
    alone = load(model, name, "fp32", batch=1)  # type: ignore[arg-type]
    for seed in range(3):
        L = lightness(1, 64, 96, seed=seed)
        np.testing.assert_allclose(
            alone.submit(Inputs(L)).result(), expected(L), atol=FP32_TOLERANCE
        )
    alone.close()


def test_results_can_be_read_in_any_order(backend: Backend) -> None:
    pictures = [lightness(1, 64, 64, seed=i) for i in range(4)]
    pending = [backend.submit(Inputs(L)) for L in pictures]
    for i in (2, 0, 3, 1):
        np.testing.assert_allclose(pending[i].result(), expected(pictures[i]), atol=FP32_TOLERANCE)


def test_a_result_belongs_to_the_caller(backend: Backend) -> None:
    L = lightness(1, 64, 64)
    first = backend.submit(Inputs(L)).result()
    kept = first.copy()
    for seed in range(1, 5):
        backend.submit(Inputs(lightness(1, 64, 64, seed=seed))).result()
    np.testing.assert_array_equal(first, kept)
    first[:] = 0  # and may be written
    np.testing.assert_allclose(backend(L), kept, atol=FP32_TOLERANCE)


def test_the_input_is_not_written(backend: Backend) -> None:
    L = lightness(1, 64, 64)
    kept = L.copy()
    backend(L)
    np.testing.assert_array_equal(L, kept)


def test_work_not_waited_for_can_be_left_behind(backend: Backend) -> None:
    for seed in range(4):
        backend.submit(Inputs(lightness(1, 64, 64, seed=seed)))
    # close() by the fixture; the thread check says whether anything is left


def test_work_in_the_background_can_be_looked_after_and_cancelled(backend: Backend) -> None:
    assert backend.in_background
    wanted, other = lightness(1, 64, 64), lightness(8, 640, 640, seed=1)
    first: Any = backend.submit(Inputs(wanted))
    deadline = time.monotonic() + 20
    while not first.done() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert first.done()
    np.testing.assert_allclose(first.result(), expected(wanted), atol=FP32_TOLERANCE)
    for _ in range(3):
        dropped: Any = backend.submit(Inputs(other))
        dropped.cancel()
        np.testing.assert_allclose(backend(wanted), expected(wanted), atol=FP32_TOLERANCE)
        after = backend.submit(Inputs(wanted))
        np.testing.assert_allclose(after.result(), expected(wanted), atol=FP32_TOLERANCE)


def test_precision_auto_is_near_fp32(name: str, tmp_path: Path) -> None:
    opened = load(write_model(tmp_path / "tiny.onnx"), name, "auto")  # type: ignore[arg-type]
    try:
        L = lightness(2, 128, 128)
        tolerance = FP32_TOLERANCE if opened.precision == "fp32" else BF16_TOLERANCE
        np.testing.assert_allclose(opened(L), expected(L), atol=tolerance)
    finally:
        opened.close()


def test_a_fixed_size_model_runs_at_its_size(name: str, tmp_path: Path) -> None:
    opened = load(
        write_model(tmp_path / "fixed.onnx", size=(64, 96)),
        name,  # type: ignore[arg-type]
        "fp32",
    )
    try:
        assert opened.spec.fixed_size
        L = lightness(1, 64, 96)
        np.testing.assert_allclose(opened(L), expected(L), atol=FP32_TOLERANCE)
    finally:
        opened.close()


def test_both_backends_agree(tmp_path: Path) -> None:
    model = write_model(tmp_path / "tiny.onnx")
    L = lightness(2, 96, 160)
    answers = []
    for name in BACKENDS:
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
        opened = load(model, name, "fp32")  # type: ignore[arg-type]
        answers.append(opened(L))
        opened.close()
    np.testing.assert_allclose(*answers, atol=FP32_TOLERANCE)


def test_auto_chooses_and_says_why(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    opened = load(write_model(tmp_path / "tiny.onnx"))
    opened.close()
    chosen, why = choose()
    assert opened.name == chosen
    assert f"backend: {chosen} ({why})" in caplog.messages


def test_unknown_names_are_errors_that_name_the_known(tmp_path: Path) -> None:
    model = write_model(tmp_path / "tiny.onnx")
    with pytest.raises(ValueError, match=r"unknown backend 'ncnn': one of auto, .*onnxruntime"):
        load(model, "ncnn")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"unknown precision 'int8': one of auto, fp32"):
        load(model, "auto", "int8")  # type: ignore[arg-type]
    with pytest.raises(ModelNotFound):
        load(tmp_path / "gone.onnx")


def test_what_a_backend_cannot_do_is_an_error_not_a_fallback(tmp_path: Path) -> None:
    model = write_model(tmp_path / "tiny.onnx")
    with pytest.raises(BackendUnavailable, match=r"fp32 here, not bf16.*--precision fp32"):
        load(model, "onnxruntime", "bf16")


def test_a_broken_model_is_refused_before_a_backend_sees_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / "text.onnx"
    path.write_text("no model")
    with pytest.raises(BadModel):
        load(path, name)  # type: ignore[arg-type]
