"""Models are written beside their place, checked, and only then moved to it."""

from __future__ import annotations

from pathlib import Path

import onnx
from kinemacolor.engine.spec import read_spec


def save(model: onnx.ModelProto, out: Path) -> Path:
    """Writes a model that keeps the contract; what was there stays until it is whole.

    Raises BadModel for another one, and OSError where it cannot be written.
    """
    partial = out.with_name(out.name + ".part")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        onnx.save(model, str(partial))
        read_spec(partial)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return out
