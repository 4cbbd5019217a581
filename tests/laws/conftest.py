"""The parts of both engines that laws are about, each behind one way of asking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedsim import des, scale
from fedsim.des.accelerators import Accelerators, Queue, Request, Sharing
from fedsim.des.agenda import SERVER, Agenda
from fedsim.des.link import Flow as SharedFlow
from fedsim.des.link import SharedLink
from fedsim.fleet import Simulation, SimulationResult
from fedsim.scale.link.flow_link_kernel import (
    change_rates,
    complete,
    flow_link,
    join,
    leave,
    next_due,
)
from laws.scale_parts import link_departures, queue_departures, sharing_departures
from oracle import Flow

Reals = NDArray[np.float64]
Ends = list[tuple[float, float]]


def des_queue(
    arrival_s: Reals,
    own_s: Reals,
    *,
    num_accelerators: int = 1,
    max_batch: int = 1,
    shared_s: Reals | None = None,
    patience_s: float = inf,
) -> tuple[Reals, Reals]:
    """The same question as :func:`laws.scale_parts.queue_departures`."""
    agenda = Agenda(len(arrival_s))
    queue = Queue(agenda, num_accelerators, max_batch)
    shared = np.zeros(len(arrival_s)) if shared_s is None else shared_s
    requests = _asked(agenda, queue, arrival_s, own_s, shared, patience_s)
    start, end = np.full(len(arrival_s), inf), np.full(len(arrival_s), inf)
    for client, (request, ends) in requests.items():
        end[client] = ends[0]
        if request.service is not None:
            start[client] = request.service.start_s
    return start, end


def des_sharing(arrival_s: Reals, work_s: Reals, num_accelerators: int) -> Reals:
    """The same question as :func:`laws.scale_parts.sharing_departures`."""
    agenda = Agenda(len(arrival_s))
    none = np.zeros(len(arrival_s))
    requests = _asked(agenda, Sharing(agenda, num_accelerators), arrival_s, work_s, none, inf)
    return np.array([requests[client][1][0] for client in range(len(arrival_s))])


def _asked(
    agenda: Agenda,
    accelerators: Accelerators,
    arrival_s: Reals,
    own_s: Reals,
    shared_s: Reals,
    patience_s: float,
) -> dict[int, tuple[Request, list[float]]]:
    """Requests by client, with their ends."""
    found: dict[int, tuple[Request, list[float]]] = {}
    own, shared = own_s.tolist(), shared_s.tolist()

    def come(client: int, _: object) -> None:
        request = accelerators.request(client, own[client], shared[client])
        ends: list[float] = []
        found[client] = request, ends
        request.done.callbacks.append(lambda _: ends.append(agenda.now))
        if patience_s < inf:
            agenda.call_at(agenda.now + patience_s, client + 0.5, partial(give_up, client))

    def give_up(client: int, _: object) -> None:
        request, ends = found[client]
        if request.service is None:
            accelerators.cancel(request)
            ends.append(agenda.now)

    for client, moment in enumerate(arrival_s.tolist()):
        agenda.call_at(moment, client, partial(come, client))
    agenda.run()
    return found


def des_link(flows: Sequence[Flow], capacity: float | None) -> Ends:
    """Ends and unsent bytes through the SimPy engine's link."""
    agenda = Agenda(len(flows))
    link = SharedLink(agenda, capacity)
    limits = [flow.bytes_per_s for flow in flows]
    joined: dict[int, SharedFlow] = {}
    found: dict[int, tuple[float, float]] = {}

    def come(client: int, _: object) -> None:
        joined[client] = link.join(client, flows[client].num_bytes, limits[client])
        joined[client].done.callbacks.append(lambda _: found.update({client: (agenda.now, 0.0)}))

    def go(client: int, _: object) -> None:
        if not joined[client].is_done:
            found[client] = agenda.now, link.cancel(joined[client])

    def change(client: int, rate: float, _: object) -> None:
        limits[client] = rate
        if client in joined:
            link.set_rates([(joined[client], rate)])

    for client, flow in enumerate(flows):
        agenda.call_at(flow.arrival_s, client, partial(come, client))
        if flow.leave_by_s < inf:
            agenda.call_at(flow.leave_by_s, client + 0.5, partial(go, client))
        for moment, rate in flow.changes:
            agenda.call_at(moment, SERVER, partial(change, client, rate))
    agenda.run()
    return [found[client] for client in range(len(flows))]


