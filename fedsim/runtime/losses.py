"""Losses of a round's batches, summed by party and step; one that is no number ends the run."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from fedsim.errors import TrainingError

__all__ = ["LossBook"]


@dataclass
class LossBook:
    """Losses of one round.

    Attributes
    ----------
    sums : dict of (str, str) to (float, int)
        By party and step: losses times samples, and samples.
    """

    sums: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)
    _batches: dict[tuple[str, str], int] = field(default_factory=dict)

    def note(self, round_index: int, party: str, step: str, loss: float, num_samples: int) -> None:
        """Add the loss of one batch.

        Raises
        ------
        TrainingError
            If the loss is infinite or no number.
        """
        key = (party, step)
        batch = self._batches[key] = self._batches.get(key, 0) + 1
        if not math.isfinite(loss):
            raise TrainingError(
                f"round {round_index}, {party}, step {step}, batch {batch}: the loss is {loss}"
            )
        total, samples = self.sums.get(key, (0.0, 0))
        self.sums[key] = (total + loss * num_samples, samples + num_samples)

    def mean(self, steps: Iterable[str], party: str | None = None) -> float | None:
        """Mean over the samples of some steps, of one party or of all; None without any."""
        wanted = set(steps)
        chosen = [
            value
            for (who, step), value in self.sums.items()
            if step in wanted and party in (None, who)
        ]
        samples = sum(count for _, count in chosen)
        return sum(total for total, _ in chosen) / samples if samples else None
