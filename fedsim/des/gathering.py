"""The clients of one segment together: whom the server waits for, and when it stops waiting."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import simpy

from fedsim.des.agenda import SERVER, Signal
from fedsim.des.assignment import Assignment
from fedsim.des.simulated_client import SimulatedClient
from fedsim.des.worker import Worker
from fedsim.des.world import World

__all__ = ["Gathering"]


class Gathering:
    """Everybody's work on one segment, from the common start to the server's going on.

    Parameters
    ----------
    world : World
    assignment : Assignment
    members : sequence of (int, SimulatedClient)
        Each with its row in the assignment's draws, in order of the index.
    awaited : int
        Contributions that close it.

    Attributes
    ----------
    closed : Signal
        Handled when the server goes on.
    closed_s : float
        [s].
    used : list of Worker
        Those whose work counts, in order of their ends.
    num_late, num_lost : int
        Clients that it did not wait for, and that stopped for good.
    """

    def __init__(
        self,
        world: World,
        assignment: Assignment,
        members: Sequence[tuple[int, SimulatedClient]],
        awaited: int,
    ) -> None:
        tasks = world.tasks(assignment.segment)
        self._world = world
        self._awaited = awaited
        self._num_pending = len(members)
        self._turns: deque[Worker] | None = None
        self._workers = [
            Worker(world, client, tasks[client.group], assignment, row, self)
            for row, client in members
        ]
        self.closed = Signal(world.agenda)
        self.closed_s = 0.0
        self.is_closed = False
        self.used: list[Worker] = []
        self.num_late = self.num_lost = 0

    def start(self, deadline_s: float | None = None) -> None:
        """Let all begin now.

        Parameters
        ----------
        deadline_s : float or None
            From now on, after which it closes anyway [s].
        """
        for worker in self._workers:
            worker.begin()
        self._expect(deadline_s)

    def start_in_turns(self, order: Sequence[int], deadline_s: float | None = None) -> None:
        """Let one begin now, and the next whenever one is through or lost.

        Parameters
        ----------
        order : sequence of int
            Places in ``members``.
        deadline_s : float or None
            From now on [s].
        """
        self._turns = deque(self._workers[place] for place in order)
        self._next_turn()
        self._expect(deadline_s)

    def through(self, worker: Worker) -> None:
        """A contribution is there."""
        worker.commit("used")
        self.used.append(worker)
        self._has_ended()

    def lost(self, worker: Worker) -> None:  # noqa: ARG002 - all that counts is that one is gone
        """Somebody stopped for good; it is waited for until that is noticed."""
        self.num_lost += 1

    def noticed(self, worker: Worker) -> None:  # noqa: ARG002 - likewise
        """Nobody waits for it any more."""
        self._has_ended()

    def _expect(self, deadline_s: float | None) -> None:
        agenda = self._world.agenda
        if not self._num_pending:
            self._close()
        elif deadline_s is not None:
            # A contribution at the nanosecond of the deadline counts.
            agenda.call_at(agenda.now + deadline_s, agenda.last, self._reach_deadline)

    def _reach_deadline(self, _: simpy.Event) -> None:
        if not self.is_closed:
            self._close()

    def _has_ended(self) -> None:
        if self.is_closed:
            return
        self._num_pending -= 1
        if len(self.used) == self._awaited or not self._num_pending:
            self._close()
        else:
            self._next_turn()

    def _next_turn(self) -> None:
        if self._turns:
            self._turns.popleft().begin()

    def _close(self) -> None:
        self.is_closed = True
        self.closed_s = self._world.agenda.now
        self.num_late = len(self._workers) - len(self.used) - self.num_lost
        for worker in self._workers:
            worker.stop()
        # They know this gathering; nothing that has ended is kept in a circle.
        self._workers.clear()
        self._turns = None
        self.closed.fire(self.closed_s, SERVER)
