"""Reads where a tensor lies from its DLPack capsule, with neither torch nor cupy.

DLPack is a C struct in a Python capsule (dlpack.h, version 0.8): address, shape, strides, device.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

from kinemacolor.engine.errors import EngineError

CPU, CUDA = 1, 2  # kDLCPU, kDLCUDA


class _DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lies. Its memory lives as long as this object, which holds the capsule."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # elements from one to the next along each axis
    item_bytes: int
    device_type: int
    device_id: int
    capsule: Any


def read(exporter: Any) -> Tensor:
    """Returns where the memory of anything that speaks DLPack lies. Raises EngineError if none."""
    capsule = exporter.__dlpack__()
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    tensor = _DLTensor.from_address(get_pointer(capsule, b"dltensor"))
    axes = range(tensor.ndim)
    shape = tuple(tensor.shape[i] for i in axes)
    strides = _packed(shape) if not tensor.strides else tuple(tensor.strides[i] for i in axes)
    if tensor.data is None:
        raise EngineError("the tensor has no memory")
    return Tensor(
        address=tensor.data + tensor.byte_offset,
        shape=shape,
        strides=strides,
        item_bytes=tensor.bits * tensor.lanes // 8,
        device_type=tensor.device_type,
        device_id=tensor.device_id,
        capsule=capsule,
    )


def _packed(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))