def scale_link(flows: Sequence[Flow], capacity: float | None) -> Ends:
    """Through the compiled link with known arrivals."""
    assert not any(flow.changes for flow in flows)
    ends, unsent = link_departures(
        np.array([f.arrival_s for f in flows]),
        np.array([f.num_bytes for f in flows]),
        np.array([f.bytes_per_s for f in flows]),
        capacity,
        np.array([f.leave_by_s for f in flows]),
    )
    return list(zip(ends.tolist(), unsent.tolist(), strict=True))


def scale_flow_link(flows: Sequence[Flow], capacity: float | None) -> Ends:
    """Through the link of the compiled event loop: the server's events first in a nanosecond."""
    rates = np.array([f.bytes_per_s for f in flows])
    link = flow_link(rates, inf if capacity is None else capacity, 0.0)
    found: dict[int, tuple[float, float]] = {}
    events: list[tuple[int, float, float, str, int, float]] = []
    for i, flow in enumerate(flows):
        events.append((_tick(flow.arrival_s), i, flow.arrival_s, "come", i, 0.0))
        if flow.leave_by_s < inf:
            events.append((_tick(flow.leave_by_s), i + 0.5, flow.leave_by_s, "go", i, 0.0))
        events += [(_tick(at), -1.0, at, "change", i, rate) for at, rate in flow.changes]
    events.sort()
    while len(found) < len(flows):
        i, end = next_due(link)
        if end < inf and (not events or _tick(end) <= events[0][0]):
            found[i] = complete(link, i, end), 0.0
            continue
        _, _, now, what, i, rate = events.pop(0)
        if what == "come":
            join(link, i, flows[i].num_bytes, now)
        elif what == "change":
            change_rates(link, np.array([i]), np.array([rate]), now)
        elif i not in found:
            found[i] = now, leave(link, i, now)
    return [found[i] for i in range(len(flows))]


def _tick(time_s: float) -> int:
    return round(time_s * 1e9)


@pytest.fixture(scope="session", params=["des", "scale"])
def engine(request: pytest.FixtureRequest) -> str:
    """Which of the two."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def queue(engine: str) -> Callable[..., tuple[Reals, Reals]]:
    """Starts and ends of requests that come at known times, first come, first served."""
    return des_queue if engine == "des" else queue_departures


@pytest.fixture(scope="session")
def sharing(engine: str) -> Callable[[Reals, Reals, int], Reals]:
    """Ends of requests that share the accelerators."""
    return des_sharing if engine == "des" else sharing_departures


@pytest.fixture(scope="session")
def simulate(engine: str) -> Callable[..., SimulationResult]:
    """A whole simulation, with all visits."""
    module: Any = {"des": des, "scale": scale}[engine]

    def run(simulation: Simulation) -> SimulationResult:
        result: SimulationResult = module.simulate(simulation, keeps_visits=True)
        return result

    return run


@pytest.fixture(scope="session", params=[des_link, scale_link, scale_flow_link])
def link(request: pytest.FixtureRequest) -> Callable[[Sequence[Flow], float | None], Ends]:
    """Ends of flows and what they had still to send."""
    found: Callable[[Sequence[Flow], float | None], Ends] = request.param
    return found


@pytest.fixture(scope="session", params=[des_link, scale_flow_link])
def moving_link(request: pytest.FixtureRequest) -> Callable[[Sequence[Flow], float | None], Ends]:
    """The same where a flow's own limit may change on its way."""
    found: Callable[[Sequence[Flow], float | None], Ends] = request.param
    return found
