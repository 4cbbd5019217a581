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
from fedsim.scale.events.state import ENDLESS, HORIZON_PASSED, Sums
from fedsim.scale.events.tables import program_tables, setting_of, state_of, step_sums_of
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
    setting = setting_of(task)
    agenda = empty_agenda(4 * len(task.clients) + 1024)
    state = state_of(task, setting, programs, labels, setting.retries + 1, agenda)
    run_events(agenda, state)
    sums, totals = state.sums, state.sums.totals[0]
    if totals["why_ended"] == ENDLESS:
        raise endless(float(totals["closed_s"]))
    if totals["why_ended"] == HORIZON_PASSED:
        raise HorizonError
    return SegmentOutcome(
        closed_s=float(totals["closed_s"]),
        outcome=sums.outcome,
        end_s=sums.end_s,
        last_used=int(totals["last"]),
        sums=step_sums_of(task.programs, labels, sums),
        accelerator_busy_s=float(totals["served_s"]),
        num_events=int(totals["num_events"]),
        visits=_visits(task, sums) if task.keeps_visits else None,
    )


def _visits(task: SegmentTask, sums: Sums) -> NDArray[np.void]:
    found = sums.visits[: int(sums.totals[0]["num_visits"])]
    rows = np.zeros(len(found), dtype=VISIT)
    rows["round_index"] = task.round_index
    rows["client"] = task.clients[found["client"]]
    rows["segment"] = task.segment_index
    for name in ("attempt", "visit", "resource", "join_s", "leave_s"):
        rows[name] = found[name]
    return rows
