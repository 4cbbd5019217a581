"""A segment of mini-batches by a sample: a smaller network of the same shape, simulated exactly.

For rounds that are too large to be simulated batch by batch. Every w-th client, in order of what
the segment takes it alone, meets a link of ``1 / w`` of the capacity and services ``w`` times as
long, so that resources are as busy as in the full network; what the sample waits for is then added
to what each of the others takes alone (after Psounis, Pan, Prabhakar, Wischik, "The scaling
hypothesis: simplifying the prediction of network performance using scaled-down simulations", ACM
SIGCOMM CCR 33(1), 2003). Queues of a closed network grow with its clients, and times stay.

How far off the times are is measured against the exact kernels by
``tests/benchmark/test_sampled_error.py``, and tested by ``tests/agreement/test_sampled.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedsim.fleet.simulation import Simulation
from fedsim.fleet.uncontended import message_times, work_until_failure
from fedsim.protocol.step import Transfer
from fedsim.scale.program import Kind, Program, Stage
from fedsim.scale.records import Integers, Reals, Records
from fedsim.scale.segment import LATE, LOST, USED, SegmentOutcome, SegmentTask, step_sums

__all__ = ["SampledSegment", "approximation"]

#: Of a mini-batch: rounding may not take a finished one away.
_ROUNDING: Final = 1e-9


def approximation(num_sampled: int) -> str:
    """What is said beside an answer."""
    return (
        f"mini-batches of {num_sampled:,} clients of a round stand for all, on links and "
        "accelerators made smaller by as much; what was cut off is the sample's share"
    )


@dataclass(frozen=True, eq=False)
class _Sample:
    """Who stands for all.

    Attributes
    ----------
    task : SegmentTask
        The smaller network's.
    order : ndarray of int64, shape (m,)
        All rows by rank: by what they take alone.
    ranks : ndarray of int64, shape (n,)
        Of the sample, ascending.
    rows : ndarray of int64, shape (n,)
        Of the sample, ascending: the smaller task's clients.
    """

    task: SegmentTask
    order: Integers
    ranks: Integers
    rows: Integers


@dataclass(frozen=True, eq=False)
class _Passage:
    """What a pass through the segment came to, shape (m,): all times from its start [s].

    Attributes
    ----------
    factors : ndarray
        Slowdown times factor of the round.
    extra_s : ndarray
        Beyond what it takes alone.
    progress : ndarray
        The share that was done before it was cut off.
    outcome : ndarray of int64
    """

    factors: Reals
    extra_s: Reals
    progress: Reals
    outcome: Integers


class SampledSegment:
    """One segment of a simulation, prepared once and run round by round.

    Parameters
    ----------
    simulation : Simulation
    programs : tuple of Program
        One for each group.
    num_sampled : int
        Clients whose mini-batches are simulated; all where a round has no more.
    """

    def __init__(
        self, simulation: Simulation, programs: tuple[Program, ...], num_sampled: int
    ) -> None:
        self._simulation = simulation
        self._programs = programs
        self._num_sampled = num_sampled
        self._labels = tuple(dict.fromkeys(s.step.label for p in programs for s in p.stages))
        num, num_stages = len(simulation.population), max(1, *(len(p.stages) for p in programs))
        #: Of one message, alone [s], by client and stage.
        self._transfer_s = np.zeros((num, num_stages))
        population, classes = simulation.population, simulation.federation.classes
        for v, members in _members_by(population.group_index):
            link = classes[population.groups[v].class_index].link
            for s, stage in enumerate(programs[v].stages):
                if isinstance(stage.step, Transfer):
                    self._transfer_s[members, s] = message_times(
                        simulation, members, stage.step.direction, stage.message_bytes, link
                    )

    def run(self, task: SegmentTask) -> SegmentOutcome:
        """One round's pass through the segment."""
        # Loaded where it is needed: reading compiled kernels back takes longer than many a round.
        from fedsim.scale.events.segment import run_segment

        num = len(task.clients)
        if num <= self._num_sampled:
            return run_segment(task)
        sample = self._sample(task)
        found = run_segment(sample.task)
        extra_s = _extra(task, sample, found)
        done_s, stop_s, noticed_s = task.alone_s + extra_s, np.full(num, np.inf), np.zeros(num)
        if task.can_fail:
            stop_s, noticed_s = self._failures(task, done_s)
        closed_s, outcome, last_used = _gathered(
            task, np.where(stop_s < np.inf, np.inf, done_s), stop_s, noticed_s
        )
        end_s = np.minimum(np.minimum(done_s, stop_s), closed_s - task.start_s)
        # Who takes no time at all is through.
        share = end_s / np.maximum(done_s, np.finfo(np.float64).tiny)
        slowdown = self._simulation.population.slowdown[task.clients]
        passage = _Passage(
            slowdown * task.factors, extra_s, np.where(outcome == USED, 1.0, share), outcome
        )
        cut = found
        if (outcome == LATE).any():
            cut = run_segment(replace(sample.task, deadline_s=closed_s))
        _shorten(cut.sums, self._programs, sample.task.programs)
        sums, busy_s = self._step_sums(task, passage, self._shares(sample.task, found), cut)
        return SegmentOutcome(
            closed_s, outcome, task.start_s + end_s, last_used, sums, busy_s, found.num_events
        )

    def _failures(self, task: SegmentTask, done_s: Reals) -> tuple[Reals, Reals]:
        """When clients fail, who wait evenly over their work, and when that is noticed [s].

        From the segment's start; infinite for those who do not fail.
        """
        simulation, alone_s = self._simulation, task.alone_s
        work_s = work_until_failure(simulation, task.round_index, task.clients, 0, alone_s)
        # Who takes no time at all is through.
        fails = np.isfinite(work_s) & (alone_s > 0)
        stop_s = np.full(len(work_s), np.inf)
        stop_s[fails] = work_s[fails] / alone_s[fails] * done_s[fails]
        timeout_s = simulation.policy.failure_timeout_s
        return stop_s, np.maximum(stop_s, alone_s) if timeout_s is None else stop_s + timeout_s

    def _sample(self, task: SegmentTask) -> _Sample:
        """Every so many clients by rank, in a network that is smaller by as much."""
        simulation, num = self._simulation, self._num_sampled
        weight = len(task.clients) / num
        order = np.argsort(task.alone_s, kind="stable")
        # Both ends are among them: the slowest client ends the round.
        ranks = np.linspace(0, len(order) - 1, num).astype(np.int64)
        rows = np.sort(order[ranks])
        federation = simulation.federation
        server = federation.server
        sides = (server.uplink_bytes_per_s, server.downlink_bytes_per_s)
        # Fewer accelerators rather than slower ones, as far as they are whole.
        places = max(1, round(server.num_accelerators / weight))
        is_exclusive = simulation.has_exclusive_steps
        longer = weight if is_exclusive else weight * places / server.num_accelerators
        smaller = replace(
            server,
            num_accelerators=places,
            uplink_bytes_per_s=None if sides[0] is None else sides[0] / weight,
            downlink_bytes_per_s=None if sides[1] is None else sides[1] / weight,
        )
        small_task = replace(
            task,
            simulation=replace(simulation, federation=replace(federation, server=smaller)),
            programs=tuple(_with_longer_services(p, longer) for p in task.programs),
            clients=task.clients[rows],
            awaited=num,
            deadline_s=np.inf,
            factors=task.factors[rows],
            alone_s=task.alone_s[rows],
        )
        return _Sample(small_task, order, ranks, rows)

    def _shares(self, sample: SegmentTask, found: SegmentOutcome) -> Reals:
        """What the sample waited for, as shares of it, shape (labels, 2): queues, links."""
        through = sample.clients[found.outcome == USED]
        group = self._simulation.population.group_index[through]
        seconds = np.zeros((len(self._labels), 2))
        for v, members in _members_by(group):
            program, alone_s = self._programs[v], self._transfer_s[through[members]].sum(axis=0)
            for block in program.blocks:
                for s in range(block.first, block.stop):
                    label = self._labels.index(program.stages[s].step.label)
                    seconds[label, 0] += found.sums["wait_s"][v, s, USED]
                    seconds[label, 1] += found.sums["transfer_s"][v, s, USED]
                    seconds[label, 1] -= alone_s[s] * block.times
        seconds = np.maximum(seconds, 0.0)
        total = float(seconds.sum())
        return seconds / total if total > 0 else seconds

    def _step_sums(
        self, task: SegmentTask, passage: _Passage, shares: Reals, cut: SegmentOutcome
    ) -> tuple[Records, float]:
        """What was done, and the accelerators' seconds.

        What was cut off is the sample's, times how many more clients that happened to; where the
        sample has none, whole mini-batches are counted.
        """
        group = self._simulation.population.group_index[task.clients]
        num_stages = max(1, *(len(p.stages) for p in self._programs))
        sums, busy_s = step_sums(len(self._programs), num_stages), 0.0
        known = [USED]
        for result in (LATE, LOST):
            num = np.count_nonzero(cut.outcome == result)
            if num:
                known.append(result)
                ratio = np.count_nonzero(passage.outcome == result) / num
                _add_cut(sums, cut.sums, result, ratio)
        for number, rows in _members_by(3 * group.astype(np.int64) + passage.outcome):
            v, result = divmod(number, 3)
            if result != USED and result in known:
                continue
            self._add(sums, v, result, task, rows, passage)
            waited_s = float((passage.extra_s[rows] * passage.progress[rows]).sum())
            seen: set[str] = set()
            for s, stage in enumerate(self._programs[v].stages):
                label = stage.step.label
                if label not in seen and np.isfinite(sums["start_s"][v, s, result]):
                    seen.add(label)
                    share = shares[self._labels.index(label)] * waited_s
                    sums["wait_s"][v, s, result] += share[0]
                    sums["transfer_s"][v, s, result] += share[1]
        for v, program in enumerate(self._programs):
            for s, stage in enumerate(program.stages):
                if stage.kind is Kind.REQUEST:
                    busy_s += int(sums["executions"][v, s].sum()) * _service_s(stage)
        return sums, busy_s

    def _add(
        self,
        sums: Records,
        v: int,
        result: int,
        task: SegmentTask,
        rows: Integers,
        passage: _Passage,
    ) -> None:
        """What some clients of a group did, in whole mini-batches and but for waiting."""
        program = self._programs[v]
        transfer_s = self._transfer_s[task.clients[rows]]
        pace = passage.factors[rows]
        left_s = passage.progress[rows] * task.alone_s[rows]
        before_s = np.zeros(len(rows))
        for block in program.blocks:
            stages = range(block.first, block.stop)
            once_s = [_stage_s(program.stages[s], transfer_s[:, s], pace) for s in stages]
            lap_s = np.sum(once_s, axis=0)
            laps = np.full(len(rows), float(block.times))
            if result != USED:
                possible = left_s / np.maximum(lap_s, np.finfo(np.float64).tiny)
                laps = np.minimum(np.floor(possible + _ROUNDING), laps)
                # Nothing is begun behind what was not finished.
                left_s = np.where(laps < block.times, 0.0, left_s - laps * lap_s)
            total, start_s = float(laps.sum()), before_s
            for s, seconds in zip(stages, once_s, strict=True):
                stage, place = program.stages[s], (v, s, result)
                if total:
                    begun = start_s[laps > 0]
                    sums["start_s"][place] = task.start_s + float(begun.min())
                sums["executions"][place] += round(total) * stage.times
                server_s = total * _service_s(stage)
                own_s = float((laps * pace).sum()) * stage.client_s * stage.times
                sums["compute_s"][place] += own_s + server_s
                sums["server_s"][place] += server_s
                sums["transfer_s"][place] += float((laps * transfer_s[:, s]).sum())
                start_s = start_s + seconds
            before_s = before_s + laps * lap_s


