"""One side of the server's link with known arrivals: who sends when, and until when.

Decides when no event is needed at all: where the rates of all active flows fit the link, everybody
runs at its own.
"""

from __future__ import annotations

from copy import copy

import numpy as np
from numpy.typing import NDArray

from fedsim.scale.compiled import compiled
from fedsim.scale.link.rank_set import level_starts
from fedsim.scale.link.sharing_kernel import Demand, Leavers, share_in_order
from fedsim.scale.link.state import MAX_LANES
from fedsim.scale.straight.time_order import time_order

__all__ = ["FlowSet"]

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]

#: A link that is busier than this on average is hardly ever free throughout.
_WORTH_A_LOOK = 0.3


class FlowSet:
    """What stays the same from round to round: rates, their ranks, sizes.

    Parameters
    ----------
    num_bytes : ndarray, shape (n,)
        Of the wire [B].
    rate_bytes_per_s : ndarray, shape (n,)
        Each flow's own limit [B/s].
    capacity_bytes_per_s : float
        Of all together; may be infinite [B/s].
    """

    def __init__(
        self, num_bytes: Reals, rate_bytes_per_s: Reals, capacity_bytes_per_s: float
    ) -> None:
        self.num_bytes = np.ascontiguousarray(num_bytes, dtype=np.float64)
        # A rate far above the capacity says no more than the capacity, and sums would lose digits.
        rate = np.minimum(rate_bytes_per_s, capacity_bytes_per_s)
        self.rate = np.ascontiguousarray(rate, dtype=np.float64)
        self.capacity = float(capacity_bytes_per_s)
        self._was_full = False
        self._total_bytes = float(self.num_bytes.sum())
        self._longest_s = float((self.num_bytes / self.rate).max(initial=0.0))
        self.can_saturate = float(self.rate.sum()) > self.capacity
        self.by_rank = time_order(self.rate)
        self.rank = np.empty_like(self.by_rank)
        self.rank[self.by_rank] = np.arange(len(self.by_rank))
        self.starts = level_starts(len(self.by_rank))
        sizes, lane = np.unique(self.num_bytes, return_inverse=True)
        self.lane = lane.astype(np.int64)
        if len(sizes) > MAX_LANES:
            self.lane[:] = -1

    def with_less(self, rows: Integers, num_bytes: Reals) -> FlowSet:
        """The same, but some flows are cut short."""
        other = copy(self)
        other.num_bytes = self.num_bytes.copy()
        other.num_bytes[rows] = num_bytes
        # No longer of a common size, so they cannot queue with the others.
        other.lane = self.lane.copy()
        other.lane[rows] = -1
        return other

    def departures(self, arrival_s: Reals, leave_by_s: Reals | None = None) -> tuple[Reals, Reals]:
        """When each flow ends, and what it had still to send.

        Parameters
        ----------
        arrival_s : ndarray, shape (n,)
            Infinite for flows that never come [s].
        leave_by_s : ndarray, shape (n,), optional
            When a flow that is not through is taken out [s].

        Returns
        -------
        departure_s : ndarray, shape (n,)
            [s].
        unsent_bytes : ndarray, shape (n,)
            0 for flows that got through [B].
        """
        arrival = np.ascontiguousarray(arrival_s, dtype=np.float64)
        if not self.can_saturate:
            return self._alone(arrival, leave_by_s)
        is_coming = np.isfinite(arrival)
        if is_coming.all():
            order = time_order(arrival)
        else:
            comers = np.flatnonzero(is_coming)
            order = comers[time_order(arrival[comers])]
        leave_by, leavers = np.empty(0), np.empty(0, dtype=np.int64)
        if leave_by_s is not None:
            leave_by = np.asarray(leave_by_s, dtype=np.float64)[order]
            leavers = np.flatnonzero(np.isfinite(leave_by) & (arrival[order] < leave_by))
            leavers = leavers[np.argsort(leave_by[leavers], kind="stable")]
        # A link that was full in one round is full in the next as a rule: then it is not worth it.
        if not self._was_full and self._never_saturates(arrival, order):
            return self._alone(arrival, leave_by_s)
        self._was_full = True
        departure, unsent = np.full(len(arrival), np.inf), np.zeros(len(arrival))
        demand = Demand(self.num_bytes, self.rate, self.rank, self.by_rank, self.lane)
        share_in_order(
            order, arrival, demand, self.starts, self.capacity, Leavers(leavers, leave_by),
            departure, unsent,
        )  # fmt: skip
        return departure, unsent

    def _never_saturates(self, arrival: Reals, order: Integers) -> bool:
        """Whether the rates of all flows that would be active together always fit the link."""
        if not len(order):
            return True
        span = float(arrival[order[-1]]) - float(arrival[order[0]]) + self._longest_s
        if self._total_bytes > _WORTH_A_LOOK * self.capacity * span:
            return False
        end = arrival[order] + self.num_bytes[order] / self.rate[order]
        ending = order[time_order(end)]
        return bool(
            _greatest_rate(arrival, order, self.num_bytes, ending, self.rate, self.capacity)
            <= self.capacity
        )

    def _alone(self, arrival: Reals, leave_by: Reals | None) -> tuple[Reals, Reals]:
        """All rates together fit the link, so nobody waits for anybody."""
        departure = arrival + self.num_bytes / self.rate
        unsent = np.zeros(len(arrival))
        if leave_by is not None:
            is_cut = _nanoseconds(departure) > _nanoseconds(leave_by)
            is_cut &= np.isfinite(arrival)
            cut_at = np.maximum(leave_by[is_cut], arrival[is_cut])
            unsent[is_cut] = (departure[is_cut] - cut_at) * self.rate[is_cut]
            departure[is_cut] = cut_at
        return departure, unsent


def _nanoseconds(seconds: Reals) -> Reals:
    return np.asarray(np.rint(seconds * 1e9))


@compiled
def _greatest_rate(
    arrival: Reals, order: Integers, size: Reals, ending: Integers, rate: Reals, enough: float
) -> float:
    """Largest sum of rates of flows that are active together, or the first above ``enough``."""
    total = greatest = 0.0
    next_end = 0
    for place in range(len(order)):
        flow = order[place]
        while next_end < len(ending):
            first = ending[next_end]
            if arrival[first] + size[first] / rate[first] > arrival[flow]:
                break
            total -= rate[first]
            next_end += 1
        total += rate[flow]
        greatest = max(greatest, total)
        if greatest > enough:
            break
    return greatest
