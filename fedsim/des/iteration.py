"""One client's own iteration where there are no common rounds, from its start to its free slot."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from fedsim.des.assignment import Assignment
from fedsim.des.round_draws import RoundDraws
from fedsim.des.simulated_client import SimulatedClient
from fedsim.des.worker import Worker
from fedsim.des.world import World
from fedsim.fleet.rules import RoundPath

__all__ = ["LEDGER_ROUND", "Iteration", "IterationListener"]

#: The round under which everything stands in the ledger.
LEDGER_ROUND = 1


class IterationListener(Protocol):
    """Whom an iteration tells how it goes."""

    def contributed(self, iteration: Iteration) -> None:
        """Its contribution is there."""
        ...

    def lost_for_good(self, iteration: Iteration) -> None:
        """There will be no contribution; the server may not know yet."""
        ...

    def ended(self, iteration: Iteration) -> None:
        """It is through with what follows its contribution, or known to be lost."""
        ...


class Iteration:
    """A client's work on one version of the model.

    Parameters
    ----------
    world : World
    path : RoundPath
    client : SimulatedClient
    number : int
        From 1, of this client; names its draws.
    version : int
        Of the model on which it works.
    listener : IterationListener

    Attributes
    ----------
    start_s, end_s : float
        Of its work up to its contribution [s].
    has_contributed, is_lost : bool
        Whether its contribution is there, or never will be.
    """

    def __init__(
        self,
        world: World,
        path: RoundPath,
        client: SimulatedClient,
        number: int,
        version: int,
        listener: IterationListener,
    ) -> None:
        self.client = client
        self.version = version
        self.start_s = self.end_s = world.agenda.now
        self.has_contributed = self.is_lost = False
        here = np.array([client.index], dtype=np.int64)
        self._draws = RoundDraws(world.simulation, number, here, world.uncontended(path.before[0]))
        self._world = world
        self._path = path
        self._number = number
        self._listener = listener
        self._remaining = list(path.before)
        self._undecided: list[Worker] = []
        self._worker: Worker | None = None

    @property
    def factor(self) -> float:
        """On the client's computing."""
        return self._draws.factors[0]

    def go_on(self) -> None:
        """Begin the next segment."""
        world, segment = self._world, self._remaining.pop(0)
        assignment = Assignment(
            self._number,
            LEDGER_ROUND,
            segment,
            self._draws,
            may_fail=segment == self._path.before[0],
        )
        task = world.tasks(segment)[self.client.group]
        self._worker = Worker(world, self.client, task, assignment, 0, self)
        self._worker.begin()

    def follow_up(self) -> None:
        """Begin what follows the contribution."""
        self._remaining = list(self._path.behind)
        self.go_on()

    def decide(self, *, is_used: bool) -> None:
        """Say what became of the contribution."""
        for worker in self._undecided:
            worker.commit("used" if is_used else "late")
        self._undecided.clear()

    def stop(self) -> None:
        """The run is over: whatever is not used yet is late."""
        self.decide(is_used=False)
        if self._worker is not None:
            self._worker.stop()

    def through(self, worker: Worker) -> None:
        """A segment is done."""
        if self.has_contributed:
            worker.commit("used")
        else:
            self._undecided.append(worker)
        if self._remaining:
            self.go_on()
        elif self.has_contributed:
            self._listener.ended(self)
        else:
            self.has_contributed = True
            self.end_s = self._world.agenda.now
            self._listener.contributed(self)

    def lost(self, worker: Worker) -> None:  # noqa: ARG002 - it is the one in hand
        """The client stopped for good."""
        if self.has_contributed:
            return
        self.is_lost = True
        for done in self._undecided:
            done.commit("lost")
        self._undecided.clear()
        self._listener.lost_for_good(self)

    def noticed(self, worker: Worker) -> None:  # noqa: ARG002 - likewise
        """The server knows it."""
        self._listener.ended(self)
