"""A shared resource inside the event kernel: flows of clients come and go at any time.

The same max-min sharing as for known arrivals, one client one flow at most. Accelerators that are
shared are such a link too: as much capacity as there are, and no request gets more than one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedsim.scale.compiled import compiled, inlined
from fedsim.scale.link.flow_heap_kernel import Flows, Heaps
from fedsim.scale.link.rank_set import empty_set, level_starts
from fedsim.scale.link.sharing_kernel import (
    advance,
    balance,
    come_in,
    next_end,
    still_to_send,
    take_out,
)
from fedsim.scale.link.state import CAPPED, LEAST_RATE, LEVEL, MAX_LANES, NOW, OUT, Queues, Sets

__all__ = [
    "FlowLink",
    "change_rates",
    "complete",
    "flow_link",
    "is_on",
    "join",
    "leave",
    "next_due",
]

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]


class FlowLink(NamedTuple):
    """State of one resource; see :mod:`fedsim.scale.link.sharing_kernel`.

    Attributes
    ----------
    flows, queues, sets, heaps : tuples of arrays
    real, count : ndarray
        Registers.
    capacity : ndarray, shape (1,)
        [B/s].
    """

    flows: Flows
    queues: Queues
    sets: Sets
    heaps: Heaps
    real: Reals
    count: Integers
    capacity: Reals


def flow_link(rate: Reals, capacity: float, start_s: float) -> FlowLink:
    """A resource without flows.

    Parameters
    ----------
    rate : ndarray, shape (m,)
        Each client's own limit [B/s].
    capacity : float
        May be infinite [B/s].
    start_s : float
        [s].
    """
    num = len(rate)
    # A rate far above the capacity says no more than the capacity, and sums would lose digits.
    rate = np.minimum(rate, capacity)
    by_rank = np.argsort(rate, kind="stable").astype(np.int64)
    rank = np.empty(num, dtype=np.int64)
    rank[by_rank] = np.arange(num)
    starts = level_starts(num)
    real = np.zeros(5)
    real[NOW], real[LEVEL], real[LEAST_RATE] = start_s, np.inf, np.inf
    none = np.full(MAX_LANES, -1, dtype=np.int64)
    return FlowLink(
        flows=(np.zeros(num, dtype=np.int8), np.zeros(num), np.zeros(num), rate, rank, by_rank),
        # Clients come back, so no flow may queue by its place: all go through the heap.
        queues=(none[:1].copy(), none.copy(), none.copy(), np.full(num, -1, dtype=np.int64)),
        sets=(starts, empty_set(starts), empty_set(starts)),
        heaps=(np.empty((2, 2 * num + 16)), np.empty((2, 2 * num + 16), dtype=np.int64)),
        real=real,
        count=np.zeros(4, dtype=np.int64),
        capacity=np.array([capacity]),
    )


@inlined
def join(link: FlowLink, c: int, size: float, now: float) -> None:
    """Client ``c`` begins to send ``size`` bytes."""
    flows, queues, sets, heaps, real, count, capacity = link
    flows[2][c] = size
    advance(real, count, now)
    come_in(c, now, flows, queues, sets, heaps, real, count)
    balance(flows, sets, heaps, real, count, capacity[0])


@compiled
def leave(link: FlowLink, c: int, now: float) -> float:
    """Client ``c`` stops; what it had still to send [B]."""
    flows, _, sets, heaps, real, count, capacity = link
    advance(real, count, now)
    unsent = min(still_to_send(c, flows, real), flows[2][c])
    take_out(c, flows, sets, real, count)
    balance(flows, sets, heaps, real, count, capacity[0])
    return unsent


@inlined
def complete(link: FlowLink, c: int, end: float) -> float:
    """Client ``c`` has sent everything at ``end``; when that is by the link's clock [s]."""
    flows, _, sets, heaps, real, count, capacity = link
    advance(real, count, end)
    through = end if flows[0][c] == CAPPED else real[NOW]
    take_out(c, flows, sets, real, count)
    balance(flows, sets, heaps, real, count, capacity[0])
    return through


@inlined
def next_due(link: FlowLink) -> tuple[int, float]:
    """Whose flow ends next, and when; -1 and infinite where there is none [s]."""
    flows, queues, _, heaps, real, count, _ = link
    return next_end(flows, queues, heaps, real, count)


@compiled
def is_on(link: FlowLink, c: int) -> bool:
    """Whether client ``c`` has a flow."""
    return link.flows[0][c] != OUT


@compiled
def change_rates(link: FlowLink, clients: Integers, rates: Reals, now: float) -> None:
    """Give some clients other limits, in mid-flow too: ranks and sides are found anew."""
    flows, queues, sets, heaps, real, count, capacity = link
    where, _, size, rate, rank, by_rank = flows
    advance(real, count, now)
    num = len(where)
    lacking = np.full(num, -1.0)
    for c in range(num):
        if where[c] != OUT:
            lacking[c] = still_to_send(c, flows, real)
    for c in range(num):
        if lacking[c] >= 0.0:
            take_out(c, flows, sets, real, count)
    for i in range(len(clients)):
        rate[clients[i]] = min(rates[i], capacity[0])
    order = np.argsort(rate, kind="mergesort")
    for place in range(num):
        by_rank[place] = order[place]
        rank[order[place]] = place
    real[LEVEL] = np.inf
    for c in range(num):
        if lacking[c] >= 0.0:
            whole = size[c]
            size[c] = lacking[c]
            come_in(c, now, flows, queues, sets, heaps, real, count)
            size[c] = whole
            balance(flows, sets, heaps, real, count, capacity[0])
