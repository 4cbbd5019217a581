"""Segments without feedback: every shared resource is visited at most once, one after the other.

Then each side of the server's link can be run through for all clients at a time, and what lies
between two visits is arithmetic on arrays. FedLLM and KD-FedLLM are of this kind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedsim.fleet.availability import is_always_on
from fedsim.fleet.simulation import VISIT, Simulation
from fedsim.fleet.uncontended import startup_times, work_until_failure
from fedsim.scale.program import Kind, Program
from fedsim.scale.records import Integers, Reals, Records
from fedsim.scale.segment import LATE, LOST, USED, SegmentOutcome, SegmentTask, step_sums
from fedsim.scale.straight.kernel import Attempts, Fleet, add_attempts, leg_ends, stage_table
from fedsim.scale.straight.link import FlowSet

__all__ = ["StraightSegment", "is_straight"]


def is_straight(simulation: Simulation, programs: tuple[Program, ...]) -> bool:
    """Whether a segment can be run through side by side.

    Rates that vary in mid-flow and clients that start over need the event kernel.
    """
    federation, policy = simulation.federation, simulation.policy
    if any(c.link.trace is not None for c in federation.classes):
        return False
    can_fail = any(c.spread.dropout_probability > 0 for c in federation.classes)
    if policy.retries and (can_fail or not is_always_on(federation)):
        return False
    orders = {tuple(s.kind for s in p.stages if s.kind is not Kind.CLIENT) for p in programs}
    longest = max(orders, key=len)
    return all(p.is_straight for p in programs) and all(
        order in (longest, longest[: len(order)], ()) for order in orders
    )


@dataclass(frozen=True, eq=False)
class _Passage:
    """Where every client was when: arrays of shape (m,), and (visits, m).

    Attributes
    ----------
    join_s, leave_s, unsent_bytes : ndarray, shape (visits, m)
    done_s : ndarray
        Infinite for those who do not get through [s].
    stop_s : ndarray
        When it fails, or was cut off [s].
    fails_s : ndarray
        When it fails; infinite where it does not, or was cut off before [s].
    """

    join_s: Reals
    leave_s: Reals
    unsent_bytes: Reals
    done_s: Reals
    stop_s: Reals
    fails_s: Reals


class StraightSegment:
    """One segment of a simulation, prepared once and run round by round.

    Parameters
    ----------
    simulation : Simulation
    programs : tuple of Program
        One for each group.
    """

    def __init__(self, simulation: Simulation, programs: tuple[Program, ...]) -> None:
        self._simulation = simulation
        population = simulation.population
        self._table = stage_table(programs)
        self._num_stages = max((len(p.stages) for p in programs), default=0)
        longest = max(programs, key=lambda p: sum(s.kind is not Kind.CLIENT for s in p.stages))
        self._kinds = [s.kind for s in longest.stages if s.kind is not Kind.CLIENT]
        num = len(population)
        self._size = np.zeros((len(self._kinds), num))
        self._startup = np.zeros((len(self._kinds), num))
        for index, program in enumerate(programs):
            self._prepare(index, program)
        self._flows: list[FlowSet | None] = [None] * len(self._kinds)

    def _prepare(self, group_index: int, program: Program) -> None:
        """Sizes and startups of one group's clients."""
        simulation = self._simulation
        population, federation = simulation.population, simulation.federation
        members = np.flatnonzero(population.group_index == group_index)
        client_class = federation.classes[population.groups[group_index].class_index]
        link = client_class.link
        sent = [s for s in program.stages if s.kind is not Kind.CLIENT]
        for visit, stage in enumerate(sent):
            rate = self._rates(stage.kind)[members]
            goodput = np.minimum(rate, self._capacity(stage.kind)) * link.payload_fraction
            self._size[visit, members] = stage.message_bytes / link.payload_fraction
            self._startup[visit, members] = startup_times(
                stage.message_bytes, goodput, population.round_trip[members], link
            )

    def _rates(self, kind: Kind) -> Reals:
        population = self._simulation.population
        return population.uplink if kind is Kind.UP else population.downlink

    def _capacity(self, kind: Kind) -> float:
        server = self._simulation.federation.server
        capacity = server.uplink_bytes_per_s if kind is Kind.UP else server.downlink_bytes_per_s
        return np.inf if capacity is None else capacity

    def run(self, task: SegmentTask) -> SegmentOutcome:
        """One round's pass through the segment."""
        simulation, num = self._simulation, len(task.clients)
        cut_s, work_s = np.full(num, np.inf), np.full(num, np.inf)
        if task.presence is not None:
            cut_s = task.presence.end_after(task.clients, task.start_s)
        if task.can_fail:
            work_s = work_until_failure(simulation, task.round_index, task.clients, 0, task.alone_s)
        passage = self._pass(task, cut_s, work_s)
        timeout_s = simulation.policy.failure_timeout_s
        closed_s, outcome, end_s, last_used = _gathered(task, passage, timeout_s)
        if (outcome == LATE).any():
            # What was still going on then is cut off there; it had no part in who was in time.
            passage = self._pass(task, np.minimum(cut_s, closed_s), work_s)
            end_s = np.minimum(end_s, closed_s)
        sums = self._sums(task, passage, outcome, closed_s == task.deadline_s)
        visits = self._visits(task, passage) if task.keeps_visits else None
        num_events = num * (2 + 4 * len(self._kinds))
        return SegmentOutcome(closed_s, outcome, end_s, last_used, sums, 0.0, num_events, visits)

    def _pass(self, task: SegmentTask, cut_s: Reals, work_s: Reals) -> _Passage:
        """Everybody's way, up to where it fails or is cut off."""
        population = self._simulation.population
        num = len(task.clients)
        is_everybody = num == len(population)
        # A million indices that only say "all of them" take longer than what they select.
        client = slice(None) if is_everybody else task.clients
        group = population.group_index[client]
        pace = population.slowdown[client] * task.factors
        half_trip = population.round_trip[client] / 2
        weak = _Weak(work_s)
        stop_s = cut_s.copy() if len(weak.rows) else cut_s
        has_stops = bool(np.isfinite(cut_s).any()) or len(weak.rows) > 0
        shape = (len(self._kinds), num)
        join, leave = np.empty(shape), np.empty(shape)
        unsent = np.zeros(shape)
        now = np.full(num, task.start_s)
        for visit, kind in enumerate(self._kinds):
            startup = self._startup[visit][client]
            size = self._size[visit][client]
            waits = (
                startup if visit == 0 else startup + half_trip * (self._size[visit - 1][client] > 0)
            )
            join[visit] = leg_ends(now, group, pace, waits, self._table.legs, visit)
            weak.spend(now, join[visit], stop_s)
            arrival = join[visit]
            stops = None
            if has_stops:
                stops = stop_s
                arrival = np.where(arrival < stops, arrival, np.inf)
            capacity, rate = self._capacity(kind), self._rates(kind)[client]
            rows, part = weak.fail_in(size / np.minimum(rate, capacity))
            flows = self._flows[visit]
            if not is_everybody:
                flows = FlowSet(size, rate, capacity)
            elif flows is None:
                flows = self._flows[visit] = FlowSet(size, rate, capacity)
            missing = (1.0 - part) * size[rows]
            if len(rows):
                flows = flows.with_less(rows, part * size[rows])
            leave[visit], unsent[visit] = flows.departures(arrival, stops)
            if len(rows):
                weak.fail_at(rows, leave[visit], unsent[visit], stop_s)
                came = np.isfinite(leave[visit][rows])
                unsent[visit][rows] += np.where(came, missing, 0.0)
            now = np.where(unsent[visit] > 0, np.inf, leave[visit]) if has_stops else leave[visit]
        waits = np.zeros(num)
        if self._kinds:
            waits = half_trip * (self._size[-1][client] > 0)
        done = leg_ends(now, group, pace, waits, self._table.legs, len(self._kinds))
        weak.spend(now, done, stop_s)
        if has_stops:
            done = np.where(_nanoseconds(done) <= _nanoseconds(stop_s), done, np.inf)
        return _Passage(join, leave, unsent, done, stop_s, weak.fails_s(stop_s))

    def _sums(
        self, task: SegmentTask, passage: _Passage, outcome: Integers, is_deadline: bool
    ) -> Records:
        population = self._simulation.population
        sums = step_sums(len(population.groups), self._num_stages)
        attempts = Attempts(
            task.clients, task.factors, task.start_s, passage.stop_s, passage.join_s,
            passage.leave_s, passage.unsent_bytes, outcome,
        )  # fmt: skip
        fleet = Fleet(
            population.group_index, population.slowdown, population.round_trip, self._size
        )
        add_attempts(attempts, fleet, self._table, sums, is_deadline)
        return sums

    def _visits(self, task: SegmentTask, passage: _Passage) -> NDArray[np.void]:
        found = []
        for visit, kind in enumerate(self._kinds):
            size = self._size[visit][task.clients]
            came = np.isfinite(passage.leave_s[visit]) & (size > 0)
            rows = np.zeros(int(came.sum()), dtype=VISIT)
            rows["round_index"] = task.round_index
            rows["client"] = task.clients[came]
            rows["segment"] = task.segment_index
            rows["visit"] = visit
            rows["resource"] = 0 if kind is Kind.UP else 1
            rows["join_s"] = passage.join_s[visit][came]
            rows["leave_s"] = passage.leave_s[visit][came]
            found.append(rows)
        return np.concatenate(found) if found else np.zeros(0, dtype=VISIT)


