"""Segments with feedback: one pass of many clients through the event kernel.

Split-FedLLM's mini-batches come back to the same links and accelerators again and again, clients
that left may come back, and rates may vary: nothing of it can be run through side by side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedsim.fleet.endless import endless
from fedsim.fleet.simulation import VISIT
from fedsim.scale.events.agenda_kernel import empty_agenda
from fedsim.scale.events.event_kernel import run_events
from fedsim.scale.events.state import CLOSED, EVENTS, HORIZON, LAST, NUM_VISITS, SERVED_S, Sums
from fedsim.scale.events.tables import (
    client_state,
    empty_sums,
    program_tables,
    resources,
    setting_of,
    tally_of,
)
from fedsim.scale.segment import HorizonError, SegmentOutcome, SegmentTask

__all__ = ["run_segment"]


def run_segment(task: SegmentTask) -> SegmentOutcome:
    """Run one segment event by event.

    Raises
    ------
    HorizonError
        If a client's return lies beyond what is known of availability.
    ScenarioError
        If it does not come to an end.
    """
    programs, labels = program_tables(task.simulation, task.programs)
    clients, setting = client_state(task, len(labels)), setting_of(task)
    links, queue = resources(task, setting, setting.retries + 1)
    sums = empty_sums(task, programs, labels)
    agenda = empty_agenda(4 * len(task.clients) + 1024)
    run_events(agenda, links, queue, clients, programs, setting, sums)
    if sums.totals[HORIZON] > 1:
        raise endless(float(sums.totals[CLOSED]))
    if sums.totals[HORIZON] > 0:
        raise HorizonError
    return SegmentOutcome(
        closed_s=float(sums.totals[CLOSED]),
        outcome=sums.outcome,
        end_s=sums.end_s,
        last_used=int(sums.numbers[LAST]),
        tally=tally_of(task.programs, programs, labels, sums),
        accelerator_busy_s=float(sums.totals[SERVED_S]),
        num_events=int(sums.numbers[EVENTS]),
        visits=_visits(task, sums) if task.keeps_visits else None,
    )


def _visits(task: SegmentTask, sums: Sums) -> NDArray[np.void]:
    num = int(sums.numbers[NUM_VISITS])
    rows = np.zeros(num, dtype=VISIT)
    rows["round_index"] = task.round_index
    rows["client"] = task.clients[sums.visit_numbers[:num, 0]]
    rows["segment"] = task.segment_index
    for column, name in enumerate(("attempt", "visit", "resource"), start=1):
        rows[name] = sums.visit_numbers[:num, column]
    rows["join_s"], rows["leave_s"] = sums.visit_s[:num, 0], sums.visit_s[:num, 1]
    return rows
