"""The counters of a run, fetched over HTTP as Prometheus does."""

from __future__ import annotations

import socket
import urllib.request
from fractions import Fraction

import av
import pytest

from stream.errors import StreamError
from stream.latency import Latency
from stream.sources import open_source
from stream.stats import Stats

pytest.importorskip("prometheus_client")
from stream.metrics import Metrics


def test_counters_are_those_of_the_moment() -> None:
    source = open_source("test:64x48@25#1")
    stats = Stats()
    latency = Latency(lambda: 1.0)
    with Metrics(":0", stats, source=source, latency=latency) as metrics:
        stats.frames_in = 7
        stats.seconds["infer"] = 1.5
        latency.count("queue", lambda: 3)
        frame = av.VideoFrame(16, 16, "gray")
        frame.pts, frame.time_base = 9, Fraction(1, 10)
        latency.left(frame)
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics.port}/metrics", timeout=5) as page:
            lines = page.read().decode().splitlines()
    source.close()
    assert "kinemacolor_frames_in_total 7.0" in lines
    assert 'kinemacolor_stage_seconds_total{stage="infer"} 1.5' in lines
    assert 'kinemacolor_dropped_total{cause="queue"} 3.0' in lines
    (age,) = [
        line for line in lines if line.startswith('kinemacolor_latency_seconds{quantile="0.95')
    ]
    assert float(age.split()[1]) == pytest.approx(0.1)


def test_a_taken_or_senseless_address_is_an_error() -> None:
    source = open_source("test:64x48@25#1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f":{taken.getsockname()[1]}"
        with pytest.raises(StreamError, match="cannot serve metrics"):
            Metrics(address, Stats(), source=source)
    with pytest.raises(StreamError, match=r"expected \[HOST\]:PORT"):
        Metrics("everywhere", Stats(), source=source)
    source.close()
