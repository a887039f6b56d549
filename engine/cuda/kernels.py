"""Colours frames on the GPU with the kernels of kernels.cu, in the order of `stream.color.chroma`.

No GPU has run the kernels yet; a CPU build of the same source is tested against the reference.
"""

from __future__ import annotations

import hashlib
import logging
import math
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from kinemacolor.engine.color import Encoding
from kinemacolor.engine.cuda.device import Device
from kinemacolor.engine.errors import BackendUnavailable, EngineError
from kinemacolor.engine.outputs import replacing
from kinemacolor.engine.tensorrt.cache import default_folder
from numpy.typing import NDArray

log = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("kernels.cu")
_BLOCK = (32, 8, 1)
_SURFACE = np.dtype("u8, i4, i4, i4, i4, i4, i4")  # the fields of `Surface`, in their order
Launch = Callable[..., None]


@dataclass(frozen=True)
class Surface:
    """The samples of one component in device memory: of NV12, P010 or a planar format."""

    address: int
    pitch: int  # bytes from row to row
    width: int
    height: int
    wide: bool = False  # two bytes a sample
    shift: int = 0  # P010 keeps its codes in the upper bits
    step: int = 1  # samples from one to the next: 2 where Cb and Cr alternate

    def argument(self) -> Any:
        """The struct that the kernels take."""
        return np.array(astuple(self), _SURFACE)[()]


@dataclass(frozen=True)
class ChromaRules:
    """What `stream.color.chroma` computes with: its tables and its constants."""

    encoding: Encoding
    cb_table: NDArray[Any]  # (levels * size, size) codes, as `chroma_tables` makes them
    cr_table: NDArray[Any]
    levels: int
    ab_step: float  # CIELAB units from one column of the table to the next
    ab_origin: float  # the column of a = 0
    epsilon: float  # of the guided filter