def _members_by(kind: NDArray[np.integer]) -> Iterator[tuple[int, Integers]]:
    """Each value and where it stands, ascending."""
    order = np.argsort(kind, kind="stable")
    values, first = np.unique(kind[order], return_index=True)
    yield from zip(values.tolist(), np.split(order, first[1:]), strict=True)


def _add_cut(sums: Records, cut: Records, result: int, ratio: float) -> None:
    """Work that was cut off in the sample, for as many more clients."""
    for count in ("executions", "cut_bytes", "cut_payload"):
        sums[count][:, :, result] = np.rint(cut[count][:, :, result] * ratio)
    for seconds in ("compute_s", "server_s", "transfer_s", "wait_s"):
        sums[seconds][:, :, result] = cut[seconds][:, :, result] * ratio
    sums["start_s"][:, :, result] = cut["start_s"][:, :, result]


def _shorten(sums: Records, programs: tuple[Program, ...], longer: tuple[Program, ...]) -> None:
    """Take away what services of the smaller network are longer; seconds stand by label."""
    for v, (program, slow) in enumerate(zip(programs, longer, strict=True)):
        home: dict[str, int] = {}
        for s, stage in enumerate(program.stages):
            first = home.setdefault(stage.step.label, s)
            if stage.kind is Kind.REQUEST:
                excess_s = _service_s(slow.stages[s]) - _service_s(stage)
                for seconds in (sums["compute_s"], sums["server_s"]):
                    left_s = seconds[v, first] - sums["executions"][v, s] * excess_s
                    seconds[v, first] = np.maximum(left_s, 0.0)


