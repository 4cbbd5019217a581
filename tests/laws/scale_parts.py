"""The compiled engine's accelerators and link, alone, with known arrivals: an open system.

What clients do before and behind is not known here; laws of queueing, which are about such
systems, are held against it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedsim.scale.compiled import compiled
from fedsim.scale.events.agenda_kernel import Agenda, empty_agenda, pop, push
from fedsim.scale.events.queue_kernel import Queue, ask, end_service, queue_of, withdraw
from fedsim.scale.events.state import BEGIN, SERVED, STOP, TOTALS
from fedsim.scale.events.walk_kernel import CLIENT
from fedsim.scale.link.flow_link_kernel import complete, flow_link, join, next_due
from fedsim.scale.link.state import FlowLink
from fedsim.scale.straight.link import FlowSet

__all__ = ["link_departures", "queue_departures", "sharing_departures"]

Reals = NDArray[np.float64]


def queue_departures(
    arrival_s: ArrayLike,
    own_s: ArrayLike,
    *,
    num_accelerators: int,
    max_batch: int = 1,
    shared_s: ArrayLike | None = None,
    patience_s: float = np.inf,
) -> tuple[Reals, Reals]:
    """When each request's service starts, and when it ends: first come, first served.

    Parameters
    ----------
    arrival_s : array_like, shape (n,)
        In any order; those of one nanosecond go by their index [s].
    own_s : array_like, shape (n,)
        What each request takes for itself [s].
    num_accelerators : int
    max_batch : int
        Waiting requests that an accelerator takes up at once.
    shared_s : array_like, shape (n,), optional
        What a batch pays once, by its largest; 0 by default [s].
    patience_s : float
        Requests that have waited for that long are taken back; with 0 there is no queue, and who
        finds all accelerators busy is turned away [s].

    Returns
    -------
    start_s : ndarray, shape (n,)
        Infinite for requests that were taken back [s].
    end_s : ndarray, shape (n,)
        Of the service, or when the request was taken back [s].
    """
    arrival = np.ascontiguousarray(arrival_s, dtype=np.float64)
    num = len(arrival)
    own = np.ascontiguousarray(own_s, dtype=np.float64)
    shared = np.zeros(num) if shared_s is None else np.ascontiguousarray(shared_s, dtype=np.float64)
    queue = queue_of(num, 1, num_accelerators, max_batch)
    queue.requests["start_s"] = np.inf
    # For each request: it comes, it may be taken back, it is served or told so.
    agenda = empty_agenda(3 * num + 64)
    end = np.full(num, np.inf)
    _run_queue(agenda, queue, arrival, own, shared, patience_s, end)
    return np.array(queue.requests["start_s"]), end


def sharing_departures(arrival_s: ArrayLike, work_s: ArrayLike, num_accelerators: int) -> Reals:
    """When each request is through where all share the accelerators.

    Parameters
    ----------
    arrival_s : array_like, shape (n,)
        In any order [s].
    work_s : array_like, shape (n,)
        What each request takes alone [s].
    num_accelerators : int
        ``c``: ``n`` requests run at ``min(1, c / n)`` each.

    Returns
    -------
    end_s : ndarray, shape (n,)
        [s].
    """
    arrival = np.ascontiguousarray(arrival_s, dtype=np.float64)
    work = np.ascontiguousarray(work_s, dtype=np.float64)
    num = len(arrival)
    link = flow_link(np.ones(num), float(num_accelerators), 0.0)
    end = np.full(num, np.inf)
    _run_sharing(link, np.argsort(arrival, kind="stable"), arrival, work, end)
    return end


def link_departures(
    arrival_s: Reals,
    num_bytes: Reals,
    rate_bytes_per_s: Reals,
    capacity_bytes_per_s: float | None,
    leave_by_s: Reals | None = None,
) -> tuple[Reals, Reals]:
    """Ends of flows and what they had still to send; see ``FlowSet.departures``."""
    capacity = np.inf if capacity_bytes_per_s is None else capacity_bytes_per_s
    flows = FlowSet(np.asarray(num_bytes), np.asarray(rate_bytes_per_s), capacity)
    return flows.departures(np.asarray(arrival_s), leave_by_s)


@compiled
def _run_queue(
    agenda: Agenda,
    queue: Queue,
    arrival: Reals,
    own: Reals,
    shared: Reals,
    patience: float,
    end: Reals,
) -> None:
    """Let requests come and be served until nothing is left, in the event kernel's order."""
    clients, totals = np.zeros(len(arrival), dtype=CLIENT), np.zeros(1, dtype=TOTALS)
    requests = queue.requests
    for request in range(len(arrival)):
        push(agenda, arrival[request], 2 * request + 2, BEGIN, request, 0)
    while agenda.counts[0].length > 0:
        event = agenda.events[0]
        what, request, stamp, now = event.what, event.who, event.stamp, event.time_s
        pop(agenda)
        if what == BEGIN:
            ask(agenda, queue, request, now, own[request], shared[request])
            if patience < np.inf and requests[request].start_s == np.inf:
                push(agenda, now + patience, 2 * request + 3, STOP, request, 0)
        elif what == SERVED:
            end_service(agenda, queue, request, stamp, now, clients, totals[0])
        elif what == STOP:
            if requests[request].start_s == np.inf:
                withdraw(agenda, queue, request, now, totals[0])
                end[request] = now
        else:
            end[request] = now


@compiled
def _run_sharing(
    link: FlowLink, order: NDArray[np.int64], arrival: Reals, work: Reals, end: Reals
) -> None:
    """Let requests come and share until all are through; ends ahead of arrivals."""
    come = 0
    while True:
        request, due = next_due(link)
        next_come = arrival[order[come]] if come < len(order) else np.inf
        if due == np.inf and next_come == np.inf:
            return
        if np.rint(due * 1e9) <= np.rint(next_come * 1e9):
            end[request] = complete(link, request, due)
        else:
            join(link, order[come], work[order[come]], next_come)
            come += 1
