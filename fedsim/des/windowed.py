"""Semi-synchronous windows: what came in is aggregated at regular times."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import simpy

from fedsim.des.agenda import SERVER, Signal
from fedsim.des.free_running import FreeRunning
from fedsim.des.iteration import Iteration
from fedsim.des.world import World
from fedsim.fleet.progress import Progress
from fedsim.fleet.selection import Selector

__all__ = ["WindowedMode"]

Events = Generator[simpy.Event, Any, None]


class WindowedMode(FreeRunning):
    """The server of the windowed mode.

    Parameters
    ----------
    world : World
    selector : Selector
    progress : Progress
    """

    def __init__(self, world: World, selector: Selector, progress: Progress) -> None:
        super().__init__(world, progress)
        window_s = world.simulation.policy.window_s
        assert window_s is not None
        self._window_s = window_s
        self._selector = selector
        self._is_idle = np.ones(len(world.clients), dtype=bool)

    def run(self) -> Events:
        """All windows, one after the other."""
        agenda = self.world.agenda
        for number in range(1, self.world.simulation.federation.num_rounds + 1):
            start_s = agenda.now
            self._fill(number)
            yield self._end_of_window(start_s + self._window_s)
            taken = list(self.buffer)
            self.buffer.clear()
            self._learn(number, taken)
            yield from self.aggregated(taken, start_s)
            self.follow_up(taken)
        self.stop_all()
        # What was stopped enters its time ahead of the run's end.
        yield agenda.at(agenda.now, SERVER)

    def has_free_slot(self, client: int) -> None:
        """The next window may fill it."""
        self._is_idle[client] = True

    def _fill(self, number: int) -> None:
        num_free = self.num_slots - len(self.running)
        present = self.world.attendance.present(self.world.agenda.now)
        eligible = present[self._is_idle[present]]
        if num_free <= 0 or not len(eligible):
            return
        chosen = self._selector.choose(number, eligible, num_free)
        self._is_idle[chosen] = False
        for index in chosen.tolist():
            self.start(index)

    def _end_of_window(self, at_s: float) -> Signal:
        """Handled when all events of that nanosecond are: as at a deadline, they count."""
        agenda = self.world.agenda
        end = Signal(agenda)
        agenda.call_at(at_s, agenda.last, lambda _: end.fire(at_s, SERVER))
        return end

    def _learn(self, number: int, taken: list[Iteration]) -> None:
        if taken:
            clients = np.array([i.client.index for i in taken], dtype=np.int64)
            seconds = np.array([i.end_s - i.start_s for i in taken])
            self._selector.learn(number, clients, seconds)
