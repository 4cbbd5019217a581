"""The free-running event loop with its arrays: it draws, makes room, and says what the server sees.

Decides nothing about contributions; see :mod:`fedsim.scale.free.run`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedsim.draws import purpose_key
from fedsim.errors import ScenarioError
from fedsim.fleet.availability import Intervals
from fedsim.fleet.endless import endless
from fedsim.fleet.simulation import VISIT, Simulation
from fedsim.fleet.uncontended import Parts, round_factors, work_until_failure
from fedsim.scale.events.agenda_kernel import empty_agenda, push, with_room
from fedsim.scale.events.handle_kernel import begin_traces
from fedsim.scale.events.queue_kernel import sweep
from fedsim.scale.events.state import CLOSED, EVENTS, LATE, NUM_VISITS, SERVED_S, Bells, Setting
from fedsim.scale.events.tables import (
    client_state,
    empty_sums,
    program_tables,
    resources,
    setting_of,
    tally_of,
)
from fedsim.scale.events.walk_kernel import NUMBER
from fedsim.scale.free.kernel import (
    DRAWS,
    EMPTY,
    ENDLESS,
    HORIZON_PASSED,
    MAX_LOSSES,
    ROOM,
    SERVER_EVENT,
    decide,
    follow_up,
    run_free,
    start,
    stop_all,
)
from fedsim.scale.free.state import (
    BUFFER_SIZE,
    HEAD,
    IS_BUFFERED,
    IS_FASTEST_FIRST,
    MAX_STALENESS,
    NEEDS_FILL,
    NUM_FREE,
    NUM_IDLE,
    NUM_LEGS,
    NUM_REGISTERS,
    TAIL,
    Free,
    crowd_of,
)
from fedsim.scale.program import Program
from fedsim.scale.segment import HorizonError, SegmentTask, Tally, segment_programs

__all__ = ["FreeLoop", "Taken"]

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]

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
    parts : Parts
        Of the first leg.
    alone_s : ndarray
        What a round takes each client with nobody else there [s].
    presence : Intervals or None
    start_s : float
        [s].
    keeps_visits : bool

    Attributes
    ----------
    run : ndarray of int64
        Registers; see :mod:`fedsim.scale.free.state`.
    """

    def __init__(
        self,
        simulation: Simulation,
        legs: tuple[int, ...],
        parts: Parts,
        alone_s: Reals,
        presence: Intervals | None,
        start_s: float,
        keeps_visits: bool,
    ) -> None:
        self._simulation, self._legs, self._parts = simulation, legs, parts
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
        self._tables, self._labels = program_tables(simulation, self._programs)
        self._clients = client_state(task, len(self._labels))
        can_fail, is_drawn = _draws(simulation)
        self._setting = setting_of(task)
        if can_fail:
            failure = np.full((self._setting.retries + 1, num), np.inf)
            self._setting = self._setting._replace(failure_s=failure)
        # A batch goes on with what its client has given up; alone, a request is over at once.
        server = simulation.federation.server
        num_requests = 1 if server.max_batch == 1 else server.num_accelerators + 1
        self._links, self._queue = resources(task, self._setting, num_requests)
        self._sums = empty_sums(task, self._tables, self._labels)
        self._sums.totals[CLOSED] = start_s
        self._agenda = empty_agenda(4 * num + 1024)
        self._bells = Bells(np.full(3, np.inf), np.zeros(3, dtype=np.int64))
        self._pieces, self._factors = begin_traces(self._agenda, self._setting)
        self._free = _free(simulation, self._setting, alone_s, presence, len(self._labels))
        self.run = self._free.run
        self.run[NUM_LEGS] = len(legs)
        if is_drawn:
            self._make_tables(num)

    @property
    def now(self) -> float:
        """Moment of the last event [s]."""
        return float(self._sums.totals[CLOSED])

    @property
    def is_idle(self) -> NDArray[np.bool_]:
        """Who has no work."""
        return np.asarray(self._free.idle.place >= 0)

    @property
    def num_events(self) -> int:
        """Handled so far."""
        return int(self._sums.numbers[EVENTS])

    @property
    def served_s(self) -> float:
        """Seconds of service, over all accelerators [s]."""
        return float(self._sums.totals[SERVED_S])

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
            reason, what, self._agenda = run_free(
                self._agenda, self._links, self._queue, self._bells, self._pieces, self._factors,
                self._clients, self._tables, self._setting, self._sums, self._free,
            )  # fmt: skip
            if reason == SERVER_EVENT:
                return what
            if reason in (DRAWS, ROOM):
                self._draw() if reason == DRAWS else self._make_room()
                continue
            if reason == HORIZON_PASSED:
                raise HorizonError
            if reason == ENDLESS:
                raise endless(float(self._agenda[1][0]))
            raise ScenarioError(_NOBODY.format(self.now) if reason == EMPTY else _STUCK)

    def announce(self, at_s: float, what: int, *, is_last: bool = False) -> None:
        """Come back at a moment, ahead of clients' events or behind them."""
        self._agenda = with_room(self._agenda, 1)
        push(self._agenda, at_s, 2 * len(self._setting.order) + 4 if is_last else 0, what, 0, 0)

    def start(self, clients: Integers) -> None:
        """Let idle clients begin."""
        self._agenda = with_room(self._agenda, len(clients))
        if self._free.factor.shape[1]:
            column = self._clients.at[clients, NUMBER] + 1 - self._free.first_number[clients]
            if (column >= self._free.factor.shape[1]).any():
                self._draw()
        for c in clients.tolist():
            start(self._agenda, c, self.now, self._clients, self._setting, self._free)

    def follow_up(self, clients: Integers) -> None:
        """Let clients whose contributions were aggregated begin what is behind it."""
        if len(self._legs) == 1:
            return
        self._agenda = with_room(self._agenda, len(clients))
        num_variants = len(self._programs) // len(self._legs)
        for c in clients.tolist():
            follow_up(self._agenda, c, self.now, self._clients, num_variants)

    def take(self, num: int, outcome: int) -> Taken:
        """Take the oldest contributions out of the buffer and book what became of them."""
        first = int(self.run[HEAD])
        rows = slice(first, first + num)
        decide(first, first + num, outcome, self._tables, self._sums, self._free)
        self.run[HEAD] += num
        real = self._free.entry_s[rows].copy()
        return Taken(self._free.entry[rows, 0].copy(), real[:, 0], real[:, 1], real[:, 2])

    def stop_all(self) -> int:
        """End the run here: how much was in flight or waited, which is late."""
        self._agenda = with_room(self._agenda, 8 * len(self._setting.order) + 64)
        num = stop_all(
            self._agenda, self._links, self._queue, self._bells, self._clients, self._tables,
            self._setting, self._sums, self._free,
        )  # fmt: skip
        waiting = int(self.run[TAIL] - self.run[HEAD])
        self.take(waiting, LATE)
        return int(num) + waiting

    def tallies(self) -> list[tuple[tuple[Program, ...], Tally]]:
        """Programs of each leg's variants, and what they add up to."""
        tally = tally_of(self._programs, self._tables, self._labels, self._sums)
        num = len(self._programs) // len(self._legs)
        return [
            (self._programs[first : first + num], Tally(*(f[first : first + num] for f in tally)))
            for first in range(0, len(self._programs), num)
        ]

    def visits(self) -> NDArray[np.void]:
        """Every visit of a shared resource, sorted."""
        num = int(self._sums.numbers[NUM_VISITS])
        numbers = self._sums.visit_numbers[:num]
        rows = np.zeros(num, dtype=VISIT)
        rows["round_index"], rows["client"] = numbers[:, 4], numbers[:, 0]
        rows["segment"] = np.array(self._legs)[numbers[:, 5]]
        for column, name in enumerate(("attempt", "visit", "resource"), start=1):
            rows[name] = numbers[:, column]
        rows["join_s"], rows["leave_s"] = self._sums.visit_s[:num].T
        return rows

    def _make_tables(self, num: int) -> None:
        columns = min(_MAX_COLUMNS, max(_MIN_COLUMNS, _MAX_DRAWN // num))
        attempts = len(self._setting.failure_s)
        self._free = self._free._replace(
            factor=np.ones((num, columns)),
            failure_s=np.full((attempts, num, columns), np.inf),
            alone_s=np.zeros((num, columns)),
            # Nothing is drawn for anybody yet.
            first_number=np.full(num, -columns),
        )
        self._draw()

    def _draw(self) -> None:
        """Draw the next iterations of all whose draws are used up."""
        free, simulation = self._free, self._simulation
        columns = free.factor.shape[1]
        following = self._clients.at[:, NUMBER] + 1
        here = np.flatnonzero(following - free.first_number >= columns)
        free.first_number[here] = following[here]
        for column in range(columns):
            numbers = (following[here] + column).astype(np.uint64)
            factors = round_factors(simulation, numbers, here)
            free.factor[here, column] = factors
            alone_s = free.alone_s[here, column] = self._parts.total(factors, here)
            for attempt in range(len(free.failure_s)):
                free.failure_s[attempt, here, column] = work_until_failure(
                    simulation, numbers, here, attempt, alone_s
                )

    def _make_room(self) -> None:
        free, sums, run = self._free, self._sums, self.run
        sweep(self._queue)
        num, waiting = len(self._setting.order), int(run[TAIL] - run[HEAD])
        if run[TAIL] == len(free.entry):
            rows = slice(int(run[HEAD]), int(run[TAIL]))
            grown = {
                name: _grown(getattr(free, name)[rows], 2 * waiting + _FIRST_ROOM)
                for name in ("entry", "entry_s", "entry_sums")
            }
            self._free = free._replace(**grown)
            run[HEAD], run[TAIL] = 0, waiting
        if sums.numbers[NUM_VISITS] + num >= len(sums.visit_s) > 0:
            length = 2 * len(sums.visit_s) + num
            self._sums = sums._replace(
                visit_numbers=_grown(sums.visit_numbers, length),
                visit_s=_grown(sums.visit_s, length),
            )


_NOBODY: Final = (
    "at {:g} s nobody works any more, and no client will be available again; let clients be "
    "available more often."
)
_STUCK: Final = (
    f"{MAX_LOSSES + 1} clients in a row were lost before they contributed: their work takes longer "
    "than they stay, or dropout_probability is too high for policy.mode = 'buffered'; lower it, or "
    "let clients be available for longer."
)


def _grown(array: NDArray[np.generic], length: int) -> NDArray[np.generic]:
    longer = np.zeros((length, *array.shape[1:]), dtype=array.dtype)
    longer[: len(array)] = array
    return longer


def _programs(simulation: Simulation, legs: tuple[int, ...]) -> tuple[Program, ...]:
    return tuple(
        segment_programs(simulation, (protocol.round[leg],), variant)
        for leg in legs
        for variant, protocol in enumerate(simulation.protocols)
    )


def _draws(simulation: Simulation) -> tuple[bool, bool]:
    """Whether clients may fail, and whether anything is drawn for an iteration."""
    spreads = [c.spread for c in simulation.federation.classes]
    can_fail = any(s.dropout_probability > 0 for s in spreads)
    return can_fail, can_fail or any(s.round_sigma > 0 for s in spreads)


def _free(
    simulation: Simulation,
    setting: Setting,
    alone_s: Reals,
    presence: Intervals | None,
    num_labels: int,
) -> Free:
    """Everybody idle."""
    policy, population = simulation.policy, simulation.population
    num = len(population)
    run = np.zeros(NUM_REGISTERS, dtype=np.int64)
    slots = num if policy.clients_per_round is None else policy.clients_per_round
    run[NUM_FREE] = min(slots, num)
    run[NUM_IDLE] = num
    run[IS_BUFFERED] = run[NEEDS_FILL] = policy.mode == "buffered"
    run[BUFFER_SIZE] = policy.buffer_size or 0
    run[MAX_STALENESS] = -1 if policy.max_staleness is None else policy.max_staleness
    run[IS_FASTEST_FIRST] = policy.selection == "resource"
    by_speed = np.argsort(alone_s, kind="stable")
    arrival_s, arrival = np.zeros(0), np.zeros(0, dtype=np.int64)
    if presence is not None:
        owner = np.repeat(np.arange(num), np.diff(presence.first))
        order = np.lexsort((owner, presence.start_s))
        arrival_s, arrival = presence.start_s[order], owner[order]
    room = _FIRST_ROOM + (policy.buffer_size or 0)
    return Free(
        run=run,
        version=np.zeros(num, dtype=np.int64),
        start_s=np.zeros(num),
        variant=population.variant_index.astype(np.int64),
        slowdown=population.slowdown.astype(np.float64),
        has_contributed=np.zeros(num, dtype=np.int64),
        idle=crowd_of(num, is_full=True),
        fresh=crowd_of(num, is_full=False),
        by_speed=by_speed,
        speed_place=np.argsort(by_speed),
        arrival_s=arrival_s,
        arrival=arrival,
        first_number=np.ones(num, dtype=np.int64),
        factor=np.ones((num, 0)),
        failure_s=np.zeros((len(setting.failure_s), num, 0)),
        alone_s=np.zeros((num, 0)),
        entry=np.zeros((room, 2), dtype=np.int64),
        entry_s=np.zeros((room, 3)),
        entry_sums=np.zeros((room, num_labels, 5)),
        candidate_key=np.array([purpose_key(simulation.seed, "candidate")], dtype=np.uint64),
    )
