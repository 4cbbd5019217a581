"""How far a peak of memory may be from its prediction, and what that means for a device's memory.

Weights, gradients, optimizer state and saved activations are counted; what an allocator holds for a
moment beside them is not known to the byte. A margin says by how much predictions were missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from fedsim.errors import ScenarioError

__all__ = ["UNMEASURED", "Fit", "MemoryMargin", "MemoryMargins"]

#: ``tight``: within what predictions are missed by, so that nobody can say.
Fit = Literal["fits", "tight", "does_not_fit"]


@dataclass(frozen=True)
class MemoryMargin:
    """Measured over predicted peak memory on configurations that were left out.

    Attributes
    ----------
    low_ratio, high_ratio : float
        The 5 % and 95 % quantiles, at most and at least 1: one peak in twenty was above
        ``high_ratio`` times its prediction, one in twenty below ``low_ratio`` times.
    """

    low_ratio: float
    high_ratio: float

    def __post_init__(self) -> None:
        if not 0 < self.low_ratio <= 1 <= self.high_ratio < float("inf"):
            raise ScenarioError(
                f"memory margin ({self.low_ratio}, {self.high_ratio}): allowed: a positive ratio "
                "up to 1 and one from 1 on."
            )

    def verdict(self, predicted_bytes: float, available_bytes: float) -> Fit:
        """Whether a predicted peak fits into so much memory [B]."""
        if predicted_bytes * self.high_ratio <= available_bytes:
            return "fits"
        if predicted_bytes * self.low_ratio > available_bytes:
            return "does_not_fit"
        return "tight"


@dataclass(frozen=True)
class MemoryMargins:
    """Margins of padded batches and of unpadded ones, which are computed length by length.

    Attributes
    ----------
    padded, unpadded : MemoryMargin
    source : str
        Where they come from.
    """

    padded: MemoryMargin
    unpadded: MemoryMargin
    source: str

    def of(self, *, is_padded: bool) -> MemoryMargin:
        """The margin of one kind of batch."""
        return self.padded if is_padded else self.unpadded


#: Of a device that nobody measured: those of the one that was, rounded away from 1. Its allocator
#: is another, and so the margin is the best that is known and no promise.
UNMEASURED: Final = MemoryMargins(
    padded=MemoryMargin(0.79, 1.38),
    unpadded=MemoryMargin(0.38, 1.07),
    source="held-out errors of profile 'cpu-2-threads', 102 padded and 24 unpadded peaks",
)
