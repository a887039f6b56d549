"""What a network is given, as one value: another input touches this file and no signature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `engine.backend` is read by the command line, which has to start at once
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Inputs:
    """A batch of pictures on its way into a network.

    Attributes:
        L: (N, 1, H, W) float32, CIELAB lightness 0..100. It must stay unchanged until the result
            is read.
        features: whether the output `features` is wanted, too.
    """

    L: NDArray[np.float32]
    features: bool = False

    @property
    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """The graph's inputs by name."""
        return {"L": self.L}

    @property
    def outputs(self) -> list[str]:
        """The names of the graph's outputs that are wanted."""
        return ["ab", "features"] if self.features else ["ab"]
