"""Rounds: who is asked, when the server goes on, and what each round adds to the ledger.

What happens within a segment is for the kernels to say: side by side where nothing feeds back,
event by event elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedsim.cost.step_row import step_row
from fedsim.fleet.availability import Intervals, is_always_on, presence
from fedsim.fleet.endless import LAST_S, check_ends, endless
from fedsim.fleet.planner import Planner
from fedsim.fleet.progress import Progress
from fedsim.fleet.recent import Recent
from fedsim.fleet.rounds import RoundLine, RoundsLog
from fedsim.fleet.rules import PATIENCE_S, too_few_available
from fedsim.fleet.selection import Selector
from fedsim.fleet.simulation import Simulation, SimulationResult
from fedsim.fleet.uncontended import UncontendedTimes, round_factors, uncontended_times
from fedsim.ledger import SERVER, SETUP_ROUND, Ledger, RowKey
from fedsim.protocol.step import Each, Gather, Once
from fedsim.scale.ledger_rows import ledger_rows
from fedsim.scale.program import Kind, Program
from fedsim.scale.records import Integers, Reals
from fedsim.scale.sampled import SampledSegment, approximation
from fedsim.scale.segment import (
    LATE,
    LOST,
    USED,
    HorizonError,
    SegmentOutcome,
    SegmentTask,
    segment_programs,
)
from fedsim.scale.set_up import passed, set_up
from fedsim.scale.straight.segment import StraightSegment, is_straight

__all__ = ["SynchronousRun"]


@dataclass
class _Known:
    """What was worked out for one round's plans, by segment."""

    programs: dict[int, tuple[Program, ...]] = field(default_factory=dict)
    uncontended: dict[int, UncontendedTimes] = field(default_factory=dict)
    fast: dict[int, StraightSegment | SampledSegment | None] = field(default_factory=dict)


