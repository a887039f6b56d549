"""A new source or sink is one file, a class of address.py and a case of its room's open.py."""

from __future__ import annotations

import ast
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import get_args

import av
import numpy as np
import pytest
from kinemacolor.engine.load import load
from kinemacolor.stream import address as kinds
from kinemacolor.stream.color.colorizer import Colorizer
from kinemacolor.stream.errors import BadSink
from kinemacolor.stream.media import Item, Sink, Source, SourceInfo, is_frame
from kinemacolor.stream.pipeline import run
from kinemacolor.stream.sinks.live_encoder import check_intra_refresh
from kinemacolor.stream.sinks.tee import Tee

from tests.models import write_model

STREAM = Path(__file__).parent.parent / "stream"
ROOMS = ("sources", "sinks", "rtsp", "rtmp")
# What a run asks of its job: a film is listed and kept whole, a pipe has a pace of its own, and a
# still may be thrown away or looked at.
ASKED_OF_A_JOB = {"LocalFile", "Pipe", "Null", "Window"}


class ClockSource(Source):
    """A live source in one file: a grey that follows the time of day."""

    live = True

    def __init__(self, frames: int) -> None:
        self.info = SourceInfo(
            name="clock:",
            width=64,
            height=48,
            pix_fmt="yuv420p",
            rate=Fraction(25),
            time_base=Fraction(1, 90_000),
            codec="clock",
        )
        self._zero = time.monotonic()
        self._frames = frames

    def __iter__(self) -> Iterator[Item]:
        for _ in range(self._frames):
            time.sleep(0.02)
            codes = np.full((72, 64), 128, np.uint8)
            codes[:48] = 100
            frame = av.VideoFrame.from_ndarray(codes, "yuv420p")
            frame.pts, frame.time_base = round(self.now() * 90_000), self.info.time_base
            yield frame

    def now(self) -> float:
        return time.monotonic() - self._zero


class BrowserSink(Sink):
    """A sink in one file: keeps what a browser would be sent."""

    description = "browser"
    pix_fmts = frozenset(("yuv420p",))
    follows_size = True

    def __init__(self) -> None:
        self.sent: list[av.VideoFrame] = []

    def write(self, item: Item) -> None:
        if is_frame(item):
            self.sent.append(item)


@dataclass(frozen=True)
class Browser(kinds.Address):
    """`browser:`, which asks for key frames and is watched as it is sent."""

    has_viewers = True
    follows_keys = True


@pytest.mark.parametrize("several", [False, True])
def test_what_the_protocols_demand_is_enough_for_a_run(tmp_path: Path, several: bool) -> None:
    source, browsers = ClockSource(10), [BrowserSink() for _ in range(1 + several)]
    sink: Sink = Tee(browsers, live=True) if several else browsers[0]
    network = load(write_model(tmp_path / "tiny.onnx"), "onnxruntime")
    try:
        stats = run(source, Colorizer(network, pix_fmts=sink.pix_fmts), sink)
        sink.finish()
    finally:
        network.close()
        source.close()
    assert stats.frames_in == 10
    for browser in browsers:
        assert 1 <= len(browser.sent) <= 10
        chroma = np.asarray(browser.sent[-1].to_ndarray())[48:]
        assert int(np.abs(chroma.astype(int) - 128).max()) > 3
        assert (browser.left_out, browser.worth_keeping, browser.dropped) == ((), False, {})
    assert sink.abandon(keep=True) is None


def test_what_an_address_can_do_is_said_by_its_class() -> None:
    check_intra_refresh(Browser("browser:"))
    with pytest.raises(BadSink, match="intra-refresh"):
        check_intra_refresh(kinds.Hls("hls:x", Path("x")))
    assert str(Browser("browser:")) == "browser:"
    assert not Browser.live


def named(path: Path) -> set[str]:
    """The kinds of address that a file names."""
    every = {kind.__name__ for kind in kinds.Address.__subclasses__()} - {"Browser"}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "kinemacolor.stream.address"
        for alias in node.names
    }
    attributes = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "kinds"
    }
    return every & (imported | attributes)


def test_a_room_opens_every_kind_that_it_has() -> None:
    for room, union in (("sources", kinds.SourceAddress), ("sinks", kinds.SinkAddress)):
        kinds_of_room = {kind.__name__ for kind in get_args(union)}
        assert named(STREAM / room / "open.py") == kinds_of_room


def test_a_kind_is_named_by_who_opens_it_and_by_nobody_else() -> None:
    """Whether `://` stands in a text was asked in six places, each in its own way."""
    for path in STREAM.rglob("*.py"):
        room = path.relative_to(STREAM).parts[0]
        if room == "run":
            assert named(path) <= ASKED_OF_A_JOB, path
        elif room not in ROOMS and room != "address.py":
            assert named(path) == set(), path


def test_one_file_opens_a_kind_of_its_room() -> None:
    """Beside open.py; more than one means that one kind is two things."""
    for room in ("sources", "sinks"):
        files = [path for path in (STREAM / room).glob("*.py") if path.name != "open.py"]
        found = [kind for path in files for kind in named(path)]
        assert len(found) == len(set(found))


def test_every_source_and_sink_is_one_by_its_class() -> None:
    """A class that only looks like one has none of the protocol's defaults."""
    for room, base in (("sources", "Source"), ("sinks", "Sink")):
        for path in (STREAM / room).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.ClassDef):
                    continue
                methods = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
                is_one = "abandon" in methods or node.name.endswith(base)
                assert not is_one or base in map(ast.unparse, node.bases), f"{path}: {node.name}"
