"""Which frames the network is shown, and which of them wait for what it says."""

from __future__ import annotations

import time
from typing import cast

import numpy as np
from kinemacolor.engine.backend import Backend, Background, Pending
from kinemacolor.engine.inputs import Inputs
from kinemacolor.stream.color.chroma import resize
from kinemacolor.stream.color.painter import Canvas
from kinemacolor.stream.color.tempo import Tempo
from kinemacolor.stream.steady.keyframes import Want
from kinemacolor.stream.steady.smoothing import Steady
from numpy.typing import NDArray

# Share of the usual input that is looked at where a live shot starts and must wait for it.
FIRST_LOOK = 0.7


class Asking:
    """Shows key frames to the network. Use it on the backend's thread.

    Live, key frames within a shot do not wait: they leave with carried colours, and what the
    network says of them serves the frames after them. Only the first frame of a shot waits, for
    colours of a smaller input.
    """

    def __init__(
        self,
        backend: Backend,
        steady: Steady,
        tempo: Tempo | None,
        *,
        live: bool,
        features: bool = False,
    ) -> None:
        """features: whether every picture's are wanted, too."""
        self._features = features
        self._backend, self._steady, self._tempo = backend, steady, tempo
        self._may_be_late = live and may_be_late(backend, steady, tempo)
        self._late: tuple[Background, float] | None = None  # at work, and since when

    def ask(self, canvas: Canvas) -> tuple[Pending | None, bool]:
        """Starts the network on a key frame.

        Returns:
            what the frame has to wait for, and whether that is of a smaller input. None: its
            colours are carried from other frames.
        """
        want = self._steady.wants(canvas.L, busy=self._late is not None)
        if want is Want.NOTHING:
            return None, False
        self.give_up()  # a new shot has no use for it, and needs all of the processor
        share = 1.0 if self._tempo is None else self._tempo.area_share
        may_be_late = self._may_be_late and self._steady.key_frames.every > 1
        if want is Want.SOON and may_be_late:
            pending = submit(self._backend, canvas, share, features=self._features)
            self._late = cast(Background, pending), time.perf_counter()
            return None, False
        rough = may_be_late and takes_any_size(self._backend)
        share *= FIRST_LOOK if rough else 1
        return submit(self._backend, canvas, share, features=self._features), rough

    def late_answer(self) -> NDArray[np.float32] | None:
        """Returns ab (2, h, w) that has come from the background; None: nothing new."""
        if self._late is None or not self._late[0].done():
            return None
        (pending, began), self._late = self._late, None
        if self._tempo is not None:
            self._tempo.arrived(time.perf_counter() - began)
        return pending.result()[0]

    def give_up(self) -> None:
        """Ends the work in the background."""
        if self._late is not None:
            self._late[0].cancel()
            self._late = None


def submit(
    backend: Backend, canvas: Canvas, share: float = 1.0, *, features: bool = False
) -> Pending:
    """Starts the network on a picture, at a share of its usual area."""
    L = canvas.L
    if share != 1:  # motion and cuts still see L as it was
        width, height = canvas.frame.width, canvas.frame.height
        size = backend.spec.input_size(width, height, turns=canvas.turns, share=share)
        L = resize(L, size[1], size[0])
    return backend.submit(Inputs(L[None, None], features))


def practise_lateness(backend: Backend, canvas: Canvas) -> None:
    """Drops work, and looks roughly: the first time of either takes longer."""
    cast(Background, submit(backend, canvas)).cancel()
    submit(backend, canvas, FIRST_LOOK).result()


def may_be_late(backend: Backend, steady: Steady, tempo: Tempo | None) -> bool:
    """Whether a live run's key frames may leave before the network has answered."""
    skips = tempo is not None or steady.key_frames.every > 1
    return backend.in_background and steady.waits and skips


def takes_any_size(backend: Backend) -> bool:
    """Whether a backend goes from one input size of its model to another without preparation."""
    return backend.takes_any_size and not backend.spec.fixed_size
