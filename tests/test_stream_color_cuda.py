"""Frames coloured in place: NVDEC's layouts in host memory, kernels built for the processor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from kinemacolor.engine.cuda import dlpack
from kinemacolor.engine.cuda.driver import Gpu
from kinemacolor.engine.errors import EngineError
from kinemacolor.engine.onnxruntime_backend import OnnxRuntimeBackend
from kinemacolor.engine.spec import read_spec
from kinemacolor.stream.color.colorizer import Colorizer
from kinemacolor.stream.color.cuda_painter import CudaPainter
from kinemacolor.stream.color.frames import plane_view
from kinemacolor.stream.color.painter import Style
from kinemacolor.stream.errors import BadSink, BadSource
from kinemacolor.stream.options import Options
from kinemacolor.stream.run.assemble import make_colorizer
from kinemacolor.stream.sinks.null import NullSink
from kinemacolor.stream.sources.nvdec import open_cuda_source
from kinemacolor.stream.sources.open import open_source
from kinemacolor.stream.steady.smoothing import make_steady

from tests.cuda_frames import CudaFrame
from tests.fake_tensorrt import FakeDevice
from tests.host_kernels import compile_for_host, launcher
from tests.models import write_model

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


# NVDEC's layout, and the planar one of the same codes.
LAYOUTS = [("nv12", "yuv420p"), ("p010le", "yuv420p10le")]


def rows(frame: av.VideoFrame, index: int, samples: int) -> np.ndarray:
    """(H, samples of each row), codes right-aligned."""
    plane, name = frame.planes[index], frame.format.name
    wide = frame.format.components[0].bits > 8
    codes = np.frombuffer(memoryview(plane), np.uint16 if wide else np.uint8)
    upper = name.startswith(("p0", "p2")) or name.endswith("msble")
    return codes.reshape(plane.height, -1)[:, :samples] >> (6 if upper else 0)


def luma_codes(frame: Any) -> np.ndarray:
    frame = getattr(frame, "host", frame)
    return rows(frame, 0, frame.width)


def chroma_codes(frame: Any) -> np.ndarray:
    """(h, w, 2) whatever the layout."""
    frame = getattr(frame, "host", frame)
    width = frame.planes[1].width
    if len(frame.planes) == 2:
        return rows(frame, 1, 2 * width).reshape(-1, width, 2)
    return np.stack([rows(frame, 1, width), rows(frame, 2, width)], -1)


def laid_out(planar: list[av.VideoFrame], layout: str) -> list[av.VideoFrame]:
    """The same frames as NVDEC would give them."""
    made = []
    for source in planar:
        frame = source.reformat(format=layout)
        frame.pts, frame.time_base = source.pts, source.time_base
        made.append(frame)
    return made


def on_gpu(frames: list[av.VideoFrame], device: FakeDevice) -> list[Any]:
    return [CudaFrame(frame, device) for frame in frames]


@pytest.mark.parametrize("color_range", [1, 2])
@pytest.mark.parametrize(("layout", "planar"), LAYOUTS)
@pytest.mark.parametrize("steady", ["off", "live", "film"])
def test_colours_are_those_of_the_processors_path_and_the_luma_is_untouched(
    launch: Callable[..., None],
    backend: OnnxRuntimeBackend,
    layout: str,
    planar: str,
    color_range: int,
    steady: str,
) -> None:
    compare_paths(launch, backend, layout, planar, steady, color_range=color_range)


def test_a_film_whose_format_says_full_range_has_its_chroma_in_the_same_places(
    launch: Callable[..., None], backend: OnnxRuntimeBackend
) -> None:
    """NVDEC makes nv12 of yuvj420p, the ordinary path yuv420p: left-sited, both of them."""
    compare_paths(launch, backend, "nv12", "yuvj420p", "off", color_range=2)


@pytest.mark.parametrize(("layout", "planar"), LAYOUTS)
@pytest.mark.parametrize(("width", "height"), [(191, 107), (192, 107), (191, 108), (65, 33)])
def test_odd_sizes_have_colour_to_the_last_sample(
    launch: Callable[..., None],
    backend: OnnxRuntimeBackend,
    layout: str,
    planar: str,
    width: int,
    height: int,
) -> None:
    """PyAV 18.1 tells the chroma of an odd picture half a sample too small."""
    compare_paths(launch, backend, layout, planar, "off", width=width, height=height)


def compare_paths(
    launch: Callable[..., None],
    backend: OnnxRuntimeBackend,
    layout: str,
    planar: str,
    steady: str,
    **geometry: int,
) -> None:
    """Colours the same frames in place and on the ordinary path."""
    grey = frames(planar, **geometry)
    processor = Colorizer(backend, steady=make_steady(steady))  # type: ignore[arg-type]
    expected = list(processor.colorize(grey))
    surfaces = laid_out(grey, layout)
    before = [luma_codes(frame).copy() for frame in surfaces]
    device = FakeDevice()
    cuda = Colorizer(
        backend,
        steady=make_steady(steady),  # type: ignore[arg-type]
        painter=CudaPainter(device=device, launch=launch),
    )
    colored = list(cuda.colorize(on_gpu(surfaces, device)))
    cuda.close()
    assert len(colored) == len(expected) == 3
    for result, reference, luma in zip(colored, expected, before, strict=True):
        assert isinstance(result, av.VideoFrame)
        assert isinstance(reference, av.VideoFrame)
        assert (result.pts, result.time_base) == (reference.pts, reference.time_base)
        assert np.array_equal(luma_codes(result), luma)
        assert np.array_equal(luma_codes(result), plane_view(reference, 0))
        difference = np.abs(chroma_codes(result).astype(int) - chroma_codes(reference))
        # One code of luma may turn into another L, and that into a slightly other ab.
        assert difference.max() <= (3 if "10" in planar else 2)
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
    cuda = Colorizer(backend, painter=CudaPainter(takes, device=device, launch=launch))
    [result] = cuda.colorize(on_gpu([frame], device))
    cuda.close()
    assert isinstance(result, av.VideoFrame)
    assert result.format.name == (expected if takes else "cuda")
    assert np.array_equal(luma_codes(result), luma)
    assert np.array_equal(chroma_codes(result), chroma_codes(frame))
    assert (result.pts, result.colorspace, result.color_range) == (0, 1, 1)


def test_ten_bit_frames_are_never_cut_to_eight(
    launch: Callable[..., None], backend: OnnxRuntimeBackend
) -> None:
    device = FakeDevice()
    painter = CudaPainter({"yuv420p"}, device=device, launch=launch)
    cuda = Colorizer(backend, painter=painter)
    with pytest.raises(BadSink, match="takes no yuv420p10le"):
        list(cuda.colorize(on_gpu(frames("p010le", 1), device)))
    cuda.close()


def test_a_size_that_changes_on_the_way_is_followed(
    launch: Callable[..., None], backend: OnnxRuntimeBackend
) -> None:
    device = FakeDevice()
    cuda = Colorizer(backend, painter=CudaPainter(device=device, launch=launch))
    small, large = frames("nv12", 1), frames("nv12", 1, width=320, height=240)
    results = list(cuda.colorize(on_gpu([*small, *large, *frames("nv12", 1)], device)))
    cuda.close()
    assert [(r.width, r.height) for r in results] == [(192, 108), (320, 240), (192, 108)]  # type: ignore[union-attr]
    assert np.array_equal(chroma_codes(results[0]), chroma_codes(results[2]))  # type: ignore[arg-type]


@pytest.mark.parametrize("pix_fmt", ["yuv411p", "nv16", "yuv444p", "gray"])
def test_other_layouts_say_to_leave_the_option_out(
    launch: Callable[..., None], backend: OnnxRuntimeBackend, pix_fmt: str
) -> None:
    device = FakeDevice()
    cuda = Colorizer(backend, painter=CudaPainter(device=device, launch=launch))
    with pytest.raises(BadSource, match="leave --hwaccel out"):
        list(cuda.colorize(on_gpu(frames(pix_fmt, 1), device)))
    device.default.synchronize()
    cuda.close()


def test_an_odd_picture_is_not_given_to_an_encoder_that_would_crop_it(
    launch: Callable[..., None], backend: OnnxRuntimeBackend
) -> None:
    device = FakeDevice()
    painter = CudaPainter({"yuv420p"}, device=device, launch=launch)
    cuda = Colorizer(backend, painter=painter)
    with pytest.raises(BadSink, match="191x108 with half-size chroma"):
        list(cuda.colorize(on_gpu(frames("nv12", 1, width=191), device)))
    cuda.close()


@pytest.mark.parametrize("fails", ["L", "ab"])
def test_a_gpu_that_is_too_full_is_one_line_and_leaks_nothing(
    launch: Callable[..., None], backend: OnnxRuntimeBackend, fails: str
) -> None:
    """Room for the kernels, but not for what goes in and out of the network."""
    ample = FakeDevice()
    painter = CudaPainter(device=ample, launch=launch)
    canvas = painter.look(CudaFrame(frames("nv12", 1)[0], ample), backend.spec)  # type: ignore[arg-type]
    needed = sum(memory.array.size for memory in ample.allocated.values())
    height, width = canvas.L.shape
    painter.close()
    assert painter._buffers is None  # pinned memory goes with its context
    device = FakeDevice(needed - (1 if fails == "ab" else 8 * height * width + 1))
    cuda = Colorizer(backend, painter=CudaPainter(device=device, launch=launch))
    with pytest.raises(EngineError, match="the GPU has no"):
        list(cuda.colorize(on_gpu(frames("nv12", 1), device)))
    cuda.close()
    device.default.synchronize()


def test_every_auto_keeps_the_rate_on_the_gpu_too(
    launch: Callable[..., None], backend: OnnxRuntimeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = FakeDevice()
    monkeypatch.setattr(device, "kernels", lambda cubin: launch, raising=False)
    monkeypatch.setattr("kinemacolor.stream.color.cuda_painter.PyCudaDevice", lambda index: device)
    monkeypatch.setattr(
        "kinemacolor.stream.color.cuda_painter.compile_kernels", lambda capability: b""
    )
    monkeypatch.setattr(
        "kinemacolor.stream.color.cuda_painter.find_gpu",
        lambda index: Gpu(0, "Stand-in", (9, 0), 1 << 30, (13, 0)),
    )
    source = open_source(SAMPLE)
    settings = Options.of(every="auto", hwaccel="cuda")
    colorizer = make_colorizer(backend, settings, source, NullSink())
    assert isinstance(colorizer.painter, CudaPainter)
    assert colorizer.tempo is not None
    colorizer.close()
    source.close()


def test_compare_is_refused(launch: Callable[..., None], backend: OnnxRuntimeBackend) -> None:
    device = FakeDevice()
    painter = CudaPainter(device=device, launch=launch)
    cuda = Colorizer(backend, painter=painter, style=Style(compare=True))
    with pytest.raises(BadSink, match="--compare does not work with --hwaccel cuda"):
        list(cuda.colorize(on_gpu(frames("nv12", 1), device)))
    cuda.close()


@pytest.mark.parametrize(
    "other", [Style(saturation=0.3), Style(saturation=0), Style(upsample="bilinear")]
)
def test_a_style_that_changes_while_running_is_painted_from_the_next_frame_on(
    launch: Callable[..., None], backend: OnnxRuntimeBackend, other: Style
) -> None:
    """It was part of what the kernels' buffers were made of, and looked at once."""

    def twice(style: Style, then: Style) -> list[np.ndarray]:
        device = FakeDevice()
        painter = CudaPainter(device=device, launch=launch)
        cuda = Colorizer(backend, painter=painter, style=style, overlap=0)
        painted = cuda.colorize(on_gpu([*frames("nv12", 1), *frames("nv12", 1)], device))
        first = chroma_codes(next(painted)).copy()
        cuda.style = then
        codes = [first, chroma_codes(next(painted)).copy()]
        painted.close()  # type: ignore[attr-defined]
        cuda.close()
        return codes

    usual, changed = twice(Style(), other)
    assert not np.array_equal(usual, changed)
    assert np.array_equal(changed, twice(other, other)[0])
    if other.saturation == 0:
        assert np.ptp(changed) == 0


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
    cuda = Colorizer(backend, painter=CudaPainter())
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
