"""Real players and a fuzzer against the RTSP server, for seconds; benchmarks/ does it at length."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kinemacolor.stream.rtsp import Credentials, RtspServer

from tests.rtsp_peer import Clip, Publisher, encode_clip
from tests.rtsp_players import PLAYERS, Player

ROOT = Path(__file__).parents[1]
FRAMES = 50


@pytest.fixture(scope="module")
def clip() -> Clip:
    return encode_clip(1.92, width=640, height=480, gop=12)


@pytest.fixture(params=list(PLAYERS))
def player(request: pytest.FixtureRequest) -> Player:
    player = PLAYERS[request.param]
    if reason := player.missing():
        pytest.skip(reason)
    return player


@pytest.fixture
def guarded(clip: Clip) -> Iterator[RtspServer]:
    with (
        RtspServer(port=0, credentials=Credentials("ann", "pw")) as server,
        Publisher(server, clip),
    ):
        yield server


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_plays_without_a_complaint_or_a_lost_frame(
    player: Player, transport: str, clip: Clip
) -> None:
    with RtspServer(port=0) as server, Publisher(server, clip):
        result = player.play(server.url, transport, FRAMES, timeout=40)
        stats = server.stats()
    assert result.complaints == []
    assert result.code == 0
    assert result.frames >= FRAMES
    assert result.frames == FRAMES or player.name == "vlc"
    assert stats.dropped == {}
    assert stats.counts["plays"] == 1


def test_the_right_login_plays_and_a_wrong_one_does_not(
    player: Player, guarded: RtspServer
) -> None:
    url = guarded.url.replace("//", "//ann:{}@")
    assert player.play(url.format("pw"), "tcp", 25, timeout=40).code == 0
    assert guarded.stats().counts["plays"] == 1
    refused = player.play(url.format("guess"), "tcp", 25, timeout=40)
    assert refused.frames == 0
    assert guarded.stats().counts["plays"] == 1


def test_a_small_fuzz_leaves_the_viewers_undisturbed(tmp_path: Path) -> None:
    report = tmp_path / "fuzz.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.rtsp_fuzz", "--requests", "300"),
            *("--half-open", "10", "--slow", "2", "--json", str(report)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert json.loads(report.read_text())["server_errors"] == 0
