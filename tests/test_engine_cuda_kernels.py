"""The GPU kernels, built for the processor, against the reference that they are twins of."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kinemacolor.engine.color import Encoding, ab_to_ycbcr, luma_to_L, quantise
from kinemacolor.engine.cuda.device import Device, PyCudaDevice
from kinemacolor.engine.cuda.driver import find_gpu
from kinemacolor.engine.cuda.kernels import ChromaRules, FrameKernels, Surface, compile_kernels
from kinemacolor.engine.errors import BackendUnavailable, EngineError
from kinemacolor.stream.color import chroma

from tests.fake_tensorrt import FakeDevice
from tests.host_kernels import compile_for_host, launcher

ENCODINGS = [
    Encoding(*parts)  # type: ignore[arg-type]
    for parts in itertools.product(("bt601", "bt709", "bt2020"), ("limited", "full"), (8, 10))
]
ONE_CODE = 1  # rounding may fall either way; no more than that


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    return launcher(compile_for_host(tmp_path_factory.mktemp("kernels")))


def rules_for(encoding: Encoding) -> ChromaRules:
    cb, cr = chroma.chroma_tables(encoding)
    return ChromaRules(
        encoding,
        cb,
        cr,
        levels=chroma.LUMA_SIZE,
        ab_step=chroma.AB_STEP,
        ab_origin=(chroma.AB_SIZE - 1) / 2,
        epsilon=chroma.EPSILON,
    )


@contextmanager
def kernels(
    launch: Callable[..., None], rules: ChromaRules, **sizes: tuple[int, int]
) -> Iterator[tuple[FakeDevice, FrameKernels, Any]]:
    device = FakeDevice()
    with device.current():
        cuda_stream = device.cuda_stream()
        frame = FrameKernels(device, launch, rules, cuda_stream, **sizes)
        yield device, frame, cuda_stream
        frame.close()
    device.close()


def film(height: int, width: int, encoding: Encoding, seed: int = 0) -> np.ndarray:
    """Luma codes with edges, gradients, grain, and samples below black and above white."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    picture = 0.5 + 0.4 * np.sin(x / 17) * np.cos(y / 11) + 0.3 * ((x // 23 + y // 19) % 2 - 0.5)
    picture += rng.normal(0, 0.02, picture.shape)
    codes = picture * encoding.luma_scale * 1.1 + encoding.luma_offset * 0.8
    dtype = np.uint8 if encoding.bit_depth == 8 else np.uint16
    return np.clip(np.rint(codes), 0, 2**encoding.bit_depth - 1).astype(dtype)


