"""Frames coloured in place: NV12 and P010 in host memory, kernels built for the processor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from engine import dlpack, read_spec
from engine.onnxruntime_backend import OnnxRuntimeBackend
from stream.colorizer import Colorizer
from stream.errors import BadSink, BadSource, SourceNotFound
from stream.frames import plane_view
from stream.hwaccel import CudaColorizer, nvenc_problem, open_cuda_source
from stream.steady import make_steady
from tests.conftest import has_nvidia_gpu
from tests.fake_tensorrt import FakeDevice
from tests.host_kernels import compile_for_host, launcher
from tests.models import write_model

without_gpu = pytest.mark.skipif(has_nvidia_gpu(), reason="says what happens without a GPU")
SAMPLE = Path(__file__).parent.parent / "samples" / "film.mp4"


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    return launcher(compile_for_host(tmp_path_factory.mktemp("kernels")))


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[OnnxRuntimeBackend]:
    backend = OnnxRuntimeBackend(read_spec(write_model(tmp_path / "curve.onnx")))
    yield backend
    backend.close()


def frames(
    pix_fmt: str, number: int = 3, *, width: int = 192, height: int = 108, color_range: int = 1
) -> list[av.VideoFrame]:
    """A moving picture in grey, of a size and a layout."""
    made = []
    for i in range(number):
        y, x = np.mgrid[:height, :width]
        picture = 128 + 90 * np.sin((x + 5 * i) / 19) * np.cos(y / 13) + 20 * ((x // 30) % 2)
        grey = av.VideoFrame.from_ndarray(picture.astype(np.uint8), "gray")
        frame = grey.reformat(format=pix_fmt)
        frame.pts, frame.time_base = 2 * i, Fraction(1, 50)
        frame.colorspace, frame.color_range = 1, color_range
        made.append(frame)
    return made


def luma_codes(frame: av.VideoFrame) -> np.ndarray:
    if frame.format.name == "p010le":
        return np.from_dlpack(frame.planes[0]) >> 6  # type: ignore[no-any-return, operator]
    return plane_view(frame, 0)


def chroma_codes(frame: av.VideoFrame) -> np.ndarray:
    """(H/2, W/2, 2) whatever the layout."""
    if frame.format.name in ("nv12", "p010le"):
        codes = np.from_dlpack(frame.planes[1])
        return codes >> (6 if frame.format.name == "p010le" else 0)
    return np.stack([plane_view(frame, 1), plane_view(frame, 2)], -1)


@pytest.mark.parametrize("color_range", [1, 2])
@pytest.mark.parametrize(("layout", "planar"), [("nv12", "yuv420p"), ("p010le", "yuv420p10le")])
@pytest.mark.parametrize("steady", ["off", "live", "film"])
def test_colours_are_those_of_the_processors_path_and_the_luma_is_untouched(
    launch: Callable[..., None],
    backend: OnnxRuntimeBackend,
    layout: str,
    planar: str,
    color_range: int,
    steady: str,
) -> None:
    grey = frames(planar, color_range=color_range)
    on_device = [frame.reformat(format=layout) for frame in grey]
    for frame, source in zip(on_device, grey, strict=True):
        frame.pts, frame.time_base = source.pts, source.time_base
    before = [luma_codes(frame).copy() for frame in on_device]
    device = FakeDevice()
    cuda = CudaColorizer(
        backend,
        steady=make_steady(steady),
        device=device,
        launch=launch,  # type: ignore[arg-type]
    )
    colored = list(cuda.colorize(on_device))
    cuda.close()
    processor = Colorizer(backend, steady=make_steady(steady))  # type: ignore[arg-type]
    expected = list(processor.colorize(grey))
    assert len(colored) == len(expected) == 3
    for result, reference, luma in zip(colored, expected, before, strict=True):
        assert isinstance(result, av.VideoFrame)
        assert isinstance(reference, av.VideoFrame)
        assert (result.pts, result.time_base) == (reference.pts, reference.time_base)
        assert np.array_equal(luma_codes(result), luma)
        assert np.array_equal(luma_codes(result), plane_view(reference, 0))
        difference = np.abs(chroma_codes(result).astype(int) - chroma_codes(reference))
        # One code of luma may turn into another L, and that into a slightly other ab.
        assert difference.max() <= (2 if planar == "yuv420p" else 3)
        assert np.mean(difference > 1) < 0.02
        assert np.ptp(chroma_codes(result)) > 10


@pytest.mark.parametrize(
    ("layout", "takes", "expected"),
    [
        ("nv12", {"nv12", "yuv420p"}, "nv12"),
        ("nv12", {"yuv420p"}, "yuv420p"),
        ("p010le", {"yuv420p", "yuv420p10le"}, "yuv420p10le"),
        ("nv12", set(), "nv12"),
    ],
)
def test_an_encoder_on_the_processor_gets_one_copy_in_a_format_it_takes(
    launch: Callable[..., None],
    backend: OnnxRuntimeBackend,
    layout: str,
    takes: set[str],
    expected: str,
) -> None:
    [frame] = frames(layout, 1)
    luma = luma_codes(frame).copy()
    device = FakeDevice()
    cuda = CudaColorizer(backend, pix_fmts=takes, device=device, launch=launch)
    [result] = cuda.colorize([frame])
    cuda.close()
    assert isinstance(result, av.VideoFrame)
    assert result.format.name == expected
    assert np.array_equal(luma_codes(result), luma)
    assert np.array_equal(chroma_codes(result), chroma_codes(frame))
    assert (result.pts, result.colorspace, result.color_range) == (0, 1, 1)


def test_ten_bit_frames_are_never_cut_to_eight(
    launch: Callable[..., None], backend: OnnxRuntimeBackend
) -> None:
    cuda = CudaColorizer(backend, pix_fmts={"yuv420p"}, device=FakeDevice(), launch=launch)
    with pytest.raises(BadSink, match="takes no yuv420p10le"):
        list(cuda.colorize(frames("p010le", 1)))
    cuda.close()


def test_a_size_that_changes_on_the_way_is_followed(
    launch: Callable[..., None], backend: OnnxRuntimeBackend
) -> None:
    device = FakeDevice()
    cuda = CudaColorizer(backend, device=device, launch=launch)
    small, large = frames("nv12", 1), frames("nv12", 1, width=320, height=240)
    results = list(cuda.colorize([*small, *large, *frames("nv12", 1)]))
    cuda.close()
    assert [(r.width, r.height) for r in results] == [(192, 108), (320, 240), (192, 108)]  # type: ignore[union-attr]
    assert np.array_equal(chroma_codes(results[0]), chroma_codes(results[2]))  # type: ignore[arg-type]


@pytest.mark.parametrize(("pix_fmt", "width"), [("yuv444p", 192), ("yuv422p", 192), ("nv12", 191)])
def test_other_layouts_say_to_leave_the_option_out(
    launch: Callable[..., None], backend: OnnxRuntimeBackend, pix_fmt: str, width: int
) -> None:
    cuda = CudaColorizer(backend, device=FakeDevice(), launch=launch)
    with pytest.raises(BadSource, match="leave --hwaccel out"):
        list(cuda.colorize(frames(pix_fmt, 1, width=width)))
    cuda.close()


def test_compare_is_refused(launch: Callable[..., None], backend: OnnxRuntimeBackend) -> None:
    with pytest.raises(BadSink, match="--compare does not work with --hwaccel cuda"):
        CudaColorizer(backend, compare=True, device=FakeDevice(), launch=launch)


@without_gpu
def test_ffmpegs_operation_not_permitted_is_put_into_words() -> None:
    with pytest.raises(BadSource, match=r"NVIDIA driver") as caught:
        open_cuda_source(SAMPLE)
    assert "Operation not permitted" not in str(caught.value)


@without_gpu
def test_nvenc_says_why_it_cannot_be_used() -> None:
    problem = nvenc_problem("h264")
    assert problem is not None
    assert "NVIDIA driver" in problem
    assert nvenc_problem("no_such") is not None


def test_a_missing_file_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound):
        open_cuda_source(tmp_path / "none.mp4")


def test_dlpack_tells_address_shape_and_strides() -> None:
    array = np.arange(60, dtype=np.uint16).reshape(5, 12)[1:4, 2:9]
    tensor = dlpack.read(array)
    assert tensor.address == array.ctypes.data
    assert (tensor.shape, tensor.strides) == ((3, 7), (12, 1))
    assert (tensor.item_bytes, tensor.device_type) == (2, dlpack.CPU)


def test_dlpack_keeps_a_frames_memory_alive() -> None:
    [frame] = frames("nv12", 1)
    tensor = dlpack.read(frame.planes[1])
    assert tensor.shape == (54, 96, 2)
    assert tensor.strides == (frame.planes[1].line_size, 2, 1)


@pytest.mark.needs_gpu
def test_on_a_gpu_a_film_is_coloured_without_leaving_it(backend: OnnxRuntimeBackend) -> None:
    source = open_cuda_source(SAMPLE, duration_seconds=1)
    cuda = CudaColorizer(backend)
    colored = [item for item in cuda.colorize(source) if isinstance(item, av.VideoFrame)]
    assert colored
    assert {frame.format.name for frame in colored} == {"cuda"}
    with av.open(str(SAMPLE)) as container:
        for result, plain in zip(colored, container.decode(video=0), strict=False):
            down = result.reformat(format="yuv420p")
            assert np.array_equal(plane_view(down, 0), plane_view(plain, 0))
            assert np.ptp(plane_view(down, 1)) > 0
    cuda.close()
    source.close()
