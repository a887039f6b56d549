"""What a GPU alone can prove: decoder, kernels, engine and encoder in one process."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from kinemacolor.engine.onnxruntime_backend import OnnxRuntimeBackend
from kinemacolor.engine.spec import ModelSpec, read_spec
from kinemacolor.engine.tensorrt.backend import find_plan, open_plan
from kinemacolor.engine.tensorrt.cache import PlanCache
from kinemacolor.stream.color.colorizer import Colorizer
from kinemacolor.stream.color.cuda_painter import CudaPainter
from kinemacolor.stream.color.frames import plane_view
from kinemacolor.stream.run.run import colorize
from kinemacolor.stream.sources.nvdec import nvenc_problem, open_cuda_source, why_not
from kinemacolor.stream.sources.open import open_source

from tests.models import write_model

pytestmark = pytest.mark.needs_gpu
SAMPLE = Path(__file__).parent.parent / "samples" / "film.mp4"
FRAMES = 24
CODES = 3  # one code of luma may turn into another L, and that into a slightly other ab


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    return read_spec(write_model(tmp_path / "curve.onnx"))


@pytest.fixture
def backend(spec: ModelSpec) -> Iterator[OnnxRuntimeBackend]:
    backend = OnnxRuntimeBackend(spec)
    yield backend
    backend.close()


def write_film(path: Path, encoder: str, pix_fmt: str) -> Path:
    """A grey picture that moves, as a film that NVDEC takes."""
    y, x = np.mgrid[:180, :320]
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream(encoder, rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 180, pix_fmt
        for i in range(FRAMES):
            picture = 128 + 90 * np.sin((x + 5 * i) / 19) * np.cos(y / 13)
            frame = av.VideoFrame.from_ndarray(picture.astype(np.uint8), "gray")
            frame = frame.reformat(format=pix_fmt)
            frame.pts, frame.time_base = i, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def colored(source: Any, colorizer: Colorizer) -> list[av.VideoFrame]:
    try:
        frames = colorizer.colorize(source)
        return [frame for frame in frames if isinstance(frame, av.VideoFrame)]
    finally:
        colorizer.close()
        source.close()


@pytest.mark.parametrize(
    ("encoder", "pix_fmt"),
    [("libx264", "yuv420p"), ("libx264", "yuvj420p"), ("libx265", "yuv420p10le")],
)
def test_frames_that_come_down_are_those_of_the_ordinary_path(
    tmp_path: Path, backend: OnnxRuntimeBackend, encoder: str, pix_fmt: str
) -> None:
    """NV12 and P010: the luma bit for bit, the chroma within the rounding of the kernels."""
    film = write_film(tmp_path / "film.mkv", encoder, pix_fmt)
    assert why_not(film) is None
    takes = {pix_fmt.replace("yuvj", "yuv")}
    on_gpu = Colorizer(backend, painter=CudaPainter(takes))
    results = colored(open_cuda_source(film), on_gpu)
    expected = colored(open_source(film), Colorizer(backend, pix_fmts=takes))
    assert len(results) == len(expected) == FRAMES
    for result, reference in zip(results, expected, strict=True):
        assert result.format.name == reference.format.name
        assert (result.pts, result.time_base) == (reference.pts, reference.time_base)
        assert np.array_equal(plane_view(result, 0), plane_view(reference, 0))
        for plane in (1, 2):
            difference = np.abs(
                plane_view(result, plane).astype(int) - plane_view(reference, plane)
            )
            assert difference.max() <= CODES
            assert np.mean(difference > 1) < 0.02


def test_batches_that_are_not_full_leave_the_graphs_right(
    spec: ModelSpec, backend: OnnxRuntimeBackend, tmp_path: Path
) -> None:
    network = open_plan(find_plan(spec, cache=PlanCache(tmp_path / "plans")))
    for seed, number in enumerate([4, 4, 4, 4, 4, 3, 4, 3, 3, 3, 3, 4, 4, 4, 4, 1]):
        L = np.random.default_rng(seed).uniform(0, 100, (number, 1, 128, 192)).astype(np.float32)
        np.testing.assert_allclose(network(L), backend(L), atol=0.2)  # FP16: 11 bits of 100
    network.close()


@pytest.mark.parametrize("encoder", ["x264", "nvenc"])
def test_tensorrt_and_nvdec_share_a_process(
    tmp_path: Path, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch, encoder: str
) -> None:
    """The network opens first, and its graphs are recorded while the decoder copies."""
    problem = nvenc_problem() if encoder == "nvenc" else None
    if problem is not None:
        pytest.skip(f"no NVENC: {problem}")  # data-centre GPUs have none
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with av.open(str(SAMPLE)) as container:
        number = sum(1 for _ in container.decode(video=0))
    result = tmp_path / "color.mkv"
    report = colorize(
        *(SAMPLE, result),
        model=str(spec.path),
        backend="tensorrt",
        hwaccel="cuda",
        encoder=encoder,
    )
    assert report["frames_out"] == number
    assert report["pix_fmt"] == "yuv420p"
    with av.open(str(result)) as container:
        frames = [frame.reformat(format="yuv420p") for frame in container.decode(video=0)]
    assert len(frames) == number
    assert all(np.ptp(plane_view(frame, 1)) > 0 for frame in frames)
