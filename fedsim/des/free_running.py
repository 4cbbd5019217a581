"""What modes without common rounds share: slots, versions, contributions that wait."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from typing import Any

import simpy

from fedsim.des.iteration import LEDGER_ROUND, Iteration
from fedsim.des.world import World
from fedsim.fleet.progress import Progress
from fedsim.fleet.rounds import RoundLine, RoundsLog
from fedsim.fleet.rules import round_path

__all__ = ["FreeRunning"]

Events = Generator[simpy.Event, Any, None]


class FreeRunning(ABC):
    """A server whose clients work each at its own pace.

    Parameters
    ----------
    world : World
    progress : Progress
        Is told of each version or window.

    Attributes
    ----------
    log : RoundsLog
    version : int
        Of the model; 0 is the one that it starts with.
    buffer : list of Iteration
        Contributions that wait to be aggregated, the oldest first.
    """

    def __init__(self, world: World, progress: Progress) -> None:
        policy, num = world.simulation.policy, len(world.clients)
        self.world = world
        self.log = RoundsLog(progress)
        self.version = 0
        self.buffer: list[Iteration] = []
        self.num_slots = num if policy.clients_per_round is None else policy.clients_per_round
        self.path = round_path(world.round)
        #: By client; a client has one at a time.
        self.running: dict[int, Iteration] = {}
        self._numbers = [0] * num
        self._num_asked = self._num_late = self._num_lost = 0

    @abstractmethod
    def run(self) -> Events:
        """The whole run."""

    @abstractmethod
    def has_free_slot(self, client: int) -> None:
        """A client is idle again, and its slot is free."""

    def accept(self) -> None:  # noqa: B027 - windows have nothing to do yet
        """A contribution was put into the buffer."""

    def start(self, index: int) -> None:
        """Let a client begin its next iteration."""
        self._numbers[index] += 1
        self._num_asked += 1
        client = self.world.clients[index]
        iteration = Iteration(
            self.world, self.path, client, self._numbers[index], self.version, self
        )
        self.running[index] = iteration
        iteration.go_on()

    def contributed(self, iteration: Iteration) -> None:
        """Keep a contribution, unless it is too old."""
        limit = self.world.simulation.policy.max_staleness
        if limit is not None and self.version - iteration.version > limit:
            self._num_late += 1
            iteration.decide(is_used=False)
            self.ended(iteration)
            return
        self.buffer.append(iteration)
        self.accept()
        if not self.path.behind:
            self.ended(iteration)

    def lost_for_good(self, iteration: Iteration) -> None:  # noqa: ARG002 - one is like another
        """Note it; the slot is free when the server notices it."""
        self._num_lost += 1

    def ended(self, iteration: Iteration) -> None:
        """The client is idle."""
        index = iteration.client.index
        del self.running[index]
        self.has_free_slot(index)

    def aggregated(self, taken: list[Iteration], start_s: float) -> Events:
        """Make a version of some contributions; the run's line for it, and what follows them.

        Parameters
        ----------
        taken : list of Iteration
            May be empty, and then no version is made.
        start_s : float
            Of the window, or since the version before [s].
        """
        world = self.world
        line = RoundLine(start_s, world.agenda.now, world.agenda.now, 0, len(taken))
        if taken:
            for iteration in taken:
                iteration.decide(is_used=True)
            last = taken[-1]
            for segment in self.path.before:
                line.add(*world.uncontended(segment).of_client(last.client.index, last.factor))
            if self.path.once is not None:
                line.compute_s += yield from world.once(
                    len(self.log.lines) + 1, LEDGER_ROUND, self.path.once, [i.client for i in taken]
                )
            self.version += 1
        line.end_s = world.agenda.now
        line.num_asked, line.num_lost = self._num_asked, self._num_lost
        line.num_late = self._num_late
        self._num_asked = self._num_late = self._num_lost = 0
        self.log.add(line)

    def follow_up(self, taken: list[Iteration]) -> None:
        """Let the clients of an aggregated buffer go on."""
        if self.path.behind:
            for iteration in taken:
                iteration.follow_up()

    def stop_all(self) -> None:
        """End of the run: everything in flight is late."""
        line = self.log.lines[-1]
        waiting = [i for i in self.running.values() if not i.has_contributed and not i.is_lost]
        line.num_late += len(waiting) + len(self.buffer)
        for iteration in self.buffer:
            iteration.decide(is_used=False)
        for iteration in self.running.values():
            iteration.stop()
