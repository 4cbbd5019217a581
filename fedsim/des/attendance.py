"""Who is there: intervals of availability, asked client by client or for everybody."""

from __future__ import annotations

from bisect import bisect_right
from math import inf, nextafter

import numpy as np
from numpy.typing import NDArray

from fedsim.des.agenda import HorizonPassed, nanoseconds
from fedsim.fleet.availability import Intervals
from fedsim.fleet.rules import PATIENCE_S

__all__ = ["Attendance"]


class Attendance:
    """When clients come and leave.

    A client is there from the nanosecond of a start to before the nanosecond of an end.

    Parameters
    ----------
    num_clients : int
    intervals : Intervals or None
        None where nobody ever leaves.
    """

    def __init__(self, num_clients: int, intervals: Intervals | None) -> None:
        self._everybody = np.arange(num_clients, dtype=np.int64)
        self._intervals = intervals
        if intervals is None:
            return
        self._first: list[int] = intervals.first.tolist()
        self._starts_s: list[float] = intervals.start_s.tolist()
        self._ends_s: list[float] = intervals.end_s.tolist()
        self._start_array = np.rint(intervals.start_s * 1e9)
        self._end_array = np.rint(intervals.end_s * 1e9)
        self._starts_ns: list[float] = self._start_array.tolist()
        self._ends_ns: list[float] = self._end_array.tolist()
        self._owner = np.repeat(self._everybody, np.diff(intervals.first))
        by_start = np.lexsort((self._owner, intervals.start_s))
        self.arrivals_s: list[float] = intervals.start_s[by_start].tolist()
        self.arrivals: list[int] = self._owner[by_start].tolist()
        self._sorted_ends_ns: list[float] = np.sort(self._end_array).tolist()

    @property
    def varies(self) -> bool:
        """Whether anybody ever leaves."""
        return self._intervals is not None

    @property
    def horizon_s(self) -> float:
        """Beyond it nothing is known [s]."""
        return inf if self._intervals is None else self._intervals.horizon_s

    def present(self, at_s: float) -> NDArray[np.int64]:
        """Clients that are there, sorted."""
        if self._intervals is None:
            return self._everybody
        at_ns = nanoseconds(at_s)
        is_there = (self._start_array <= at_ns) & (at_ns < self._end_array)
        return np.asarray(self._owner[is_there])

    def leave_s(self, client: int, at_s: float) -> float | None:
        """When a client leaves; infinite if it stays, None if it is not there [s]."""
        if self._intervals is None:
            return inf
        row = self._row(client, at_s)
        if row < self._first[client] or nanoseconds(at_s) >= self._ends_ns[row]:
            return None
        return self._ends_s[row]

    def next_s(self, client: int, at_s: float) -> float | None:
        """First moment from ``at_s`` on at which a client is there; None if it never is [s].

        Just beyond the horizon if that lies beyond what is known.
        """
        if self.leave_s(client, at_s) is not None:
            return at_s
        row = self._row(client, at_s) + 1
        if row < self._first[client + 1]:
            start_s = self._starts_s[row]
            return start_s if start_s - at_s <= PATIENCE_S else None
        return nextafter(self.horizon_s, inf) if self.horizon_s < at_s + PATIENCE_S else None

    def next_crowd_s(self, at_s: float, num: int) -> float | None:
        """First moment from ``at_s`` on at which ``num`` clients are there; None if never [s].

        Raises
        ------
        HorizonPassed
            If that lies beyond what is known.
        """
        if len(self.present(at_s)) >= num:
            return at_s
        if self._intervals is None:
            return None
        at_ns = nanoseconds(at_s)
        first = bisect_right(self.arrivals_s, at_ns, key=nanoseconds)
        for place in range(first, len(self.arrivals_s)):
            start_s = self.arrivals_s[place]
            if start_s - at_s > PATIENCE_S:
                return None
            # Everybody who came up to this arrival, less all who had left by then.
            start_ns = nanoseconds(start_s)
            if place + 1 - bisect_right(self._sorted_ends_ns, start_ns) >= num:
                return start_s
        if self.horizon_s < at_s + PATIENCE_S:
            raise HorizonPassed
        return None

    def _row(self, client: int, at_s: float) -> int:
        """The last interval of a client that has started."""
        first, stop = self._first[client], self._first[client + 1]
        return bisect_right(self._starts_ns, nanoseconds(at_s), first, stop) - 1
