"""A short part of the trials of benchmarks/faults.py, with real processes."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from benchmarks import faults

pytestmark = [
    pytest.mark.skipif(
        sys.platform != "linux", reason="signals, mounts and ffmpeg as Linux has them"
    ),
    pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg"),
]
pytest.importorskip("prometheus_client")


def held(trials: list[faults.Trial]) -> bool:
    return all(trial.held == trial.tried for trial in trials)


def test_a_kill_loses_little(tmp_path: Path) -> None:
    """A nearly still picture lay in a buffer for a minute: 88 bytes of MP4, none of Matroska."""
    played, _ = faults.kills(tmp_path, 2)  # how much was lost is a timing
    assert played.held == 2, played


def test_two_interrupts_at_once_lose_nothing(tmp_path: Path) -> None:
    trials = faults.interrupts(tmp_path, 2)
    assert held(trials), trials


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a small disk")
def test_a_full_disk_costs_no_viewer_anything(tmp_path: Path) -> None:
    trials = faults.full_disk(tmp_path)
    assert all(trial.held for trial in trials if "viewer" not in trial.name), trials


def test_folders_that_go_away_cost_no_other_output_anything(tmp_path: Path) -> None:
    trials = faults.folders(tmp_path)
    assert all(trial.held for trial in trials if "viewer" not in trial.name), trials


def test_strangers_keep_no_viewer_out(tmp_path: Path) -> None:
    trials = faults.strangers(tmp_path, count=60, guesses=50)
    assert all(trial.held == trial.tried for trial in trials if "gap" not in trial.remark), trials