class _Weak:
    """Those who fail, and how much of their work they have still to do until then.

    Parameters
    ----------
    work_s : ndarray, shape (m,)
        What is done until it fails, alone; infinite for those who do not [s].
    """

    def __init__(self, work_s: Reals) -> None:
        self._num = len(work_s)
        self.rows = np.flatnonzero(np.isfinite(work_s))
        self._left_s = work_s[self.rows]
        self._has_failed = np.zeros(len(self.rows), dtype=bool)

    def spend(self, start_s: Reals, end_s: Reals, stop_s: Reals) -> None:
        """Let them do a stretch of work, or stop in it: infinite for those who never begin."""
        start = start_s[self.rows]
        # Who was stopped before comes to nothing any more.
        comes = np.isfinite(start) & (start < stop_s[self.rows]) & ~self._has_failed
        alone = np.where(comes, end_s[self.rows] - np.where(comes, start, 0.0), 0.0)
        fails = comes & (self._left_s < alone)
        moment = start + self._left_s
        # What cuts it off first is no failure.
        fails &= moment < stop_s[self.rows]
        stop_s[self.rows[fails]] = moment[fails]
        self._has_failed |= fails
        self._left_s = np.maximum(self._left_s - alone, 0.0)

    def fail_in(self, alone_s: Reals) -> tuple[Integers, Reals]:
        """Who fails in a flow, and which share of it is sent by then."""
        alone = alone_s[self.rows]
        fails = ~self._has_failed & (self._left_s < alone)
        share = self._left_s[fails] / alone[fails]
        self._left_s = np.where(fails, 0.0, self._left_s - alone)
        return self.rows[fails], share

    def fail_at(self, rows: Integers, leave_s: Reals, unsent: Reals, stop_s: Reals) -> None:
        """Let those fail whose share is sent."""
        fails = np.isfinite(leave_s[rows]) & (unsent[rows] == 0)
        stop_s[rows[fails]] = leave_s[rows[fails]]
        self._has_failed |= np.isin(self.rows, rows[fails])

    def fails_s(self, stop_s: Reals) -> Reals:
        """When each client failed; infinite for all others [s]."""
        found = np.full(self._num, np.inf)
        here = self.rows[self._has_failed]
        found[here] = stop_s[here]
        return found


