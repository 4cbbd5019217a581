"""Exact max-min sharing of one link by flows with rates of their own, event by event.

Every flow is on one of two sides. *Shared* flows run at the level ``w``, all alike, so that they
are ordered for good by the service that they still lack when they come in: a finish tag in virtual
time, the integral of ``w``. *Capped* flows run at their own rate, so that their end is known. A
flow changes sides only when the level crosses its rate. Flows of one size that come in on the
shared side have rising tags, so they queue without a heap.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedsim.scale.compiled import borrowed, compiled
from fedsim.scale.link.flow_heap_kernel import push, top
from fedsim.scale.link.plain_kernel import share_plainly
from fedsim.scale.link.rank_set import add, largest, least, remove
from fedsim.scale.link.state import (
    CAPPED,
    CAPPED_SIDE,
    HEAPED,
    LINK_STATE,
    MAX_LANES,
    OUT,
    PAUSED,
    QUEUED,
    SHARED_SIDE,
    FlowLink,
    Flows,
    Heaps,
    Queues,
    Sets,
)

__all__ = [
    "Demand",
    "Leavers",
    "advance",
    "balance",
    "come_in",
    "next_end",
    "share_in_order",
    "still_to_send",
    "take_out",
]

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]


class Demand(NamedTuple):
    """What flows ask for.

    Attributes
    ----------
    size, rate : ndarray, shape (n,)
        [B], [B/s].
    rank, by_rank : ndarray of int64, shape (n,)
        By rate, ascending.
    lane : ndarray of int64, shape (n,)
        Queue of each flow's size, or -1.
    """

    size: Reals
    rate: Reals
    rank: Integers
    by_rank: Integers
    lane: Integers


class Leavers(NamedTuple):
    """Flows that are taken out where they are not through; places are those of arrival.

    Attributes
    ----------
    place : ndarray of int64, shape (k,)
        In order of leaving.
    leave_by : ndarray, shape (m,) or (0,)
        Of every flow [s].
    """

    place: Integers
    leave_by: Reals


@compiled
def share_in_order(
    order: Integers,
    arrival: Reals,
    demand: Demand,
    starts: Integers,
    capacity: float,
    leavers: Leavers,
    departure: Reals,
    unsent: Reals,
) -> None:
    """Run flows through, numbered anew in order of arrival.

    That is nearly the order of departure too, so memory is read in a row.
    """
    num = len(order)
    size, rate, rank, by_rank, lane = demand
    new_place = np.full(len(arrival), -1, dtype=np.int64)
    new_arrival, new_size, new_rate = np.empty(num), np.empty(num), np.empty(num)
    new_rank, new_lane = np.empty(num, dtype=np.int64), np.empty(num, dtype=np.int64)
    for place in range(num):
        flow = order[place]
        new_place[flow] = place
        new_arrival[place] = arrival[flow]
        new_size[place] = size[flow]
        new_rate[place] = rate[flow]
        new_rank[place] = rank[flow]
        new_lane[place] = lane[flow]
    new_by_rank = np.empty(len(by_rank), dtype=np.int64)
    for place in range(len(by_rank)):
        new_by_rank[place] = new_place[by_rank[place]]
    new_departure, new_unsent = np.full(num, np.inf), np.zeros(num)
    anew = Demand(new_size, new_rate, new_rank, new_by_rank, new_lane)
    _share(new_arrival, anew, starts, capacity, leavers, new_departure, new_unsent)
    for place in range(num):
        departure[order[place]] = new_departure[place]
        unsent[order[place]] = new_unsent[place]


@compiled
def _share(
    arrival: Reals,
    demand: Demand,
    starts: Integers,
    capacity: float,
    leavers: Leavers,
    departure: Reals,
    unsent: Reals,
) -> None:
    """Run flows through in order of arrival; fill ``departure`` (infinite) and ``unsent`` (0)."""
    num = len(arrival)
    size, rate, rank, by_rank, lane = demand
    num_words = starts[len(starts) - 1]
    state = np.zeros(1, dtype=LINK_STATE)
    state[0].level = state[0].least_rate = np.inf
    state[0].capacity = capacity
    own = FlowLink(
        Flows(np.zeros(num, dtype=np.int8), np.empty(num), size, rate, rank, by_rank),
        Queues(
            np.full(num, -1, dtype=np.int64),
            np.full(MAX_LANES, -1, dtype=np.int64),
            np.full(MAX_LANES, -1, dtype=np.int64),
            lane,
        ),
        Sets(starts, np.zeros(num_words, dtype=np.uint64), np.zeros(num_words, dtype=np.uint64)),
        Heaps(
            np.empty((2, 2 * num + 16)),
            np.empty((2, 2 * num + 16), dtype=np.int64),
            np.zeros(2, dtype=np.int64),
        ),
        state,
    )
    _run_through(arrival, leavers, departure, unsent, borrowed(own))
    # What was borrowed lives as long as its owner is spoken of.
    own.heaps.lengths[0] = len(own.flows.where) + len(own.queues.head) + len(own.sets.shared)
    own.state[0].num_shared = len(own.heaps.keys)


@compiled
def _run_through(
    arrival: Reals, leavers: Leavers, departure: Reals, unsent: Reals, link: FlowLink
) -> None:
    arrival, leavers, departure, unsent, link = borrowed(
        (arrival, leavers, departure, unsent, link)
    )
    leaver, leave_by = leavers
    flows, sets, heaps, state = link.flows, link.sets, link.heaps, link.state[0]
    size, rate, by_rank = flows.size, flows.rate, flows.by_rank
    num = len(arrival)
    next_arrival = next_leaver = 0
    while True:
        if state.num_shared > 1:
            stop, fastest = np.inf, 0.0
            if next_leaver < len(leaver):
                stop = leave_by[leaver[next_leaver]]
            if state.num_capped > 0:
                stop = min(stop, flows.due[top(CAPPED_SIDE, CAPPED, flows, heaps)])
                fastest = rate[by_rank[largest(sets.capped, sets.starts)]]
            first_heaped = top(SHARED_SIDE, HEAPED, flows, heaps)
            last_tag = flows.due[first_heaped] if first_heaped >= 0 else np.inf
            left = state.capacity - state.capped_rate
            next_arrival = share_plainly(
                arrival, link, left, fastest, next_arrival, stop, last_tag, departure
            )
        flow, end = next_end(link)
        come = leave = np.inf
        if next_arrival < num:
            come = arrival[next_arrival]
        while next_leaver < len(leaver) and departure[leaver[next_leaver]] < np.inf:
            next_leaver += 1
        if next_leaver < len(leaver):
            leave = leave_by[leaver[next_leaver]]
        if end == np.inf and come == np.inf:
            return
        # What ends at the nanosecond at which it would be taken out has ended.
        if end <= come and np.rint(end * 1e9) <= np.rint(leave * 1e9):
            advance(link, end)
            departure[flow] = end if flows.where[flow] == CAPPED else state.now_s
            take_out(flow, link)
            balance(link)
        elif leave < come:
            gone = leaver[next_leaver]
            advance(link, leave)
            departure[gone] = leave
            unsent[gone] = still_to_send(gone, link)
            take_out(gone, link)
            balance(link)
        else:
            new = next_arrival
            next_arrival += 1
            departure[new], unsent[new] = come, size[new]
            if len(leave_by) > 0 and leave_by[new] <= come:
                continue
            unsent[new] = 0.0
            if size[new] > 0.0:
                departure[new] = np.inf
                advance(link, come)
                come_in(new, come, link)
                balance(link)


@compiled
def advance(link: FlowLink, now: float) -> None:
    """Bring the clock up to a moment; it stands still within a nanosecond.

    Flows that come or end together by all but rounding are together then. Else whoever is first by
    a trillionth of a second has the link for itself that long, and is ahead by as many times that
    as there are others; after a dozen visits this is microseconds.
    """
    link = borrowed(link)
    state = link.state[0]
    if now > state.now_s and np.rint(now * 1e9) != np.rint(state.now_s * 1e9):
        if state.num_shared > 0:
            state.service += state.level * (now - state.now_s)
        state.now_s = now


@compiled
def next_end(link: FlowLink) -> tuple[int, float]:
    """The flow that ends next and when; infinite where there is none."""
    link = borrowed(link)
    flows, heaps, state = link.flows, link.heaps, link.state[0]
    where, due = flows.where, flows.due
    follower, heads = link.queues.follower, link.queues.head
    flow, tag = np.int64(-1), np.inf
    if state.num_shared > 0:
        for lane in range(MAX_LANES):
            head = heads[lane]
            while head >= 0 and where[head] != QUEUED:
                head = follower[head]
            heads[lane] = head
            if head >= 0 and due[head] < tag:
                flow, tag = head, due[head]
        first = top(SHARED_SIDE, HEAPED, flows, heaps)
        if first >= 0 and due[first] < tag:
            flow, tag = first, due[first]
    end = np.inf
    if flow >= 0:
        end = max(state.now_s, state.now_s + (tag - state.service) / state.level)
    if state.num_capped > 0:
        first = top(CAPPED_SIDE, CAPPED, flows, heaps)
        if due[first] < end:
            flow, end = first, due[first]
    return flow, end


@compiled
def still_to_send(flow: int, link: FlowLink) -> float:
    """What a flow that is on the link has not sent yet [B]."""
    link = borrowed(link)
    where, due, _, rate, _, _ = link.flows
    state = link.state[0]
    if where[flow] == CAPPED:
        return max(0.0, (due[flow] - state.now_s) * rate[flow])
    if where[flow] == PAUSED:
        return due[flow]
    return max(0.0, due[flow] - state.service)


@compiled
def come_in(new: int, now: float, link: FlowLink) -> None:
    """Put a flow on the side where the level of this moment has it."""
    link = borrowed(link)
    where, due, size, rate, rank, _ = link.flows
    state = link.state[0]
    if rate[new] <= 0.0:
        where[new], due[new] = PAUSED, size[new]
        return
    if rate[new] <= state.level:
        due[new] = max(now, state.now_s) + size[new] / rate[new]
        _to_capped(new, link)
        return
    due[new] = state.service + size[new]
    follower, heads, tails, lanes = link.queues
    lane = lanes[new]
    if lane < 0:
        _to_shared(new, link)
        return
    # Among flows of one size those that come later end later: no heap is needed.
    where[new] = QUEUED
    if heads[lane] < 0:
        heads[lane] = new
    else:
        follower[tails[lane]] = new
    tails[lane] = new
    add(link.sets.shared, link.sets.starts, rank[new])
    state.num_shared += 1
    state.least_rate = min(state.least_rate, rate[new])


@compiled
def _to_capped(flow: int, link: FlowLink) -> None:
    link = borrowed(link)
    where, _, _, rate, rank, _ = link.flows
    state = link.state[0]
    where[flow] = CAPPED
    add(link.sets.capped, link.sets.starts, rank[flow])
    state.num_capped += 1
    state.capped_rate += rate[flow]
    push(CAPPED_SIDE, CAPPED, flow, link.flows, link.heaps)


@compiled
def _to_shared(flow: int, link: FlowLink) -> None:
    link = borrowed(link)
    where, _, _, rate, rank, _ = link.flows
    state = link.state[0]
    where[flow] = HEAPED
    add(link.sets.shared, link.sets.starts, rank[flow])
    state.num_shared += 1
    state.least_rate = min(state.least_rate, rate[flow])
    push(SHARED_SIDE, HEAPED, flow, link.flows, link.heaps)


@compiled
def take_out(flow: int, link: FlowLink) -> None:
    """Remove a flow from its side; the level is for :func:`balance` to find."""
    link = borrowed(link)
    where, _, _, rate, rank, _ = link.flows
    sets, state = link.sets, link.state[0]
    if where[flow] == CAPPED:
        remove(sets.capped, sets.starts, rank[flow])
        state.num_capped -= 1
        state.capped_rate -= rate[flow]
        if state.num_capped == 0:
            # What rounding left over goes with the last of them.
            state.capped_rate = 0.0
    elif where[flow] != PAUSED:
        remove(sets.shared, sets.starts, rank[flow])
        state.num_shared -= 1
        if state.num_shared == 0:
            state.service = 0.0
            state.least_rate = np.inf
    where[flow] = OUT


@compiled
def balance(link: FlowLink) -> None:
    """Find the level, and move the flows whose rates it has crossed.

    Down first: flows that are faster than the level leave the capped side, the fastest first. Then
    up: the slowest leave the shared side while the level, which rises with that, is above them.
    Each is done once, so that rounding cannot make them alternate.
    """
    link = borrowed(link)
    _, due, size, rate, _, by_rank = link.flows
    sets, state = link.sets, link.state[0]
    while state.num_capped > 0:
        left = state.capacity - state.capped_rate
        if state.num_shared == 0 and left >= 0.0:
            break
        level = left / state.num_shared if state.num_shared > 0 else -1.0
        fastest = by_rank[largest(sets.capped, sets.starts)]
        if rate[fastest] <= level:
            break
        lacking = min(max(0.0, (due[fastest] - state.now_s) * rate[fastest]), size[fastest])
        take_out(fastest, link)
        due[fastest] = state.service + lacking
        _to_shared(fastest, link)
    state.level = np.inf
    while state.num_shared > 0:
        level = (state.capacity - state.capped_rate) / state.num_shared
        state.level = level
        # A lower bound of the least rate is enough as a rule: taking out only raises the least.
        if state.least_rate > level:
            break
        slowest = by_rank[least(sets.shared, sets.starts)]
        state.least_rate = rate[slowest]
        if rate[slowest] > level:
            break
        lacking = max(0.0, due[slowest] - state.service)
        take_out(slowest, link)
        due[slowest] = state.now_s + lacking / rate[slowest]
        _to_capped(slowest, link)
        state.level = np.inf
