"""A segment as the event kernels' arrays: programs, clients, resources, sums."""

from __future__ import annotations

from math import floor

import numpy as np

from fedsim.draws import turn_order
from fedsim.fleet.rules import PATIENCE_S
from fedsim.fleet.simulation import Simulation
from fedsim.fleet.uncontended import work_until_failure
from fedsim.scale.events.agenda_kernel import Agenda
from fedsim.scale.events.handle_kernel import begin_traces
from fedsim.scale.events.queue_kernel import Queue, queue_of
from fedsim.scale.events.state import (
    COUNTS,
    LINK_ALARM,
    RATE,
    TOTALS,
    VISITED,
    Links,
    Setting,
    State,
    Sums,
)
from fedsim.scale.events.walk_kernel import BLOCK, CLIENT, LINK, SPENT, STAGE, Programs
from fedsim.scale.link.flow_link_kernel import flow_link
from fedsim.scale.program import Program
from fedsim.scale.records import Integers, Reals, Records
from fedsim.scale.segment import USED, SegmentTask, step_sums

__all__ = ["program_tables", "setting_of", "state_of", "step_sums_of"]


def state_of(
    task: SegmentTask,
    setting: Setting,
    programs: Programs,
    labels: tuple[str, ...],
    num_requests: int,
    agenda: Agenda,
) -> State:
    """Everybody ahead of the start, and the changes of rates announced.

    Parameters
    ----------
    task : SegmentTask
    setting : Setting
    programs : Programs
    labels : tuple of str
    num_requests : int
        That a client may have in batches at a time; not needed where accelerators are shared.
    agenda : Agenda
    """
    links, queue = _resources(task, setting, num_requests)
    alarms = np.zeros(len(links), LINK_ALARM)
    alarms["due_s"] = np.inf
    rates = np.zeros(len(setting.piece), RATE)
    begin_traces(agenda, rates, setting)
    return State(
        links=links,
        alarms=alarms,
        queue=queue,
        rates=rates,
        clients=_clients(task),
        spent=np.zeros((len(task.clients), len(labels)), SPENT),
        programs=programs,
        setting=setting,
        sums=_empty_sums(task, programs, labels),
    )


def _resources(task: SegmentTask, setting: Setting, num_requests: int) -> tuple[Links, Queue]:
    """Both sides of the link and the accelerators, as a link and as a queue."""
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
    stages = np.zeros((len(programs), num_stages), STAGE)
    blocks = np.zeros((len(programs), num_blocks), BLOCK)
    for v, program in enumerate(programs):
        for s, stage in enumerate(program.stages):
            row = {name: getattr(stage, name) for name in _OF_STAGES}
            row |= {"kind": int(stage.kind), "label": labels.index(stage.step.label)}
            stages[v, s] = tuple(row[name] for name in _names(STAGE))
        for b, block in enumerate(program.blocks):
            blocks[v, b] = block.first, block.stop, block.times
    links = [
        tuple(float(getattr(c.link, name)) for name in _names(LINK))
        for c in simulation.federation.classes
    ]
    counts = np.array([len(p.blocks) for p in programs], dtype=np.int64)
    return Programs(stages, blocks, counts, np.array(links, LINK)), labels


def _names(dtype: np.dtype[np.void]) -> tuple[str, ...]:
    return dtype.names or ()


#: What a record of a stage has of the stage, as it is.
_OF_STAGES = tuple(name for name in _names(STAGE) if name not in ("kind", "label"))


def _clients(task: SegmentTask) -> Records:
    """Everybody ahead of the start."""
    population, federation = task.simulation.population, task.simulation.federation
    here, server = task.clients, federation.server
    which = population.class_index[here]
    traced = np.array([c.link.trace is not None for c in federation.classes])
    fraction = np.array([c.link.payload_fraction for c in federation.classes])
    clients = np.zeros(len(here), CLIENT)
    clients["group"], clients["client_class"] = population.group_index[here], which
    clients["is_traced"] = traced[which]
    clients["pace"] = population.slowdown[here] * task.factors
    clients["round_trip_s"] = population.round_trip[here]
    clients["uplink"], clients["downlink"] = population.uplink[here], population.downlink[here]
    for alone, rate, capacity in (
        ("alone_up", "uplink", server.uplink_bytes_per_s),
        ("alone_down", "downlink", server.downlink_bytes_per_s),
    ):
        clients[alone] = np.minimum(clients[rate], capacity or np.inf) * fraction[which]
    return clients


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
        patience_s=PATIENCE_S,
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


def _empty_sums(task: SegmentTask, programs: Programs, labels: tuple[str, ...]) -> Sums:
    """Nothing yet."""
    num, (num_groups, num_stages) = len(task.clients), programs.stages.shape
    spent = np.zeros((num_groups, len(labels), 3), SPENT)
    spent["first_s"] = np.inf
    num_visits = 0
    if task.keeps_visits:
        blocks = programs.blocks
        longest = ((blocks["stop"] - blocks["first"]) * blocks["times"]).sum(axis=1).max()
        num_visits = num * (task.simulation.policy.retries + 1) * int(longest)
    return Sums(
        outcome=np.full(num, 1, dtype=np.int64),
        end_s=np.full(num, task.start_s),
        spent=spent,
        counts=np.zeros((num_groups, num_stages, 3), COUNTS),
        totals=np.zeros(1, TOTALS),
        visits=np.zeros(num_visits, VISITED),
    )


def step_sums_of(programs: tuple[Program, ...], labels: tuple[str, ...], sums: Sums) -> Records:
    """Seconds of a label go to its first stage; executions of used ones are the program's."""
    found = step_sums(len(programs), sums.counts.shape[1])
    for name in _names(COUNTS):
        found[name] = sums.counts[name]
    for v, program in enumerate(programs):
        num_used = int(sums.counts["executions"][v, 0, USED])
        found["executions"][v, :, USED] = 0
        for block in program.blocks:
            for s in range(block.first, block.stop):
                times = block.times * program.stages[s].times
                found["executions"][v, s, USED] = num_used * times
                # A row stands wherever something began, finished or not.
                first_s = sums.spent["first_s"][v, labels.index(_label(program, s))]
                found["start_s"][v, s] = np.where(
                    np.isfinite(first_s), first_s, found["start_s"][v, s]
                )
        home: dict[str, int] = {}
        for s in range(len(program.stages)):
            home.setdefault(_label(program, s), s)
        for label, s in home.items():
            own = sums.spent[v, labels.index(label)]
            for name in ("compute_s", "server_s", "transfer_s", "wait_s"):
                found[name][v, s] = own[name]
    return found


def _label(program: Program, stage: int) -> str:
    return program.stages[stage].step.label
