"""A model file in, ab out."""

from engine.backend import Backend, load
from engine.errors import BackendUnavailable, BadModel, EngineError, ModelNotFound
from engine.spec import ModelSpec, find_model, read_spec

__all__ = [
    "Backend",
    "BackendUnavailable",
    "BadModel",
    "EngineError",
    "ModelNotFound",
    "ModelSpec",
    "find_model",
    "load",
    "read_spec",
]