def colors(height: int, width: int, seed: int = 1) -> np.ndarray:
    """ab that varies smoothly and reaches out of gamut."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    a = 70 * np.sin(x / 5) + rng.normal(0, 5, x.shape)
    b = 90 * np.cos(y / 4 + x / 9) + rng.normal(0, 5, x.shape)
    return np.stack([a, b]).astype(np.float32)


def padded(codes: np.ndarray, *, shift: int = 0) -> tuple[np.ndarray, Surface]:
    """A plane with padding after each row, as the surfaces of a decoder have it."""
    rows = np.zeros((codes.shape[0], codes.shape[1] + 13), codes.dtype)
    rows[:, : codes.shape[1]] = codes << shift
    surface = Surface(
        rows.ctypes.data,
        rows.strides[0],
        codes.shape[1],
        codes.shape[0],
        wide=codes.dtype == np.uint16,
        shift=shift,
    )
    return rows, surface


def interleaved(
    height: int, width: int, dtype: Any, shift: int
) -> tuple[np.ndarray, Surface, Surface]:
    """The chroma plane of NV12 (uint8) or P010 (uint16)."""
    rows = np.full((height, 2 * width + 10), 77, dtype)
    size = rows.itemsize
    places = [
        Surface(rows.ctypes.data + i * size, rows.strides[0], width, height, size == 2, shift, 2)
        for i in (0, 1)
    ]
    return rows, *places


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
@pytest.mark.parametrize("upsample", ["guided", "bilinear"])
def test_chroma_is_that_of_the_reference_within_one_code(
    launch: Callable[..., None], encoding: Encoding, upsample: str
) -> None:
    luma, ab = film(108, 192, encoding), colors(32, 48)
    shift = 0 if encoding.bit_depth == 8 else 6  # NV12 and P010
    guide = chroma.chroma_guide(luma, 96, 54)
    expected = chroma.chroma_planes(guide, ab, encoding, upsample=upsample)  # type: ignore[arg-type]
    luma_rows, surface = padded(luma, shift=shift)
    rows, cb, cr = interleaved(54, 96, luma.dtype, shift)
    before = luma_rows.copy()
    sizes = {"chroma_size": (54, 96), "network_size": (128, 192)}
    radius = chroma.RADIUS if upsample == "guided" else -1
    with kernels(launch, rules_for(encoding), **sizes) as (_, frame, cuda_stream):
        frame.write_chroma(surface, ab.ctypes.data, ab.shape[1:], cb, cr, radius=radius)
        cuda_stream.synchronize()
    for plane, reference in zip((rows[:, 0:192:2], rows[:, 1:192:2]), expected, strict=True):
        difference = np.abs((plane >> shift).astype(int) - reference)
        assert difference.max() <= ONE_CODE
        assert np.mean(difference > 0) < (0.1 if encoding.bit_depth == 8 else 0.35)
    assert np.array_equal(luma_rows, before)  # luma stays bit for bit
    assert (rows[:, 192:] == 77).all()  # nothing is written past the plane


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
def test_L_is_that_of_the_reference_within_one_code(
    launch: Callable[..., None], encoding: Encoding
) -> None:
    luma = film(108, 192, encoding)
    shift = 0 if encoding.bit_depth == 8 else 6
    expected = chroma.extract_L(chroma.resize(chroma.chroma_guide(luma, 96, 54), 64, 32), encoding)
    L = np.full((32, 64), np.nan, np.float32)
    _, surface = rows_and_surface = padded(luma, shift=shift)
    sizes = {"chroma_size": (54, 96), "network_size": (32, 64)}
    with kernels(launch, rules_for(encoding), **sizes) as (_, frame, cuda_stream):
        frame.extract_L(surface, L.ctypes.data)
        cuda_stream.synchronize()
    assert rows_and_surface[0].size
    codes = np.arange(2**encoding.bit_depth)
    table = luma_to_L((codes - encoding.luma_offset) / encoding.luma_scale)
    step = np.abs(np.diff(table)).max()  # L from one code to the next, where it is steepest
    assert np.abs(L - expected).max() <= step + 1e-3
    assert np.mean(np.abs(L - expected) > 1e-3) < 0.05


@pytest.mark.parametrize("encoding", ENCODINGS[:4], ids=str)
def test_flat_colours_are_those_of_the_float_reference(
    launch: Callable[..., None], encoding: Encoding
) -> None:
    """One colour over every luma: straight from engine.color, the table in between left out."""
    ramp = np.arange(2**encoding.bit_depth)[:: 1 if encoding.bit_depth == 8 else 4]
    luma = np.repeat(ramp[None], 4, 0).astype(np.uint8 if encoding.bit_depth == 8 else np.uint16)
    ab = np.empty((2, 4, len(ramp)), np.float32)
    ab[0], ab[1] = 24.0, -36.0
    rows, cb, cr = interleaved(4, len(ramp), luma.dtype, 0)
    _keep, surface = padded(luma)
    sizes = {"chroma_size": luma.shape, "network_size": luma.shape}
    with kernels(launch, rules_for(encoding), **sizes) as (_, frame, cuda_stream):
        there = surface, ab.ctypes.data, ab.shape[1:], cb, cr
        frame.write_chroma(*there, radius=chroma.RADIUS)
        cuda_stream.synchronize()
    expansion = ((ramp - encoding.luma_offset) / encoding.luma_scale).clip(0, 1)
    exact = quantise(
        ab_to_ycbcr(expansion, np.broadcast_to([24.0, -36.0], (len(ramp), 2)), encoding.colorspace),
        encoding,
    )
    written = np.stack([rows[0, 0 : 2 * len(ramp) : 2], rows[0, 1 : 2 * len(ramp) : 2]], -1)
    difference = np.abs(written.astype(int) - exact[:, 1:])
    # 10-bit luma is looked up at 256 levels: half a level of luma is up to two chroma codes.
    assert difference.max() <= (ONE_CODE if encoding.bit_depth == 8 else 3)


def device_with_kernels(where: str, host_launch: Callable[..., None]) -> tuple[Device, Any]:
    if where == "processor":
        return FakeDevice(), host_launch
    gpu = find_gpu()
    device = PyCudaDevice(gpu.index)
    with device.current():
        return device, device.kernels(compile_kernels(gpu.compute_capability))


@pytest.mark.parametrize("encoding", [Encoding(), Encoding("bt2020", "full", 10)], ids=str)
@pytest.mark.parametrize("where", ["processor", pytest.param("gpu", marks=pytest.mark.needs_gpu)])
def test_frames_in_device_memory_are_coloured_like_those_of_the_reference(
    launch: Callable[..., None], encoding: Encoding, where: str
) -> None:
    """Everything in memory of the device, there and back: L, and the chroma of a frame."""
    luma, ab = film(270, 480, encoding), colors(32, 64)
    shift, size = (0, 1) if encoding.bit_depth == 8 else (6, 2)
    guide = chroma.chroma_guide(luma, 240, 135)
    expected = np.stack(chroma.chroma_planes(guide, ab, encoding), -1)
    expected_L = chroma.extract_L(chroma.resize(guide, 128, 64), encoding)
    device, launch_there = device_with_kernels(where, launch)
    with device.current():
        cuda_stream = device.cuda_stream()

        def upload(array: np.ndarray) -> Any:
            memory = device.alloc(array.nbytes)
            device.upload(memory, array, cuda_stream)
            cuda_stream.synchronize()
            return memory

        luma_there = upload(np.ascontiguousarray(luma << shift))
        ab_there = upload(ab)
        chroma_there = upload(np.zeros((135, 240, 2), luma.dtype))
        L_there = upload(np.zeros((64, 128), np.float32))
        wide = size == 2
        plane = Surface(int(luma_there), 480 * size, 480, 270, wide, shift)
        cb, cr = (
            Surface(int(chroma_there) + i * size, 480 * size, 240, 135, wide, shift, 2)
            for i in (0, 1)
        )
        frame = FrameKernels(
            device,
            launch_there,
            rules_for(encoding),
            cuda_stream,
            chroma_size=(135, 240),
            network_size=(64, 128),
        )
        frame.extract_L(plane, int(L_there))
        frame.write_chroma(plane, int(ab_there), (32, 64), cb, cr, radius=chroma.RADIUS)
        L, codes = np.empty((64, 128), np.float32), np.empty((135, 240, 2), luma.dtype)
        device.download(L, L_there, cuda_stream)
        device.download(codes, chroma_there, cuda_stream)
        cuda_stream.synchronize()
        frame.close()
        for memory in (luma_there, ab_there, chroma_there, L_there):
            device.free(memory)
        cuda_stream = None
    device.close()
    assert np.abs((codes >> shift).astype(int) - expected).max() <= ONE_CODE
    assert np.abs(L - expected_L).max() <= (0.6 if encoding.bit_depth == 8 else 0.15)


SIZES = [
    ((54, 96), (270, 480)),
    ((1080, 1920), (176, 368)),
    ((135, 241), (61, 97)),
    ((7, 9), (1, 1)),
    ((40, 40), (40, 40)),
]


@pytest.mark.parametrize(("source", "target"), SIZES)
@pytest.mark.parametrize("depth", [8, 10])
def test_sizes_up_down_odd_and_equal(
    launch: Callable[..., None], source: tuple[int, int], target: tuple[int, int], depth: int
) -> None:
    encoding = Encoding("bt709", "full", depth)
    luma = film(*source, encoding)
    _keep, surface = padded(luma)
    result = np.zeros(target, np.uint16)
    device = FakeDevice()
    with device.current():
        cuda_stream = device.cuda_stream()
        arguments = (
            surface.argument(),
            np.uint64(result.ctypes.data),
            np.int32(target[1]),
            np.int32(target[0]),
            np.int32(False),
        )
        launch("resize_codes", (16, 40, 1), (32, 8, 1), arguments, cuda_stream)
        cuda_stream.synchronize()
    reference = chroma.resize(luma, target[1], target[0])
    assert np.abs(result.astype(int) - reference).max() <= ONE_CODE


def test_saturation_multiplies_ab(launch: Callable[..., None]) -> None:
    encoding = Encoding()
    luma, ab = film(64, 64, encoding), colors(16, 16)
    expected = chroma.chroma_planes(chroma.chroma_guide(luma, 32, 32), ab, encoding, saturation=0.4)
    rows, cb, cr = interleaved(32, 32, np.uint8, 0)
    _keep, surface = padded(luma)
    sizes = {"chroma_size": (32, 32), "network_size": (64, 64)}
    with kernels(launch, rules_for(encoding), **sizes) as (_, frame, cuda_stream):
        there = surface, ab.ctypes.data, ab.shape[1:], cb, cr
        frame.write_chroma(*there, radius=chroma.RADIUS, saturation=0.4)
        cuda_stream.synchronize()
    assert np.abs(rows[:, 0:64:2].astype(int) - expected[0]).max() <= ONE_CODE
    assert np.abs(rows[:, 1:64:2].astype(int) - expected[1]).max() <= ONE_CODE


NVCC = pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc (CUDA toolkit)")


@NVCC
@pytest.mark.parametrize("capability", [(7, 5), (9, 0), (12, 0)])
def test_nvcc_compiles_the_kernels_for_a_gpu_and_the_result_is_kept(
    tmp_path: Path, capability: tuple[int, int]
) -> None:
    cubin = compile_kernels(capability, folder=tmp_path)
    assert cubin.startswith(b"\x7fELF")
    for name in ("resize_codes", "extract_L", "fit_windows", "average_windows", "write_chroma"):
        assert name.encode() in cubin
    assert compile_kernels(capability, folder=tmp_path, compiler="no-such-nvcc") == cubin


@NVCC
def test_what_nvcc_says_is_in_the_message(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="nvcc cannot compile the GPU kernels for sm_11"):
        compile_kernels((1, 1), folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_nvcc_the_message_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailable, match="install the CUDA toolkit"):
        compile_kernels((9, 0), folder=tmp_path, compiler="no-such-nvcc")
