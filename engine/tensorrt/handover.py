"""Lets the processor compute while the engine for the GPU is built."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from kinemacolor.engine.backend import Backend, Pending
from kinemacolor.engine.errors import EngineError
from kinemacolor.engine.inputs import Inputs
from kinemacolor.engine.spec import ModelSpec
from kinemacolor.engine.tensorrt.backend import FILE_BATCH, find_plan, open_plan
from kinemacolor.engine.tensorrt.build import BuildProgress, BuildStopped

log = logging.getLogger(__name__)

_TELL_EVERY_SECONDS = 10.0


class Handover(Backend):
    """Backend that starts as one and goes on as another when that is ready.

    Any `submit` may be the first one of the second backend. So it gives no `Background` and takes
    no size without preparation, even while the first backend could.

    Args:
        first: computes until then; closed with this.
        build: makes what `open_second` needs, on a thread of its own. Its argument is a function
            to call now and then, which raises BuildStopped once the handover is closed.
        open_second: opens the second backend, on the caller's thread.
    """

    def __init__(
        self,
        first: Backend,
        build: Callable[[Callable[[], None]], object],
        open_second: Callable[[], Backend],
    ) -> None:
        self._first = first
        self._go_on_with(first)
        self._open_second = open_second
        self._stop = threading.Event()
        self._built = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(build,), name="engine build")
        self._thread.start()

    @property
    def overlap(self) -> int:
        return self._now.overlap

    def submit(self, inputs: Inputs) -> Pending:
        if self._built.is_set():
            self._built.clear()
            self._switch()
        return self._now.submit(inputs)

    def close(self) -> None:
        """Gives up the build, if it still runs, and closes both backends."""
        self._stop.set()
        self._thread.join()
        if self._now is not self._first:
            self._now.close()
        self._first.close()

    def _run(self, build: Callable[[Callable[[], None]], object]) -> None:
        try:
            build(self._check)
        except BuildStopped:
            log.info("the engine was not finished: kinemacolor models build makes it ahead of time")
            return
        except Exception as error:  # `_switch` tells it, and the film goes on
            self._error = error
        self._built.set()

    def _check(self) -> None:
        if self._stop.is_set():
            raise BuildStopped("nobody waits for the engine any more")

    def _go_on_with(self, backend: Backend) -> None:
        self._now = backend
        self.name, self.description = backend.name, backend.description
        self.precision, self.spec = backend.precision, backend.spec

    def _switch(self) -> None:
        """Goes on with the second backend; the first stays open for results not read yet."""
        try:
            if self._error is not None:
                raise self._error
            self._go_on_with(self._open_second())
        except EngineError as error:
            log.warning("no TensorRT: %s: going on with %s", error, self._first.description)
        else:
            log.info("the engine is ready: going on with %s", self._now.description)


def open_beside(
    spec: ModelSpec,
    precision: str,
    open_first: Callable[[], Backend],
    *,
    device: int = 0,
    batch: int = FILE_BATCH,
) -> Backend:
    """Opens TensorRT where its plan is in the cache; else what `open_first` opens, until it is.

    A machine where TensorRT turns out not to work stays with the first, and says why.
    """
    try:
        plan = find_plan(spec, precision=precision, device=device)
        if plan.is_built():
            return open_plan(plan, batch=batch)
    except EngineError as error:
        log.warning("no TensorRT: %s", error)
        return open_first()
    log.info("until the engine is ready, the processor computes")
    tell = tell_progress()

    def build(check: Callable[[], None]) -> None:
        def on_progress(progress: BuildProgress) -> None:
            check()
            tell(progress)

        plan.load_or_build(on_progress, check)

    return Handover(open_first(), build, lambda: open_plan(plan, batch=batch))


def tell_progress() -> Callable[[BuildProgress], None]:
    """Returns a function that logs how far a build is, every ten seconds."""
    told = time.monotonic()

    def tell(progress: BuildProgress) -> None:
        nonlocal told
        if time.monotonic() - told >= _TELL_EVERY_SECONDS:
            told = time.monotonic()
            left = progress.remaining_seconds
            about = "" if left is None else f", about {left:.0f} s left"
            log.info("building the engine: %.0f %%%s", 100 * progress.fraction, about)

    return tell
