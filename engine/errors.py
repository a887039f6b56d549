"""What can go wrong between a model file and its ab planes."""

from kinemacolor.errors import KinemacolorError


class EngineError(KinemacolorError):
    """Base of every error that `engine` raises on purpose; its text is meant for the user."""


class ModelNotFound(EngineError, FileNotFoundError):
    """No model file of that name or path."""


class BadModel(EngineError, ValueError):
    """The file is no ONNX model, or it breaks the contract (`L` in, `ab` out)."""


class BackendUnavailable(EngineError, RuntimeError):
    """The backend that was asked for by name cannot run on this machine."""
