"""What is drawn for some clients in one round: their pace, and where in their work they fail."""

from __future__ import annotations

from math import inf

import numpy as np
from numpy.typing import NDArray

from fedsim.fleet.simulation import Simulation
from fedsim.fleet.uncontended import UncontendedTimes, round_factors, work_until_failure

__all__ = ["RoundDraws"]


class RoundDraws:
    """Draws of one round, or of one client's iteration, as plain numbers by row.

    Parameters
    ----------
    simulation : Simulation
    round_index : int
    clients : ndarray of int64
        One for each row.
    uncontended : UncontendedTimes
        Of the segment in which clients may fail, for the whole population.
    """

    def __init__(
        self,
        simulation: Simulation,
        round_index: int,
        clients: NDArray[np.int64],
        uncontended: UncontendedTimes,
    ) -> None:
        classes = simulation.federation.classes
        self._simulation = simulation
        self._round_index = round_index
        self._clients = clients
        self._uncontended = uncontended
        self._can_fail = any(c.spread.dropout_probability > 0 for c in classes)
        self._work: dict[int, list[float]] = {}
        self._alone: list[float] | None = None
        self.factors: list[float] = [1.0] * len(clients)
        if any(c.spread.round_sigma > 0 for c in classes):
            self.factors = round_factors(simulation, round_index, clients).tolist()

    def work_s(self, row: int, attempt: int) -> float:
        """Work of an attempt up to its failure, alone; infinite if it does not fail [s]."""
        if not self._can_fail:
            return inf
        work = self._work.get(attempt)
        if work is None:
            work = self._work[attempt] = self._draw(attempt)
        return work[row]

    def alone_s(self, row: int) -> float:
        """What the segment takes alone in this round [s]."""
        if self._alone is None:
            self._alone = self._uncontended.total(np.array(self.factors), self._clients).tolist()
        return self._alone[row]

    def _draw(self, attempt: int) -> list[float]:
        alone_s = self._uncontended.total(np.array(self.factors), self._clients)
        work: list[float] = work_until_failure(
            self._simulation, self._round_index, self._clients, attempt, alone_s
        ).tolist()
        return work
