"""The link while nobody changes sides: what many flows behind a full link do most of the time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedsim.scale.compiled import borrowed, compiled
from fedsim.scale.link.rank_set import add, remove
from fedsim.scale.link.state import MAX_LANES, OUT, QUEUED, FlowLink

__all__ = ["share_plainly"]

Reals = NDArray[np.float64]


@compiled
def share_plainly(
    arrival: Reals,
    link: FlowLink,
    left: float,
    fastest: float,
    next_arrival: int,
    stop: float,
    last_tag: float,
    departure: Reals,
) -> int:
    """As long as nobody changes sides: the same as the loop, in few words.

    ``left`` is what the capped flows leave, ``fastest`` the fastest of them. Ends ahead of
    ``stop``, of the flow with ``last_tag``, of a flow that would not be shared or queued, of a
    level that might cross somebody's rate, and of the last flow.
    """
    link = borrowed(link)
    where, due, size, rate, rank, _ = link.flows
    follower, heads, tails, lanes = link.queues
    starts, shared, _ = link.sets
    state = link.state[0]
    now, service, least_rate = state.now_s, state.service, state.least_rate
    num_shared, level = state.num_shared, state.level
    tick = np.rint(now * 1e9)
    num = len(arrival)
    num_lanes = np.int64(0)
    for lane in range(MAX_LANES):
        if heads[lane] >= 0:
            num_lanes = lane + 1
    while num_shared > 1:
        flow, tag = np.int64(-1), np.inf
        for lane in range(num_lanes):
            head = heads[lane]
            while head >= 0 and where[head] != QUEUED:
                head = follower[head]
            heads[lane] = head
            if head >= 0 and due[head] < tag:
                flow, tag = head, due[head]
        end = max(now, now + (min(tag, last_tag) - service) / level)
        come = arrival[next_arrival] if next_arrival < num else np.inf
        # Half a nanosecond's ties with a leaver are for the careful loop to decide.
        if min(end, come) >= stop - 1e-9:
            break
        if end <= come:
            if last_tag <= tag or least_rate <= left / (num_shared - 1):
                break
            if np.rint(end * 1e9) != tick:
                service += level * (end - now)
                now, tick = end, np.rint(end * 1e9)
            departure[flow] = now
            where[flow] = OUT
            remove(shared, starts, rank[flow])
            num_shared -= 1
        else:
            new = next_arrival
            lane = lanes[new]
            if lane < 0 or rate[new] <= level or size[new] <= 0.0:
                break
            if fastest > left / (num_shared + 1):
                break
            if come > now and np.rint(come * 1e9) != tick:
                service += level * (come - now)
                now, tick = come, np.rint(come * 1e9)
            due[new] = service + size[new]
            where[new] = QUEUED
            if heads[lane] < 0:
                heads[lane] = new
            else:
                follower[tails[lane]] = new
            tails[lane] = new
            num_lanes = max(num_lanes, lane + 1)
            add(shared, starts, rank[new])
            num_shared += 1
            least_rate = min(least_rate, rate[new])
            next_arrival += 1
        level = left / num_shared
    state.now_s, state.service, state.least_rate = now, service, least_rate
    state.num_shared, state.level = num_shared, level
    return next_arrival
