"""Where a frame becomes colour: order, sizes, rotation, and what the network is shown."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from kinemacolor.engine.backend import Backend
from kinemacolor.engine.load import load
from kinemacolor.stream.color.colorizer import Colorizer
from kinemacolor.stream.color.painter import Style
from kinemacolor.stream.color.tempo import Tempo
from kinemacolor.stream.media import Item
from kinemacolor.stream.steady.keyframes import KeyFrames
from kinemacolor.stream.steady.smoothing import make_steady

from tests import media
from tests.models import write_model


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Backend]:
    opened = load(write_model(tmp_path / "tiny.onnx"), "onnxruntime", threads=1)
    yield opened
    opened.close()


def frames(count: int, pix_fmt: str = "yuv420p", size: tuple[int, int] = (64, 48)) -> list[Item]:
    made: list[Item] = []
    depth = av.VideoFormat(pix_fmt).components[0].bits
    for index in range(count):
        luma = media.moving_picture(*size, index, depth)
        frame = media.frame_from_planes(media.neutral_planes(luma, pix_fmt), pix_fmt)
        frame.pts, frame.time_base = 3 * index, Fraction(1, 90)
        made.append(frame)
    return made


@pytest.mark.parametrize("overlap", [0, 1, 3, 20])
def test_frames_and_packets_leave_in_the_order_they_came(network: Backend, overlap: int) -> None:
    pictures = frames(9)
    packets = [av.Packet(bytes([n])) for n in range(9)]
    items = [item for pair in zip(pictures, packets, strict=True) for item in pair]
    out = list(Colorizer(network, overlap=overlap).colorize(items))
    assert len(out) == 18
    assert [item.pts for item in out[::2]] == [frame.pts for frame in pictures]
    assert out[1::2] == packets


@pytest.mark.parametrize(
    ("pix_fmt", "taken", "said"),
    [
        ("gray16le", {"yuv420p", "yuv420p10le"}, "luma is rounded from 16 to 10 bit"),
        ("yuv420p12le", {"yuv420p"}, "luma is rounded from 12 to 8 bit"),
        ("yuv420p10le", {"yuv420p", "yuv420p10le"}, ""),
        ("yuv420p", {"yuv420p10le"}, ""),
        ("gray16le", set(), ""),
    ],
)
def test_the_log_says_once_where_bits_are_lost(
    network: Backend, caplog: pytest.LogCaptureFixture, pix_fmt: str, taken: set[str], said: str
) -> None:
    colorizer = Colorizer(network, pix_fmts=taken)
    list(colorizer.colorize(frames(3, pix_fmt)))
    rounded = [message for message in caplog.messages if "rounded" in message]
    assert len(rounded) == (1 if said else 0)
    assert all(said in message for message in rounded)


def test_overlapping_changes_no_colour(network: Backend) -> None:
    results = [
        [media.planes_of(f) for f in Colorizer(network, overlap=n).colorize(frames(6))]
        for n in (0, 5)
    ]
    for ours, theirs in zip(*results, strict=True):
        for plane, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(plane, other)


def test_a_warm_up_changes_no_colour(network: Backend) -> None:
    results = []
    for warm in (False, True):
        colorizer = Colorizer(network, steady=make_steady("live"))
        if warm:
            (other,) = frames(1)
            assert isinstance(other, av.VideoFrame)
            colorizer.warm_up(other)
        results.append([media.planes_of(f) for f in colorizer.colorize(frames(5))])
    for ours, theirs in zip(*results, strict=True):
        for plane, wanted in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(plane, wanted)


def test_a_decoded_frame_is_never_written(network: Backend) -> None:
    """It may be the decoder's reference for the frames to come."""
    pictures = frames(4)
    before = [media.planes_of(frame) for frame in pictures]
    for colored in Colorizer(network).colorize(pictures):
        media.planes_of(colored)[0][:] = 0
    for frame, kept in zip(pictures, before, strict=True):
        for plane, wanted in zip(media.planes_of(frame), kept, strict=True):
            np.testing.assert_array_equal(plane, wanted)


def test_nothing_in_is_nothing_out(network: Backend) -> None:
    assert list(Colorizer(network).colorize([])) == []


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_film_is_shown_upright_and_coloured_where_it_lies(
    tmp_path: Path, network: Backend, turns: int
) -> None:
    """Colours of the turned film are those of the upright one, turned back.

    The chroma is compared where both are smooth: the network's grids of the two differ.
    """

    def ramp(width: int, height: int, index: int, depth: int) -> np.ndarray:
        y, x = np.mgrid[0:height, 0:width]
        return (40 + 90 * x / width + 90 * y / height).astype(np.uint8)

    clip = media.write_clip(
        tmp_path / "clip.mp4",
        codec="libx264",
        size=(128, 128),
        frames=1,
        rotate=90 * turns,
        picture=ramp,
        options={"qp": "0"},
    )
    turned = media.read_frames(clip)[0]
    assert round(turned.rotation / 90) % 4 == turns
    (colored,) = Colorizer(network).colorize([turned])
    upright_luma = np.ascontiguousarray(np.rot90(media.planes_of(turned)[0], turns))
    planes = [upright_luma, *[np.full((64, 64), 128, np.uint8)] * 2]
    upright = media.frame_from_planes(planes, "yuv420p")
    upright.pts, upright.time_base = 0, Fraction(1, 25)
    (wanted,) = Colorizer(network).colorize([upright])
    for plane, other in zip(media.planes_of(colored)[1:], media.planes_of(wanted)[1:], strict=True):
        difference = np.rot90(plane, turns).astype(int) - other
        assert np.abs(difference).max() <= 2


@pytest.mark.parametrize(
    "other",
    [
        Style(saturation=0.3),
        Style(saturation=0),
        Style(upsample="bilinear"),
        Style(compare=True),
    ],
)
def test_a_style_that_changes_while_running_is_painted_from_the_next_frame_on(
    network: Backend, other: Style
) -> None:
    def twice(style: Style, then: Style) -> list[list[np.ndarray]]:
        colorizer = Colorizer(network, style=style, overlap=0)
        painted = colorizer.colorize([*frames(1), *frames(1)])
        codes = [media.planes_of(next(painted))]
        colorizer.style = then
        return [*codes, media.planes_of(next(painted))]

    usual, changed = twice(Style(), other)
    assert not np.array_equal(usual[1], changed[1])
    for plane, wanted in zip(changed, twice(other, other)[0], strict=True):
        np.testing.assert_array_equal(plane, wanted)
    if other.saturation == 0:
        assert np.ptp(changed[1]) == 0


def test_a_tempo_that_watches_changes_no_item(network: Backend) -> None:
    items = [*frames(3), av.Packet(b"sound"), *frames(20)]
    colorizer = Colorizer(network, tempo=Tempo(KeyFrames(1)))
    out = list(colorizer.colorize(items))
    assert len(out) == len(items)
    assert out[3] is items[3]
