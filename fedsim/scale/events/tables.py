"""A segment as the event kernels' arrays: programs, clients, resources, sums."""

from __future__ import annotations

from math import floor

import numpy as np
from numpy.typing import NDArray

from fedsim.draws import turn_order
from fedsim.fleet.simulation import Simulation
from fedsim.fleet.uncontended import work_until_failure
from fedsim.scale.events.queue_kernel import Queue, queue_of
from fedsim.scale.events.state import Links, Setting, Sums
from fedsim.scale.events.walk_kernel import (
    ALONE_DOWN,
    ALONE_UP,
    NUM_REAL,
    NUM_WHOLE,
    Clients,
    Programs,
)
from fedsim.scale.link.flow_link_kernel import flow_link
from fedsim.scale.program import Program
from fedsim.scale.segment import USED, SegmentTask, Tally

__all__ = [
    "client_state",
    "empty_sums",
    "program_tables",
    "resources",
    "setting_of",
    "tally_of",
]

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Who is not back after this long is not waited for [s].
_PATIENCE_S = 100 * 86400.0


def resources(task: SegmentTask, setting: Setting, num_requests: int) -> tuple[Links, Queue]:
    """Both sides of the link and the accelerators, as a link and as a queue.

    Parameters
    ----------
    task : SegmentTask
    setting : Setting
    num_requests : int
        That a client may have in batches at a time; not needed where accelerators are shared.
    """
    simulation, here = task.simulation, task.clients
    population, server = simulation.population, simulation.federation.server
    factors = _trace_factors(setting)[population.class_index[here]]
    capacity, num = setting.capacity, len(here)
    num_places = _num_accelerators(simulation)
    links = (
        flow_link(population.uplink[here] * factors, float(capacity[0]), task.start_s),
        flow_link(population.downlink[here] * factors, float(capacity[1]), task.start_s),
        flow_link(np.ones(num), float(num_places), task.start_s),
    )
    return links, queue_of(num, num_requests, num_places, server.max_batch)


def _num_accelerators(simulation: Simulation) -> int:
    # Updates of one model follow each other, however many accelerators there are.
    return 1 if simulation.has_exclusive_steps else simulation.federation.server.num_accelerators


def program_tables(
    simulation: Simulation, programs: tuple[Program, ...]
) -> tuple[Programs, tuple[str, ...]]:
    """Programs as arrays, and the labels in order of first appearance."""
    labels = tuple(dict.fromkeys(s.step.label for p in programs for s in p.stages)) or ("",)
    num_stages = max(1, *(len(p.stages) for p in programs))
    num_blocks = max(1, *(len(p.blocks) for p in programs))
    whole = np.zeros((len(programs), num_stages, 5), dtype=np.int64)
    real = np.zeros((len(programs), num_stages, 3))
    blocks = np.zeros((len(programs), num_blocks, 3), dtype=np.int64)
    for v, program in enumerate(programs):
        for s, stage in enumerate(program.stages):
            whole[v, s] = (
                int(stage.kind),
                stage.times,
                stage.message_bytes,
                stage.payload_bytes,
                labels.index(stage.step.label),
            )
            real[v, s] = stage.client_s, stage.server_s, stage.shared_s
        for b, block in enumerate(program.blocks):
            blocks[v, b] = block.first, block.stop, block.times
    links = [
        (
            c.link.message_s,
            c.link.handshake_round_trips,
            float(c.link.initial_window_bytes),
            c.link.payload_fraction,
        )
        for c in simulation.federation.classes
    ]
    counts = np.array([len(p.blocks) for p in programs], dtype=np.int64)
    return Programs(whole, real, blocks, counts, np.array(links)), labels


def client_state(task: SegmentTask, num_labels: int) -> Clients:
    """Everybody ahead of the start."""
    population = task.simulation.population
    num, here = len(task.clients), task.clients
    at = np.zeros((num, NUM_WHOLE), dtype=np.int64)
    at[:, 0] = population.variant_index[here]
    at[:, 1] = population.class_index[here]
    traced = [c.link.trace is not None for c in task.simulation.federation.classes]
    at[:, 10] = np.array(traced, dtype=np.int64)[population.class_index[here]]
    real = np.zeros((num, NUM_REAL))
    real[:, 0] = population.slowdown[here] * task.factors
    real[:, 1] = population.round_trip[here]
    real[:, 2], real[:, 3] = population.uplink[here], population.downlink[here]
    federation = task.simulation.federation
    fraction = np.array([c.link.payload_fraction for c in federation.classes])[at[:, 1]]
    for column, rate, capacity in (
        (ALONE_UP, real[:, 2], federation.server.uplink_bytes_per_s),
        (ALONE_DOWN, real[:, 3], federation.server.downlink_bytes_per_s),
    ):
        real[:, column] = np.minimum(rate, capacity or np.inf) * fraction
    return Clients(at, real, np.zeros((num, num_labels, 5)), np.zeros((num, 2), dtype=np.int64))


