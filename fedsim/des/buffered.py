"""Buffered asynchronous aggregation (FedBuff): every free slot is filled at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator
from math import inf, nextafter
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from fedsim.des.agenda import SERVER, Signal, nanoseconds
from fedsim.des.candidates import Candidates
from fedsim.des.free_running import FreeRunning
from fedsim.des.iteration import Iteration
from fedsim.des.world import World
from fedsim.fleet.progress import Progress
from fedsim.fleet.rules import MAX_LOSSES, PATIENCE_S, lost_in_a_row, never_full

__all__ = ["BufferedMode"]

Events = Generator[simpy.Event, Any, None]


class BufferedMode(FreeRunning):
    """The server of the buffered mode.

    Parameters
    ----------
    world : World
    alone_s : ndarray
        What a round takes each client with nobody else there [s].
    progress : Progress
    """

    def __init__(self, world: World, alone_s: NDArray[np.float64], progress: Progress) -> None:
        super().__init__(world, progress)
        policy = world.simulation.policy
        assert policy.buffer_size is not None
        self._size = policy.buffer_size
        self._candidates = Candidates(world, alone_s)
        self._num_free = min(self.num_slots, len(world.clients))
        self._num_picks = 0
        self._is_aggregating = self._awaits_arrival = False
        self._since_s = world.agenda.now
        self._num_losses = 0
        self._done = Signal(world.agenda)

    def run(self) -> Events:
        """Run until there are ``num_rounds`` versions of the model."""
        if self._size > self._num_free and self.path.behind:
            raise never_full(self._size, self._num_free)
        self._since_s = self.world.agenda.now
        self._fill()
        yield self._done

    def has_free_slot(self, client: int) -> None:
        """Fill it."""
        self._candidates.add(client)
        self._num_free += 1
        self._fill()

    def lost_for_good(self, iteration: Iteration) -> None:
        """Count the loss; refuse after too many in a row."""
        self._num_losses += 1
        if self._num_losses > MAX_LOSSES:
            raise lost_in_a_row()
        super().lost_for_good(iteration)

    def accept(self) -> None:
        """Aggregate, once there are enough and the server has time."""
        self._num_losses = 0
        if len(self.buffer) >= self._size and not self._is_aggregating:
            self._is_aggregating = True
            self.world.agenda.begin(self._aggregate(), SERVER)

    def _aggregate(self) -> Events:
        agenda = self.world.agenda
        while len(self.buffer) >= self._size:
            taken = self.buffer[: self._size]
            del self.buffer[: self._size]
            yield from self.aggregated(taken, self._since_s)
            self._since_s = agenda.now
            if self.version == self.world.simulation.federation.num_rounds:
                self.stop_all()
                self._done.fire(agenda.now, SERVER)
                return
            self.follow_up(taken)
        self._is_aggregating = False

    def _fill(self) -> None:
        while self._num_free:
            client = self._candidates.pick(self._num_picks)
            if client is None:
                self._await_arrival()
                return
            self._num_picks += 1
            self._num_free -= 1
            self.start(client)
        self._candidates.watch_no_more()

    def _await_arrival(self) -> None:
        """Look again when the next client comes."""
        world = self.world
        attendance, agenda = world.attendance, world.agenda
        if self._awaits_arrival or not attendance.varies:
            return
        place = self._next_arrival()
        latest_s = agenda.now + PATIENCE_S
        if place < len(attendance.arrivals_s) and attendance.arrivals_s[place] <= latest_s:
            self._awaits_arrival = True
            agenda.call_at(attendance.arrivals_s[place], SERVER, self._arrive)
        elif attendance.horizon_s < latest_s:
            # Whoever comes then is not known: getting there starts the run over.
            self._awaits_arrival = True
            agenda.call_at(nextafter(attendance.horizon_s, inf), SERVER, self._arrive)

    def _next_arrival(self) -> int:
        now_ns = nanoseconds(self.world.agenda.now)
        return bisect_right(self.world.attendance.arrivals_s, now_ns, key=nanoseconds)

    def _arrive(self, _: simpy.Event) -> None:
        self._awaits_arrival = False
        if not self._num_free:
            return
        attendance, agenda = self.world.attendance, self.world.agenda
        now_ns = nanoseconds(agenda.now)
        place = self._next_arrival() - 1
        while place >= 0 and nanoseconds(attendance.arrivals_s[place]) == now_ns:
            self._candidates.arrive(attendance.arrivals[place])
            place -= 1
        self._fill()
