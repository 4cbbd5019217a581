"""Modes without common rounds: FedBuff's buffer and windows, over the free-running event loop.

The kernel lets clients work; what the server does with their contributions is decided here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedsim.cost.step_row import step_row
from fedsim.errors import ScenarioError
from fedsim.fleet.availability import is_always_on, presence
from fedsim.fleet.endless import check_ends
from fedsim.fleet.progress import Progress
from fedsim.fleet.rounds import RoundLine, RoundsLog
from fedsim.fleet.rules import RoundPath, never_full, round_path
from fedsim.fleet.selection import Selector
from fedsim.fleet.simulation import Simulation, SimulationResult
from fedsim.fleet.uncontended import uncontended_times
from fedsim.ledger import SERVER, SETUP_ROUND, Ledger, RowKey
from fedsim.protocol.step import Segment
from fedsim.scale.free.loop import FreeLoop, Taken
from fedsim.scale.free.state import AGGREGATE, AGGREGATED, WINDOW
from fedsim.scale.ledger_rows import ledger_rows
from fedsim.scale.segment import USED, HorizonError
from fedsim.scale.set_up import set_up

__all__ = ["FreeRun"]

#: The round under which everything stands in the ledger.
_LEDGER_ROUND = 1


class FreeRun:
    """One simulation of a server without common rounds.

    Parameters
    ----------
    simulation : Simulation
    keeps_visits : bool
    horizon_s : float
        How far availability is known [s].
    progress : Progress
        Is told of each version or window.
    """

    def __init__(
        self, simulation: Simulation, keeps_visits: bool, horizon_s: float, progress: Progress
    ) -> None:
        self._simulation = simulation
        self._keeps_visits = keeps_visits
        federation, population = simulation.federation, simulation.population
        self._presence = None
        if not is_always_on(federation):
            self._presence = presence(federation, population, simulation.seed, horizon_s)
        self._ledger = Ledger()
        self._log = RoundsLog(progress)
        segments = simulation.server_protocol.round
        path = _path(segments)
        self._legs, self._once = path.before + path.behind, path.once
        uncontended = {i: uncontended_times(simulation, i) for i in self._legs}
        check_ends(simulation, uncontended.values())
        self._uncontended = uncontended[self._legs[0]]
        self._alone_s = sum(
            (p.total() for p in uncontended.values()), start=np.zeros(len(population))
        )
        self._once_busy_s = 0.0

    def result(self) -> SimulationResult | None:
        """Run to the end; None where the horizon was too near."""
        simulation, setup_s, setup_events = self._simulation, 0.0, 0
        setup_visits: list[NDArray[np.void]] = []
        if simulation.policy.simulates_setup:
            found, programs = set_up(simulation, keeps_visits=self._keeps_visits)
            ledger_rows(simulation, programs, found.sums, SETUP_ROUND, self._ledger)
            setup_s, setup_events = found.closed_s, found.num_events
            setup_visits = [] if found.visits is None else [found.visits]
        loop = FreeLoop(
            simulation, self._legs, self._uncontended, self._alone_s, self._presence, setup_s,
            self._keeps_visits,
        )  # fmt: skip
        try:
            if simulation.policy.mode == "buffered":
                self._buffered(loop)
            else:
                self._windowed(loop)
        except HorizonError:
            return None
        for programs, sums in loop.step_sums():
            ledger_rows(simulation, programs, sums, _LEDGER_ROUND, self._ledger)
        visits = None
        if self._keeps_visits:
            order = ["round_index", "client", "segment", "attempt", "visit"]
            visits = np.sort(np.concatenate([*setup_visits, loop.visits()]), order=order)
        rounds = self._log.rounds()
        return SimulationResult(
            rounds=rounds,
            ledger=self._ledger,
            idle_s=(0.0,) * len(simulation.federation.classes),
            setup_s=setup_s,
            makespan_s=float(rounds.end_s[-1]),
            accelerator_busy_s=loop.served_s + self._once_busy_s,
            num_events=setup_events + loop.num_events,
            visits=visits,
        )

    def _buffered(self, loop: FreeLoop) -> None:
        size, num_rounds = int(loop.server["buffer_size"]), self._simulation.federation.num_rounds
        if size > loop.server["num_free"] and len(self._legs) > 1:
            raise never_full(size, int(loop.server["num_free"]))
        since_s, taken, closed_s = loop.now, None, loop.now
        seconds = 0.0
        while True:
            what = loop.go_on()
            while True:
                if what == AGGREGATE:
                    if loop.server["tail"] - loop.server["head"] < size:
                        loop.server["is_aggregating"] = 0
                        break
                    taken, closed_s = loop.take(size, USED), loop.now
                    seconds, end_s = self._work(taken.clients, closed_s)
                    if end_s > closed_s:
                        loop.announce(end_s, AGGREGATED)
                        break
                assert taken is not None
                self._publish(loop, taken, since_s, closed_s, seconds)
                since_s = loop.now
                if loop.server["version"] == num_rounds:
                    self._log.lines[-1].num_late += loop.stop_all()
                    return
                loop.follow_up(taken.clients)
                what = AGGREGATE

    def _windowed(self, loop: FreeLoop) -> None:
        simulation = self._simulation
        policy, everybody = simulation.policy, np.arange(len(simulation.population))
        assert policy.window_s is not None
        selector = Selector(simulation, self._alone_s)
        num_slots = policy.clients_per_round or len(everybody)
        for number in range(1, simulation.federation.num_rounds + 1):
            start_s = loop.now
            is_eligible = loop.is_idle
            if self._presence is not None:
                is_eligible = is_eligible & self._presence.are_there(everybody, start_s)
            num_free = num_slots - int(loop.server["num_running"])
            if num_free > 0 and is_eligible.any():
                loop.start(selector.choose(number, np.flatnonzero(is_eligible), num_free))
            loop.announce(start_s + policy.window_s, WINDOW, is_last=True)
            loop.go_on()
            closed_s, seconds = loop.now, 0.0
            taken = loop.take(int(loop.server["tail"] - loop.server["head"]), USED)
            if len(taken.clients):
                selector.learn(number, taken.clients, taken.end_s - taken.start_s)
                seconds, end_s = self._work(taken.clients, closed_s)
                if end_s > closed_s:
                    loop.announce(end_s, AGGREGATED)
                    loop.go_on()
            self._publish(loop, taken, start_s, closed_s, seconds)
            if number < simulation.federation.num_rounds:
                loop.follow_up(taken.clients)
        self._log.lines[-1].num_late += loop.stop_all()

    def _publish(
        self, loop: FreeLoop, taken: Taken, start_s: float, closed_s: float, seconds: float
    ) -> None:
        """Make a version of some contributions, if there are any; the run's line for it."""
        server = loop.server
        line = RoundLine(start_s, closed_s, loop.now, int(server["num_asked"]), len(taken.clients))
        line.num_late, line.num_lost = int(server["num_late"]), int(server["num_lost"])
        server["num_asked"] = server["num_late"] = server["num_lost"] = 0
        if len(taken.clients):
            server["version"] += 1
            line.add(*self._uncontended.of_client(int(taken.clients[-1]), float(taken.factors[-1])))
            line.compute_s += seconds
        self._log.add(line)

    def _work(self, clients: NDArray[np.int64], now: float) -> tuple[float, float]:
        """The server's work for some contributions: its seconds, and when it is done [s]."""
        if self._once is None:
            return 0.0, now
        simulation = self._simulation
        training = simulation.federation.server_plan.training
        groups = simulation.population.group_index[clients]
        total = 0.0
        for times, step, one_s in simulation.contributions.steps(self._once, groups):
            seconds = times * one_s
            row = step_row(step, times, training)
            row.compute_s = row.server_s = seconds
            row.start_s = now
            key = RowKey(_LEDGER_ROUND, SERVER, step.label)
            known = self._ledger.rows.get(key)
            if known is not None:
                row.start_s = known.start_s
            self._ledger.add(key, row)
            now += seconds
            total += seconds
        self._once_busy_s += total
        return total, now


def _path(segments: tuple[Segment, ...]) -> RoundPath:
    """A round's path, with one segment ahead of its gathering."""
    path = round_path(segments)
    if len(path.before) != 1:
        raise ScenarioError(
            "engine 'scale' takes frameworks whose clients contribute after one segment; set "
            'engine = "des".'
        )
    return path
