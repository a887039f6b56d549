"""Packets reach the container with decode times that it takes."""

from fractions import Fraction
from pathlib import Path

import av
import pytest
from kinemacolor.stream.sinks.packets import with_decode_times

from tests import media
from tests.command import colorize


def packets(*times: tuple[int, int | None]) -> list[av.Packet]:
    made = []
    for pts, dts in times:
        packet = av.Packet(b"x")
        packet.time_base = Fraction(1, 1000)
        packet.pts, packet.dts = pts, dts
        made.append(packet)
    return made


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ([(0, -40), (80, 0), (40, 40)], [-40, 0, 40]),  # sound: left alone
        ([(0, 2**62), (40, 2**62 + 40)], [0, 40]),
        ([(0, -(2**62)), (80, -(2**62)), (40, -(2**62))], [0, 39, 40]),
        ([(0, None), (80, None), (40, None)], [0, 39, 40]),
    ],
)
def test_decode_times_rise_and_are_at_most_the_frames_own(
    given: list[tuple[int, int | None]], wanted: list[int]
) -> None:
    assert [packet.dts for packet in with_decode_times(packets(*given))] == wanted


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_the_shortest_films_become_hevc(tmp_path: Path, frames: int) -> None:
    clip = media.write_clip(tmp_path / "clip.mkv", frames=frames)
    for i in range(4):  # what x265 reads is there by chance
        out = tmp_path / f"{i}.mp4"
        colorize(clip, out, codec="hevc")
        with av.open(str(out)) as container:
            times = [float(frame.time) for frame in container.decode(video=0) if frame.time]
        assert times == pytest.approx([t / 25 for t in range(1, frames)], abs=0.002)
