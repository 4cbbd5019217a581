"""One side of the server's link: flows share it max-min fairly, none faster than its client.

There is a level ``w`` such that flow ``i`` runs at ``min(rate_i, w)``. Flows at their own rate are
*capped*: their end is a time. The others are *level*: all run at ``w``, so their ends are ordered
by the service that they lacked when they joined, a mark on the axis of virtual time (the integral
of ``w``). A flow is touched only when it joins, leaves or changes sides; nothing is rescheduled
when the level moves.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from math import inf

from fedsim.des.agenda import Agenda, Alarm, Signal, nanoseconds

__all__ = ["Flow", "SharedLink"]


class Flow:
    """Bytes of one client on their way through a link.

    Attributes
    ----------
    client : int
        Index, the rank of ``done``.
    num_bytes : float
        Of the wire [B].
    rate : float
        Own limit [B/s].
    done : Signal
    is_done : bool
        True from the moment at which the link let the last byte through.
    """

    __slots__ = ("client", "done", "end", "is_capped", "is_done", "num_bytes", "rate", "stamp")

    def __init__(self, client: int, num_bytes: float, rate: float, done: Signal) -> None:
        self.client = client
        self.num_bytes = num_bytes
        self.rate = rate
        self.done = done
        self.is_done = False
        self.is_capped = True
        #: A time where it is capped [s], else a mark of virtual time [B]; what is left where it has
        #: no rate [B].
        self.end = inf
        #: Number of its last change; 0 when it is no longer on the link.
        self.stamp = 0


class _Order:
    """Flows by a key, smallest first; entries of flows that changed since are passed over."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Flow]] = []

    def add(self, key: float, flow: Flow, num_flows: int) -> None:
        entries = self._entries
        if len(entries) > 2 * num_flows + 64:
            entries[:] = [entry for entry in entries if entry[2].stamp == entry[1]]
            heapify(entries)
        heappush(entries, (key, flow.stamp, flow))

    def first(self) -> Flow | None:
        entries = self._entries
        while entries:
            entry = entries[0]
            if entry[2].stamp == entry[1]:
                return entry[2]
            heappop(entries)
        return None


