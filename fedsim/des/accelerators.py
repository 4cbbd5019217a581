"""The server's accelerators: requests of clients wait for one, or share all of them."""

from __future__ import annotations

from functools import partial
from heapq import heappop, heappush
from math import inf
from typing import Protocol

import simpy

from fedsim.des.agenda import SERVER, Agenda, Alarm, Signal, nanoseconds
from fedsim.spec.federation import ServerSpec

__all__ = ["Accelerators", "Queue", "Request", "Sharing", "accelerators"]


class Request:
    """One client's wish to have something computed.

    Attributes
    ----------
    client : int
        Index, the rank of ``done``.
    own_s, shared_s : float
        What a batch pays for each request, and once [s].
    share : float
        Of its work after which its client fails; 1 for one that does not.
    done : Signal
        Handled when its work is through, or its client fails.
    is_done : bool
        True from the moment at which the work was through.
    served_s : float
        Seconds that count as work, known when it is done or cancelled; the rest is waiting [s].
    """

    __slots__ = (
        "client",
        "done",
        "end",
        "is_cancelled",
        "is_done",
        "own_s",
        "served_s",
        "service",
        "share",
        "shared_s",
    )

    def __init__(
        self, client: int, own_s: float, shared_s: float, done: Signal, share: float = 1.0
    ) -> None:
        self.client = client
        self.own_s = own_s
        self.shared_s = shared_s
        self.share = share
        self.done = done
        self.is_done = False
        self.is_cancelled = False
        self.served_s = 0.0
        self.service: _Service | None = None
        #: Mark of virtual time, where accelerators are shared.
        self.end = inf


class Accelerators(Protocol):
    """What a client sees of them."""

    def request(self, client: int, own_s: float, shared_s: float, share: float = 1.0) -> Request:
        """Ask for work from now on, or for the share of it after which the client fails."""
        ...

    def cancel(self, request: Request) -> None:
        """Take a request back, wherever it is."""
        ...

    def busy_s(self) -> float:
        """Seconds of work so far, summed over accelerators [s]."""
        ...


def accelerators(agenda: Agenda, server: ServerSpec, num: int) -> Accelerators:
    """The server's ``num`` accelerators under its discipline."""
    if server.discipline == "sharing":
        return Sharing(agenda, num)
    return Queue(agenda, num, server.max_batch)


class _Service:
    """One accelerator at work for one or several requests."""

    __slots__ = ("requests", "start_s")

    def __init__(self, requests: list[Request], start_s: float) -> None:
        self.requests = requests
        self.start_s = start_s


class Queue:
    """First come, first served, by time of arrival and client index.

    Parameters
    ----------
    agenda : Agenda
    num : int
    max_batch : int
        Waiting requests that an accelerator takes up at once.
    """

    def __init__(self, agenda: Agenda, num: int, max_batch: int = 1) -> None:
        self._agenda = agenda
        self._num_free = num
        self._max_batch = max_batch
        self._busy_s = 0.0
        self._num_arrivals = 0
        self._waiting: list[tuple[int, int, int, Request]] = []
        self._services: dict[_Service, None] = {}

    def request(self, client: int, own_s: float, shared_s: float, share: float = 1.0) -> Request:
        """Ask for work; one that finds an accelerator free starts at once, alone."""
        request = Request(client, own_s, shared_s, Signal(self._agenda), share)
        if self._num_free:
            self._num_free -= 1
            self._serve([request])
        else:
            self._num_arrivals += 1
            arrival = nanoseconds(self._agenda.now)
            heappush(self._waiting, (arrival, client, self._num_arrivals, request))
        return request

    def cancel(self, request: Request) -> None:
        """Drop a request: from the queue, or from its accelerator, which is free then.

        A batch goes on as long as anybody waits for it.
        """
        if request.is_done:
            return
        request.is_cancelled = True
        service = request.service
        if service is None:
            return
        request.served_s = max(self._agenda.now - service.start_s, 0.0)
        if all(other.is_cancelled for other in service.requests):
            self._release(service)

    def busy_s(self) -> float:
        """Seconds of work so far, summed over accelerators [s]."""
        now_s = self._agenda.now
        return self._busy_s + sum(max(now_s - s.start_s, 0.0) for s in self._services)

    def _serve(self, requests: list[Request]) -> None:
        service = _Service(requests, self._agenda.now)
        self._services[service] = None
        seconds = sum(r.own_s for r in requests) + max(r.shared_s for r in requests)
        for request in requests:
            request.service = service
            if request.share < 1:
                fails_s = service.start_s + request.share * seconds
                request.done.fire(fails_s, request.client + 0.5)
        self._agenda.call_at(service.start_s + seconds, SERVER, partial(self._end, service))

    def _end(self, service: _Service, _: simpy.Event) -> None:
        if service not in self._services:
            return
        now_s = self._agenda.now
        for request in service.requests:
            if not request.is_cancelled:
                request.is_done = True
                request.served_s = now_s - service.start_s
                if request.share == 1:
                    request.done.fire(now_s, request.client)
        self._release(service)

    def _release(self, service: _Service) -> None:
        """Note a service's time and give its accelerator to those who wait."""
        del self._services[service]
        self._busy_s += max(self._agenda.now - service.start_s, 0.0)
        batch: list[Request] = []
        while self._waiting and len(batch) < self._max_batch:
            request = heappop(self._waiting)[-1]
            if not request.is_cancelled:
                batch.append(request)
        if batch:
            self._serve(batch)
        else:
            self._num_free += 1


