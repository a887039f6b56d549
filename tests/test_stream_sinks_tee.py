"""Several outputs of one run."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import av
import pytest
from kinemacolor.stream.errors import BadSink, SinkError
from kinemacolor.stream.media import Item, Outcome, Sink
from kinemacolor.stream.sinks.null import NullSink
from kinemacolor.stream.sinks.open import open_sink
from kinemacolor.stream.sinks.tee import Tee
from kinemacolor.stream.sources.connection import Backoff
from kinemacolor.stream.sources.open import open_source

from tests.media import packet_hashes, read_luma, write_clip


class SlowSink(NullSink):
    description = "slow"

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.taken: list[int | None] = []

    def write(self, item: Item) -> None:
        time.sleep(self.seconds)
        self.taken.append(item.pts)


class BrokenSink(NullSink):
    description = "broken"

    def write(self, item: Item) -> None:
        raise SinkError("the disk is full")


def frames(count: int) -> list[av.VideoFrame]:
    made = []
    for number in range(count):
        frame = av.VideoFrame(32, 24, "yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, 25)
        made.append(frame)
    return made


def write_slowly(tee: Tee, items: list[av.VideoFrame]) -> None:
    for item in items:
        tee.write(item)
        time.sleep(0.002)


def test_a_slow_sink_misses_frames_and_another_misses_none() -> None:
    quick, slow = SlowSink(0), SlowSink(0.2)
    tee = Tee([quick, slow], live=True)
    for frame in frames(50):
        tee.write(frame)
        time.sleep(0.01)
    tee.finish()
    assert quick.taken == list(range(50))
    assert len(slow.taken) + tee.dropped["slow"] == 50
    assert tee.dropped["slow"] > 30
    assert slow.taken[-1] == 49  # what is dropped is the oldest


def test_a_film_loses_no_frame_anywhere() -> None:
    quick, slow = SlowSink(0), SlowSink(0.02)
    tee = Tee([quick, slow], live=False)
    for frame in frames(20):
        tee.write(frame)
    tee.finish()
    assert quick.taken == slow.taken == list(range(20))


@pytest.mark.parametrize("live", [True, False])
def test_a_sink_that_fails_hurts_no_other(live: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A recording whose disk was full ended the process, and with it all viewers."""
    whole = SlowSink(0)
    tee = Tee([whole, BrokenSink()], live=live, names=["a", "b"])
    write_slowly(tee, frames(50))
    tee.finish()
    assert len(whole.taken) + (tee.dropped["slow"] if live else 0) == 50
    assert whole.taken[-1] == 49
    assert tee.outcomes == [
        Outcome("a", "whole"),
        Outcome("b", "failed", "the disk is full"),
    ]
    said = [r.getMessage() for r in caplog.records if "failed" in r.getMessage()]
    assert said == ["output b failed: the disk is full"]


@pytest.mark.parametrize("live", [True, False])
def test_the_last_sink_that_fails_ends_all_and_says_why(live: bool) -> None:
    tee = Tee([BrokenSink(), BrokenSink()], live=live)
    with pytest.raises(SinkError, match="the disk is full"):
        write_slowly(tee, frames(500))
    tee.abandon(keep=False)


def test_a_sink_that_failed_is_opened_again() -> None:
    whole, second = SlowSink(0), SlowSink(0)
    tries = iter([SinkError("not yet"), second])

    def reopen() -> tuple[Sink, str]:
        made = next(tries)
        if isinstance(made, SinkError):
            raise made
        return made, "b-2"

    tee = Tee(
        [whole, BrokenSink()],
        live=True,
        names=["a", "b"],
        reopen=[None, reopen],
        again=Backoff(0.01, 0.01),
    )
    write_slowly(tee, frames(100))
    tee.finish()
    assert whole.taken[-1] == 99
    assert second.taken[-1] == 99
    assert tee.outcomes[1] == Outcome("b", "resumed", "the disk is full", ("b-2",))
    assert len(second.taken) < 100


def test_a_bug_in_a_sink_is_no_output_that_failed() -> None:
    class Buggy(NullSink):
        def write(self, item: Item) -> None:
            raise TypeError("a bug")

    tee = Tee([SlowSink(0), Buggy()], live=True)
    with pytest.raises(TypeError, match="a bug"):
        write_slowly(tee, frames(500))
    tee.abandon(keep=False)


def test_two_files_both_hold_all_of_the_film(tmp_path: Path) -> None:
    film = write_clip(tmp_path / "film.mkv", codec="libx264", frames=12, audio="aac")
    source = open_source(film)
    outputs = [tmp_path / "a.mkv", tmp_path / "b.mp4"]
    tee = Tee([open_sink(path, source) for path in outputs], live=False)
    assert "yuv420p" in tee.pix_fmts
    for item in source:
        tee.write(item)
    tee.finish()
    source.close()
    sound = packet_hashes(film, "audio")
    for path in outputs:
        assert len(read_luma(path)) == 12
        assert packet_hashes(path, "audio") == sound


def test_outputs_that_share_no_pixel_format_are_refused() -> None:
    one, other = NullSink(), NullSink()
    one.pix_fmts, other.pix_fmts = frozenset({"yuv420p"}), frozenset({"rgb24"})
    with pytest.raises(BadSink, match="no pixel format"):
        Tee([one, other], live=True)
