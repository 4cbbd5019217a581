"""A schedule: in the first rounds, clients behind slow uplinks train on half of their texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedsim.planning import ByRound, ClientFacts, Need, View
from fedsim.spec.plan import ClientPlan


@dataclass(frozen=True)
class GentleStart:
    """Half of the texts for some clients, until everybody has the same work.

    Attributes
    ----------
    num_rounds : int
    slowest_bytes_per_s : float
        Clients whose uplink is slower begin gently [B/s].
    needs : frozenset of Need
        Nothing but the round's number and the clients' facts.
    """

    num_rounds: int
    slowest_bytes_per_s: float
    needs: frozenset[Need] = frozenset()

    def groups(self, facts: ClientFacts, view: View) -> NDArray[np.int64]:
        """Who begins gently is group 1, while the rounds are early."""
        is_early = view.round_index <= self.num_rounds
        return ((facts.uplink < self.slowest_bytes_per_s) & is_early).astype(np.int64)

    def plan(self, base: ClientPlan, group: int, view: View) -> ClientPlan:
        """The plan of a group's clients."""
        if group == 0:
            return base
        half = max(1, base.train_epochs[0].num_samples // 2)
        return ByRound("num_samples", (1,), (half,)).plan(base, 0, view)


gentle_start = GentleStart(num_rounds=5, slowest_bytes_per_s=1e6)
