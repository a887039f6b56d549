"""What can go wrong while a model is trained, measured, exported or imported."""

from kinemacolor.errors import KinemacolorError


class ExportError(KinemacolorError):
    """Base of every error that `export` raises on purpose; its text is meant for the user."""


class DataError(ExportError, ValueError):
    """The pictures to train or measure on are missing, empty or not what their name says."""


class BadPicture(DataError):
    """One picture that does not decode; it is skipped and counted."""


class UnknownNetwork(ExportError, ValueError):
    """No network of that name."""


class CheckpointError(ExportError, RuntimeError):
    """A checkpoint cannot be written, read, or belongs to another network."""


class TrainingDiverged(ExportError, ArithmeticError):
    """The loss is not a number any more; the last good checkpoint is kept."""


class BadWeights(ExportError, ValueError):
    """A file of weights is not what its name says, or has another layout."""
