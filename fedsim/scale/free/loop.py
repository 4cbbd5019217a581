"""The free-running event loop with its arrays: it draws, makes room, and says what the server sees.

Decides nothing about contributions; see :mod:`fedsim.scale.free.run`.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedsim.draws import purpose_key
from fedsim.fleet.availability import Intervals
from fedsim.fleet.endless import endless
from fedsim.fleet.rules import lost_in_a_row, nobody_left
from fedsim.fleet.simulation import VISIT, Simulation
from fedsim.fleet.uncontended import UncontendedTimes, round_factors, work_until_failure
from fedsim.scale.events.agenda_kernel import empty_agenda, push, with_room
from fedsim.scale.events.queue_kernel import sweep
from fedsim.scale.events.state import Setting
from fedsim.scale.events.tables import program_tables, setting_of, state_of, step_sums_of
from fedsim.scale.events.walk_kernel import SPENT
from fedsim.scale.free.kernel import (
    DRAWS,
    EMPTY,
    ENDLESS,
    HORIZON_PASSED,
    ROOM,
    SERVER_EVENT,
    decide,
    follow_up,
    run_free,
    start,
    stop_all,
)
from fedsim.scale.free.state import (
    COMING,
    CONTRIBUTION,
    ITERATION,
    SERVER,
    FreeState,
    client_set,
)
from fedsim.scale.program import Program
from fedsim.scale.records import Integers, Reals, Records
from fedsim.scale.segment import LATE, HorizonError, SegmentTask, segment_programs

__all__ = ["FreeLoop", "Taken"]

#: Drawn ahead for all clients together; for each one.
_MAX_DRAWN, _MIN_COLUMNS, _MAX_COLUMNS = 8_000_000, 4, 64
_FIRST_ROOM: Final = 1024


class Taken(NamedTuple):
    """Contributions out of the buffer, the oldest first.

    Attributes
    ----------
    clients : ndarray of int64
    factors, start_s, end_s : ndarray
    """

    clients: Integers
    factors: Reals
    start_s: Reals
    end_s: Reals


class FreeLoop:
    """Clients at work, each at its own pace.

    Parameters
    ----------
    simulation : Simulation
    legs : tuple of int
        Segments that a client goes through, the first one up to its contribution.
    uncontended : UncontendedTimes
        Of the first leg.
    alone_s : ndarray
        What a round takes each client with nobody else there [s].
    presence : Intervals or None
    start_s : float
        [s].
    keeps_visits : bool

    Attributes
    ----------
    server : record of SERVER
        See :mod:`fedsim.scale.free.state`.
    """

    def __init__(
        self,
        simulation: Simulation,
        legs: tuple[int, ...],
        uncontended: UncontendedTimes,
        alone_s: Reals,
        presence: Intervals | None,
        start_s: float,
        keeps_visits: bool,
    ) -> None:
        self._simulation, self._legs, self._uncontended = simulation, legs, uncontended
        self._programs = _programs(simulation, legs)
        num = len(simulation.population)
        task = SegmentTask(
            simulation=simulation,
            programs=self._programs,
            segment_index=legs[0],
            round_index=1,
            clients=np.arange(num),
            start_s=start_s,
            awaited=num,
            deadline_s=np.inf,
            factors=np.ones(num),
            alone_s=np.zeros(num),
            can_fail=False,
            presence=presence,
            keeps_visits=keeps_visits,
        )
        tables, self._labels = program_tables(simulation, self._programs)
        can_fail, is_drawn = _draws(simulation)
        setting = setting_of(task)
        if can_fail:
            setting = setting._replace(failure_s=np.full((setting.retries + 1, num), np.inf))
        # A batch goes on with what its client has given up; alone, a request is over at once.
        places = simulation.federation.server
        num_requests = 1 if places.max_batch == 1 else places.num_accelerators + 1
        self._agenda = empty_agenda(4 * num + 1024)
        self._state = state_of(task, setting, tables, self._labels, num_requests, self._agenda)
        self._state.sums.totals[0]["closed_s"] = start_s
        self._free = _free_state(simulation, setting, alone_s, presence, len(self._labels))
        self.server = self._free.server[0]
        self.server["num_legs"] = len(legs)
        if is_drawn:
            self._make_tables(num)

    @property
    def _totals(self) -> Any:
        return self._state.sums.totals[0]

    @property
    def now(self) -> float:
        """Moment of the last event [s]."""
        return float(self._totals["closed_s"])

    @property
    def is_idle(self) -> NDArray[np.bool_]:
        """Who has no work."""
        return np.asarray(self._free.idle.place >= 0)

    @property
    def num_events(self) -> int:
        """Handled so far."""
        return int(self._totals["num_events"])

    @property
    def served_s(self) -> float:
        """Seconds of service, over all accelerators [s]."""
        return float(self._totals["served_s"])

    def go_on(self) -> int:
        """Run to the next event of the server; its kind.

        Raises
        ------
        HorizonError
            If the run came to where nobody knows who is available.
        ScenarioError
            If nothing will ever happen again.
        """
        while True:
            reason, what, self._agenda = run_free(self._agenda, self._state, self._free)
            if reason == SERVER_EVENT:
                return what
            if reason in (DRAWS, ROOM):
                self._draw() if reason == DRAWS else self._make_room()
                continue
            if reason == HORIZON_PASSED:
                raise HorizonError
            if reason == ENDLESS:
                raise endless(float(self._agenda.events[0]["time_s"]))
            raise nobody_left(self.now) if reason == EMPTY else lost_in_a_row()

    def announce(self, at_s: float, what: int, *, is_last: bool = False) -> None:
        """Come back at a moment, ahead of clients' events or behind them."""
        self._agenda = with_room(self._agenda, 1)
        push(
            self._agenda, at_s, 2 * len(self._state.setting.order) + 4 if is_last else 0, what, 0, 0
        )

    def start(self, clients: Integers) -> None:
        """Let idle clients begin."""
        self._agenda = with_room(self._agenda, len(clients))
        if self._free.factor.shape[1]:
            following = self._state.clients["iteration"][clients] + 1
            column = following - self._free.iterations["first_drawn"][clients]
            if (column >= self._free.factor.shape[1]).any():
                self._draw()
        start(self._agenda, clients, self.now, self._state, self._free)

    def follow_up(self, clients: Integers) -> None:
        """Let clients whose contributions were aggregated begin what is behind it."""
        if len(self._legs) == 1:
            return
        self._agenda = with_room(self._agenda, len(clients))
        num_groups = len(self._programs) // len(self._legs)
        follow_up(self._agenda, clients, self.now, self._state, num_groups)

    def take(self, num: int, outcome: int) -> Taken:
        """Take the oldest contributions out of the buffer and book what became of them."""
        first = int(self.server["head"])
        decide(first, first + num, outcome, self._state, self._free)
        self.server["head"] += num
        rows = self._free.buffer[first : first + num]
        return Taken(*(rows[name].copy() for name in ("client", "factor", "start_s", "end_s")))

    def stop_all(self) -> int:
        """End the run here: how much was in flight or waited, which is late."""
        self._agenda = with_room(self._agenda, 8 * len(self._state.setting.order) + 64)
        num = stop_all(self._agenda, self._state, self._free)
        waiting = int(self.server["tail"] - self.server["head"])
        self.take(waiting, LATE)
        return int(num) + waiting

    def step_sums(self) -> list[tuple[tuple[Program, ...], Records]]:
        """Programs of each leg's groups, and what they add up to."""
        sums = step_sums_of(self._programs, self._labels, self._state.sums)
        num = len(self._programs) // len(self._legs)
        return [
            (self._programs[first : first + num], sums[first : first + num])
            for first in range(0, len(self._programs), num)
        ]

    def visits(self) -> NDArray[np.void]:
        """Every visit of a shared resource, sorted."""
        found = self._state.sums.visits[: int(self._totals["num_visits"])]
        rows = np.zeros(len(found), dtype=VISIT)
        rows["round_index"] = found["iteration"]
        rows["segment"] = np.array(self._legs)[found["leg"]]
        for name in ("client", "attempt", "visit", "resource", "join_s", "leave_s"):
            rows[name] = found[name]
        return rows

    def _make_tables(self, num: int) -> None:
        columns = min(_MAX_COLUMNS, max(_MIN_COLUMNS, _MAX_DRAWN // num))
        attempts = len(self._state.setting.failure_s)
        self._free = self._free._replace(
            factor=np.ones((num, columns)),
            failure_s=np.full((attempts, num, columns), np.inf),
            alone_s=np.zeros((num, columns)),
        )
        # Nothing is drawn for anybody yet.
        self._free.iterations["first_drawn"] = -columns
        self._draw()

    def _draw(self) -> None:
        """Draw the next iterations of all whose draws are used up."""
        free, simulation = self._free, self._simulation
        columns = free.factor.shape[1]
        following = self._state.clients["iteration"] + 1
        here = np.flatnonzero(following - free.iterations["first_drawn"] >= columns)
        free.iterations["first_drawn"][here] = following[here]
        for column in range(columns):
            numbers = (following[here] + column).astype(np.uint64)
            factors = round_factors(simulation, numbers, here)
            free.factor[here, column] = factors
            alone_s = free.alone_s[here, column] = self._uncontended.total(factors, here)
            for attempt in range(len(free.failure_s)):
                free.failure_s[attempt, here, column] = work_until_failure(
                    simulation, numbers, here, attempt, alone_s
                )

    def _make_room(self) -> None:
        free, state, server = self._free, self._state, self.server
        sweep(state.queue)
        num, waiting = len(state.setting.order), int(server["tail"] - server["head"])
        if server["tail"] == len(free.buffer):
            rows = slice(int(server["head"]), int(server["tail"]))
            room = 2 * waiting + _FIRST_ROOM
            self._free = free._replace(
                buffer=_grown(free.buffer[rows], room),
                buffer_spent=_grown(free.buffer_spent[rows], room),
            )
            server["head"], server["tail"] = 0, waiting
        visits = state.sums.visits
        if self._totals["num_visits"] + num >= len(visits) > 0:
            visits = _grown(visits, 2 * len(visits) + num)
            self._state = state._replace(sums=state.sums._replace(visits=visits))


def _grown(array: Records, length: int) -> Records:
    longer = np.zeros((length, *array.shape[1:]), dtype=array.dtype)
    longer[: len(array)] = array
    return longer


def _programs(simulation: Simulation, legs: tuple[int, ...]) -> tuple[Program, ...]:
    return tuple(
        segment_programs(simulation, (protocol.round[leg],), group)
        for leg in legs
        for group, protocol in enumerate(simulation.protocols)
    )


def _draws(simulation: Simulation) -> tuple[bool, bool]:
    """Whether clients may fail, and whether anything is drawn for an iteration."""
    spreads = [c.spread for c in simulation.federation.classes]
    can_fail = any(s.dropout_probability > 0 for s in spreads)
    return can_fail, can_fail or any(s.round_sigma > 0 for s in spreads)


def _free_state(
    simulation: Simulation,
    setting: Setting,
    alone_s: Reals,
    presence: Intervals | None,
    num_labels: int,
) -> FreeState:
    """Everybody idle."""
    policy, population = simulation.policy, simulation.population
    num = len(population)
    server = np.zeros(1, SERVER)
    slots = num if policy.clients_per_round is None else policy.clients_per_round
    server["num_free"] = min(slots, num)
    server["is_buffered"] = server["needs_fill"] = policy.mode == "buffered"
    server["buffer_size"] = policy.buffer_size or 0
    server["max_staleness"] = -1 if policy.max_staleness is None else policy.max_staleness
    server["is_fastest_first"] = policy.selection == "resource"
    by_speed = np.argsort(alone_s, kind="stable")
    iterations = np.zeros(num, ITERATION)
    iterations["group"], iterations["slowdown"] = population.group_index, population.slowdown
    iterations["speed_place"], iterations["first_drawn"] = np.argsort(by_speed), 1
    coming = np.zeros(0, COMING)
    if presence is not None:
        owner = np.repeat(np.arange(num), np.diff(presence.first))
        order = np.lexsort((owner, presence.start_s))
        coming = np.zeros(len(order), COMING)
        coming["client"], coming["time_s"] = owner[order], presence.start_s[order]
    room = _FIRST_ROOM + (policy.buffer_size or 0)
    return FreeState(
        server=server,
        iterations=iterations,
        idle=client_set(num, is_full=True),
        fresh=client_set(num, is_full=False),
        by_speed=by_speed,
        coming=coming,
        factor=np.ones((num, 0)),
        failure_s=np.zeros((len(setting.failure_s), num, 0)),
        alone_s=np.zeros((num, 0)),
        buffer=np.zeros(room, CONTRIBUTION),
        buffer_spent=np.zeros((room, num_labels), SPENT),
        candidate_key=np.array([purpose_key(simulation.seed, "candidate")], dtype=np.uint64),
    )
