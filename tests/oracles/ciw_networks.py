"""Queues as Ciw simulates them: a queueing network simulator of Cardiff University (MIT licence).

Geraint I. Palmer, Vincent A. Knight, Paul R. Harper, Asyl L. Hawa: "Ciw: An open-source discrete
event simulation library", Journal of Simulation 13(1), 2019. Nothing is drawn: each customer
brings its own arrival, think times and service, so that times can be compared one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf

import ciw
import numpy as np
from numpy.typing import NDArray

__all__ = ["closed_network_visits", "fcfs_ends", "sharing_ends"]

Reals = NDArray[np.float64]


class _Own(ciw.dists.Distribution):
    """What each customer brings, in order of its arrival."""

    def __init__(self, seconds: Sequence[float]) -> None:
        self._seconds = seconds

    def sample(self, t: float | None = None, ind: ciw.Individual | None = None) -> float:
        return self._seconds[ind.id_number - 1]


class _Gaps(ciw.dists.Distribution):
    """Times between arrivals, and nobody after the last."""

    def __init__(self, gaps: Sequence[float]) -> None:
        self._gaps: Iterator[float] = iter(gaps)

    def sample(self, t: float | None = None, ind: ciw.Individual | None = None) -> float:
        return next(self._gaps, inf)


def fcfs_ends(gaps: Reals, service: Reals, num_servers: int) -> Reals:
    """Departures from one queue, first come, first served."""
    return _open_ends(gaps, service, number_of_servers=[num_servers])


def sharing_ends(gaps: Reals, service: Reals, num_servers: int) -> Reals:
    """Departures where ``n`` customers are served at ``min(1, num_servers / n)`` each."""
    return _open_ends(
        gaps, service, ciw.PSNode, number_of_servers=[inf], ps_thresholds=[num_servers]
    )


def _open_ends(
    gaps: Reals, service: Reals, node: type = ciw.Node, **settings: list[float]
) -> Reals:
    network = ciw.create_network(
        arrival_distributions=[_Gaps(gaps.tolist())],
        service_distributions=[_Own(service.tolist())],
        routing=[[0.0]],
        **settings,
    )
    simulation = ciw.Simulation(network, node_class=node)
    simulation.simulate_until_max_customers(len(gaps), method="Finish")
    records = simulation.get_all_records()
    return np.array([r.exit_date for r in sorted(records, key=lambda r: r.id_number)])


def closed_network_visits(
    before_s: Sequence[Sequence[float]],
    after_s: Sequence[Sequence[float]],
    service_s: float,
    num_servers: int,
    num_laps: int,
) -> tuple[Reals, Reals]:
    """When each customer joins and leaves the queue in each lap.

    All start at time 0. A lap goes through delays of the customer's own, ``before_s[customer]``,
    then through one queue for ``num_servers``, then through ``after_s[customer]``.
    """
    num_customers, queue = len(before_s), len(before_s[0])
    own = [
        *(_Own(list(seconds)) for seconds in zip(*before_s, strict=True)),
        ciw.dists.Deterministic(service_s),
        *(_Own(list(seconds)) for seconds in zip(*after_s, strict=True)),
    ]
    servers = [inf] * len(own)
    servers[queue] = num_servers
    lap = list(range(1, len(own) + 1))
    network = ciw.create_network(
        arrival_distributions=[_Gaps([0.0] * num_customers), *[None] * (len(own) - 1)],
        service_distributions=own,
        number_of_servers=servers,
        # The route says where to go after the first node, at which everybody comes in.
        routing=ciw.routing.ProcessBased(lambda _, __: (lap * num_laps)[1:]),
    )
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_customers(num_customers, method="Finish")
    records = [r for r in simulation.get_all_records() if r.node == queue + 1]
    records.sort(key=lambda r: (r.id_number, r.arrival_date))
    shape = num_customers, num_laps
    join, leave = ([getattr(r, name) for r in records] for name in ("arrival_date", "exit_date"))
    return np.reshape(join, shape), np.reshape(leave, shape)