class SynchronousRun:
    """One simulation of common rounds.

    Parameters
    ----------
    simulation : Simulation
    keeps_visits : bool
    horizon_s : float
        How far availability is known [s].
    num_sampled : int or None
        Clients of a round whose mini-batches are simulated; None: all.
    progress : Progress, optional
        Is told of each round.
    """

    def __init__(
        self,
        simulation: Simulation,
        keeps_visits: bool,
        horizon_s: float,
        *,
        num_sampled: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._simulation = simulation
        self._keeps_visits = keeps_visits
        self._horizon_s = horizon_s
        self._num_sampled = num_sampled
        self._ledger = Ledger()
        self._log = RoundsLog(progress)
        self._visits: list[NDArray[np.void]] = []
        self._num_events = 0
        self._busy_s = 0.0
        self._idle_s = np.zeros(len(simulation.population.class_names))
        self._segments = simulation.server_protocol.round
        self._planner = Planner(simulation)
        self._policy = simulation.policy
        # By plan: rounds that are planned alike are one simulation, and no more are kept than that
        # many kinds of rounds.
        self._recent: Recent[Simulation, _Known] = Recent()
        self._intervals: Intervals | None = None
        if not is_always_on(simulation.federation):
            self._intervals = presence(
                simulation.federation, simulation.population, simulation.seed, horizon_s
            )
        uncontended = [self._alone(i) for i, s in enumerate(self._segments) if isinstance(s, Each)]
        check_ends(simulation, uncontended)
        alone = sum((p.total() for p in uncontended), start=np.zeros(len(simulation.population)))
        self._selector = Selector(simulation, alone)

    def result(self) -> SimulationResult | None:
        """Run to the end; None where the horizon was too near."""
        setup_s = self._set_up() if self._simulation.policy.simulates_setup else 0.0
        now = setup_s
        try:
            for round_index in range(1, self._simulation.federation.num_rounds + 1):
                now = self._round(round_index, now)
        except HorizonError:
            return None
        visits = None
        if self._keeps_visits:
            visits = np.sort(
                np.concatenate(self._visits),
                order=["round_index", "client", "segment", "attempt", "visit"],
            )
        return SimulationResult(
            rounds=self._log.rounds(),
            ledger=self._ledger,
            idle_s=tuple(self._idle_s.tolist()),
            setup_s=setup_s,
            makespan_s=now,
            accelerator_busy_s=self._busy_s,
            num_events=self._num_events,
            visits=visits,
            approximation=self._approximation(),
        )

    def _approximation(self) -> str:
        num = self._num_sampled
        if num is None or num >= max(line.num_asked for line in self._log.lines):
            return ""
        return approximation(num)

    def _set_up(self) -> float:
        found, programs = set_up(self._simulation, keeps_visits=self._keeps_visits)
        self._note(found, programs, SETUP_ROUND)
        return found.closed_s

    def _round(self, round_index: int, now: float) -> float:
        """One round from the moment at which the server would start it; its end [s]."""
        self._policy = self._planner.policy(round_index, now)
        start, cohort = self._start(round_index, now)
        self._simulation = self._planner.at(round_index, cohort, start)
        self._segments = self._simulation.server_protocol.round
        factors = round_factors(self._simulation, round_index, cohort)
        line = RoundLine(start, start, start, len(cohort))
        clients, now, is_first = cohort, start, True
        for index, segment in enumerate(self._segments):
            if isinstance(segment, Gather):
                continue
            if isinstance(segment, Once):
                seconds = self._work(round_index, index, clients, now)
                line.compute_s += seconds
                self._idle(clients, np.full(len(clients), seconds))
                now += seconds
                continue
            own_factors = factors if is_first else factors[np.searchsorted(cohort, clients)]
            task = self._task(round_index, index, clients, own_factors, now, is_first)
            found = self._run(index, task)
            self._note(found, self._programs_of(index), round_index)
            used = found.outcome == USED
            self._idle(clients[used], found.closed_s - found.end_s[used])
            if found.last_used >= 0:
                last = int(clients[found.last_used])
                factor = float(own_factors[found.last_used])
                line.add(*self._alone(index).of_client(last, factor))
            if is_first:
                line.closed_s, line.num_used = found.closed_s, int(used.sum())
                line.num_late = int((found.outcome == LATE).sum())
                line.num_lost = int((found.outcome == LOST).sum())
                self._selector.learn(round_index, clients[used], found.end_s[used] - start)
                self._planner.note_used(round_index, clients[used])
            clients, now, is_first = clients[used], found.closed_s, False
            if not len(clients):
                break
        line.end_s = now
        if now > LAST_S:
            raise endless(now)
        if self._intervals is not None and now >= self._horizon_s:
            raise HorizonError
        self._log.add(line)
        return now

    def _start(self, round_index: int, now: float) -> tuple[float, Integers]:
        """When the round starts, and whom it asks."""
        policy = self._policy
        everybody = np.arange(len(self._simulation.population))
        wanted = policy.num_asked(len(everybody))
        if self._intervals is None:
            return now, self._selector.choose(round_index, everybody, wanted)
        least = policy.min_available
        if least is None:
            least = wanted if policy.clients_per_round is not None else 1
        start = self._intervals.time_with(least, everybody, now)
        if not start < self._horizon_s:
            if self._horizon_s > now + PATIENCE_S:
                raise too_few_available(round_index, least, now)
            raise HorizonError
        eligible = everybody[self._intervals.are_there(everybody, start)]
        return start, self._selector.choose(round_index, eligible, wanted)

    def _task(
        self,
        round_index: int,
        index: int,
        clients: Integers,
        factors: Reals,
        now: float,
        is_first: bool,
    ) -> SegmentTask:
        simulation = self._simulation
        policy, server = self._policy, simulation.federation.server
        gathers = index + 1 < len(self._segments) and isinstance(self._segments[index + 1], Gather)
        deadline = policy.deadline_s if gathers else None
        return SegmentTask(
            simulation=simulation,
            programs=self._programs_of(index),
            segment_index=index,
            round_index=round_index,
            clients=clients,
            start_s=now,
            awaited=policy.num_awaited(len(clients)) if gathers else len(clients),
            deadline_s=np.inf if deadline is None else now + deadline,
            factors=factors,
            alone_s=self._alone(index).total(factors, clients),
            can_fail=is_first,
            presence=self._intervals,
            in_turns=simulation.has_exclusive_steps
            and server.order == "turns"
            and self._asks_server(index),
            keeps_visits=self._keeps_visits,
        )

    def _run(self, index: int, task: SegmentTask) -> SegmentOutcome:
        fast = self._known.fast
        if index not in fast:
            fast[index] = self._fast_segment(self._programs_of(index))
        return passed(fast[index], task)

    @property
    def _known(self) -> _Known:
        return self._recent.of(self._simulation, _Known)

    def _fast_segment(
        self, programs: tuple[Program, ...]
    ) -> StraightSegment | SampledSegment | None:
        """What runs a segment without events, if anything can."""
        if is_straight(self._simulation, programs):
            return StraightSegment(self._simulation, programs)
        if self._num_sampled is None:
            return None
        return SampledSegment(self._simulation, programs, self._num_sampled)

    def _programs_of(self, index: int) -> tuple[Program, ...]:
        programs = self._known.programs
        if index not in programs:
            programs[index] = tuple(
                segment_programs(self._simulation, (protocol.round[index],), group)
                for group, protocol in enumerate(self._simulation.protocols)
            )
        return programs[index]

    def _asks_server(self, index: int) -> bool:
        programs = self._programs_of(index)
        return any(stage.kind is Kind.REQUEST for p in programs for stage in p.stages)

    def _alone(self, index: int) -> UncontendedTimes:
        uncontended = self._known.uncontended
        if index not in uncontended:
            uncontended[index] = uncontended_times(self._simulation, index)
        return uncontended[index]

    def _work(self, round_index: int, index: int, clients: Integers, now: float) -> float:
        """The server's work of a round for what was gathered; its seconds [s]."""
        simulation = self._simulation
        training = simulation.federation.server_plan.training
        groups = simulation.population.group_index[clients]
        total = 0.0
        for times, step, one in simulation.contributions.steps(index, groups):
            row = step_row(step, times, training)
            row.compute_s = row.server_s = times * one
            row.start_s = now + total
            self._ledger.add(RowKey(round_index, SERVER, step.label), row)
            total += times * one
        self._busy_s += total
        return total

    def _idle(self, clients: Integers, seconds: Reals) -> None:
        class_index = self._simulation.population.class_index[clients]
        self._idle_s += np.bincount(class_index, seconds, minlength=len(self._idle_s))

    def _note(self, found: SegmentOutcome, programs: tuple[Program, ...], round_index: int) -> None:
        ledger_rows(self._simulation, programs, found.sums, round_index, self._ledger)
        self._num_events += found.num_events
        self._busy_s += found.accelerator_busy_s
        if found.visits is not None:
            self._visits.append(found.visits)