class Sharing:
    """Processor sharing: ``n`` requests on ``c`` accelerators run at ``min(1, c / n)`` each.

    All run alike, so their ends are ordered by a mark of virtual time for good.

    Parameters
    ----------
    agenda : Agenda
    num : int
    """

    def __init__(self, agenda: Agenda, num: int) -> None:
        self._agenda = agenda
        self._num = num
        self._alarm = Alarm(agenda, self._end)
        self._clock_s = self._virtual = self._busy_s = 0.0
        self._num_present = self._num_arrivals = 0
        self._by_end: list[tuple[float, int, Request]] = []

    def request(self, client: int, own_s: float, shared_s: float, share: float = 1.0) -> Request:
        """Ask for work from now on, or for the share of it after which the client fails."""
        request = Request(client, own_s, shared_s, Signal(self._agenda), share)
        self._advance(self._agenda.now)
        request.end = self._virtual + share * (own_s + shared_s)
        self._num_arrivals += 1
        self._num_present += 1
        heappush(self._by_end, (request.end, self._num_arrivals, request))
        self._alarm.ring_by(self._next_end_s())
        return request

    def cancel(self, request: Request) -> None:
        """Take a request back; what it had of its work counts as served."""
        if request.is_done:
            return
        self._advance(self._agenda.now)
        alone_s = request.share * (request.own_s + request.shared_s)
        request.served_s = min(max(alone_s - (request.end - self._virtual), 0.0), alone_s)
        request.is_cancelled = True
        self._leave()
        self._alarm.ring_by(self._next_end_s())

    def busy_s(self) -> float:
        """Seconds of work so far, summed over accelerators [s]."""
        self._advance(self._agenda.now)
        return self._busy_s

    def _speed(self) -> float:
        return min(1.0, self._num / self._num_present)

    def _advance(self, to_s: float) -> None:
        # As a link's, the clock stands still within a nanosecond.
        if to_s > self._clock_s and nanoseconds(to_s) != nanoseconds(self._clock_s):
            if self._num_present:
                self._virtual += self._speed() * (to_s - self._clock_s)
                self._busy_s += min(self._num, self._num_present) * (to_s - self._clock_s)
            self._clock_s = to_s

    def _leave(self) -> None:
        self._num_present -= 1
        if not self._num_present:
            self._virtual = 0.0

    def _next_end_s(self) -> float:
        """When the next request is through as things stand [s]."""
        while self._by_end and self._by_end[0][2].is_cancelled:
            heappop(self._by_end)
        if not self._by_end:
            return inf
        return self._clock_s + max(self._by_end[0][0] - self._virtual, 0.0) / self._speed()

    def _end(self) -> None:
        """End every request whose end lies in this nanosecond, together."""
        now_ns = nanoseconds(self._agenda.now)
        end_s = self._next_end_s()
        while end_s < inf and nanoseconds(end_s) <= now_ns:
            self._advance(end_s)
            request = heappop(self._by_end)[2]
            request.is_done = True
            request.served_s = request.share * (request.own_s + request.shared_s)
            request.done.fire(self._clock_s, request.client)
            self._leave()
            end_s = self._next_end_s()
        self._alarm.ring_by(end_s)
