"""`--metrics :9100`: what a live run does, for Prometheus to fetch."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from kinemacolor.stream.errors import StreamError
from kinemacolor.stream.measure.latency import Latency
from kinemacolor.stream.measure.stats import Histogram, Stats
from kinemacolor.stream.media import Source

MAX_CONNECTIONS = 16
TIMEOUT_SECONDS = 5.0  # for a whole request and its answer


class Metrics:
    """Serves the counters of one run over HTTP; read when they are asked for.

    Args:
        address: `[HOST]:PORT`; this machine alone (127.0.0.1) unless a host is named.

    Raises StreamError when the extra is missing or the address is taken.
    """

    def __init__(
        self, address: str, stats: Stats, source: Source, latency: Latency | None = None
    ) -> None:
        try:
            from prometheus_client import CollectorRegistry, make_wsgi_app
        except ImportError as error:
            raise StreamError(
                "--metrics needs prometheus_client: pip install 'kinemacolor[metrics]'"
            ) from error
        self._stats, self._source, self._latency = stats, source, latency
        host, _, port = address.rpartition(":")
        if not port.isdigit():
            raise StreamError(f"--metrics {address}: expected [HOST]:PORT, such as :9100")
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)  # type: ignore[arg-type]  # anything with a `collect` is one
        try:
            host = host.strip("[]") or "127.0.0.1"
            kind = _Server6 if ":" in host else _Server
            self._server = make_server(host, int(port), make_wsgi_app(registry), kind, _Handler)
        except (OSError, OverflowError) as error:
            raise StreamError(f"cannot serve metrics at {address}: {error}") from error
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics")
        self._thread.start()

    def collect(self) -> Iterator[Any]:
        """Every counter as it stands, in Prometheus's names and units."""
        import prometheus_client.core as core

        stats = self._stats
        for name, text, value in (
            ("frames_in", "Frames that the source gave", stats.frames_in),
            ("frames_out", "Frames that the sink took", stats.frames_out),
            ("packets_copied", "Packets of sound that were passed on", stats.packets_copied),
            ("reconnects", "Times the source came back", self._source.reconnects),
            ("damaged_packets", "Packets that did not decode", self._source.damaged),
        ):
            yield core.CounterMetricFamily(f"kinemacolor_{name}", text, value=value)
        stages = core.HistogramMetricFamily(
            "kinemacolor_stage_seconds",
            "Time a frame took in each stage; decode waits for the source, too",
            labels=["stage"],
        )
        for stage, histogram in stats.histograms.items():
            stages.add_metric([stage], _buckets(histogram), histogram.sum_seconds)
        yield stages
        yield core.GaugeMetricFamily("kinemacolor_fps", "Frames a second so far", value=stats.fps)
        yield core.GaugeMetricFamily(
            "kinemacolor_degraded",
            "What is given up to keep the rate: 0 nothing, 1 inferences, 2 and 3 input size as "
            "well, 4 late frames as well",
            value=stats.steps[-1][1].level if stats.steps else 0,
        )
        if self._latency is None:
            return
        dropped = core.CounterMetricFamily(
            "kinemacolor_dropped", "Frames dropped to stay live, by cause", labels=["cause"]
        )
        for cause, count in sorted(self._latency.dropped.items()):
            dropped.add_metric([cause], count)
        yield dropped
        ages = self._latency.histogram
        yield core.HistogramMetricFamily(
            "kinemacolor_latency_seconds",
            "Age of frames at the sink",
            buckets=_buckets(ages),
            sum_value=ages.sum_seconds,
        )
        age = core.GaugeMetricFamily(
            "kinemacolor_recent_latency_seconds",
            "Age of frames at the sink, over the last minute or so",
            labels=["quantile"],
        )
        for name, ms in self._latency.recent_ms().items():
            age.add_metric([f"0.{name[1:]}"], ms / 1000)
        yield age

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """As Prometheus writes them: the bound in words, and all that is not above it."""
    return [("+Inf" if bound == math.inf else str(bound), n) for bound, n in histogram.cumulative()]


class _Server(ThreadingMixIn, WSGIServer):
    """Serves each connection on a thread: so many at once, and each for so long.

    Silent connections used up the process's descriptors, and the RTSP server took no more viewers.
    """

    daemon_threads = False  # closing the server joins them

    def __init__(self, *args: Any, **options: Any) -> None:
        self._begun: dict[socket.socket, float] = {}  # connections that are open
        self._lock = threading.Lock()
        super().__init__(*args, **options)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            is_full = len(self._begun) >= MAX_CONNECTIONS
            if not is_full:
                self._begun[request] = time.monotonic()
        if is_full:
            super().shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._begun.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Ends connections that take too long; called twice a second."""
        self._hang_up(time.monotonic() - TIMEOUT_SECONDS)

    def server_close(self) -> None:
        self._hang_up(math.inf)
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of a client that has gone."""

    def _hang_up(self, before: float) -> None:
        with self._lock:
            late = [request for request, begun in self._begun.items() if begun <= before]
        for request in late:
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = TIMEOUT_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        """Keeps who asked for the counters out of the terminal."""
