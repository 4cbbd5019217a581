"""A shared resource inside the event kernel: flows of clients come and go at any time.

The same max-min sharing as for known arrivals, one client one flow at most. Accelerators that are
shared are such a link too: as much capacity as there are, and no request gets more than one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedsim.scale.compiled import compiled, inlined
from fedsim.scale.link.rank_set import empty_set, level_starts
from fedsim.scale.link.sharing_kernel import (
    advance,
    balance,
    come_in,
    next_end,
    still_to_send,
    take_out,
)
from fedsim.scale.link.state import (
    CAPPED,
    LINK_STATE,
    MAX_LANES,
    OUT,
    FlowLink,
    Flows,
    Heaps,
    Queues,
    Sets,
)

__all__ = [
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
    state = np.zeros(1, LINK_STATE)
    state["now_s"], state["capacity"] = start_s, capacity
    state["level"] = state["least_rate"] = np.inf
    none = np.full(MAX_LANES, -1, dtype=np.int64)
    return FlowLink(
        Flows(np.zeros(num, dtype=np.int8), np.zeros(num), np.zeros(num), rate, rank, by_rank),
        # Clients come back, so no flow may queue by its place: all go through the heap.
        Queues(none[:1].copy(), none.copy(), none.copy(), np.full(num, -1, dtype=np.int64)),
        Sets(starts, empty_set(starts), empty_set(starts)),
        Heaps(
            np.empty((2, 2 * num + 16)),
            np.empty((2, 2 * num + 16), dtype=np.int64),
            np.zeros(2, dtype=np.int64),
        ),
        state,
    )


@inlined
def join(link: FlowLink, c: int, size: float, now: float) -> None:
    """Client ``c`` begins to send ``size`` bytes."""
    link.flows.size[c] = size
    advance(link, now)
    come_in(c, now, link)
    balance(link)


@compiled
def leave(link: FlowLink, c: int, now: float) -> float:
    """Client ``c`` stops; what it had still to send [B]."""
    advance(link, now)
    unsent = min(still_to_send(c, link), link.flows.size[c])
    take_out(c, link)
    balance(link)
    return unsent


@inlined
def complete(link: FlowLink, c: int, end: float) -> float:
    """Client ``c`` has sent everything at ``end``; when that is by the link's clock [s]."""
    advance(link, end)
    through = end if link.flows.where[c] == CAPPED else link.state[0].now_s
    take_out(c, link)
    balance(link)
    return through


@inlined
def next_due(link: FlowLink) -> tuple[int, float]:
    """Whose flow ends next, and when; -1 and infinite where there is none [s]."""
    return next_end(link)


@compiled
def is_on(link: FlowLink, c: int) -> bool:
    """Whether client ``c`` has a flow."""
    return link.flows.where[c] != OUT


@compiled
def change_rates(link: FlowLink, clients: Integers, rates: Reals, now: float) -> None:
    """Give some clients other limits, in mid-flow too: ranks and sides are found anew."""
    where, _, size, rate, rank, by_rank = link.flows
    advance(link, now)
    num = len(where)
    lacking = np.full(num, -1.0)
    for c in range(num):
        if where[c] != OUT:
            lacking[c] = still_to_send(c, link)
    for c in range(num):
        if lacking[c] >= 0.0:
            take_out(c, link)
    for i in range(len(clients)):
        rate[clients[i]] = min(rates[i], link.state[0].capacity)
    order = np.argsort(rate, kind="mergesort")
    for place in range(num):
        by_rank[place] = order[place]
        rank[order[place]] = place
    link.state[0].level = np.inf
    for c in range(num):
        if lacking[c] >= 0.0:
            whole = size[c]
            size[c] = lacking[c]
            come_in(c, now, link)
            size[c] = whole
            balance(link)
