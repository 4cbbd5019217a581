"""From a question to an answer: set-up, the mode's server, and the result."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import simpy

from fedsim.des.agenda import SERVER, HorizonPassed
from fedsim.des.assignment import Assignment
from fedsim.des.attendance import Attendance
from fedsim.des.buffered import BufferedMode
from fedsim.des.free_running import FreeRunning
from fedsim.des.gathering import Gathering
from fedsim.des.synchronous import SynchronousRounds
from fedsim.des.windowed import WindowedMode
from fedsim.des.world import SETUP_SEGMENT, World
from fedsim.errors import ScenarioError
from fedsim.fleet.availability import is_always_on, presence
from fedsim.fleet.endless import check_ends
from fedsim.fleet.progress import Progress, ProgressCallback
from fedsim.fleet.rules import FIRST_HORIZON_S, HORIZON_GROWTH, nobody_left
from fedsim.fleet.selection import Selector
from fedsim.fleet.simulation import VISIT, Simulation, SimulationResult
from fedsim.ledger import SETUP_ROUND
from fedsim.protocol.step import Each

__all__ = ["simulate"]

Mode = SynchronousRounds | FreeRunning

_COLLECTION_THRESHOLD: Final = 200_000
#: Held as Python's numbers, half a kilobyte each.
_MAX_STAYS: Final = 3_000_000


def simulate(
    simulation: Simulation,
    *,
    keeps_visits: bool = False,
    keeps_trace: bool = False,
    progress: ProgressCallback | None = None,
) -> SimulationResult:
    """Simulate a federation event by event.

    Parameters
    ----------
    simulation : Simulation
        All of its clients are feasible.
    keeps_visits : bool
        Whether to return every visit of a shared resource.
    keeps_trace : bool
        Whether to return every stretch of work.
    progress : callable, optional
        Called with the rounds that are done and all, at most once a round; versions or windows in
        modes without common rounds.

    Raises
    ------
    ScenarioError
        If the run cannot come to an end: too few clients ever come, or nobody ever contributes.
    """
    horizon_s = FIRST_HORIZON_S
    told = Progress(progress, simulation.federation.num_rounds)
    while True:
        try:
            with _rare_collections():
                return _Run(simulation, horizon_s, keeps_visits, keeps_trace, told).result()
        except HorizonPassed:
            # Intervals that begin before a horizon are the same for a later one.
            horizon_s *= HORIZON_GROWTH


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Let the collector of circular garbage look less often.

    A run makes objects by the million and hardly any circle: looking for them all the time costs a
    fifth of it (measured with 10,000 clients).
    """
    before = gc.get_threshold()
    gc.set_threshold(_COLLECTION_THRESHOLD, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _Run:
    """One run up to a horizon."""

    def __init__(
        self,
        simulation: Simulation,
        horizon_s: float,
        keeps_visits: bool,
        keeps_trace: bool,
        progress: Progress,
    ) -> None:
        self._progress = progress
        federation, population = simulation.federation, simulation.population
        intervals = None
        if not is_always_on(federation):
            intervals = presence(federation, population, simulation.seed, horizon_s)
            if len(intervals.start_s) > _MAX_STAYS:
                raise ScenarioError(
                    f"availability: clients come {len(intervals.start_s):,} times within the "
                    f"{horizon_s:,.0f} s that are simulated ahead; engine 'des' takes "
                    f"{_MAX_STAYS:,}. Let them stay and be away for longer, or use fewer clients "
                    "or rounds."
                )
        self._world = World(
            simulation,
            Attendance(len(population), intervals),
            keeps_visits=keeps_visits,
            keeps_trace=keeps_trace,
        )
        self._setup_s = 0.0

    def result(self) -> SimulationResult:
        """Run, and say what came out."""
        mode = self._mode()
        self._run_to_the_end(mode)
        world = self._world
        rounds = mode.log.rounds()
        idle_s = mode.idle_s if isinstance(mode, SynchronousRounds) else None
        return SimulationResult(
            rounds=rounds,
            ledger=world.ledger_sums.ledger(),
            idle_s=tuple(idle_s or [0.0] * len(world.simulation.federation.classes)),
            setup_s=self._setup_s,
            makespan_s=float(rounds.end_s[-1]),
            accelerator_busy_s=world.accelerators.busy_s() + world.once_busy_s,
            num_events=world.agenda.num_events,
            visits=None if world.visits is None else np.array(sorted(world.visits), dtype=VISIT),
            trace=None
            if world.trace is None
            else tuple(sorted(world.trace, key=lambda e: (e.start_s, e.client_index, e.end_s))),
        )

    def _mode(self) -> Mode:
        world = self._world
        uncontended = [
            world.uncontended(i) for i, s in enumerate(world.round) if isinstance(s, Each)
        ]
        check_ends(world.simulation, uncontended)
        alone_s = sum((p.total() for p in uncontended), start=np.zeros(len(world.clients)))
        selector = Selector(world.simulation, alone_s)
        match world.simulation.policy.mode:
            case "synchronous":
                return SynchronousRounds(world, selector, self._progress)
            case "buffered":
                return BufferedMode(world, alone_s, self._progress)
            case "windowed":
                return WindowedMode(world, selector, self._progress)

    def _run_to_the_end(self, mode: Mode) -> None:
        agenda = self._world.agenda
        main = agenda.begin(self._main(mode), SERVER)
        if not agenda.handle_until(main):
            raise nobody_left(agenda.now)

    def _main(self, mode: Mode) -> Generator[simpy.Event, Any, None]:
        if self._world.simulation.policy.simulates_setup:
            yield from self._setup()
        yield from mode.run()

    def _setup(self) -> Generator[simpy.Event, Any, None]:
        """All clients receive what they need, whoever is available."""
        world = self._world
        assignment = Assignment(SETUP_ROUND, SETUP_ROUND, SETUP_SEGMENT, None, may_fail=False)
        members = [(0, client) for client in world.clients]
        gathering = Gathering(world, assignment, members, len(members))
        gathering.start()
        yield gathering.closed
        self._setup_s = gathering.closed_s
