"""Segments without feedback: every shared resource is visited at most once, one after the other.

Then each side of the server's link can be run through for all clients at a time, and what lies
between two visits is arithmetic on arrays. FedLLM and KD-FedLLM are of this kind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedsim.fleet.availability import is_always_on
from fedsim.fleet.parts import failure_offsets, startup_times
from fedsim.fleet.simulation import VISIT, Simulation
from fedsim.scale.link import FlowSet
from fedsim.scale.segment import LATE, LOST, USED, SegmentOutcome, SegmentTask, Tally
from fedsim.scale.stages import Kind, Program
from fedsim.scale.straight_kernel import leg_ends, stage_table, tally_attempts

__all__ = ["StraightSegment", "is_straight"]

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]


def is_straight(simulation: Simulation, programs: tuple[Program, ...]) -> bool:
    """Whether a segment can be run through side by side.

    Rates that vary in mid-flow and clients that come back after they left need the event kernel.
    """
    federation, policy = simulation.federation, simulation.policy
    if any(c.link.trace is not None for c in federation.classes):
        return False
    if policy.retries and not is_always_on(federation):
        return False
    orders = {tuple(s.kind for s in p.stages if s.kind is not Kind.CLIENT) for p in programs}
    longest = max(orders, key=len)
    return all(p.is_straight for p in programs) and all(
        order in (longest, longest[: len(order)], ()) for order in orders
    )


@dataclass(frozen=True, eq=False)
class _Attempts:
    """Passes through the segment: one for each client, and one for each retry.

    Attributes
    ----------
    row : ndarray of int64, shape (e,)
        Into the task's clients.
    number : ndarray of int64
        0, or which retry.
    start_s, stop_s : ndarray
        When it starts, and when it is cut off at the latest [s].
    """

    row: Integers
    number: Integers
    start_s: Reals
    stop_s: Reals


@dataclass(frozen=True, eq=False)
class _Passage:
    """Where every attempt was when: arrays of shape (e,), and (visits, e)."""

    join_s: Reals
    leave_s: Reals
    unsent_bytes: Reals
    done_s: Reals


class StraightSegment:
    """One segment of a simulation, prepared once and run round by round.

    Parameters
    ----------
    simulation : Simulation
    programs : tuple of Program
        One for each variant.
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

    def _prepare(self, variant_index: int, program: Program) -> None:
        """Sizes and startups of one variant's clients."""
        simulation = self._simulation
        population, federation = simulation.population, simulation.federation
        members = np.flatnonzero(population.variant_index == variant_index)
        client_class = federation.classes[population.variants[variant_index].class_index]
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
        attempts = self._attempts(task)
        passage = self._pass(task, attempts)
        closed_s, outcome, end_s, last_used = _gathered(task, attempts, passage)
        has_failed = np.zeros(len(attempts.row), dtype=bool)
        if (outcome == LATE).any():
            # What was still going on then is cut off there; it had no part in who was in time.
            through = _nanoseconds(passage.done_s) <= _nanoseconds(attempts.stop_s)
            attempts, has_failed = _cut_at(attempts, closed_s, through)
            passage = self._pass(task, attempts)
            end_s = np.minimum(end_s, closed_s)
        tally = self._tallied(task, attempts, passage, outcome, has_failed)
        visits = self._visits(task, attempts, passage) if task.keeps_visits else None
        num_events = len(attempts.row) * (2 + 4 * len(self._kinds))
        return SegmentOutcome(closed_s, outcome, end_s, last_used, tally, 0.0, num_events, visits)

    def _attempts(self, task: SegmentTask) -> _Attempts:
        num = len(task.clients)
        row = np.arange(num)
        start = np.full(num, task.start_s)
        stop = np.full(num, np.inf)
        if task.presence is not None:
            stop = task.presence.end_after(task.clients, task.start_s)
        parts = []
        for number in range(self._simulation.policy.retries + 1 if task.can_fail else 1):
            own_stop = stop[row]
            if task.can_fail:
                offsets = failure_offsets(
                    self._simulation, task.round_index, task.clients[row], number, task.alone_s[row]
                )
                own_stop = np.minimum(own_stop, start + offsets)
            parts.append((row, np.full(len(row), number), start, own_stop))
            again = np.isfinite(own_stop)
            if task.presence is not None:
                break
            row, start = row[again], own_stop[again] + self._simulation.policy.retry_after_s
            if not len(row):
                break
        if len(parts) == 1:
            return _Attempts(*parts[0])
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        return _Attempts(*columns)

    def _pass(self, task: SegmentTask, attempts: _Attempts) -> _Passage:
        population = self._simulation.population
        is_everybody = len(attempts.row) == len(task.clients) == len(population)
        # A million indices that only say "all of them" take longer than what they select.
        client = slice(None) if is_everybody else task.clients[attempts.row]
        variant = population.variant_index[client]
        factors = task.factors if is_everybody else task.factors[attempts.row]
        pace = population.slowdown[client] * factors
        half_trip = population.round_trip[client] / 2
        has_stops = bool(np.isfinite(attempts.stop_s).any())
        shape = (len(self._kinds), len(attempts.row))
        join, leave = np.empty(shape), np.empty(shape)
        unsent = np.zeros(shape)
        now = attempts.start_s
        for visit, kind in enumerate(self._kinds):
            startup = self._startup[visit][client]
            size = self._size[visit][client]
            waits = (
                startup if visit == 0 else startup + half_trip * (self._size[visit - 1][client] > 0)
            )
            join[visit] = leg_ends(now, variant, pace, waits, self._table.legs, visit)
            arrival = join[visit]
            stops = None
            if has_stops:
                stops = attempts.stop_s
                arrival = np.where(arrival < stops, arrival, np.inf)
            if is_everybody:
                flows = self._flows[visit]
                if flows is None:
                    flows = FlowSet(size, self._rates(kind), self._capacity(kind))
                    self._flows[visit] = flows
            else:
                flows = FlowSet(size, self._rates(kind)[client], self._capacity(kind))
            leave[visit], unsent[visit] = flows.departures(arrival, stops)
            now = np.where(unsent[visit] > 0, np.inf, leave[visit]) if has_stops else leave[visit]
        waits = np.zeros(len(attempts.row))
        if self._kinds:
            waits = half_trip * (self._size[-1][client] > 0)
        done = leg_ends(now, variant, pace, waits, self._table.legs, len(self._kinds))
        return _Passage(join, leave, unsent, done)

    def _tallied(
        self,
        task: SegmentTask,
        attempts: _Attempts,
        passage: _Passage,
        outcome: Integers,
        has_failed: NDArray[np.bool_],
    ) -> Tally:
        population = self._simulation.population
        client = task.clients[attempts.row]
        tally = Tally.empty(len(population.variants), self._num_stages)
        is_last = np.ones(len(client), dtype=bool)
        if len(client) > len(task.clients):
            last = np.zeros(len(task.clients), dtype=np.int64)
            np.maximum.at(last, attempts.row, attempts.number)
            is_last = attempts.number == last[attempts.row]
        # Who is late while it waits for its next attempt lost the one before.
        result = np.where(is_last & ~has_failed, outcome[attempts.row], LOST)
        tally_attempts(
            client, attempts.start_s, attempts.stop_s, passage.join_s, passage.leave_s,
            passage.unsent_bytes, result, population.variant_index,
            population.slowdown, task.factors[attempts.row], population.round_trip, self._size,
            self._table, tally,
        )  # fmt: skip
        return tally

    def _visits(
        self, task: SegmentTask, attempts: _Attempts, passage: _Passage
    ) -> NDArray[np.void]:
        found = []
        for visit, kind in enumerate(self._kinds):
            size = self._size[visit][task.clients[attempts.row]]
            came = np.isfinite(passage.leave_s[visit]) & (size > 0)
            rows = np.zeros(int(came.sum()), dtype=VISIT)
            rows["round_index"] = task.round_index
            rows["client"] = task.clients[attempts.row[came]]
            rows["segment"] = task.segment_index
            rows["attempt"] = attempts.number[came]
            rows["visit"] = visit
            rows["resource"] = 0 if kind is Kind.UP else 1
            rows["join_s"] = passage.join_s[visit][came]
            rows["leave_s"] = passage.leave_s[visit][came]
            found.append(rows)
        return np.concatenate(found) if found else np.zeros(0, dtype=VISIT)