class FrameKernels:
    """Device buffers for frames of one geometry, and the kernels that use them.

    Everything is put into one cuda_stream; nothing waits. Use it inside `device.current()`.

    Args:
        chroma_size, network_size: (height, width) of the chroma planes and of L; ab is no larger.
    """

    def __init__(
        self,
        device: Device,
        launch: Launch,
        rules: ChromaRules,
        cuda_stream: Any,
        *,
        chroma_size: tuple[int, int],
        network_size: tuple[int, int],
    ) -> None:
        self._device, self._launch, self._rules = device, launch, rules
        self._cuda_stream = cuda_stream
        self.chroma_size, self.network_size = chroma_size, network_size
        self._memory: list[Any] = []
        try:
            self._guide = self._alloc(2 * math.prod(chroma_size))
            self._small = self._alloc(2 * math.prod(network_size))
            self._fits = self._alloc(16 * math.prod(network_size))
            self._model = self._alloc(16 * math.prod(network_size))
            tables = [np.ascontiguousarray(t, np.uint16) for t in (rules.cb_table, rules.cr_table)]
            self._tables = [self._alloc(table.nbytes) for table in tables]
        except EngineError:
            self.close()
            raise
        for memory, table in zip(self._tables, tables, strict=True):
            device.upload(memory, table, cuda_stream)
        cuda_stream.synchronize()  # the tables may go

    def extract_L(self, luma: Surface, L_address: int) -> None:
        """Writes L (H, W) float32 of a frame at the network's size."""
        encoding = self._rules.encoding
        self._guide_of(luma)
        self._resize(self._guide_surface(), self._small, self.network_size)
        size = math.prod(self.network_size)
        arguments = (
            _address(self._small),
            np.uint64(L_address),
            np.int32(size),
            np.float32(encoding.luma_offset),
            np.float32(encoding.luma_scale),
        )
        grid = (-(-size // 256), 1, 1)
        self._launch("extract_L", grid, (256, 1, 1), arguments, self._cuda_stream)

    def write_chroma(
        self,
        luma: Surface,
        ab_address: int,
        ab_size: tuple[int, int],
        cb: Surface,
        cr: Surface,
        *,
        radius: int,
        saturation: float = 1.0,
    ) -> None:
        """Writes the chroma of a frame, from its own luma and ab (2, *ab_size) float32.

        Args:
            radius: of the guided filter's windows, in cells; -1 enlarges ab without a guide.
            saturation: multiplies ab.
        """
        rules = self._rules
        height, width = ab_size
        assert math.prod(ab_size) <= math.prod(self.network_size)
        top = np.float32(2**rules.encoding.bit_depth - 1)
        self._guide_of(luma)
        self._resize(self._guide_surface(), self._small, ab_size)
        sides = (np.int32(width), np.int32(height))
        self._run(
            "fit_windows",
            ab_size,
            _address(self._small),
            np.uint64(ab_address),
            _address(self._fits if radius >= 0 else self._model),
            *sides,
            np.int32(radius),
            top,
            *map(np.float32, (saturation / rules.ab_step, rules.ab_origin, rules.epsilon)),
        )
        if radius >= 0:
            buffers = (_address(self._fits), _address(self._model))
            self._run("average_windows", ab_size, *buffers, *sides, np.int32(radius))
        self._run(
            "write_chroma",
            (cb.height, cb.width),
            cb.argument(),
            cr.argument(),
            _address(self._guide),
            _address(self._model),
            *(_address(table) for table in self._tables),
            *sides,
            np.int32(rules.cb_table.shape[1]),
            np.int32(rules.levels),
            top,
        )

    def close(self) -> None:
        """Frees the buffers; the cuda_stream must have come to rest."""
        for memory in self._memory:
            self._device.free(memory)
        self._memory.clear()

    def _guide_of(self, luma: Surface) -> None:
        # Chroma samples of two columns lie on the left one (ITU-T H.264, figure E-1, type 0).
        left_sited = luma.width == 2 * self.chroma_size[1]
        self._resize(luma, self._guide, self.chroma_size, left_sited=left_sited)

    def _guide_surface(self) -> Surface:
        height, width = self.chroma_size
        return Surface(int(self._guide), 2 * width, width, height, wide=True)

    def _resize(
        self, source: Surface, target: Any, size: tuple[int, int], *, left_sited: bool = False
    ) -> None:
        numbers = map(np.int32, (size[1], size[0], left_sited))
        self._run("resize_codes", size, source.argument(), _address(target), *numbers)

    def _run(self, name: str, size: tuple[int, int], *arguments: Any) -> None:
        grid = (-(-size[1] // _BLOCK[0]), -(-size[0] // _BLOCK[1]), 1)
        self._launch(name, grid, _BLOCK, arguments, self._cuda_stream)

    def _alloc(self, size_bytes: int) -> Any:
        self._memory.append(self._device.alloc(size_bytes))
        return self._memory[-1]


def compile_kernels(
    compute_capability: tuple[int, int], *, folder: Path | None = None, compiler: str = "nvcc"
) -> bytes:
    """Returns the kernels as a cubin for one kind of GPU, from the cache or compiled now.

    Raises:
        BackendUnavailable: there is no nvcc.
        EngineError: nvcc fails; the text holds what it said.
    """
    folder = folder or default_folder().with_name("kernels")
    arch = "sm_{}{}".format(*compute_capability)
    source = SOURCE.read_bytes()
    kept = folder / f"{hashlib.sha256(source).hexdigest()[:16]}-{arch}.cubin"
    if kept.exists():
        return kept.read_bytes()
    found = shutil.which(compiler)
    if found is None:
        raise BackendUnavailable(
            f"--hwaccel cuda compiles its kernels once with {compiler}, which is not on the path: "
            "install the CUDA toolkit, or leave --hwaccel out"
        )
    log.info("compiling the GPU kernels for %s", arch)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with replacing(kept) as cubin:
        command = [found, "-cubin", f"-arch={arch}", "-O3", "-o", str(cubin), str(SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).split())[:400]
            raise EngineError(f"{compiler} cannot compile the GPU kernels for {arch}: {said}")
    return kept.read_bytes()


def _address(memory: Any) -> np.uint64:
    return np.uint64(int(memory))
