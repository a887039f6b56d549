"""Which live source a URI names, and with which options it is opened."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from stream.errors import BadSource, SourceNotFound
from stream.sources import Source

DEVICES = ("webcam:", "v4l2:", "avfoundation:", "dshow:", "screen:")
_URL = re.compile(r"(rtsps?|rtmps?|https?|udp|srt|tcp)://")


@dataclass(frozen=True)
class LiveOptions:
    """What the user says of a live source; None is the source's own choice.

    `size`, `fps` and `input_format` are asked of a camera. `realtime` plays a film as if it were
    live, `loop` again and again. A lost source is tried for `give_up_seconds`; None is for ever;
    with `wait` so is a network source that is not there yet.
    """

    size: tuple[int, int] | None = None  # width, height
    fps: Fraction | None = None
    input_format: str | None = None
    realtime: bool = False
    loop: bool = False
    give_up_seconds: float | None = None
    wait: bool = False


def is_live(uri: str, options: LiveOptions) -> bool:
    """Whether a URI is a live source's; a film is one when the options say so."""
    return bool(_URL.match(uri)) or uri.startswith(DEVICES) or options.realtime


def without_use(uri: str, options: LiveOptions) -> dict[str, str]:
    """Options that were given and have no effect on a source, and what they are for."""
    given: dict[str, tuple[object, bool, str]] = {
        "--size": (options.size, uri.startswith(DEVICES), "cameras"),
        "--fps": (options.fps, uri.startswith(DEVICES), "cameras"),
        "--input-format": (options.input_format, uri.startswith(DEVICES), "cameras"),
        "--give-up": (options.give_up_seconds, _comes_back(uri), "sources that come back"),
        "--wait": (options.wait, bool(_URL.match(uri)), "network sources"),
    }
    return {
        option: what
        for option, (value, used, what) in given.items()
        if not used and value not in (None, False)
    }


def _comes_back(uri: str) -> bool:
    return bool(_URL.match(uri)) or uri.startswith(DEVICES)


def open_live(
    uri: str,
    options: LiveOptions,
    *,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
) -> Source:
    """Opens a live source by its URI. Raises SourceError."""
    if start_seconds > 0 and (_URL.match(uri) or uri.startswith(DEVICES)):
        raise BadSource("--start needs a film that lies here: what is live or far away has none")
    if _URL.match(uri):
        from stream.live.network import open_network_source

        return open_network_source(
            uri,
            wait=options.wait,
            give_up_seconds=options.give_up_seconds,
            duration_seconds=duration_seconds,
        )
    if uri.startswith(DEVICES):
        from stream.live.cameras import open_camera

        return open_camera(uri, options, duration_seconds=duration_seconds)
    from stream.live.realtime import open_as_live

    if uri == "-":
        raise BadSource("standard input cannot be played as if live: give a file")
    if not uri.startswith("test:"):
        if not Path(uri).exists():
            raise SourceNotFound(f"no such file: {uri}")
        if options.loop and not Path(uri).is_file():
            raise BadSource(f"{uri} is no file, and cannot be played twice: leave --loop out")
    return open_as_live(
        uri, loop=options.loop, start_seconds=start_seconds, duration_seconds=duration_seconds
    )


def size_of(text: str) -> tuple[int, int]:
    """`1280x720` to (width, height). Raises BadSource."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is None:
        raise BadSource(f"{text!r} is no size: expected WIDTHxHEIGHT, such as 1280x720")
    return int(match[1]), int(match[2])
