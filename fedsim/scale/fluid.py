"""A segment of mini-batches as a fluid: what a closed network of queues comes to with many clients.

For rounds that are too large to be simulated batch by batch. Who asks whom in which order is lost;
what each resource serves in all is not. How far off the times are is measured against the exact
kernels by ``tests/benchmark/test_fluid_error.py``.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedsim.errors import ScenarioError
from fedsim.fleet.availability import is_always_on
from fedsim.fleet.parts import failure_offsets, startup_times
from fedsim.fleet.simulation import Simulation
from fedsim.scale.fluid_kernel import Demands, Flow, run_fluid
from fedsim.scale.segment import LATE, LOST, USED, SegmentOutcome, SegmentTask, Tally
from fedsim.scale.stages import Kind, Program
from fedsim.spec.link import LinkSpec

__all__ = ["APPROXIMATION", "FluidSegment", "check_fluid"]

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]

APPROXIMATION: Final = (
    "times of mini-batches are those of a fluid, the limit of a closed network of queues with many "
    "clients; work that was cut off is counted in whole mini-batches"
)


def check_fluid(simulation: Simulation) -> None:
    """Refuse what the fluid does not know.

    Raises
    ------
    ScenarioError
        With the key and what to set.
    """
    federation, policy = simulation.federation, simulation.policy
    server = federation.server
    is_shared = federation.server_plan.server_variant == "v2"
    beyond = {
        f"policy.mode = '{policy.mode}'": policy.mode != "synchronous",
        f"policy.retries = {policy.retries}": policy.retries > 0,
        "availability": not is_always_on(federation),
        "link.trace": any(c.link.trace is not None for c in federation.classes),
        f"server.max_batch = {server.max_batch}": server.max_batch > 1,
        "split.server_order = 'turns'": is_shared and server.order == "turns",
    }
    found = [what for what, is_there in beyond.items() if is_there]
    if found:
        raise ScenarioError(
            f"engine = 'fluid' knows no {', '.join(found)}; set engine = \"scale\" with fewer "
            "clients, rounds or mini-batches, or leave it out."
        )


class FluidSegment:
    """One segment of a simulation, prepared once and run round by round.

    Parameters
    ----------
    simulation : Simulation
    programs : tuple of Program
        One for each variant.
    """

    def __init__(self, simulation: Simulation, programs: tuple[Program, ...]) -> None:
        self._simulation = simulation
        self._programs = programs
        num_blocks = max(1, *(len(p.blocks) for p in programs))
        shape = (len(programs), num_blocks)
        self._laps = np.zeros(shape, dtype=np.int64)
        self._up_bytes, self._down_bytes = np.zeros(shape), np.zeros(shape)
        self._client_s, self._server_s, self._service_s = (np.zeros(shape) for _ in range(3))
        #: Startups and half round trips of a pass, by client.
        self._latency_s = np.zeros((len(simulation.population), num_blocks))
        for v, program in enumerate(programs):
            self._prepare(v, program)

    def _prepare(self, v: int, program: Program) -> None:
        population = self._simulation.population
        members = np.flatnonzero(population.variant_index == v)
        for k, block in enumerate(program.blocks):
            self._laps[v, k] = block.times
            for stage in program.stages[block.first : block.stop]:
                self._client_s[v, k] += stage.client_s * stage.times
                if stage.kind is Kind.REQUEST:
                    self._service_s[v, k] += stage.server_s + stage.shared_s
                    continue
                self._server_s[v, k] += stage.server_s
                if stage.kind is Kind.CLIENT:
                    continue
                fraction = self._link(v).payload_fraction
                moved = self._up_bytes if stage.kind is Kind.UP else self._down_bytes
                moved[v, k] += stage.message_bytes / fraction
                self._latency_s[members, k] += self._latency(v, stage.kind, stage.message_bytes)

    def _link(self, v: int) -> LinkSpec:
        simulation = self._simulation
        return simulation.federation.classes[simulation.population.variants[v].class_index].link

    def _latency(self, v: int, kind: Kind, message_bytes: int) -> Reals:
        population, server = self._simulation.population, self._simulation.federation.server
        members = np.flatnonzero(population.variant_index == v)
        is_up = kind is Kind.UP
        rates = (population.uplink if is_up else population.downlink)[members]
        capacity = server.uplink_bytes_per_s if is_up else server.downlink_bytes_per_s
        link, trip = self._link(v), population.round_trip[members]
        goodput = np.minimum(rates, capacity or np.inf) * link.payload_fraction
        return startup_times(message_bytes, goodput, trip, link) + trip / 2

    def run(self, task: SegmentTask) -> SegmentOutcome:
        """One round's pass through the segment."""
        stop = np.full(len(task.clients), np.inf)
        if task.can_fail:
            stop = failure_offsets(
                self._simulation, task.round_index, task.clients, 0, task.alone_s
            )
        flow, steps = self._flowed(task, stop)
        closed_s, outcome, last_used = _gathered(task, flow.done_s, stop)
        if (outcome == LATE).any():
            # What was still going on then is cut off there.
            stop = np.minimum(stop, closed_s - task.start_s)
            flow, more = self._flowed(task, stop)
            steps += more
        end_s = task.start_s + np.minimum(flow.done_s, stop)
        tally, busy_s = self._tally(task, flow, outcome)
        return SegmentOutcome(
            closed_s, outcome, end_s, last_used, tally, busy_s, steps * len(task.clients)
        )

    def _flowed(self, task: SegmentTask, stop_s: Reals) -> tuple[Flow, int]:
        simulation, here = self._simulation, task.clients
        population, server = simulation.population, simulation.federation.server
        variant = population.variant_index[here].astype(np.int64)
        num, num_blocks = len(here), self._laps.shape[1]
        own = self._client_s[variant] * (population.slowdown[here] * task.factors)[:, np.newaxis]
        demands = Demands(
            alone_s=own + self._server_s[variant] + self._latency_s[here],
            up_bytes=self._up_bytes,
            down_bytes=self._down_bytes,
            service_s=self._service_s,
            laps=self._laps,
            variant=variant,
            up_rate=population.uplink[here].astype(np.float64),
            down_rate=population.downlink[here].astype(np.float64),
        )
        flow = Flow(
            np.zeros(num, dtype=np.int64),
            np.zeros(num),
            np.full(num, np.inf),
            *(np.zeros((num, num_blocks)) for _ in range(3)),
        )
        is_shared = simulation.federation.server_plan.server_variant == "v2"
        sides = (server.uplink_bytes_per_s, server.downlink_bytes_per_s)
        capacity = np.array(
            [*(np.inf if c is None else c for c in sides),
             1.0 if is_shared else float(server.num_accelerators)]
        )  # fmt: skip
        steps = run_fluid(demands, flow, stop_s, capacity, server.discipline == "sharing")
        return flow, int(steps)

    def _tally(self, task: SegmentTask, flow: Flow, outcome: Integers) -> tuple[Tally, float]:
        """What was done, in whole passes through a block; and the accelerators' seconds."""
        population, here = self._simulation.population, task.clients
        variant = population.variant_index[here]
        pace = population.slowdown[here] * task.factors
        num_stages = max(1, *(len(p.stages) for p in self._programs))
        tally, busy_s = Tally.empty(len(self._programs), num_stages), 0.0
        for v, result in np.ndindex(len(self._programs), 3):
            rows = np.flatnonzero((variant == v) & (outcome == result))
            if not len(rows):
                continue
            for k, block in enumerate(self._programs[v].blocks):
                laps = np.floor(flow.lap[rows] + 1e-6)
                laps = np.where(flow.block[rows] > k, float(block.times), laps)
                laps = np.where(flow.block[rows] < k, 0.0, np.minimum(laps, block.times))
                busy_s += float(laps.sum()) * float(self._service_s[v, k])
                self._add(tally, v, k, result, rows, laps, pace[rows], flow, task)
        return tally, busy_s

    def _add(
        self,
        tally: Tally,
        v: int,
        k: int,
        result: int,
        rows: Integers,
        laps: Reals,
        pace: Reals,
        flow: Flow,
        task: SegmentTask,
    ) -> None:
        program = self._programs[v]
        block = program.blocks[k]
        total, paced = float(laps.sum()), float((laps * pace).sum())
        members = np.searchsorted(np.flatnonzero(self._members(v)), task.clients[rows])
        for s in range(block.first, block.stop):
            stage, place = program.stages[s], (v, s, result)
            tally.executions[place] = round(total) * stage.times
            tally.start_s[place] = task.start_s
            if stage.kind is Kind.REQUEST:
                service = stage.server_s + stage.shared_s
                share = service / self._service_s[v, k] if service else 0.0
                tally.compute_s[place] = tally.server_s[place] = total * service
                tally.wait_s[place] = share * float(flow.wait_s[rows, k].sum())
                continue
            tally.compute_s[place] = paced * stage.client_s * stage.times
            if stage.kind is Kind.CLIENT:
                continue
            tally.compute_s[place] += total * stage.server_s
            tally.server_s[place] = total * stage.server_s
            is_up = stage.kind is Kind.UP
            moved = (self._up_bytes if is_up else self._down_bytes)[v, k]
            share = stage.message_bytes / self._link(v).payload_fraction / moved
            seconds = (flow.up_s if is_up else flow.down_s)[rows, k]
            latency = self._latency(v, stage.kind, stage.message_bytes)[members]
            tally.transfer_s[place] = float((laps * latency).sum() + share * seconds.sum())

    def _members(self, v: int) -> NDArray[np.bool_]:
        return np.asarray(self._simulation.population.variant_index == v)


def _gathered(task: SegmentTask, done_s: Reals, stop_s: Reals) -> tuple[float, Integers, int]:
    """When the gathering closed, everybody's outcome, and who was the last that counted."""
    num = len(done_s)
    done = task.start_s + done_s
    settled = np.where(np.isfinite(done), done, task.start_s + stop_s)
    closed = float(settled.max(initial=task.start_s))
    if task.awaited < num and int(np.isfinite(done).sum()) >= task.awaited:
        closed = min(closed, float(np.partition(done, task.awaited - 1)[task.awaited - 1]))
    closed = min(closed, task.deadline_s)
    outcome = np.full(num, LATE, dtype=np.int64)
    outcome[done <= closed] = USED
    outcome[~np.isfinite(done) & (settled <= closed)] = LOST
    used = np.flatnonzero(outcome == USED)
    last = int(used[np.argmax(done[used])]) if len(used) else -1
    return closed, outcome, last