def _nanoseconds(seconds: Reals | float) -> Reals:
    return np.asarray(np.rint(np.asarray(seconds) * 1e9))


def _gathered(
    task: SegmentTask, passage: _Passage, timeout_s: float | None
) -> tuple[float, Integers, Reals, int]:
    """When the gathering closed, everybody's outcome and end, and who was the last that counted."""
    num, done = len(task.clients), passage.done_s
    if num == task.awaited and bool(np.isfinite(done).all()):
        closed = float(done.max(initial=task.start_s))
        if closed <= task.deadline_s:
            tied = np.flatnonzero(_nanoseconds(done) == _nanoseconds(closed))
            last = int(tied[-1]) if num else -1
            return closed, np.zeros(num, dtype=np.int64), done, last
    in_time = np.isfinite(done)
    gone = np.where(in_time, np.inf, passage.stop_s)
    settled = np.minimum(done, gone)
    closed = float(_noticed(task, passage, settled, timeout_s).max()) if num else task.start_s
    ticks = _nanoseconds(done)
    if task.awaited < num and int(in_time.sum()) >= task.awaited:
        limit = float(np.partition(ticks, task.awaited - 1)[task.awaited - 1])
        first = ticks < limit
        # Among those of one nanosecond the smaller index was first.
        tied = np.flatnonzero(ticks == limit)[: task.awaited - int(first.sum())]
        in_time = first.copy()
        in_time[tied] = True
        closed = min(closed, float(done[tied].max()))
    if task.deadline_s < closed:
        in_time &= ticks <= _nanoseconds(task.deadline_s)
        closed = task.deadline_s
    outcome = np.full(num, LATE, dtype=np.int64)
    outcome[in_time] = USED
    outcome[~in_time & (_nanoseconds(gone) <= _nanoseconds(closed))] = LOST
    last_used = -1
    if in_time.any():
        last_used = int(np.flatnonzero(in_time & (ticks == ticks[in_time].max()))[-1])
    return closed, outcome, np.minimum(settled, closed), last_used


def _noticed(
    task: SegmentTask, passage: _Passage, settled_s: Reals, timeout_s: float | None
) -> Reals:
    """When the server knows what became of each client [s]."""
    fails = np.isfinite(passage.fails_s)
    if not fails.any():
        return settled_s
    if timeout_s is None:
        return np.where(fails, np.maximum(settled_s, task.start_s + task.alone_s), settled_s)
    return np.where(fails, settled_s + timeout_s, settled_s)