def _stage_s(stage: Stage, transfer_s: Reals, pace: Reals) -> Reals:
    """One pass through a stage with nobody else there [s]."""
    return np.asarray(pace * stage.client_s * stage.times + _service_s(stage) + transfer_s)


def _service_s(stage: Stage) -> float:
    return stage.server_s + stage.shared_s


def _with_longer_services(program: Program, factor: float) -> Program:
    def longer(stage: Stage) -> Stage:
        return replace(stage, server_s=stage.server_s * factor, shared_s=stage.shared_s * factor)

    stages = (longer(s) if s.kind is Kind.REQUEST else s for s in program.stages)
    return replace(program, stages=tuple(stages))


def _extra(task: SegmentTask, sample: _Sample, found: SegmentOutcome) -> Reals:
    """Seconds beyond what each client takes alone: between those of two of the sample."""
    extra_s = np.zeros(len(task.clients))
    spent_s = np.maximum(found.end_s - task.start_s - sample.task.alone_s, 0.0)
    # By rank, those who came through.
    number = np.searchsorted(sample.rows, sample.order[sample.ranks])
    through = found.outcome[number] == USED
    if through.any():
        ranks, seconds = sample.ranks[through], spent_s[number[through]]
        extra_s[sample.order] = np.interp(np.arange(len(extra_s)), ranks, seconds)
    return extra_s


def _gathered(
    task: SegmentTask, done_s: Reals, stop_s: Reals, noticed_s: Reals
) -> tuple[float, Integers, int]:
    """When the gathering closed, everybody's outcome, and who was the last that counted."""
    num = len(done_s)
    done = task.start_s + done_s
    settled = np.where(np.isfinite(done), done, task.start_s + stop_s)
    known = np.where(np.isfinite(done), done, task.start_s + noticed_s)
    closed = float(known.max(initial=task.start_s))
    if task.awaited < num and int(np.isfinite(done).sum()) >= task.awaited:
        closed = min(closed, float(np.partition(done, task.awaited - 1)[task.awaited - 1]))
    closed = min(closed, task.deadline_s)
    outcome = np.full(num, LATE, dtype=np.int64)
    outcome[done <= closed] = USED
    outcome[~np.isfinite(done) & (settled <= closed)] = LOST
    used = np.flatnonzero(outcome == USED)
    last = int(used[np.argmax(done[used])]) if len(used) else -1
    return closed, outcome, last
