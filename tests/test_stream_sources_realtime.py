"""A film as if it were live: in its own time, round and round."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import av
import pytest
from kinemacolor.stream.errors import BadSource, SourceNotFound
from kinemacolor.stream.options import LiveOptions
from kinemacolor.stream.sources.open import open_source
from kinemacolor.stream.sources.realtime import RealtimeSource

from tests.media import write_clip


def test_a_film_goes_round_and_its_times_and_its_sound_go_on(tmp_path: Path) -> None:
    film = write_clip(tmp_path / "film.mkv", codec="libx264", frames=10, audio="aac")
    source = open_source(film, live=LiveOptions(realtime=True, loop=True), duration_seconds=1.1)
    assert isinstance(source, RealtimeSource)
    assert source.live
    begin = time.monotonic()
    frames, sounds = [], []
    for item in source:
        if isinstance(item, av.VideoFrame):
            assert source.now() >= (item.time or 0.0) - 1e-6  # never before it is due
            frames.append(item.time or 0.0)
        else:
            sounds.append(float(item.pts * item.time_base))
            assert item.stream in source.container.streams
    source.close()
    assert time.monotonic() - begin >= frames[-1] - frames[0]
    steps = [b - a for a, b in pairwise(frames)]
    assert 26 <= len(frames) <= 28  # 1.1 s at 25 fps, over two seams
    # The sound is up to one of its frames longer than the picture. Matroska counts in ms.
    assert all(
        0.038 < step < 0.042 or (i % 10 == 9 and step < 0.07) for i, step in enumerate(steps)
    )
    assert sounds == sorted(sounds)
    assert sounds[-1] > 0.8


def test_without_loop_it_ends_with_the_film(tmp_path: Path) -> None:
    film = write_clip(tmp_path / "film.mkv", frames=5)
    source = open_source(film, live=LiveOptions(realtime=True))
    assert sum(1 for _ in source) == 5
    source.close()


def test_it_starts_where_it_is_told_in_every_turn(tmp_path: Path) -> None:
    """--start was ignored with --realtime."""
    film = write_clip(tmp_path / "film.mkv", codec="libx264", frames=20, audio="aac")
    live = LiveOptions(realtime=True, loop=True)
    source = open_source(film, live=live, start_seconds=0.6, duration_seconds=0.35)
    lumas, times = [], []
    for item in source:
        if isinstance(item, av.VideoFrame):
            lumas.append(bytes(item.planes[0]))
            times.append(item.time or 0.0)
    source.close()
    assert lumas[: len(lumas) - 5] == lumas[5:]
    assert len(lumas) in (8, 9)  # 0.35 s over the seam; sound may be a frame longer
    assert times[0] == pytest.approx(0.0, abs=0.002)
    assert all(0.038 < b - a < 0.07 for a, b in pairwise(times))


@pytest.mark.parametrize("uri", ["rtsp://127.0.0.1:9/live", "http://127.0.0.1:9/x.mp4", "webcam:0"])
def test_what_is_no_film_here_has_no_start(uri: str) -> None:
    with pytest.raises(BadSource, match="--start needs a film"):
        open_source(uri, start_seconds=1)


def test_a_missing_film_is_said_so() -> None:
    with pytest.raises(SourceNotFound):
        open_source("nowhere.mkv", live=LiveOptions(realtime=True))


def test_a_film_that_is_away_at_its_next_turn_is_tried_again(tmp_path: Path) -> None:
    """A server's film that was copied over ended the run at its next turn."""
    film = write_clip(tmp_path / "film.mkv", frames=5)
    whole = film.read_bytes()
    live = LiveOptions(realtime=True, loop=True)
    source = open_source(film, live=live, duration_seconds=4.0)
    film.write_bytes(whole[:100])  # half copied; the turn that is open has read its own
    times, back = [], 0.0
    for item in source:
        assert isinstance(item, av.VideoFrame)
        times.append(item.time or 0.0)
        if len(times) == 12:  # held by now
            film.write_bytes(whole)
            back = times[-1]
    source.close()
    assert times == sorted(times)
    assert sum(time > back for time in times) > 20
