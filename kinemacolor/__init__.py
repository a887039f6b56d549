"""The command `kinemacolor`; the package to import is `stream`."""

__all__: list[str] = []
