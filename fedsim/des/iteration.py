"""One client's own iteration where there are no common rounds, from its start to its free slot."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from fedsim.des.assignment import Assignment
from fedsim.des.client import Client
from fedsim.des.luck import Luck
from fedsim.des.worker import Worker
from fedsim.des.world import World
from fedsim.errors import ScenarioError
from fedsim.protocol.step import Each, Gather, Once, Segment

__all__ = ["BOOK_INDEX", "Iteration", "IterationListener", "Path"]

#: The round under which everything stands in the ledger.
BOOK_INDEX = 1


class Path:
    """The segments of a round in the order in which one client goes through them.

    Attributes
    ----------
    before, behind : tuple of int
        Numbers of the segments ahead of the gathering, and behind it.
    once : int or None
        Of the server's own work.
    """

    def __init__(self, segments: tuple[Segment, ...]) -> None:
        gathers = [i for i, s in enumerate(segments) if isinstance(s, Gather)]
        onces = [i for i, s in enumerate(segments) if isinstance(s, Once)]
        if len(gathers) != 1 or len(onces) > 1 or (onces and onces[0] < gathers[0]):
            raise ScenarioError(
                "this framework's round has not one gathering with the server's work behind it, "
                "as modes without common rounds need; set policy.mode = 'synchronous'."
            )
        eachs = [i for i, s in enumerate(segments) if isinstance(s, Each)]
        self.before = tuple(i for i in eachs if i < gathers[0])
        self.behind = tuple(i for i in eachs if i > gathers[0])
        self.once = onces[0] if onces else None


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
    path : Path
    client : Client
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
        path: Path,
        client: Client,
        number: int,
        version: int,
        listener: IterationListener,
    ) -> None:
        self.client = client
        self.version = version
        self.start_s = self.end_s = world.agenda.now
        self.has_contributed = self.is_lost = False
        here = np.array([client.index], dtype=np.int64)
        self._luck = Luck(world.simulation, number, here, world.parts(path.before[0]))
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
        return self._luck.factors[0]

    def go_on(self) -> None:
        """Begin the next segment."""
        world, segment = self._world, self._remaining.pop(0)
        assignment = Assignment(
            self._number,
            BOOK_INDEX,
            segment,
            self._luck,
            may_fail=segment == self._path.before[0],
        )
        task = world.tasks(segment)[self.client.variant]
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
