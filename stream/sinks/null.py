"""The sink that writes nothing."""

from __future__ import annotations

from kinemacolor.stream.media import Item, Sink


class NullSink(Sink):
    """Takes everything and keeps nothing: for measuring the pipeline without an encoder."""

    description = "null"

    def write(self, item: Item) -> None:
        pass
