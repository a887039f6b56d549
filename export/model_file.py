"""Writes a model beside its place, checks it, and only then moves it there."""

from __future__ import annotations

from pathlib import Path

import onnx
from kinemacolor.engine.outputs import replacing
from kinemacolor.engine.spec import read_spec


def save(model: onnx.ModelProto, out: Path) -> Path:
    """Writes a model that keeps the contract. An existing file stays until the new one is whole.

    Raises BadModel if the model breaks the contract, and OSError if it cannot be written.
    """
    with replacing(out) as partial:
        onnx.save(model, str(partial))
        read_spec(partial)
    return out
