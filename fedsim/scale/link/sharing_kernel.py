"""Exact max-min sharing of one link by flows with rates of their own, event by event.

Every flow is on one of two sides. *Shared* flows run at the level ``w``, all alike, so that they
are ordered for good by the service that they still lack when they come in: a finish tag in virtual
time, the integral of ``w``. *Capped* flows run at their own rate, so that their end is known. A
flow changes sides only when the level crosses its rate. Flows of one size that come in on the
shared side have rising tags, so they queue without a heap.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim.scale.compiled import borrowed, compiled
from fedsim.scale.link.flow_heap_kernel import Flows, Heaps, push, top
from fedsim.scale.link.plain_kernel import share_plainly
from fedsim.scale.link.rank_set import add, largest, least, remove
from fedsim.scale.link.state import (
    CAPPED,
    CAPPED_RATE,
    CAPPED_SIDE,
    HEAPED,
    LEAST_RATE,
    LEVEL,
    MAX_LANES,
    NOW,
    NUM_CAPPED,
    NUM_SHARED,
    OUT,
    PAUSED,
    QUEUED,
    SERVICE,
    SHARED,
    Queues,
    Sets,
)

__all__ = [
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
Words = NDArray[np.uint64]


@compiled
def share_in_order(
    order: Integers,
    arrival: Reals,
    size: Reals,
    rate: Reals,
    rank: Integers,
    by_rank: Integers,
    starts: Integers,
    lane: Integers,
    capacity: float,
    leavers: Integers,
    leave_by: Reals,
    departure: Reals,
    unsent: Reals,
) -> None:
    """Run flows through, numbered anew in order of arrival.

    That is nearly the order of departure too, so memory is read in a row.
    """
    num = len(order)
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
    _share(
        new_arrival, new_size, new_rate, new_rank, new_by_rank, starts, new_lane, capacity,
        leavers, leave_by, new_departure, new_unsent,
    )  # fmt: skip
    for place in range(num):
        departure[order[place]] = new_departure[place]
        unsent[order[place]] = new_unsent[place]


@compiled
def _share(
    arrival: Reals,
    size: Reals,
    rate: Reals,
    rank: Integers,
    by_rank: Integers,
    starts: Integers,
    lane: Integers,
    capacity: float,
    leavers: Integers,
    leave_by: Reals,
    departure: Reals,
    unsent: Reals,
) -> None:
    """Run flows through in order of arrival; fill ``departure`` (infinite) and ``unsent`` (0)."""
    num = len(arrival)
    own_flows = (np.zeros(num, dtype=np.int8), np.empty(num), size, rate, rank, by_rank)
    own_queues = (
        np.full(num, -1, dtype=np.int64),
        np.full(MAX_LANES, -1, dtype=np.int64),
        np.full(MAX_LANES, -1, dtype=np.int64),
        lane,
    )
    num_words = starts[len(starts) - 1]
    own_sets = (starts, np.zeros(num_words, dtype=np.uint64), np.zeros(num_words, dtype=np.uint64))
    own_heaps = (np.empty((2, 2 * num + 16)), np.empty((2, 2 * num + 16), dtype=np.int64))
    real = np.zeros(5)
    real[LEVEL] = np.inf
    real[LEAST_RATE] = np.inf
    count = np.zeros(4, dtype=np.int64)
    owners = own_flows, own_queues, own_sets, own_heaps, real, count
    _run_through(arrival, capacity, leavers, leave_by, departure, unsent, borrowed(owners))
    # What was borrowed lives as long as its owner is spoken of.
    count[0] = len(own_flows[0]) + len(own_queues[0]) + len(own_sets[1]) + len(own_heaps[0])


@compiled
def _run_through(
    arrival: Reals,
    capacity: float,
    leavers: Integers,
    leave_by: Reals,
    departure: Reals,
    unsent: Reals,
    state: tuple[Flows, Queues, Sets, Heaps, Reals, Integers],
) -> None:
    flows, queues, sets, heaps, real, count = state
    arrival, leavers, leave_by, departure, unsent = borrowed(
        (arrival, leavers, leave_by, departure, unsent)
    )
    size, rate, by_rank = flows[2], flows[3], flows[5]
    num = len(arrival)
    next_arrival = next_leaver = 0
    while True:
        if count[NUM_SHARED] > 1:
            stop, fastest = np.inf, 0.0
            if next_leaver < len(leavers):
                stop = leave_by[leavers[next_leaver]]
            if count[NUM_CAPPED] > 0:
                stop = min(stop, flows[1][top(CAPPED_SIDE, CAPPED, flows, heaps, count)])
                fastest = rate[by_rank[largest(sets[2], sets[0])]]
            first_heaped = top(SHARED, HEAPED, flows, heaps, count)
            last_tag = flows[1][first_heaped] if first_heaped >= 0 else np.inf
            next_arrival = share_plainly(
                arrival, flows, queues, sets, real, count, capacity - real[CAPPED_RATE], fastest,
                next_arrival, stop, last_tag, departure,
            )  # fmt: skip
        flow, end = next_end(flows, queues, heaps, real, count)
        come = leave = np.inf
        if next_arrival < num:
            come = arrival[next_arrival]
        while next_leaver < len(leavers) and departure[leavers[next_leaver]] < np.inf:
            next_leaver += 1
        if next_leaver < len(leavers):
            leave = leave_by[leavers[next_leaver]]
        if end == np.inf and come == np.inf:
            return
        # What ends at the nanosecond at which it would be taken out has ended.
        if end <= come and np.rint(end * 1e9) <= np.rint(leave * 1e9):
            advance(real, count, end)
            departure[flow] = end if flows[0][flow] == CAPPED else real[NOW]
            take_out(flow, flows, sets, real, count)
            balance(flows, sets, heaps, real, count, capacity)
        elif leave < come:
            gone = leavers[next_leaver]
            advance(real, count, leave)
            departure[gone] = leave
            unsent[gone] = still_to_send(gone, flows, real)
            take_out(gone, flows, sets, real, count)
            balance(flows, sets, heaps, real, count, capacity)
        else:
            new = next_arrival
            next_arrival += 1
            departure[new], unsent[new] = come, size[new]
            if len(leave_by) > 0 and leave_by[new] <= come:
                continue
            unsent[new] = 0.0
            if size[new] > 0.0:
                departure[new] = np.inf
                advance(real, count, come)
                come_in(new, come, flows, queues, sets, heaps, real, count)
                balance(flows, sets, heaps, real, count, capacity)


@compiled
def advance(real: Reals, count: Integers, now: float) -> None:
    """Bring the clock up to a moment; it stands still within a nanosecond.

    Flows that come or end together by all but rounding are together then. Else whoever is first by
    a trillionth of a second has the link for itself that long, and is ahead by as many times that
    as there are others; after a dozen visits this is microseconds.
    """
    if now > real[NOW] and np.rint(now * 1e9) != np.rint(real[NOW] * 1e9):
        if count[NUM_SHARED] > 0:
            real[SERVICE] += real[LEVEL] * (now - real[NOW])
        real[NOW] = now


@compiled
def next_end(flows: Flows, queues: Queues, heaps: Heaps, real: Reals, count: Integers) -> Any:
    """The flow that ends next and when; infinite where there is none."""
    where, due = flows[0], flows[1]
    follower, heads = queues[0], queues[1]
    flow, tag = np.int64(-1), np.inf
    if count[NUM_SHARED] > 0:
        for lane in range(MAX_LANES):
            head = heads[lane]
            while head >= 0 and where[head] != QUEUED:
                head = follower[head]
            heads[lane] = head
            if head >= 0 and due[head] < tag:
                flow, tag = head, due[head]
        first = top(SHARED, HEAPED, flows, heaps, count)
        if first >= 0 and due[first] < tag:
            flow, tag = first, due[first]
    end = np.inf
    if flow >= 0:
        end = max(real[NOW], real[NOW] + (tag - real[SERVICE]) / real[LEVEL])
    if count[NUM_CAPPED] > 0:
        first = top(CAPPED_SIDE, CAPPED, flows, heaps, count)
        if due[first] < end:
            flow, end = first, due[first]
    return flow, end


@compiled
def still_to_send(flow: int, flows: Flows, real: Reals) -> float:
    """What a flow that is on the link has not sent yet [B]."""
    where, due, _, rate, _, _ = flows
    if where[flow] == CAPPED:
        return max(0.0, (due[flow] - real[NOW]) * rate[flow])
    if where[flow] == PAUSED:
        return due[flow]
    return max(0.0, due[flow] - real[SERVICE])


@compiled
def come_in(
    new: int,
    now: float,
    flows: Flows,
    queues: Queues,
    sets: Sets,
    heaps: Heaps,
    real: Reals,
    count: Integers,
) -> None:
    """Put a flow on the side where the level of this moment has it."""
    where, due, size, rate, rank, _ = flows
    if rate[new] <= 0.0:
        where[new], due[new] = PAUSED, size[new]
        return
    if rate[new] <= real[LEVEL]:
        due[new] = max(now, real[NOW]) + size[new] / rate[new]
        _to_capped(new, flows, sets, heaps, real, count)
        return
    due[new] = real[SERVICE] + size[new]
    follower, heads, tails, lanes = queues
    lane = lanes[new]
    if lane < 0:
        _to_shared(new, flows, sets, heaps, real, count)
        return
    # Among flows of one size those that come later end later: no heap is needed.
    where[new] = QUEUED
    if heads[lane] < 0:
        heads[lane] = new
    else:
        follower[tails[lane]] = new
    tails[lane] = new
    add(sets[1], sets[0], rank[new])
    count[NUM_SHARED] += 1
    real[LEAST_RATE] = min(real[LEAST_RATE], rate[new])


@compiled
def _to_capped(
    flow: int, flows: Flows, sets: Sets, heaps: Heaps, real: Reals, count: Integers
) -> None:
    where, _, _, rate, rank, _ = flows
    where[flow] = CAPPED
    add(sets[2], sets[0], rank[flow])
    count[NUM_CAPPED] += 1
    real[CAPPED_RATE] += rate[flow]
    push(CAPPED_SIDE, CAPPED, flow, flows, heaps, count)


@compiled
def _to_shared(
    flow: int, flows: Flows, sets: Sets, heaps: Heaps, real: Reals, count: Integers
) -> None:
    where, _, _, rate, rank, _ = flows
    where[flow] = HEAPED
    add(sets[1], sets[0], rank[flow])
    count[NUM_SHARED] += 1
    real[LEAST_RATE] = min(real[LEAST_RATE], rate[flow])
    push(SHARED, HEAPED, flow, flows, heaps, count)


@compiled
def take_out(flow: int, flows: Flows, sets: Sets, real: Reals, count: Integers) -> None:
    """Remove a flow from its side; the level is for :func:`balance` to find."""
    where, _, _, rate, rank, _ = flows
    if where[flow] == CAPPED:
        remove(sets[2], sets[0], rank[flow])
        count[NUM_CAPPED] -= 1
        real[CAPPED_RATE] -= rate[flow]
        if count[NUM_CAPPED] == 0:
            # What rounding left over goes with the last of them.
            real[CAPPED_RATE] = 0.0
    elif where[flow] != PAUSED:
        remove(sets[1], sets[0], rank[flow])
        count[NUM_SHARED] -= 1
        if count[NUM_SHARED] == 0:
            real[SERVICE] = 0.0
            real[LEAST_RATE] = np.inf
    where[flow] = OUT


@compiled
def balance(
    flows: Flows, sets: Sets, heaps: Heaps, real: Reals, count: Integers, capacity: float
) -> None:
    """Find the level, and move the flows whose rates it has crossed.

    Down first: flows that are faster than the level leave the capped side, the fastest first. Then
    up: the slowest leave the shared side while the level, which rises with that, is above them.
    Each is done once, so that rounding cannot make them alternate.
    """
    _, due, size, rate, _, by_rank = flows
    while count[NUM_CAPPED] > 0:
        left = capacity - real[CAPPED_RATE]
        if count[NUM_SHARED] == 0 and left >= 0.0:
            break
        level = left / count[NUM_SHARED] if count[NUM_SHARED] > 0 else -1.0
        fastest = by_rank[largest(sets[2], sets[0])]
        if rate[fastest] <= level:
            break
        lacking = min(max(0.0, (due[fastest] - real[NOW]) * rate[fastest]), size[fastest])
        take_out(fastest, flows, sets, real, count)
        due[fastest] = real[SERVICE] + lacking
        _to_shared(fastest, flows, sets, heaps, real, count)
    real[LEVEL] = np.inf
    while count[NUM_SHARED] > 0:
        level = (capacity - real[CAPPED_RATE]) / count[NUM_SHARED]
        real[LEVEL] = level
        # A lower bound of the least rate is enough as a rule: taking out only raises the least.
        if real[LEAST_RATE] > level:
            break
        slowest = by_rank[least(sets[1], sets[0])]
        real[LEAST_RATE] = rate[slowest]
        if rate[slowest] > level:
            break
        lacking = max(0.0, due[slowest] - real[SERVICE])
        take_out(slowest, flows, sets, real, count)
        due[slowest] = real[NOW] + lacking / rate[slowest]
        _to_capped(slowest, flows, sets, heaps, real, count)
        real[LEVEL] = np.inf
