"""Links, queues and sharing by brute force: exact fractions, and every rate anew at every event.

Written apart from both engines, from the rules in ``docs/simulation.md`` alone. No virtual time, no
heap, no rounding: whatever is found here is true up to the nanosecond within which the engines call
events simultaneous. Whole rounds are in ``round_oracle``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf

import numpy as np
from scipy import stats

__all__ = [
    "Flow",
    "contradicts",
    "fair_rates",
    "flow_ends",
    "nanosecond",
    "queue_times",
    "sharing_ends",
]


def contradicts(estimates: Collection[float], truth: float, level: float = 1e-3) -> bool:
    """Whether independent estimates are too far from a mean to be samples of it (t-test)."""
    return bool(stats.ttest_1samp(np.asarray(estimates), truth).pvalue < level)


def nanosecond(time_s: Fraction) -> int:
    """The nanosecond in which a moment lies."""
    return round(time_s * 10**9)


def fair_rates(limits: Mapping[int, Fraction], capacity: Fraction | None) -> dict[int, Fraction]:
    """Max-min fair rates by progressive filling: the slowest first, the rest is shared."""
    if capacity is None:
        return dict(limits)
    rates: dict[int, Fraction] = {}
    left = capacity
    for place, key in enumerate(sorted(limits, key=lambda k: limits[k])):
        rates[key] = min(limits[key], left / (len(limits) - place))
        left -= rates[key]
    return rates


@dataclass(frozen=True)
class Flow:
    """Bytes on a link from some moment on.

    Attributes
    ----------
    arrival_s, num_bytes, bytes_per_s : float
        ``bytes_per_s`` is its own limit.
    leave_by_s : float
        When it is taken out if it is not through.
    changes : sequence of (float, float)
        Moments, and its own limit from then on.
    """

    arrival_s: float
    num_bytes: float
    bytes_per_s: float
    leave_by_s: float = inf
    changes: Sequence[tuple[float, float]] = ()

    def limit(self, now: Fraction) -> Fraction:
        """Its own limit at a moment."""
        found = self.bytes_per_s
        for moment, rate in self.changes:
            if moment <= now:
                found = rate
        return Fraction(found)


def flow_ends(flows: Sequence[Flow], capacity: float | None) -> list[tuple[float, float]]:
    """When each flow ends or leaves, and what it had still to send."""
    whole = None if capacity is None else Fraction(capacity)
    rest = [Fraction(flow.num_bytes) for flow in flows]
    found: dict[int, tuple[float, float]] = {}
    now = Fraction(0)
    while len(found) < len(flows):
        open_ = [i for i in range(len(flows)) if i not in found]
        active = [i for i in open_ if flows[i].arrival_s <= now]
        rates = fair_rates({i: flows[i].limit(now) for i in active}, whole)
        ends = {i: now + rest[i] / rates[i] for i in active}
        moments = [*ends.values(), *(Fraction(flows[i].arrival_s) for i in open_ if i not in ends)]
        for i in active:
            if flows[i].leave_by_s < inf:
                moments.append(Fraction(flows[i].leave_by_s))
            moments += [Fraction(m) for m, _ in flows[i].changes if m > now]
        then = min(moments)
        for i in active:
            rest[i] -= rates[i] * (then - now)
            if ends[i] == then or flows[i].leave_by_s <= then:
                found[i] = float(then), float(rest[i])
        now = then
    return [found[i] for i in range(len(flows))]


def sharing_ends(arrival: Sequence[float], work: Sequence[float], num: int) -> list[float]:
    """When requests end that run at ``min(1, num / n)`` each while ``n`` are there."""
    rest = [Fraction(w) for w in work]
    found: dict[int, float] = {}
    now = Fraction(0)
    while len(found) < len(arrival):
        open_ = [i for i in range(len(arrival)) if i not in found]
        active = [i for i in open_ if arrival[i] <= now]
        speed = min(Fraction(1), Fraction(num, max(len(active), 1)))
        moments = [Fraction(arrival[i]) for i in open_ if i not in active]
        then = min([now + rest[i] / speed for i in active] + moments)
        for i in active:
            rest[i] -= speed * (then - now)
            if rest[i] == 0:
                found[i] = float(then)
        now = then
    return [found[i] for i in range(len(arrival))]


def queue_times(
    arrival: Sequence[float],
    own: Sequence[float],
    shared: Sequence[float],
    num: int,
    max_batch: int = 1,
) -> list[tuple[float, float]]:
    """Start and end of every service, first come, first served; the whole queue is sorted anew."""
    coming, waiting = set(range(len(arrival))), set[int]()
    services: list[tuple[Fraction, list[int]]] = []
    found: dict[int, tuple[float, float]] = {}

    def order(i: int) -> tuple[int, int]:
        return nanosecond(Fraction(arrival[i])), i

    def serve(batch: list[int], now: Fraction) -> None:
        seconds = sum(Fraction(own[i]) for i in batch) + max(Fraction(shared[i]) for i in batch)
        services.append((now + seconds, batch))
        found.update((i, (float(now), float(now + seconds))) for i in batch)

    while coming or waiting:
        end = min(services, default=None)
        first = min(coming, key=order, default=None)
        if first is not None and (end is None or order(first)[0] < nanosecond(end[0])):
            coming.remove(first)
            if len(services) < num:
                serve([first], Fraction(arrival[first]))
            else:
                waiting.add(first)
            continue
        assert end is not None
        services.remove(end)
        batch = sorted(waiting, key=order)[:max_batch]
        waiting.difference_update(batch)
        if batch:
            serve(batch, end[0])
    return [found[i] for i in range(len(arrival))]
