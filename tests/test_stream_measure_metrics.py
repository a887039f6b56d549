"""The counters of a run, fetched over HTTP as Prometheus does."""

from __future__ import annotations

import contextlib
import socket
import urllib.request
from contextlib import closing
from fractions import Fraction

import av
import pytest
from kinemacolor.stream.errors import StreamError
from kinemacolor.stream.measure.latency import Latency
from kinemacolor.stream.measure.stats import Stats, Step
from kinemacolor.stream.sources.open import open_source

pytest.importorskip("prometheus_client")
from kinemacolor.stream.measure import metrics as metrics_module
from kinemacolor.stream.measure.metrics import Metrics


def test_counters_are_those_of_the_moment() -> None:
    source = open_source("test:64x48@25#1")
    stats = Stats()
    latency = Latency(lambda: 1.0)
    with closing(Metrics(":0", stats, source=source, latency=latency)) as metrics:
        stats.frames_in = 7
        for seconds in (0.004, 0.005, 0.03, 7.0):
            stats.spent("infer", seconds)
        stats.spent("encode", 0.5, frame=False)  # a packet of sound is no frame
        message = "colours are now inferred on key frames only"
        stats.steps.append((1.5, Step(1, "key frames", message)))
        latency.count("queue", lambda: 3)
        frame = av.VideoFrame(16, 16, "gray")
        frame.pts, frame.time_base = 9, Fraction(1, 10)
        latency.left(frame)
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics.port}/metrics", timeout=5) as page:
            lines = page.read().decode().splitlines()
    source.close()
    assert "kinemacolor_frames_in_total 7.0" in lines
    infer = [line.split() for line in lines if 'stage="infer"' in line]
    stage, prefix = "kinemacolor_stage_seconds", 'kinemacolor_stage_seconds_bucket{le="'
    counts = {
        name.removeprefix(prefix).partition('"')[0]: float(n)
        for name, n in infer
        if name.startswith(prefix)
    }
    wanted = {"0.001": 0, "0.002": 0, "0.005": 2, "0.01": 2, "0.02": 2, "0.05": 3, "0.1": 3}
    assert counts == wanted | {"0.2": 3, "0.5": 3, "1.0": 3, "2.0": 3, "+Inf": 4}
    assert [f'{stage}_count{{stage="infer"}}', "4.0"] in infer
    assert [f'{stage}_sum{{stage="infer"}}', "7.039"] in infer
    assert f'{stage}_count{{stage="encode"}} 0.0' in lines
    assert "kinemacolor_degraded 1.0" in lines
    assert 'kinemacolor_dropped_total{cause="queue"} 3.0' in lines
    (age,) = [
        line
        for line in lines
        if line.startswith('kinemacolor_recent_latency_seconds{quantile="0.95')
    ]
    assert float(age.split()[1]) == pytest.approx(0.1)
    assert 'kinemacolor_latency_seconds_bucket{le="0.05"} 0.0' in lines
    assert 'kinemacolor_latency_seconds_bucket{le="0.2"} 1.0' in lines
    assert "# TYPE kinemacolor_latency_seconds histogram" in lines


def test_a_taken_or_senseless_address_is_an_error() -> None:
    source = open_source("test:64x48@25#1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f":{taken.getsockname()[1]}"
        with pytest.raises(StreamError, match="cannot serve metrics"):
            Metrics(address, Stats(), source=source)
    with pytest.raises(StreamError, match=r"expected \[HOST\]:PORT"):
        Metrics("everywhere", Stats(), source=source)
    source.close()


def test_silent_connections_end_and_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand of them used up the descriptors, and RTSP took no more viewers."""
    monkeypatch.setattr(metrics_module, "TIMEOUT_SECONDS", 1.0)
    source = open_source("test:64x48@25#1")
    with (
        contextlib.closing(Metrics(":0", Stats(), source)) as metrics,
        contextlib.ExitStack() as stack,
    ):
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", metrics.port), timeout=10))
            for _ in range(40)
        ]
        assert [client.recv(1) for client in silent] == [b""] * 40
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics.port}/metrics", timeout=5) as page:
            assert b"kinemacolor_fps" in page.read()
    source.close()
