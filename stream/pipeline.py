"""The data path: source -> decode -> colorize -> encode -> sink, readable top to bottom."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

from kinemacolor.stream.color.colorizer import Colorizer
from kinemacolor.stream.handoff import Channel, StageGroup, Stop
from kinemacolor.stream.measure.latency import Latency
from kinemacolor.stream.measure.stats import Stats
from kinemacolor.stream.media import Item, Sink, Source, is_frame
from kinemacolor.stream.sources.fit import fitted

# Frames waiting in each channel. More does not make a film faster, it only takes memory.
FILE_CAPACITY = 3
LIVE_CAPACITY = 2
# Before inference a live source's frames may wait for a key frame to be done, as long as they are
# not late; at 60 fps that is 12 of them.
LIVE_QUEUE = 16


def run(
    source: Source,
    colorizer: Colorizer,
    sink: Sink,
    *,
    stats: Stats | None = None,
    on_frame: Callable[[Stats], None] | None = None,
    latency: Latency | None = None,
    stop: Stop | None = None,
) -> Stats:
    """Colorizes everything the source yields into the sink.

    Three threads: decoding, colorizing (the caller's, which owns the backend) and encoding.
    The first error anywhere stops all three and is raised once; the caller then finishes or
    abandons the sink.

    A live source never waits: the oldest frame in a full channel is dropped, frames that are late
    are dropped before inference, and each leaves before the next one comes.

    Args:
        on_frame: called on the encoding thread after each frame, for a progress bar.
        latency: counts the ages and drops of a live source, and says what is late.
        stop: ends it from any thread, with Stopped.
    """
    stats = stats or Stats()
    if source.live:
        latency = latency or Latency.of(source)
        stats.started = time.perf_counter()  # it may have been waited for
    waiting = LIVE_QUEUE if source.live else FILE_CAPACITY
    capacity = LIVE_CAPACITY if source.live else FILE_CAPACITY
    decoded: Channel[Item] = Channel(waiting, drop_oldest=source.live, counted=is_frame)
    colored: Channel[Item] = Channel(capacity, counted=is_frame)
    if latency is not None:
        latency.count("queue", lambda: decoded.dropped)

    def decode() -> None:
        with decoded:
            for item in _timed(source, stats):
                decoded.put(item)

    def encode() -> None:
        for item in colored:
            with stats.time("encode", frame=is_frame(item)):
                sink.write(item)
            stats.left(frame=is_frame(item))
            if is_frame(item) and latency is not None:
                latency.left(item)
            if is_frame(item) and on_frame is not None:
                on_frame(stats)

    with StageGroup(decoded, colored, stop=stop) as group:
        group.start(decode)
        group.start(encode)
        with colored:
            for shot in _of_one_size(_fresh(decoded, source, sink, latency)):
                for item in colorizer.colorize(shot, stats, live=source.live):
                    colored.put(item)
    if latency is not None:
        stats.dropped = latency.dropped.total()
    return stats


def _fresh(
    items: Iterable[Item], source: Source, sink: Sink, latency: Latency | None
) -> Iterable[Item]:
    """Leaves out a live source's late frames, and fits the others to a sink of one size."""
    fresh = items if latency is None else latency.fresh(items)
    return fitted(fresh) if source.live and not sink.follows_size else fresh


def _of_one_size(items: Iterable[Item]) -> Iterator[Iterator[Item]]:
    """Cuts where the picture's size changes, which a live source may do: colours start anew."""
    shape: tuple[int, int, str] | None = None

    def current(item: Item) -> tuple[int, int, str] | None:
        nonlocal shape
        if is_frame(item):
            shape = item.width, item.height, item.format.name
        return shape

    return (shot for _, shot in groupby(items, current))


def _timed(source: Source, stats: Stats) -> Iterator[Item]:
    items = iter(source)
    while True:
        begin = time.perf_counter()
        item = next(items, None)
        seconds = time.perf_counter() - begin
        stats.spent("decode", seconds, frame=is_frame(item))
        if item is None:
            return
        if is_frame(item):
            stats.came(item.time)
        yield item
