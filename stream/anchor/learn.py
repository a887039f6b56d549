"""Makes known pictures of what the user gave: aligned, snapped, with hints painted on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from kinemacolor.engine.backend import Backend
from kinemacolor.engine.color import Colorspace
from kinemacolor.engine.inputs import Inputs
from kinemacolor.stream.anchor.align import aligned
from kinemacolor.stream.anchor.given import Given
from kinemacolor.stream.anchor.hints import Hint
from kinemacolor.stream.anchor.known import Colors, Known, Plane, working_size
from kinemacolor.stream.anchor.match import Cells, Exemplar, cells_of
from kinemacolor.stream.anchor.painting import network_at_points
from kinemacolor.stream.anchor.reach import hinted
from kinemacolor.stream.anchor.reference import Reference, check_shape, shown
from kinemacolor.stream.color.chroma import extract_L, resize
from kinemacolor.stream.color.host_painter import HostCanvas

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is known of one frame.

    Attributes:
        exact: ab and sureness at the size of its chroma planes, upright; None where the known
            picture itself says all.
        exemplar: what it offers to frames of its shot that look alike.
        elsewhere: the same to those of other shots; None: nothing.
    """

    known: Known
    exact: tuple[Colors, Plane] | None
    exemplar: Exemplar
    elsewhere: Exemplar | None


class Eyes:
    """Shows single pictures to the networks, and waits. Use it on their thread.

    Args:
        network: the run's.
        seer: gives features; may be the same.
    """

    def __init__(self, network: Backend, seer: Backend) -> None:
        self._network, self.seer = network, seer
        assert seer.spec.features is not None
        self.parts = seer.spec.features.parts

    def cells(self, L: Plane) -> Cells:
        """Returns the cells of a picture (h, w)."""
        pending = self.seer.submit(Inputs(input_of(self.seer, L), features=True))
        pending.result()
        assert pending.features is not None
        return cells_of(pending.features[0], self.parts, L)

    def ab(self, L: Plane) -> Colors:
        """Returns what the run's network says of a picture, at its points (2, h, w)."""
        return network_at_points(self._network(input_of(self._network, L))[0], L)


def input_of(backend: Backend, L: Plane) -> Plane:
    """Returns L as a network takes it: (1, 1, H, W)."""
    height, width = backend.spec.input_size(L.shape[1], L.shape[0])
    return np.ascontiguousarray(resize(L, width, height), np.float32)[None, None]


def lightness_of(canvas: HostCanvas) -> Plane:
    """Returns the L (h, w) of an upright frame, at the points where colours are carried."""
    height, width = points_of(canvas)
    if canvas.turns % 2:
        height, width = width, height
    L = extract_L(resize(canvas.guide, width, height), canvas.encoding.encoding)
    return np.ascontiguousarray(np.rot90(L, canvas.turns)) if canvas.turns else L


def points_of(canvas: HostCanvas) -> tuple[int, int]:
    """Returns the (h, w) at which the colours of an upright frame are carried."""
    rows, columns = upright_chroma(canvas)
    return working_size(2 * columns, 2 * rows)


def upright_chroma(canvas: HostCanvas) -> tuple[int, int]:
    """Returns the (h, w) of the chroma planes, as the upright picture has them."""
    rows, columns = canvas.guide.shape
    return (columns, rows) if canvas.turns % 2 else (rows, columns)


def learn(given: Given, canvas: HostCanvas, L: Plane, eyes: Eyes) -> Lesson | None:
    """Learns what is known of a frame; None where its reference shows something else.

    Args:
        canvas, L: the frame that it belongs to.

    Raises BadReference.
    """
    known: Known | None = None
    exact: tuple[Colors, Plane] | None = None
    if given.reference is not None:
        samples = given.reference.read()
        width, height = canvas.frame.width, canvas.frame.height
        if canvas.turns % 2:
            width, height = height, width
        check_shape(given.reference.name, samples.shape[:2], width, height)
        colorspace = canvas.encoding.encoding.colorspace
        found = aligned(shown(samples, L.shape, colorspace), L)
        if found is not None:
            known = found.known
            if found.as_it_is and not given.hints:
                still = shown(samples, upright_chroma(canvas), colorspace)
                exact = still.ab, still.sure
        elif not given.hints:
            return None
    cells = eyes.cells(L)
    if not given.hints:
        assert known is not None
        exemplar = Exemplar.of(known, cells)
        return Lesson(known, exact, exemplar, exemplar)
    base, ab = known, eyes.ab(L)
    known, shares = _with_hints(given.hints, base, L, ab, cells)
    total = sum(shares) + 1e-6
    given.weights[len(given.uses) - len(given.hints) :] = [share / total for share in shares]
    far = [hint for hint in given.hints if hint.reach == "everywhere"]
    elsewhere = None
    if base is not None or far:
        elsewhere = Exemplar.of(_with_hints(far, base, L, ab, cells)[0], cells)
    return Lesson(known, exact, Exemplar.of(known, cells), elsewhere)


def _with_hints(
    hints: Sequence[Hint], base: Known | None, L: Plane, ab: Colors, cells: Cells
) -> tuple[Known, list[float]]:
    """Paints hints on what is known already, and on ab (2, h, w) where nothing is."""
    if base is not None:
        ab = ab + (base.ab - ab) * base.sure
    if not hints:
        assert base is not None
        return base, []
    painted, shares = hinted(hints, L, ab, cells)
    if base is None:
        return painted, shares
    colors = ab + (painted.ab - ab) * painted.sure
    return Known(L, colors, np.maximum(base.sure, painted.sure)), shares


def learn_likes(reference: Reference, colorspace: Colorspace, eyes: Eyes) -> Exemplar:
    """Learns what a picture of no frame offers to those that look alike. Raises BadReference."""
    samples = reference.read()
    rows, columns = samples.shape[:2]
    known = shown(samples, working_size(columns, rows), colorspace)
    return Exemplar.of(known, eyes.cells(known.L))
