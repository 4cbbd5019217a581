"""Many clients going round a closed network of queues, as a fluid: waits by balance of flows.

A client's mini-batch takes it the time that it takes alone, and what the shared resources add: the
level of max-min sharing on each side of the link, and a wait (or a stretch) at the accelerators.
These three are such that no resource serves more than it can, and that one which adds time serves
all it can (the asymptotic solution of closed networks: Lazowska et al., "Quantitative System
Performance", 1984, chapter 5; exact as the number of clients grows).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedsim.scale.compiled import compiled

__all__ = ["Demands", "Flow", "run_fluid"]

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Clients whose demands stand for all when waits are looked for.
_SAMPLE = 8192
#: Of the clients at work may come to another block within a step; steps in all, at least.
_QUANTILE, _STEPS = 0.03, 250.0
_BISECTIONS, _SWEEPS = 24, 3
#: Relative excess of a demand that counts as none.
_TOLERANCE = 1e-9


class Demands(NamedTuple):
    """What a pass through a block takes.

    Attributes
    ----------
    alone_s : ndarray, shape (m, K)
        All but flows and accelerators, by client and block [s].
    up_bytes, down_bytes, service_s : ndarray, shape (V, K)
        Of the wire [B], of an accelerator [s], by variant and block.
    laps : ndarray of int64, shape (V, K)
        0 behind the last block.
    variant : ndarray of int64, shape (m,)
    up_rate, down_rate : ndarray, shape (m,)
        [B/s].
    """

    alone_s: Reals
    up_bytes: Reals
    down_bytes: Reals
    service_s: Reals
    laps: Integers
    variant: Integers
    up_rate: Reals
    down_rate: Reals


class Flow(NamedTuple):
    """Where clients are and what they have waited.

    Attributes
    ----------
    block : ndarray of int64, shape (m,)
    lap : ndarray, shape (m,)
        Passes through the block; not whole.
    done_s : ndarray, shape (m,)
        From the start; infinite where the client was stopped [s].
    up_s, down_s, wait_s : ndarray, shape (m, K)
        In flows of each side, and at the accelerators beyond the service [s].
    """

    block: Integers
    lap: Reals
    done_s: Reals
    up_s: Reals
    down_s: Reals
    wait_s: Reals


@compiled
def run_fluid(demands: Demands, flow: Flow, stop_s: Reals, capacity: Reals, stretches: bool) -> int:
    """Run everybody to the end or to its stop; the number of steps.

    Parameters
    ----------
    demands : Demands
    flow : Flow
        Everybody at block 0.
    stop_s : ndarray, shape (m,)
        From the start; infinite where nothing stops a client [s].
    capacity : ndarray, shape (3,)
        Up, down [B/s], accelerators.
    stretches : bool
        Whether accelerators are shared, so that a service is stretched; else there is a queue.
    """
    active = np.arange(len(stop_s))
    # Level up, level down, wait (a factor less one where services are stretched).
    shared = np.array([np.inf, np.inf, 0.0])
    now, steps = 0.0, 0
    while len(active) > 0:
        stride = max(1, len(active) // _SAMPLE)
        sample = active[steps % stride :: stride]
        _find_waits(sample, len(active) / len(sample), demands, flow, capacity, stretches, shared)
        remaining = np.empty(len(sample))
        for i in range(len(sample)):
            c = sample[i]
            left = demands.laps[demands.variant[c], flow.block[c]] - flow.lap[c]
            remaining[i] = left * _lap_s(c, demands, flow, shared, stretches)
        ordered = np.sort(remaining)
        step = max(ordered[int(_QUANTILE * len(ordered))], ordered[-1] / _STEPS)
        num = 0
        for c in active:
            if _advance(c, now, step, demands, flow, shared, stretches, stop_s[c]):
                active[num] = c
                num += 1
        active = active[:num]
        now += step
        steps += 1
    return steps


@compiled
def _lap_s(c: int, demands: Demands, flow: Flow, shared: Reals, stretches: bool) -> float:
    """One pass through the block in hand at these waits [s]."""
    v, k = demands.variant[c], flow.block[c]
    seconds = demands.alone_s[c, k]
    if demands.up_bytes[v, k] > 0.0:
        seconds += demands.up_bytes[v, k] / min(demands.up_rate[c], shared[0])
    if demands.down_bytes[v, k] > 0.0:
        seconds += demands.down_bytes[v, k] / min(demands.down_rate[c], shared[1])
    service = demands.service_s[v, k]
    if service > 0.0:
        seconds += service + (service * shared[2] if stretches else shared[2])
    return seconds


@compiled
def _advance(
    c: int,
    now: float,
    step: float,
    demands: Demands,
    flow: Flow,
    shared: Reals,
    stretches: bool,
    stop: float,
) -> bool:
    """Move one client through a step; False if it is through, or was stopped."""
    v = demands.variant[c]
    left = min(step, stop - now)
    while True:
        k = flow.block[c]
        one = _lap_s(c, demands, flow, shared, stretches)
        wanted = demands.laps[v, k] - flow.lap[c]
        laps = min(wanted, left / one) if one > 0.0 else wanted
        flow.lap[c] += laps
        left -= laps * one
        if demands.up_bytes[v, k] > 0.0:
            flow.up_s[c, k] += laps * demands.up_bytes[v, k] / min(demands.up_rate[c], shared[0])
        if demands.down_bytes[v, k] > 0.0:
            flow.down_s[c, k] += (
                laps * demands.down_bytes[v, k] / min(demands.down_rate[c], shared[1])
            )
        service = demands.service_s[v, k]
        if service > 0.0:
            flow.wait_s[c, k] += laps * (service * shared[2] if stretches else shared[2])
        if laps < wanted:
            return now + step < stop
        if k + 1 == demands.laps.shape[1] or demands.laps[v, k + 1] == 0:
            flow.done_s[c] = min(now + step, stop) - left
            return False
        flow.block[c], flow.lap[c] = k + 1, 0.0


@compiled
def _find_waits(
    sample: Integers,
    weight: float,
    demands: Demands,
    flow: Flow,
    capacity: Reals,
    stretches: bool,
    shared: Reals,
) -> None:
    """Levels and wait at which nobody serves more than it can; from those of the step before."""
    for _ in range(_SWEEPS):
        before = shared.copy()
        for which in range(3):
            if capacity[which] == np.inf:
                continue
            shared[which] = np.inf if which < 2 else 0.0
            load = _load(which, sample, demands, flow, shared, stretches) * weight
            if load <= capacity[which] * (1.0 + _TOLERANCE):
                continue
            low, high = _bracket(which, sample, demands)
            for _ in range(_BISECTIONS):
                middle = np.sqrt(low * high) if low > 0.0 else high * 1e-3
                shared[which] = middle
                load = _load(which, sample, demands, flow, shared, stretches) * weight
                # More level is more load; more wait is less.
                if (load > capacity[which]) == (which < 2):
                    high = middle
                else:
                    low = middle
            shared[which] = high if which == 2 else low
        if _is_same(before, shared):
            return


@compiled
def _is_same(before: Reals, shared: Reals) -> bool:
    for which in range(3):
        if before[which] != shared[which]:
            if not (before[which] < np.inf and shared[which] < np.inf):
                return False
            if abs(before[which] - shared[which]) > 1e-6 * abs(shared[which]):
                return False
    return True


@compiled
def _load(
    which: int, sample: Integers, demands: Demands, flow: Flow, shared: Reals, stretches: bool
) -> float:
    """What the sample asks of a resource in a second."""
    total = 0.0
    for c in sample:
        v, k = demands.variant[c], flow.block[c]
        if which == 0:
            amount = demands.up_bytes[v, k]
        elif which == 1:
            amount = demands.down_bytes[v, k]
        else:
            amount = demands.service_s[v, k]
        if amount > 0.0:
            total += amount / _lap_s(c, demands, flow, shared, stretches)
    return total


@compiled
def _bracket(which: int, sample: Integers, demands: Demands) -> tuple[float, float]:
    """Least and largest that a level or a wait may be."""
    if which == 2:
        return 1e-9, 1e12
    fastest = 0.0
    for c in sample:
        rate = demands.up_rate[c] if which == 0 else demands.down_rate[c]
        fastest = max(fastest, rate)
    return fastest * 1e-12, fastest
