"""What `kinemacolor doctor` says of TensorRT: each thing that is there, or how to get it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import NamedTuple

from kinemacolor.engine.cuda.device import import_pycuda
from kinemacolor.engine.cuda.driver import NoGpu, check_driver, find_gpu
from kinemacolor.engine.errors import BackendUnavailable
from kinemacolor.engine.tensorrt.build import cuda_major, load_tensorrt, module_name
from kinemacolor.engine.tensorrt.cache import PlanCache


class Finding(NamedTuple):
    """One line of the examination."""

    subject: str
    good: bool
    detail: str


def examine_gpu(device: int = 0, *, cache: PlanCache | None = None) -> Iterator[Finding]:
    """Examines driver and GPU, then the packages that need them; those only if there is a GPU."""
    try:
        gpu = find_gpu(device)
    except NoGpu as error:
        yield Finding("NVIDIA GPU", False, str(error))
    else:
        driver = ".".join(map(str, gpu.driver_cuda))
        yield Finding("NVIDIA GPU", True, f"{gpu}, driver for CUDA {driver}")
        try:
            trt = load_tensorrt()
            check_driver(gpu, cuda_major(trt), module_name(trt))
            yield Finding("tensorrt", True, module_name(trt))
        except BackendUnavailable as error:
            yield Finding("tensorrt", False, str(error))
        try:
            import_pycuda()
            yield Finding("pycuda", True, "installed")
        except BackendUnavailable as error:
            yield Finding("pycuda", False, str(error))
        nvcc = shutil.which("nvcc")
        missing = "not on the path; --hwaccel cuda compiles its kernels with it, once"
        yield Finding("nvcc", nvcc is not None, nvcc or missing)
    folder = (cache or PlanCache()).folder
    plans = sorted(path.stem for path in folder.glob("*.plan"))
    if plans:
        yield Finding("engines", True, f"{', '.join(plans)} in {folder}")
