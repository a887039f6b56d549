"""What holds for every test: no thread outlives it, no ERROR is logged; where GPU tests run."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from functools import cache

import hypothesis
import pytest

THREAD_GRACE_SECONDS = 2.0  # a joined thread may need a moment to leave threading.enumerate()


# In CI every run draws the same examples: what fails there failed for whoever made the change.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "logs_errors: this test provokes an ERROR in the log")
    # A job in the background of a shell begins with Ctrl-C ignored, and so would all it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_thread_outlives_its_test() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + THREAD_GRACE_SECONDS
    for thread in set(threading.enumerate()) - before:
        thread.join(max(0.0, deadline - time.monotonic()))
    leaked = sorted(t.name for t in set(threading.enumerate()) - before)
    assert not leaked, f"threads still alive after the test: {', '.join(leaked)}"


@pytest.fixture(autouse=True)
def no_error_in_the_log(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    yield
    if request.node.get_closest_marker("logs_errors"):
        return
    # FFmpeg calls every damaged packet an error; whether the product copes is the test's matter.
    errors = [
        f"{record.name}: {record.getMessage()}"
        for phase in ("setup", "call")
        for record in caplog.get_records(phase)
        if record.levelno >= logging.ERROR and not record.name.startswith("libav")
    ]
    assert not errors, f"ERROR in the log: {errors}"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("needs_gpu") is None or has_nvidia_gpu():
        return
    if os.environ.get("REQUIRE_GPU") == "1":
        pytest.fail("REQUIRE_GPU=1, and the CUDA driver finds no NVIDIA GPU", pytrace=False)
    pytest.skip("needs an NVIDIA GPU")


@cache
def has_nvidia_gpu() -> bool:
    """Asks the CUDA driver itself, so that no Python package is needed to know."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return (
        driver.cuInit(0) == 0
        and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
        and count.value > 0
    )
