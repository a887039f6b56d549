"""The base of every error that is meant for the user."""


class KinemacolorError(Exception):
    """Base of every error that this program raises on purpose; its text says what to do."""


class BadOption(KinemacolorError, ValueError):
    """An option has a value that means nothing, or nothing beside another option."""