def _nanoseconds(seconds: Reals | float) -> Reals:
    return np.asarray(np.rint(np.asarray(seconds) * 1e9))


def _cut_at(
    attempts: _Attempts, closed_s: float, through: NDArray[np.bool_]
) -> tuple[_Attempts, NDArray[np.bool_]]:
    """Attempts that had begun by the close, cut off there; and which had failed before."""
    begun = _nanoseconds(attempts.start_s) < _nanoseconds(closed_s)
    begun |= attempts.number == 0
    stop = attempts.stop_s[begun]
    cut = _Attempts(
        attempts.row[begun],
        attempts.number[begun],
        attempts.start_s[begun],
        np.minimum(stop, closed_s),
    )
    return cut, ~through[begun] & (_nanoseconds(stop) < _nanoseconds(closed_s))


def _gathered(
    task: SegmentTask, attempts: _Attempts, passage: _Passage
) -> tuple[float, Integers, Reals, int]:
    """When the gathering closed, everybody's outcome and end, and who was the last that counted."""
    num = len(task.clients)
    if len(attempts.row) == num == task.awaited and not np.isfinite(attempts.stop_s).any():
        closed = float(passage.done_s.max(initial=task.start_s))
        if closed <= task.deadline_s:
            tied = np.flatnonzero(_nanoseconds(passage.done_s) == _nanoseconds(closed))
            last = int(tied[-1]) if num else -1
            return closed, np.zeros(num, dtype=np.int64), passage.done_s, last
    through = _nanoseconds(passage.done_s) <= _nanoseconds(attempts.stop_s)
    done = np.where(through, passage.done_s, np.inf)
    gone = np.where(through, np.inf, attempts.stop_s)
    if len(attempts.row) > num:
        # Only the last attempt may get through; the first ones stand ahead of all retries.
        first_done, first_gone = done[:num].copy(), gone[:num].copy()
        np.minimum.at(first_done, attempts.row[num:], done[num:])
        np.maximum.at(first_gone, attempts.row[num:], gone[num:])
        done, gone = first_done, first_gone
    settled = np.minimum(done, gone)
    closed = float(settled.max()) if num else task.start_s
    ticks = _nanoseconds(done)
    in_time = np.isfinite(done)
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
