"""What is drawn for some clients in one round: their pace, and when they fail."""

from __future__ import annotations

from math import inf

import numpy as np
from numpy.typing import NDArray

from fedsim.fleet.parts import Parts, failure_offsets, round_factors
from fedsim.fleet.simulation import Simulation

__all__ = ["Luck"]


class Luck:
    """Draws of one round, or of one client's iteration, as plain numbers by row.

    Parameters
    ----------
    simulation : Simulation
    round_index : int
    clients : ndarray of int64
        One for each row.
    parts : Parts
        Of the segment in which clients may fail, for the whole population.
    """

    def __init__(
        self, simulation: Simulation, round_index: int, clients: NDArray[np.int64], parts: Parts
    ) -> None:
        classes = simulation.federation.classes
        self._simulation = simulation
        self._round_index = round_index
        self._clients = clients
        self._parts = parts
        self._can_fail = any(c.spread.dropout_probability > 0 for c in classes)
        self._failures: dict[int, list[float]] = {}
        self.factors: list[float] = [1.0] * len(clients)
        if any(c.spread.round_sigma > 0 for c in classes):
            self.factors = round_factors(simulation, round_index, clients).tolist()

    def failure_s(self, row: int, attempt: int) -> float:
        """Seconds from the start of an attempt to its failure; infinite if it does not fail."""
        if not self._can_fail:
            return inf
        failures = self._failures.get(attempt)
        if failures is None:
            failures = self._draw(attempt)
            self._failures[attempt] = failures
        return failures[row]

    def _draw(self, attempt: int) -> list[float]:
        here = self._clients
        alone_s = self._parts.total(np.array(self.factors), here)
        offsets = failure_offsets(self._simulation, self._round_index, here, attempt, alone_s)
        failures: list[float] = offsets.tolist()
        return failures