class SharedLink:
    """A side of the server's link.

    Parameters
    ----------
    agenda : Agenda
    capacity_bytes_per_s : float or None
        Of all flows together; None where it never limits [B/s].
    """

    def __init__(self, agenda: Agenda, capacity_bytes_per_s: float | None) -> None:
        self.capacity = inf if capacity_bytes_per_s is None else capacity_bytes_per_s
        self._agenda = agenda
        self._alarm = Alarm(agenda, self._let_through)
        self._clock_s = 0.0
        self._clock_ns = 0
        self._virtual = 0.0
        self._level = inf
        self._num_capped = self._num_level = 0
        self._capped_rate = 0.0
        self._num_changes = 0
        self._capped_by_end, self._level_by_end = _Order(), _Order()
        # Negated, so that the fastest is first.
        self._capped_by_rate, self._level_by_rate = _Order(), _Order()

    def join(self, client: int, num_bytes: float, rate_bytes_per_s: float) -> Flow:
        """Start a flow now; its ``done`` is handled when the last byte is through."""
        # A rate far above the capacity says no more than the capacity, and sums would lose digits.
        rate = min(rate_bytes_per_s, self.capacity)
        flow = Flow(client, num_bytes, rate, Signal(self._agenda))
        now_s = self._agenda.now
        self._advance(now_s)
        if rate <= 0:
            self._pause(flow, num_bytes)
        elif rate > self._level:
            # One more only lowers the level, so it is above it for certain.
            self._enter_level(flow, self._virtual + num_bytes)
        else:
            self._enter_capped(flow, max(now_s, self._clock_s) + num_bytes / rate)
        self._settle()
        return flow

    def cancel(self, flow: Flow) -> float:
        """Take a flow out; bytes that it had still to send, 0 if it was done [B]."""
        if flow.is_done:
            return 0.0
        self._advance(self._agenda.now)
        unsent = self._remaining(flow)
        self._take_out(flow)
        self._settle()
        return unsent

    def set_rates(self, changes: Iterable[tuple[Flow, float]]) -> None:
        """Change flows' own limits from now on, all at once [B/s]."""
        # What ends in this nanosecond has ended, whichever of the two is handled first.
        self._let_through()
        self._advance(self._agenda.now)
        for flow, rate in changes:
            if flow.is_done or not flow.stamp:
                continue
            remaining = self._remaining(flow)
            self._take_out(flow)
            flow.rate = min(rate, self.capacity)
            if flow.rate > 0:
                self._enter_capped(flow, self._clock_s + remaining / flow.rate)
            else:
                self._pause(flow, remaining)
        self._settle()

    def _advance(self, to_s: float) -> None:
        """Run the clock, which stands still within a nanosecond.

        Flows that come or end together by all but rounding are together then. Else whoever is first
        by a trillionth of a second has the link for itself that long, and is ahead by as many times
        that as there are others; after a dozen visits this is microseconds.
        """
        if to_s > self._clock_s and round(to_s * 1e9) != self._clock_ns:
            self._clock_ns = round(to_s * 1e9)
            if self._num_level:
                self._virtual += self._level * (to_s - self._clock_s)
            self._clock_s = to_s

    def _remaining(self, flow: Flow) -> float:
        if flow.rate <= 0:
            return flow.end
        if flow.is_capped:
            remaining = (flow.end - self._clock_s) * flow.rate
        else:
            remaining = flow.end - self._virtual
        return min(max(remaining, 0.0), flow.num_bytes)

    def _pause(self, flow: Flow, num_bytes: float) -> None:
        """In an outage a flow is on neither side."""
        self._num_changes += 1
        flow.stamp, flow.end = self._num_changes, num_bytes

    def _enter_capped(self, flow: Flow, end_s: float) -> None:
        self._num_changes += 1
        flow.stamp = self._num_changes
        flow.is_capped, flow.end = True, end_s
        self._num_capped += 1
        self._capped_rate += flow.rate
        self._capped_by_end.add(end_s, flow, self._num_capped)
        if self.capacity < inf:
            self._capped_by_rate.add(-flow.rate, flow, self._num_capped)

    def _enter_level(self, flow: Flow, end: float) -> None:
        self._num_changes += 1
        flow.stamp = self._num_changes
        flow.is_capped, flow.end = False, end
        self._num_level += 1
        self._level_by_end.add(end, flow, self._num_level)
        self._level_by_rate.add(flow.rate, flow, self._num_level)

    def _take_out(self, flow: Flow) -> None:
        flow.stamp = 0
        if flow.rate <= 0:
            return
        if flow.is_capped:
            self._num_capped -= 1
            # Rounding errors of the sum do not outlive a moment with nobody there.
            self._capped_rate = self._capped_rate - flow.rate if self._num_capped else 0.0
        else:
            self._num_level -= 1
            if not self._num_level:
                self._virtual = 0.0

    def _settle(self) -> None:
        self._find_level()
        end_s, _ = self._next_end()
        self._alarm.ring_by(end_s)

    def _find_level(self) -> None:
        """Let flows change sides until the level fits.

        First those that the level has sunk below, the fastest first, then those that it has risen
        above, the slowest first. Taking a flow down lifts the level, but not to that flow's rate;
        setting one free never lowers it. So neither undoes the other.
        """
        if not self._num_level and self._capped_rate <= self.capacity:
            self._level = inf
            return
        share = self._fair_share()
        fastest = self._capped_by_rate.first()
        while fastest is not None and fastest.rate > share:
            remaining = self._remaining(fastest)
            self._take_out(fastest)
            self._enter_level(fastest, self._virtual + remaining)
            share, fastest = self._fair_share(), self._capped_by_rate.first()
        slowest = self._level_by_rate.first()
        while slowest is not None and slowest.rate <= share:
            remaining = self._remaining(slowest)
            self._take_out(slowest)
            self._enter_capped(slowest, self._clock_s + remaining / slowest.rate)
            share, slowest = self._fair_share(), self._level_by_rate.first()
        self._level = share

    def _fair_share(self) -> float:
        """What the capped flows leave to each of the others [B/s].

        With nobody on the level it is infinite, unless the capped ones need more than there is.
        """
        if self._num_level:
            return (self.capacity - self._capped_rate) / self._num_level
        return inf if self._capped_rate <= self.capacity else 0.0

    def _next_end(self) -> tuple[float, Flow | None]:
        """When the next flow is through as things stand, and which [s]."""
        capped = self._capped_by_end.first()
        end_s = inf if capped is None else capped.end
        if self._num_level:
            level = self._level_by_end.first()
            assert level is not None
            level_end_s = self._clock_s + max(level.end - self._virtual, 0.0) / self._level
            if level_end_s < end_s:
                return level_end_s, level
        return end_s, capped

    def _let_through(self) -> None:
        """End every flow whose end lies in this nanosecond: on the level together, by the clock."""
        now_ns = nanoseconds(self._agenda.now)
        end_s, flow = self._next_end()
        while flow is not None and nanoseconds(end_s) <= now_ns:
            self._advance(end_s)
            through_s = end_s if flow.is_capped else self._clock_s
            self._take_out(flow)
            flow.is_done = True
            flow.done.fire(through_s, flow.client)
            self._find_level()
            end_s, flow = self._next_end()
        self._alarm.ring_by(end_s)
