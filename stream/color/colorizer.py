"""Where a frame becomes colour: luma -> L -> network -> ab -> steady -> chroma planes."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import av
import numpy as np
from kinemacolor.engine.backend import Backend, Background, Pending
from kinemacolor.engine.inputs import Inputs
from kinemacolor.stream.color.chroma import Upsample, chroma_guide, chroma_planes, extract_L, resize
from kinemacolor.stream.color.degrade import Degrade
from kinemacolor.stream.color.frames import (
    FrameEncoding,
    colored_pix_fmt,
    copy_luma,
    frame_encoding,
    is_left_sited,
    new_frame,
    plane_view,
    to_luma_format,
)
from kinemacolor.stream.color.pace import Pace
from kinemacolor.stream.measure.stats import Stats
from kinemacolor.stream.media import Item
from kinemacolor.stream.steady.keyframes import Want
from kinemacolor.stream.steady.smoothing import Steady, make_steady
from numpy.typing import NDArray

log = logging.getLogger(__name__)

# Batches under way at once. Two cores are kept busy by two; the third hides the gap between.
OVERLAP = 3
# Share of the usual input that is looked at where a live shot starts and must wait for it.
FIRST_LOOK = 0.7


@dataclass
class Work:
    """One frame on its way through the colorizer."""

    frame: av.VideoFrame
    encoding: FrameEncoding
    guide: NDArray[Any]  # luma codes at chroma size
    L: NDArray[np.float32]  # (H, W), the network's input
    turns: int  # quarter turns counter-clockwise that set the picture upright
    pending: Pending | None  # None: not a key frame, its colours are carried from others
    ab: NDArray[np.float32] | None = field(default=None)  # (2, h, w), final
    rough: bool = field(default=False, kw_only=True)  # pending: of a smaller input


@dataclass(frozen=True)
class Late:
    """A key frame that has left with carried colours; its own are to come."""

    pending: Background
    began: float  # time.perf_counter


@dataclass(kw_only=True, eq=False, repr=False)
class Colorizer:
    """Gives frames their colours, several under way at once. Use it on one thread.

    With an overlap of 0 no frame waits for another. On key frames (`--every`) even those within
    a shot do not wait for the network: they leave with carried colours, and what it says serves
    the frames after it. Only the first frame of a shot waits, for colours of a smaller input.

    Args:
        backend: runs the network.
        steady: smooths ab in time; the default leaves each frame by itself.
        saturation: multiplies ab; 1 is the network's own colour.
        upsample: `guided` stops colour at luma edges, `bilinear` does not.
        compare: frames of double width, grey on the left and colour on the right.
        pix_fmts: what the sink takes; empty means anything.
        overlap: pictures in the network at once; a backend that batches asks for more. 0: live.
        pace: moves the distance of the steadier's key frames so that real time is kept.
        degrade: does so for a live source, and makes the network's input smaller.
    """

    backend: Backend = field(kw_only=False)
    steady: Steady = field(default_factory=lambda: make_steady("off"))
    saturation: float = 1.0
    upsample: Upsample = "guided"
    compare: bool = False
    pix_fmts: frozenset[str] = frozenset()
    overlap: int = OVERLAP
    pace: Pace | None = None
    degrade: Degrade | None = None
    encoding: FrameEncoding | None = field(default=None, init=False)  # of the last frame seen
    _late: Late | None = field(default=None, init=False)

    def colorize(self, items: Iterable[Item], stats: Stats | None = None) -> Iterator[Item]:
        """Yields every frame coloured, in order, and every packet as it came, in its place."""
        stats = stats or Stats()
        leaving: deque[Work | av.Packet] = deque()  # in the source's order
        running: deque[Work] = deque()  # in the network
        settling: deque[Work] = deque()  # waiting for their final ab

        def settle(work: Work) -> None:
            ab = None
            if work.pending is not None:
                with stats.time("infer"):
                    ab = work.pending.result()[0]
                stats.inferred += 1
            settling.append(work)
            with stats.time("steady"):
                final = self.steady.push(work.L, ab, rough=work.rough)
            assign(final)

        def assign(planes: list[NDArray[np.float32]]) -> None:
            for ab in planes:
                settling.popleft().ab = ab

        def ready() -> Iterator[Item]:
            while leaving:
                first = leaving[0]
                if isinstance(first, Work) and first.ab is None:
                    return
                leaving.popleft()
                if isinstance(first, Work):
                    with stats.time("chroma"):
                        colored = self.finish(first)
                    yield colored
                else:
                    yield first

        for item in items if self.pace is None else self.pace.watch(items):
            if isinstance(item, av.VideoFrame):
                if self.pace is not None:
                    self.pace.frame_done()
                self._take_late(stats)
                with stats.time("extract"):
                    work = self.begin(item)
                leaving.append(work)
                running.append(work)
                # A backend may ask for more under way, and for another number as time goes on.
                overlap = max(self.overlap, getattr(self.backend, "overlap", None) or 0)
                # A carried frame at the front waits for nothing but its turn.
                while running and (
                    running[0].pending is None
                    or sum(work.pending is not None for work in running) > overlap
                ):
                    settle(running.popleft())
            else:
                leaving.append(item)
            yield from ready()
            if self.degrade is not None and isinstance(item, av.VideoFrame):
                self.degrade.watch(stats)
        while running:
            settle(running.popleft())
            yield from ready()
        self._drop_late()
        assign(self.steady.flush())
        yield from ready()

    def warm_up(self, frame: av.VideoFrame, *, period_seconds: float | None = None) -> None:
        """Does all that is done with such frames: the first time takes as long as ten others.

        Args:
            period_seconds: from one frame to the next, if known; what is far too slow for that
                is then given up before the first frame, and work in the background practised if
                the network takes much of it.
        """
        other = Colorizer(
            self.backend,
            steady=make_steady("live"),
            saturation=self.saturation,
            upsample=self.upsample,
            pix_fmts=self.pix_fmts,
            overlap=0,
        )
        for _ in range(3):
            stats = Stats()  # of the last
            for _ in other.colorize([frame], stats):
                pass
        self.encoding = other.encoding
        if self.degrade is not None and period_seconds is not None:
            self.degrade.expect(stats, period_seconds)
        keeps_up = period_seconds is not None and stats.seconds["infer"] < period_seconds / 4
        if self._may_be_in_background and not keeps_up:
            # The first time that work is dropped takes long as well.
            work = other.begin(frame)
            cast(Background, work.pending).cancel()
            size = self.backend.spec.input_size(
                frame.width, frame.height, turns=work.turns, share=FIRST_LOOK
            )
            self.backend(resize(work.L, *size[::-1])[None, None])

    def close(self) -> None:
        """Frees what the colorizer holds; the backend is the caller's."""

    def begin(self, frame: av.VideoFrame) -> Work:
        """Extracts L and hands it to the network; returns before the network is done."""
        frame = to_luma_format(frame)
        encoding = frame_encoding(frame)
        pix_fmt = av.VideoFormat(self._pix_fmt(frame))
        if encoding != self.encoding:
            log.info("read as %s", encoding)
            bits, kept = encoding.encoding.bit_depth, pix_fmt.components[0].bits
            if kept < bits:
                log.warning(
                    "luma is rounded from %d to %d bit: the output takes no more "
                    "(--codec ffv1 does)",
                    bits,
                    kept,
                )
        self.encoding = encoding
        luma = plane_view(frame, 0)
        guide = chroma_guide(
            luma,
            pix_fmt.chroma_width(frame.width),
            pix_fmt.chroma_height(frame.height),
            left_sited=is_left_sited(pix_fmt),
        )
        turns = round(frame.rotation / 90) % 4
        height, width = self.backend.spec.input_size(frame.width, frame.height, turns=turns)
        upright = (width, height) if turns % 2 == 0 else (height, width)
        L = extract_L(resize(guide, *upright), encoding.encoding)
        if turns:
            L = np.ascontiguousarray(np.rot90(L, turns))

        def shown(share: float) -> NDArray[np.float32]:
            if share == 1:
                return L
            height, width = self.backend.spec.input_size(
                frame.width, frame.height, turns=turns, share=share
            )
            return resize(L, width, height)  # motion and cuts still see L as it was

        pending, rough = self._submit(L, shown)
        return Work(frame, encoding, guide, L, turns, pending, rough=rough)

    def _submit(
        self, L: NDArray[np.float32], shown: Callable[[float], NDArray[np.float32]]
    ) -> tuple[Pending | None, bool]:
        """Starts the network on a key frame.

        Args:
            L: (H, W), 0..100: the picture.
            shown: the same at a share of the network's usual area.

        Returns:
            what the frame has to wait for, and whether that is of a smaller input.
        """
        want = self.steady.wants(L, busy=self._late is not None)
        if want is Want.NOTHING:
            return None, False
        self._drop_late()  # a new shot has no use for it, and needs all of the processor
        share = 1.0 if self.degrade is None else self.degrade.area_share
        if want is Want.SOON and self._in_background:
            pending = self.backend.submit(Inputs(shown(share)[None, None]))
            self._late = Late(cast(Background, pending), time.perf_counter())
            return None, False
        rough = self._in_background and takes_any_size(self.backend)
        share *= FIRST_LOOK if rough else 1
        return self.backend.submit(Inputs(shown(share)[None, None])), rough

    @property
    def _in_background(self) -> bool:
        return self._may_be_in_background and self.steady.key_frames.every > 1

    @property
    def _may_be_in_background(self) -> bool:
        return (
            self.overlap == 0
            and self.steady.waits
            and (self.degrade is not None or self.steady.key_frames.every > 1)
            and getattr(self.backend, "in_background", False)
        )

    def _take_late(self, stats: Stats) -> None:
        if self._late is None or not self._late.pending.done():
            return
        ab = self._late.pending.result()[0]
        stats.inferred += 1
        if self.degrade is not None:
            self.degrade.arrived(time.perf_counter() - self._late.began)
        self._late = None
        with stats.time("steady", frame=False):
            self.steady.late(ab)

    def _drop_late(self) -> None:
        if self._late is not None:
            self._late.pending.cancel()
            self._late = None

    def finish(self, work: Work) -> av.VideoFrame:
        """The source's luma, bit for bit, with new chroma planes."""
        assert work.ab is not None
        frame = work.frame
        colored = new_frame(
            frame, self._pix_fmt(frame), frame.width * 2 if self.compare else frame.width
        )
        copy_luma(frame, colored)
        ab = work.ab if not work.turns else np.rot90(work.ab, -work.turns, axes=(1, 2))
        encoding = frame_encoding(colored).encoding
        guide, planes = work.guide, (plane_view(colored, 1), plane_view(colored, 2))
        if encoding.bit_depth != work.encoding.encoding.bit_depth:
            guide = chroma_guide(
                plane_view(colored, 0)[:, : frame.width],
                *guide.shape[::-1],
                left_sited=is_left_sited(colored.format),
            )
        if self.compare:
            luma = plane_view(colored, 0)
            luma[:, frame.width :] = luma[:, : frame.width]
            for plane in planes:
                plane[:, : guide.shape[1]] = int(encoding.chroma_offset)
        chroma_planes(
            guide,
            np.ascontiguousarray(ab),
            encoding,
            upsample=self.upsample,
            saturation=self.saturation,
            out=(planes[0][:, -guide.shape[1] :], planes[1][:, -guide.shape[1] :]),
        )
        return colored

    def _pix_fmt(self, frame: av.VideoFrame) -> str:
        return colored_pix_fmt(frame.format, self.pix_fmts, frame.width, frame.height)


def takes_any_size(backend: Backend) -> bool:
    """Whether a backend goes from one input size to another without preparation."""
    # TensorRT's engines take sizes within their optimization profile only.
    return getattr(backend, "takes_any_size", False) and not backend.spec.fixed_size
