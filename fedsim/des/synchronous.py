"""Rounds with a common start: everybody asked works, the server waits, aggregates, and goes on."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from fedsim.des.agenda import SERVER
from fedsim.des.assignment import Assignment
from fedsim.des.gathering import Gathering
from fedsim.des.round_draws import RoundDraws
from fedsim.des.simulated_client import SimulatedClient
from fedsim.des.world import World
from fedsim.draws import turn_order
from fedsim.fleet.planner import Planner
from fedsim.fleet.progress import Progress
from fedsim.fleet.rounds import RoundLine, RoundsLog
from fedsim.fleet.rules import too_few_available
from fedsim.fleet.selection import Selector
from fedsim.protocol.step import Each, Gather, Once
from fedsim.spec.policy import PolicySpec

__all__ = ["SynchronousRounds"]

Events = Generator[simpy.Event, Any, None]


class SynchronousRounds:
    """The server of synchronous rounds.

    Parameters
    ----------
    world : World
    selector : Selector
    progress : Progress
        Is told of each round.

    Attributes
    ----------
    log : RoundsLog
    idle_s : list of float
        By class: seconds that clients whose work was used waited, for others and for the server,
        after their own work [s].
    """

    def __init__(self, world: World, selector: Selector, progress: Progress) -> None:
        self._world = world
        self._selector = selector
        self._planner = Planner(world.simulation)
        self.log = RoundsLog(progress)
        self.idle_s = [0.0] * len(world.simulation.federation.classes)

    def run(self) -> Events:
        """All rounds, one after the other."""
        for round_index in range(1, self._world.simulation.federation.num_rounds + 1):
            policy = self._planner.policy(round_index, self._world.agenda.now)
            asked = yield from self._asked(round_index, policy)
            now_s = self._world.agenda.now
            self._world.begin_round(self._planner.at(round_index, asked, now_s))
            yield from _Round(self, self._world, self._selector, policy, round_index, asked).run()

    def note_used(self, round_index: int, clients: NDArray[np.int64]) -> None:
        """Remember whose work a round used."""
        self._planner.note_used(round_index, clients)

    def _asked(
        self, round_index: int, policy: PolicySpec
    ) -> Generator[simpy.Event, Any, NDArray[np.int64]]:
        """Wait until enough clients are there and choose among them."""
        world, agenda = self._world, self._world.agenda
        num_asked = policy.num_asked(len(world.clients))
        needed = policy.min_available
        if needed is None:
            needed = 1 if policy.clients_per_round is None else num_asked
        start_s = world.attendance.next_crowd_s(agenda.now, needed)
        if start_s is None:
            raise too_few_available(round_index, needed, agenda.now)
        if start_s > agenda.now:
            yield agenda.at(start_s, SERVER)
        eligible = world.attendance.present(agenda.now)
        return self._selector.choose(round_index, eligible, num_asked)


class _Round:
    """One round from its start to its end."""

    def __init__(
        self,
        server: SynchronousRounds,
        world: World,
        selector: Selector,
        policy: PolicySpec,
        round_index: int,
        asked: NDArray[np.int64],
    ) -> None:
        self._server = server
        self._world = world
        self._selector = selector
        self._policy = policy
        self._round_index = round_index
        now_s = world.agenda.now
        self._line = RoundLine(now_s, now_s, now_s, len(asked))
        self._first = next(i for i, s in enumerate(world.round) if isinstance(s, Each))
        self._draws = RoundDraws(
            world.whole_run, round_index, asked, world.uncontended(self._first)
        )
        self._members = [(row, world.clients[index]) for row, index in enumerate(asked.tolist())]

    def run(self) -> Events:
        """Segment by segment."""
        world, line = self._world, self._line
        for segment, words in enumerate(world.round):
            if isinstance(words, Each):
                yield from self._each(segment)
            elif isinstance(words, Once):
                if not self._members:
                    break
                seconds = yield from world.once(
                    self._round_index,
                    self._round_index,
                    segment,
                    [client for _, client in self._members],
                )
                line.compute_s += seconds
                for _, client in self._members:
                    self._server.idle_s[client.class_index] += seconds
        line.end_s = world.agenda.now
        self._server.log.add(line)

    def _each(self, segment: int) -> Events:
        world, policy = self._world, self._policy
        is_first = segment == self._first
        is_gathered = segment + 1 < len(world.round) and isinstance(
            world.round[segment + 1], Gather
        )
        num = len(self._members)
        assignment = Assignment(
            self._round_index, self._round_index, segment, self._draws, may_fail=is_first
        )
        gathering = Gathering(
            world, assignment, self._members, policy.num_awaited(num) if is_gathered else num
        )
        deadline_s = policy.deadline_s if is_gathered else None
        if self._in_turns(segment):
            gathering.start_in_turns(self._turns(self._members), deadline_s)
        else:
            gathering.start(deadline_s)
        yield gathering.closed
        self._take(gathering, segment, is_first=is_first)

    def _take(self, gathering: Gathering, segment: int, *, is_first: bool) -> None:
        """Go on with those whose work counts."""
        world, line, used = self._world, self._line, gathering.used
        if used:
            last = used[-1]
            factor = self._draws.factors[last.row]
            line.add(*world.uncontended(segment).of_client(last.client.index, factor))
        for worker in used:
            idle_s = max(gathering.closed_s - worker.end_s, 0.0)
            self._server.idle_s[worker.client.class_index] += idle_s
        if is_first:
            line.closed_s = gathering.closed_s
            line.num_used, line.num_late = len(used), gathering.num_late
            line.num_lost = gathering.num_lost
        self._members = sorted(((w.row, w.client) for w in used), key=lambda member: member[0])
        if is_first and used:
            self._learn(gathering)

    def _learn(self, gathering: Gathering) -> None:
        clients = np.array([w.client.index for w in gathering.used], dtype=np.int64)
        seconds = np.array([w.end_s - self._line.start_s for w in gathering.used])
        self._selector.learn(self._round_index, clients, seconds)
        self._server.note_used(self._round_index, clients)

    def _in_turns(self, segment: int) -> bool:
        simulation = self._world.simulation
        return (
            simulation.has_exclusive_steps
            and simulation.federation.server.order == "turns"
            and any(task.asks_server for task in self._world.tasks(segment))
        )

    def _turns(self, members: Sequence[tuple[int, SimulatedClient]]) -> list[int]:
        """Places of the members in the order in which they take their turns."""
        simulation = self._world.simulation
        here = np.array([client.index for _, client in members], dtype=np.int64)
        keys = simulation.population.keys[here]
        order: list[int] = turn_order(simulation.seed, self._round_index, keys).tolist()
        return order
