"""What the user gave, sorted by the frames that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kinemacolor.stream.anchor.account import Use
from kinemacolor.stream.anchor.hints import Hint
from kinemacolor.stream.anchor.reference import Reference


@dataclass(eq=False)
class Given:
    """The reference and the hints of one frame, or a reference that is of no frame.

    Attributes:
        frame, time: as `Reference.frame` and `Reference.time`.
        uses: the accounts of the reference, if there is one, and of each hint.
        weights: what part of the known picture is due to each of them.
    """

    reference: Reference | None
    frame: int | None
    time: float | None
    hints: list[Hint] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    def comes_in(self, frame: int, seconds: float, period_seconds: float) -> int | None:
        """Returns in how many frames its own comes; None: it belongs to none.

        Args:
            frame, seconds: number and time of the frame that comes now.
        """
        if self.frame is not None:
            return self.frame - frame
        return None if self.time is None else round((self.time - seconds) / period_seconds)

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return self.uses[0].name

    def count(self, frame: int, share: float) -> None:
        """Adds a frame in which it coloured a part of the picture."""
        for use, weight in zip(self.uses, self.weights, strict=True):
            use.count(frame, share * weight)


def sort_given(references: Sequence[Reference], hints: Sequence[Hint]) -> list[Given]:
    """Puts together what belongs to one frame."""
    found: dict[tuple[int | None, float | None], Given] = {}
    free: list[Given] = []
    for reference in references:
        given = Given(reference, reference.frame, reference.time)
        given.uses, given.weights = [Use(reference.name)], [1.0]
        if reference.belongs:
            found[reference.frame, reference.time] = given
        else:
            free.append(given)
    for hint in hints:
        place = hint.frame, hint.time
        given = found.setdefault(place, Given(None, *place))
        given.hints.append(hint)
        given.uses.append(Use(hint.name, small=True))
        given.weights.append(0.0)
    return [*found.values(), *free]


def report_of(given: Sequence[Given]) -> Mapping[str, list[dict[str, object]]]:
    """What `--report` says of references and hints."""
    references, hints = [], []
    for each in given:
        own = list(each.uses)
        if each.reference is not None:
            references.append(own.pop(0).report())
        hints += [use.report() for use in own]
    return {"references": references, "hints": hints}
