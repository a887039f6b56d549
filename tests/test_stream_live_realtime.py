"""A film as if it were live: in its own time, round and round."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import av
import pytest

from stream.errors import SourceNotFound
from stream.live.realtime import RealtimeSource
from stream.live.uri import LiveOptions
from stream.sources import open_source
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


def test_a_missing_film_is_said_so() -> None:
    with pytest.raises(SourceNotFound):
        open_source("nowhere.mkv", live=LiveOptions(realtime=True))
