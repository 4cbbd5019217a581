"""When each client is there, as sorted intervals up to a horizon.

Both simulating engines read the same intervals; how a law becomes intervals is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from fedsim.draws import normals, purpose_key, uniforms
from fedsim.errors import ScenarioError
from fedsim.fleet.population import Population
from fedsim.spec.availability import AlwaysOn, Availability, Diurnal, OnOff, Trace
from fedsim.spec.federation import FederationSpec

__all__ = ["Intervals", "is_always_on", "presence"]

_DAY_S = 86400.0
#: About what fits into 2 GB with the engines' own arrays, and into seconds.
_MAX_STAYS = 20_000_000
_MAX_STAYS_OF_A_CLIENT = 20_000
Reals = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Intervals:
    """Intervals ``[start, end)`` of all clients, one client's after the other's.

    Attributes
    ----------
    first : ndarray of int64, shape (n + 1,)
        Client ``i`` owns rows ``first[i]`` to ``first[i + 1]``.
    start_s, end_s : ndarray
        Sorted and disjoint for each client; an end beyond the horizon is infinite [s].
    horizon_s : float
        Beyond it nothing is known [s].
    """

    first: NDArray[np.int64]
    start_s: Reals
    end_s: Reals
    horizon_s: float

    def of(self, client: int) -> tuple[Reals, Reals]:
        """Starts and ends of one client [s]."""
        rows = slice(int(self.first[client]), int(self.first[client + 1]))
        return self.start_s[rows], self.end_s[rows]

    def end_after(self, clients: NDArray[np.int64], time_s: float) -> Reals:
        """Until when some clients stay; ``time_s`` for those who are not there [s].

        Whoever comes at the nanosecond of ``time_s`` is there, whoever leaves at it is not.
        """
        row = self._row_at(clients, time_s)
        found = row >= self.first[clients]
        end = np.full(len(clients), time_s)
        end[found] = self.end_s[row[found]]
        return np.where(_nanoseconds(end) > _nanoseconds(time_s), end, time_s)

    def are_there(self, clients: NDArray[np.int64], time_s: float) -> NDArray[np.bool_]:
        """Which of some clients are available at a moment."""
        return np.asarray(self.end_after(clients, time_s) > time_s)

    def time_with(self, wanted: int, clients: NDArray[np.int64], time_s: float) -> float:
        """First moment, not before ``time_s``, at which that many of some clients are there [s].

        Infinite if there is none before the horizon.
        """
        if int(self.are_there(clients, time_s).sum()) >= wanted:
            return time_s
        counts = self.first[clients + 1] - self.first[clients]
        rows = np.repeat(self.first[clients] - np.cumsum(counts) + counts, counts)
        rows = rows + np.arange(len(rows))
        starts, ends = self.start_s[rows], self.end_s[rows]
        moments = np.concatenate((starts, ends[np.isfinite(ends)]))
        change = np.concatenate(
            (np.ones(len(starts), dtype=np.int64), np.full(len(moments) - len(starts), -1))
        )
        # At one nanosecond those who leave go first: nobody is counted twice.
        order = np.lexsort((change, _nanoseconds(moments)))
        there = np.cumsum(change[order])
        later = _nanoseconds(moments[order]) > _nanoseconds(time_s)
        enough = np.flatnonzero(later & (there >= wanted))
        return float(moments[order[enough[0]]]) if len(enough) else float("inf")

    def _row_at(self, clients: NDArray[np.int64], time_s: float) -> NDArray[np.int64]:
        """Last row of each client that starts by a moment; below ``first`` where none does."""
        low, high = self.first[clients], self.first[clients + 1]
        moment = _nanoseconds(time_s)
        while (low < high).any():
            middle = (low + high) // 2
            is_open = low < high
            safe = np.where(is_open, middle, 0)
            started = is_open & (_nanoseconds(self.start_s[safe]) <= moment)
            low = np.where(started, middle + 1, low)
            high = np.where(is_open & ~started, middle, high)
        return np.asarray(low - 1)


def _nanoseconds(seconds: Reals | float) -> Reals:
    return np.asarray(np.rint(np.asarray(seconds) * 1e9))


def is_always_on(federation: FederationSpec) -> bool:
    """Whether no client ever leaves."""
    return all(isinstance(c.availability, AlwaysOn) for c in federation.classes)


def presence(
    federation: FederationSpec, population: Population, seed: int, horizon_s: float
) -> Intervals:
    """Everybody's intervals up to a horizon.

    Parameters
    ----------
    federation : FederationSpec
    population : Population
    seed : int
    horizon_s : float
        Time 0 is the start of the simulation, and midnight for laws of the day [s]. Intervals that
        begin before it are the same for a later horizon.

    Raises
    ------
    ScenarioError
        If clients come and go so often that their stays up to the horizon cannot be held.
    """
    _check_number(federation, horizon_s)
    owners, starts, ends = [], [], []
    for number, client_class in enumerate(federation.classes):
        first = population.first_index[number]
        clients = np.arange(first, first + client_class.num_clients)
        owner, start, end = _intervals(
            client_class.availability, population.keys[clients], seed, horizon_s
        )
        owners.append(clients[owner])
        starts.append(start)
        ends.append(end)
    owner = np.concatenate(owners)
    start, end = np.concatenate(starts), np.concatenate(ends)
    order = np.lexsort((start, owner))
    owner, start, end = owner[order], start[order], end[order]
    owner, start, end = _joined(owner, start, end)
    return Intervals(
        first=np.searchsorted(owner, np.arange(len(population) + 1)).astype(np.int64),
        start_s=start,
        end_s=np.where(end >= horizon_s, np.inf, end),
        horizon_s=horizon_s,
    )


def _check_number(federation: FederationSpec, horizon_s: float) -> None:
    """Refuse stays beyond number ahead of drawing them."""
    total = 0.0
    for client_class in federation.classes:
        stays = _num_stays(client_class.availability, horizon_s)
        total += stays * client_class.num_clients
        if stays > _MAX_STAYS_OF_A_CLIENT or total > _MAX_STAYS:
            raise ScenarioError(
                f"class '{client_class.name}': availability: clients come about {stays:,.0f} times "
                f"each within the {horizon_s:,.0f} s that are simulated ahead; allowed: "
                f"{_MAX_STAYS_OF_A_CLIENT:,} times a client and {_MAX_STAYS:,} in all. Let them "
                "stay and be away for longer, or simulate fewer rounds."
            )


def _num_stays(law: Availability, horizon_s: float) -> float:
    """About how often a client comes up to a horizon."""
    match law:
        case AlwaysOn():
            return 1.0
        case OnOff():
            return 1.0 + horizon_s / (law.mean_on_s + law.mean_off_s)
        case Diurnal():
            return 3.0 + horizon_s / _DAY_S
        case Trace():
            longest = max(len(row) for row in law.rows)
            return longest * (1.0 + horizon_s / law.period_s)
        case _:
            assert_never(law)


def _joined(
    owner: NDArray[np.int64], start: Reals, end: Reals
) -> tuple[NDArray[np.int64], Reals, Reals]:
    """Intervals that touch or overlap made one; a client that stays is not interrupted."""
    if not len(owner):
        return owner, start, end
    # Sorted by owner and start; an interval of a law overlaps at most its neighbor.
    apart = np.ones(len(owner), dtype=bool)
    apart[1:] = (owner[1:] != owner[:-1]) | (start[1:] > end[:-1])
    group = np.cumsum(apart) - 1
    last = np.zeros(group[-1] + 1)
    np.maximum.at(last, group, end)
    return owner[apart], start[apart], last


def _intervals(
    law: Availability, keys: NDArray[np.uint64], seed: int, horizon_s: float
) -> tuple[NDArray[np.int64], Reals, Reals]:
    """Owner (a row of ``keys``), start and end of every interval that begins by the horizon."""
    match law:
        case AlwaysOn():
            everybody = np.arange(len(keys))
            return everybody, np.zeros(len(keys)), np.full(len(keys), np.inf)
        case OnOff():
            return _on_off(law, keys, seed, horizon_s)
        case Diurnal():
            return _diurnal(law, keys, seed, horizon_s)
        case Trace():
            return _traced(law, keys, seed, horizon_s)
        case _:
            assert_never(law)


def _on_off(
    law: OnOff, keys: NDArray[np.uint64], seed: int, horizon_s: float
) -> tuple[NDArray[np.int64], Reals, Reals]:
    key = purpose_key(seed, "availability")
    is_on = uniforms(key, 0, keys) < law.mean_on_s / (law.mean_on_s + law.mean_off_s)
    owner = np.arange(len(keys))
    now = np.zeros(len(keys))
    owners, starts, ends = [], [], []
    period = 0
    # An exponential stay has no memory, so the one at time 0 is like every other.
    while len(owner):
        period += 1
        mean = np.where(is_on, law.mean_on_s, law.mean_off_s)
        end = now - mean * np.log(uniforms(key, period, keys[owner]))
        owners.append(owner[is_on])
        starts.append(now[is_on])
        ends.append(end[is_on])
        goes_on = end < horizon_s
        owner, now, is_on = owner[goes_on], end[goes_on], ~is_on[goes_on]
    return np.concatenate(owners), np.concatenate(starts), np.concatenate(ends)


def _diurnal(
    law: Diurnal, keys: NDArray[np.uint64], seed: int, horizon_s: float
) -> tuple[NDArray[np.int64], Reals, Reals]:
    usual = law.start_s + law.spread_s * normals(purpose_key(seed, "usual start"), 0, keys)
    owners, starts, ends = [], [], []
    # From the day before the first: its interval may reach into it, and spreads reach around.
    for day in range(int(horizon_s // _DAY_S) + 4):
        start = (day - 2) * _DAY_S + usual
        start += law.daily_spread_s * normals(purpose_key(seed, "daily start"), day, keys)
        end = start + law.duration_s
        comes = uniforms(purpose_key(seed, "comes"), day, keys) < law.probability
        owner = np.flatnonzero(comes & (end > 0) & (start < horizon_s))
        owners.append(owner)
        starts.append(np.maximum(start[owner], 0.0))
        ends.append(end[owner])
    return np.concatenate(owners), np.concatenate(starts), np.concatenate(ends)


def _traced(
    law: Trace, keys: NDArray[np.uint64], seed: int, horizon_s: float
) -> tuple[NDArray[np.int64], Reals, Reals]:
    row = (uniforms(purpose_key(seed, "table"), 0, keys) * len(law.rows)).astype(np.int64)
    counts = np.array([len(intervals) for intervals in law.rows])
    flat = np.array([pair for intervals in law.rows for pair in intervals]).reshape(-1, 2)
    offsets = np.concatenate(([0], np.cumsum(counts)))
    num_laps = int(horizon_s // law.period_s) + 1
    owner = np.repeat(np.arange(len(keys)), counts[row])
    within = np.arange(len(owner)) - np.repeat(np.cumsum(counts[row]) - counts[row], counts[row])
    pairs = flat[np.repeat(offsets[row], counts[row]) + within]
    laps = np.arange(num_laps) * law.period_s
    starts = (laps[:, None] + pairs[:, 0]).ravel()
    ends = (laps[:, None] + pairs[:, 1]).ravel()
    owners = np.tile(owner, num_laps)
    known = starts < horizon_s
    return owners[known], starts[known], ends[known]
