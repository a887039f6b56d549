"""Reads the weights of a .caffemodel: the protobuf message NetParameter, without Caffe.

Field numbers are those of caffe.proto: a network holds layers (100; 2 in the older form), a layer
its name and blobs, a blob its shape and floats.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from kinemacolor.export.errors import BadWeights
from numpy.typing import NDArray

Array = NDArray[np.float32]
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read(path: Path) -> dict[str, list[Array]]:
    """Returns the blobs of every layer that has some, by layer name.

    Raises BadWeights when the file is not such a message.
    """
    try:
        layers = dict(_layers(memoryview(path.read_bytes())))
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise BadWeights(f"{path} is not a .caffemodel: {error}") from error
    if not layers:
        raise BadWeights(f"{path} is not a .caffemodel: it holds no layers with weights")
    return layers


def _layers(data: memoryview) -> Iterator[tuple[str, list[Array]]]:
    for number, value in _fields(data):
        if number not in (2, 100) or not isinstance(value, memoryview):
            continue
        name_field, blob_field = (1, 7) if number == 100 else (4, 6)
        name, blobs = "", []
        for field, content in _fields(value):
            if field == name_field and isinstance(content, memoryview):
                name = bytes(content).decode()
            elif field == blob_field and isinstance(content, memoryview):
                blobs.append(_blob(content))
        if blobs:
            yield name, blobs


def _blob(data: memoryview) -> Array:
    shape: list[int] = []
    old_shape = {1: 1, 2: 1, 3: 1, 4: 1}  # num, channels, height, width
    parts: list[Array] = []
    for number, value in _fields(data):
        if number == 7 and isinstance(value, memoryview):
            shape = _shape(value)
        elif number == 5 and isinstance(value, memoryview):  # packed floats
            parts.append(np.frombuffer(value, "<f4"))
        elif number == 5:
            parts.append(np.array([value], "<u4").view("<f4"))
        elif number in old_shape and isinstance(value, int):
            old_shape[number] = value
    flat = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    wanted = shape or list(old_shape.values())
    if math.prod(wanted) != flat.size:
        raise ValueError(f"a blob of shape {wanted} holds {flat.size} numbers")
    return flat.astype(np.float32).reshape(wanted)


def _shape(data: memoryview) -> list[int]:
    dims: list[int] = []
    for number, value in _fields(data):
        if number == 1 and isinstance(value, memoryview):  # packed
            position = 0
            while position < len(value):
                dim, position = _varint(value, position)
                dims.append(dim)
        elif number == 1 and isinstance(value, int):
            dims.append(value)
    return dims


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yields the number and the value of each field of one message."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise ValueError("field number 0")
        value: int | memoryview
        if kind == _VARINT:
            value, position = _varint(data, position)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
            value = int.from_bytes(_take(data, position, size), "little")
            position += size
        elif kind == _BYTES:
            size, position = _varint(data, position)
            value = _take(data, position, size)
            position += size
        else:
            raise ValueError(f"wire type {kind}")
        yield number, value


def _take(data: memoryview, position: int, size: int) -> memoryview:
    if position + size > len(data):
        raise ValueError("it ends in the middle of a field")
    return data[position : position + size]


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