def setting_of(task: SegmentTask) -> Setting:
    """What does not change during the segment."""
    simulation, num = task.simulation, len(task.clients)
    policy, server = simulation.policy, simulation.federation.server
    retries = policy.retries if task.segment_index >= 0 else 0
    failure = np.full((1, num), np.inf)
    if task.can_fail:
        failure = np.stack(
            [
                work_until_failure(simulation, task.round_index, task.clients, a, task.alone_s)
                for a in range(retries + 1)
            ]
        )
    order = np.arange(num)
    if task.in_turns:
        keys = simulation.population.keys[task.clients]
        order = turn_order(simulation.seed, task.round_index, keys)
    first, come, leave = _presence(task)
    piece, num_pieces, piece_s, factor, period = _traces(task)
    capacities = (server.uplink_bytes_per_s, server.downlink_bytes_per_s)
    return Setting(
        start_s=task.start_s,
        deadline_s=task.deadline_s,
        retry_after_s=policy.retry_after_s,
        timeout_s=-1.0 if policy.failure_timeout_s is None else policy.failure_timeout_s,
        awaited=task.awaited,
        retries=retries,
        in_turns=task.in_turns,
        is_sharing=server.discipline == "sharing",
        keeps_visits=task.keeps_visits,
        order=order,
        failure_s=failure,
        alone_s=np.array(task.alone_s, dtype=np.float64),
        first=first,
        come_s=come,
        leave_s=leave,
        horizon_s=np.inf if task.presence is None else task.presence.horizon_s,
        patience_s=_PATIENCE_S,
        piece=piece,
        num_pieces=num_pieces,
        piece_s=piece_s,
        factor=factor,
        period_s=period,
        capacity=np.array([np.inf if c is None else c for c in capacities]),
    )


def _presence(task: SegmentTask) -> tuple[Integers, Reals, Reals]:
    """The clients' own rows of the intervals."""
    num = len(task.clients)
    if task.presence is None or task.segment_index < 0:
        return np.zeros(num + 1, dtype=np.int64), np.zeros(0), np.zeros(0)
    first = task.presence.first
    counts = first[task.clients + 1] - first[task.clients]
    own_first = np.concatenate(([0], np.cumsum(counts)))
    rows = np.repeat(first[task.clients] - own_first[:-1], counts) + np.arange(own_first[-1])
    return own_first, task.presence.start_s[rows], task.presence.end_s[rows]


def _traces(task: SegmentTask) -> tuple[Integers, Integers, Reals, Reals, Reals]:
    classes = task.simulation.federation.classes
    longest = max([len(c.link.trace.times_s) for c in classes if c.link.trace], default=1)
    piece = np.full(len(classes), -1, dtype=np.int64)
    num_pieces = np.ones(len(classes), dtype=np.int64)
    piece_s, factor = np.zeros((len(classes), longest)), np.ones((len(classes), longest))
    period = np.ones(len(classes))
    for number, client_class in enumerate(classes):
        trace = client_class.link.trace
        if trace is None:
            continue
        num = len(trace.times_s)
        num_pieces[number] = num
        piece_s[number, :num], factor[number, :num] = trace.times_s, trace.factors
        period[number] = trace.period_s
        index = max(0, floor(task.start_s / trace.period_s) - 1) * num
        tick = round(task.start_s * 1e9)
        while round(trace.change(index + 1)[0] * 1e9) <= tick:
            index += 1
        piece[number] = index
    return piece, num_pieces, piece_s, factor, period


def _trace_factors(setting: Setting) -> Reals:
    """In force at the start, by class."""
    factors = np.ones(len(setting.piece))
    for number, piece in enumerate(setting.piece.tolist()):
        if piece >= 0:
            factors[number] = setting.factor[number, piece % int(setting.num_pieces[number])]
    return factors


def empty_sums(task: SegmentTask, programs: Programs, labels: tuple[str, ...]) -> Sums:
    """Nothing yet."""
    num, num_variants = len(task.clients), len(programs.whole)
    seconds = np.zeros((num_variants, len(labels), 3, 5))
    seconds[..., 4] = np.inf
    shape = (num_variants, programs.whole.shape[1], 3)
    num_visits = 0
    if task.keeps_visits:
        per_block = programs.blocks[:, :, 1] - programs.blocks[:, :, 0]
        longest = int((per_block * programs.blocks[:, :, 2]).sum(axis=1).max())
        num_visits = num * (task.simulation.policy.retries + 1) * longest
    return Sums(
        outcome=np.full(num, 1, dtype=np.int64),
        end_s=np.full(num, task.start_s),
        seconds=seconds,
        executions=np.zeros(shape, dtype=np.int64),
        cut_bytes=np.zeros(shape, dtype=np.int64),
        cut_payload=np.zeros(shape, dtype=np.int64),
        totals=np.zeros(4),
        numbers=np.zeros(6, dtype=np.int64),
        visit_numbers=np.zeros((num_visits, 6), dtype=np.int64),
        visit_s=np.zeros((num_visits, 2)),
    )


def tally_of(
    programs: tuple[Program, ...], tables: Programs, labels: tuple[str, ...], sums: Sums
) -> Tally:
    """Seconds of a label go to its first stage; executions of used ones are the program's."""
    tally = Tally.empty(len(programs), tables.whole.shape[1])
    tally.executions[:] = sums.executions
    tally.cut_bytes[:], tally.cut_payload[:] = sums.cut_bytes, sums.cut_payload
    for v, program in enumerate(programs):
        num_used = int(sums.executions[v, 0, USED])
        tally.executions[v, :, USED] = 0
        for block in program.blocks:
            for s in range(block.first, block.stop):
                times = block.times * program.stages[s].times
                tally.executions[v, s, USED] = num_used * times
                # A row stands wherever something began, finished or not.
                begun = np.isfinite(sums.seconds[v, labels.index(_label(program, s)), :, 4])
                tally.start_s[v, s, begun] = sums.seconds[
                    v, labels.index(_label(program, s)), begun, 4
                ]
        home: dict[str, int] = {}
        for s in range(len(program.stages)):
            home.setdefault(_label(program, s), s)
        for label, s in home.items():
            own = sums.seconds[v, labels.index(label)]
            tally.compute_s[v, s], tally.server_s[v, s] = own[:, 0], own[:, 1]
            tally.transfer_s[v, s], tally.wait_s[v, s] = own[:, 2], own[:, 3]
    return tally


def _label(program: Program, stage: int) -> str:
    return program.stages[stage].step.label
