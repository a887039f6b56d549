"""Reads the weights of a .caffemodel: the protobuf message NetParameter, without Caffe.

Field numbers are those of caffe.proto; fields that are not needed are left out.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory
from kinemacolor.export.errors import BadWeights
from numpy.typing import NDArray

Array = NDArray[np.float32]
# Of each message: its fields, by name with number, type, and whether they are repeated. `data` is
# repeated packed floats, which stand in the file as one run of bytes.
_MESSAGES: dict[str, dict[str, tuple[int, str, bool]]] = {
    "NetParameter": {
        "layers": (2, "V1LayerParameter", True),  # the form of 2014
        "layer": (100, "LayerParameter", True),
    },
    "V1LayerParameter": {"name": (4, "string", False), "blobs": (6, "BlobProto", True)},
    "LayerParameter": {"name": (1, "string", False), "blobs": (7, "BlobProto", True)},
    "BlobProto": {
        "num": (1, "int32", False),
        "channels": (2, "int32", False),
        "height": (3, "int32", False),
        "width": (4, "int32", False),
        "data": (5, "bytes", True),
        "shape": (7, "BlobShape", False),
    },
    "BlobShape": {"dim": (1, "int64", True)},
}


def read(path: Path) -> dict[str, list[Array]]:
    """Returns the blobs of every layer that has some, by layer name.

    Raises BadWeights when the file is not such a message.
    """
    net: Any = _net_parameter()()
    try:
        net.ParseFromString(path.read_bytes())
        layers = {
            each.name: [_array(blob) for blob in each.blobs]
            for each in (*net.layers, *net.layer)
            if each.blobs
        }
    except (message.DecodeError, ValueError) as error:
        raise BadWeights(f"{path} is not a .caffemodel: {error}") from error
    if not layers:
        raise BadWeights(f"{path} is not a .caffemodel: it holds no layers with weights")
    return layers


def _array(blob: Any) -> Array:
    flat = np.frombuffer(b"".join(blob.data), "<f4").astype(np.float32)
    old = [getattr(blob, side) or 1 for side in ("num", "channels", "height", "width")]
    shape = list(blob.shape.dim) or old
    if math.prod(shape) != flat.size:
        raise ValueError(f"a blob of shape {shape} holds {flat.size} numbers")
    return flat.reshape(shape)


def _net_parameter() -> type[message.Message]:
    """Returns the class of NetParameter, with the fields of `_MESSAGES`."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    for name, entries in _MESSAGES.items():
        made = file.message_type.add(name=name)
        for entry, (number, kind, repeated) in entries.items():
            field = made.field.add(name=entry, number=number)
            field.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if kind in _MESSAGES:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".caffe.{kind}"
            else:
                field.type = kinds.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.NetParameter"))
