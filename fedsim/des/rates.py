"""Rates that vary in time: one factor for all clients of a class, in mid-flow too."""

from __future__ import annotations

from bisect import bisect_right

import simpy

from fedsim.des.agenda import SERVER, Agenda, nanoseconds
from fedsim.des.link import Flow, SharedLink
from fedsim.spec.link import RateTrace

__all__ = ["ClassRates"]


class ClassRates:
    """Keeps the flows of one class at the factor of the time.

    Changes are events only while some flow is there to feel them, so a trace without end does not
    keep a simulation alive.

    Parameters
    ----------
    agenda : Agenda
    trace : RateTrace
    """

    def __init__(self, agenda: Agenda, trace: RateTrace) -> None:
        self._agenda = agenda
        self._trace = trace
        self._flows: dict[Flow, tuple[SharedLink, float]] = {}
        self._is_watching = False
        self._index = 0

    def factor(self) -> float:
        """The factor from this nanosecond on."""
        return self._trace.change(self._current())[1]

    def add(self, flow: Flow, link: SharedLink, rate_bytes_per_s: float) -> None:
        """Keep a flow up to date; its rate at factor 1 is given [B/s]."""
        self._flows[flow] = (link, rate_bytes_per_s)
        if not self._is_watching:
            self._is_watching = True
            self._watch(self._current() + 1)

    def remove(self, flow: Flow) -> None:
        """A flow is over."""
        del self._flows[flow]

    def _current(self) -> int:
        """Number of the piece that holds now."""
        trace, now_s = self._trace, self._agenda.now
        now_ns = nanoseconds(now_s)
        lap = int(now_s // trace.period_s)
        piece = bisect_right(trace.times_s, now_s - lap * trace.period_s) - 1
        index = max(lap * len(trace.times_s) + piece, 0)
        # The next one may start within this nanosecond.
        while nanoseconds(trace.change(index + 1)[0]) <= now_ns:
            index += 1
        return index

    def _watch(self, index: int) -> None:
        self._index = index
        self._agenda.call_at(self._trace.change(index)[0], SERVER, self._change)

    def _change(self, _: simpy.Event) -> None:
        if not self._flows:
            self._is_watching = False
            return
        factor = self._trace.change(self._index)[1]
        changes: dict[SharedLink, list[tuple[Flow, float]]] = {}
        for flow, (link, rate) in self._flows.items():
            changes.setdefault(link, []).append((flow, rate * factor))
        for link, flows in changes.items():
            link.set_rates(flows)
        self._watch(self._index + 1)
