"""Opens network sources by their URL: RTSP, RTMP, HTTP (HLS, MJPEG, files), UDP, SRT."""

from __future__ import annotations

import errno
import logging
import time
from typing import Any

import av
import av.error
from kinemacolor.stream.address import NetworkStream
from kinemacolor.stream.errors import SourceError
from kinemacolor.stream.handoff import Stop
from kinemacolor.stream.media import Source
from kinemacolor.stream.passwords import with_password
from kinemacolor.stream.sources.connection import Backoff, reason_of
from kinemacolor.stream.sources.film import ContainerSource
from kinemacolor.stream.sources.reconnecting import ReconnectingSource

log = logging.getLogger(__name__)

OPEN_SECONDS = 10.0
# A live HLS playlist yields nothing for a whole segment, commonly 6 s (RFC 8216bis, 4.4.3.1).
READ_SECONDS, HTTP_READ_SECONDS = 5.0, 20.0
# Half a second of sound and picture tells all that is needed; the default is five.
_QUICK = {"fflags": "nobuffer", "analyzeduration": "500000", "fpsprobesize": "0"}
# Nobody answers: what a camera that is still starting looks like. A typo looks otherwise: an
# unknown host is an I/O error to FFmpeg, a wrong path or password an answer.
_NOT_UP = frozenset(
    getattr(errno, name)
    for name in (
        *("ECONNREFUSED", "ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH", "ENETDOWN", "EHOSTDOWN"),
        *("ECONNRESET", "ECONNABORTED", "EPIPE"),
    )
    if hasattr(errno, name)  # Windows has no EHOSTDOWN
)


def open_network_source(
    address: NetworkStream,
    *,
    wait: bool = False,
    give_up_seconds: float | None = None,
    duration_seconds: float | None = None,
    stop: Stop | None = None,
) -> Source:
    """Opens a stream; a file on a web server becomes a film, everything else a live source.

    Args:
        wait: tries the first connection again as well, as long as nobody answers.
        give_up_seconds: for how long a lost source is tried again; None is for ever.
        stop: ends the wait for the first connection.

    Raises SourceError, without the URL's password, when it does not open the first time.
    """
    name = str(address)
    backoff = Backoff(give_up_seconds=give_up_seconds)
    connection = _first_connection(address, backoff, wait=wait, stop=stop or Stop())
    if address.scheme.startswith("http") and connection.duration:
        return ContainerSource(name, connection, duration_seconds=duration_seconds)
    ready = [connection]  # the first connection is the one just made

    def connect() -> Any:
        return ready.pop() if ready else _connect(address)

    return ReconnectingSource(name, connect, backoff=backoff, duration_seconds=duration_seconds)


def _first_connection(address: NetworkStream, backoff: Backoff, *, wait: bool, stop: Stop) -> Any:
    name, began = str(address), time.monotonic()
    for attempt, pause in enumerate(backoff):
        try:
            return _connect(address)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            if not (wait and _is_not_up(error)):
                hint = "; --wait waits for it" if _is_not_up(error) else ""
                raise SourceError(f"cannot open {name}: {_said(error)}{hint}") from error
            if backoff.gives_up(began):
                limit = backoff.give_up_seconds
                raise SourceError(
                    f"{name} did not answer within {limit:g} s: {_said(error)}"
                ) from error
            if attempt == 0:
                log.warning("%s: not there yet (%s); waiting for it", name, _said(error))
        stop.sleep(pause)
    raise AssertionError("a back-off has no end")


def _is_not_up(error: BaseException) -> bool:
    """Whether nobody answered, so that it may be otherwise in a while."""
    if isinstance(error, av.error.ExitError):  # PyAV's time-out
        return True
    return isinstance(error, OSError) and error.errno in _NOT_UP


def _connect(address: NetworkStream) -> Any:
    options, read_seconds = dict(_QUICK), READ_SECONDS
    match address.scheme:
        case "rtsp" | "rtsps":
            options |= {"rtsp_transport": address.transport, "max_delay": "100000"}
        case "http" | "https":
            read_seconds = HTTP_READ_SECONDS
            options = {}  # it may be a film, of which "nobuffer" would lose what was looked at
        case "udp":
            # A burst of key frame packets must fit; and the reader must not block for ever.
            options |= {"buffer_size": str(1 << 21), "fifo_size": str(1 << 16)}
            options |= {"overrun_nonfatal": "1"}
    begun = time.monotonic()
    try:
        return av.open(
            with_password(address.url),
            options=options,
            timeout=(OPEN_SECONDS, read_seconds),
            metadata_errors="replace",
        )
    except av.error.InvalidDataError as error:
        if not address.scheme.startswith("rtsp"):
            raise
        # FFmpeg's RTSP calls silence, a closed connection and nonsense "invalid data".
        if time.monotonic() - begun > OPEN_SECONDS - 1:
            why = f"it took the connection and said nothing within {OPEN_SECONDS:g} s"
            raise TimeoutError(errno.ETIMEDOUT, why) from error
        raise ConnectionError(errno.EPROTO, "it gave no answer, or none that is RTSP") from error


def _said(error: BaseException) -> str:
    match error:
        case av.error.ExitError():
            return f"nothing came within {OPEN_SECONDS:g} s"
        case av.error.HTTPUnauthorizedError():
            return "user or password refused (401)"
        case _:
            return reason_of(error)
