"""In which order events are handled: by nanosecond, then by whom they belong to.

SimPy orders events by time and by the order in which they were scheduled. Here times that round to
the same nanosecond are ties, and ties go by rank: the server's own events first, then clients by
their index, and what must see all of a nanosecond last.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from heapq import heappop, heappush
from math import inf
from typing import Any, Final

import simpy
from simpy.core import EmptySchedule
from simpy.events import NORMAL, EventPriority

from fedsim.fleet.endless import LAST_S, endless

__all__ = ["SERVER", "Agenda", "Alarm", "HorizonPassed", "Signal", "nanoseconds"]

#: Rank of the server's own events.
SERVER: Final = -1.0


def nanoseconds(time_s: float) -> int:
    """The nanosecond in which a moment is handled."""
    return round(time_s * 1e9)


class HorizonPassed(Exception):  # noqa: N818 - nothing went wrong; the run is done over
    """The simulation came to a time for which nobody drew who is available."""


class Signal(simpy.Event):
    """An event that is set for a moment and a rank of its own."""

    def fire(self, at_s: float, rank: float) -> None:
        """Have it handled at ``at_s``."""
        self._ok = True
        self._value = None
        agenda: Agenda = self.env  # type: ignore[assignment]
        agenda.put(self, at_s, rank)


class Agenda(simpy.Environment):
    """Events by (nanosecond, rank, order of scheduling); their times stay unrounded.

    An event belongs to whoever scheduled it, so a client's chain of events keeps the client's rank
    without saying so. Only what wakes somebody else names a rank.

    Parameters
    ----------
    num_clients : int
    horizon_s : float
        Coming to a later event raises :class:`HorizonPassed` [s].

    Attributes
    ----------
    rank : float
        Of the event in hand: a client's index, :data:`SERVER`, a client's index and a half (for
        what may stop the client once its events of the nanosecond are through), or ``last``.
    last : float
        Rank after all clients'.
    num_events : int
        Handled so far.
    """

    def __init__(self, num_clients: int, horizon_s: float = inf) -> None:
        super().__init__(0.0)
        self.rank = SERVER
        self.last = float(num_clients)
        self.num_events = 0
        self._horizon_s = horizon_s
        self._num_put = 0
        self._entries: list[tuple[int, float, int, float, simpy.Event]] = []

    def schedule(
        self,
        event: simpy.Event,
        priority: EventPriority = NORMAL,  # noqa: ARG002 - ranks take its place
        delay: float = 0.0,
    ) -> None:
        """Schedule SimPy's own events under the rank in hand."""
        time_s = self._now + delay
        self._num_put += 1
        heappush(self._entries, (round(time_s * 1e9), self.rank, self._num_put, time_s, event))

    def put(self, event: simpy.Event, at_s: float, rank: float) -> None:
        """Schedule a triggered event at a moment, under a rank."""
        self._num_put += 1
        heappush(self._entries, (round(at_s * 1e9), rank, self._num_put, at_s, event))

    def at(self, at_s: float, rank: float) -> Signal:
        """Signal that is handled at ``at_s``."""
        signal = Signal(self)
        signal.fire(at_s, rank)
        return signal

    def call_at(self, at_s: float, rank: float, callback: Callable[[simpy.Event], None]) -> Signal:
        """Have ``callback`` called at ``at_s``."""
        signal = self.at(at_s, rank)
        signal.callbacks.append(callback)
        return signal

    def begin(self, generator: Generator[simpy.Event, Any, Any], rank: float) -> simpy.Process:
        """Start a process now; its events belong to ``rank``."""
        before, self.rank = self.rank, rank
        process = simpy.Process(self, generator)
        self.rank = before
        return process

    def interrupt(self, process: simpy.Process, cause: object) -> None:
        """Interrupt a process ahead of everybody's other events of this nanosecond."""
        before, self.rank = self.rank, SERVER
        process.interrupt(cause)
        self.rank = before

    def peek(self) -> float:
        """Time of the next event; infinite if there is none [s]."""
        return self._entries[0][3] if self._entries else inf

    def step(self) -> None:
        """Handle the next event."""
        if not self._entries:
            raise EmptySchedule
        self.handle_until(self._entries[0][-1])

    def handle_until(self, last: simpy.Event) -> bool:
        """Handle events up to and including ``last``; False if they run out before.

        Raises
        ------
        HorizonPassed
            At the first event beyond the horizon.
        ScenarioError
            At one for which there will never be time.
        """
        entries, horizon_s = self._entries, min(self._horizon_s, LAST_S)
        while entries:
            _, self.rank, _, self._now, event = heappop(entries)
            if self._now > horizon_s:
                raise endless(self._now) if self._now > LAST_S else HorizonPassed
            self.num_events += 1
            callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]
            for callback in callbacks:
                callback(event)
            # Nobody waits for a process that broke, so its error comes out here.
            if not event._ok and not hasattr(event, "_defused"):
                raise event._value
            if event is last:
                return True
        return False


class Alarm:
    """Calls somebody in time, with one pending event.

    An alarm may ring early, when what it was set for was put off: whoever is called looks what is
    due and sets it anew. So a change costs an event only if it brings something forward.

    Parameters
    ----------
    agenda : Agenda
    callback : callable
    """

    __slots__ = ("_agenda", "_at_s", "_callback", "_signal")

    def __init__(self, agenda: Agenda, callback: Callable[[], None]) -> None:
        self._agenda = agenda
        self._callback = callback
        self._at_s = inf
        self._signal: Signal | None = None

    def ring_by(self, at_s: float) -> None:
        """Ring at ``at_s``, or before."""
        if at_s < self._at_s:
            self._at_s = at_s
            self._signal = self._agenda.call_at(at_s, SERVER, self._ring)

    def _ring(self, event: simpy.Event) -> None:
        # One that was set for later than another stays in the agenda and is passed over.
        if event is self._signal:
            self._at_s = inf
            self._signal = None
            self._callback()
