"""fedsim's queues for the accelerators beside Ciw's: the cases, and by how much they differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim import des, scale
from fedsim.fleet import Simulation, prepare
from fedsim.protocol.step import Each, Gather, Protocol
from fedsim.spec.federation import FederationSpec
from fedsim.spec.policy import PolicySpec
from laws.conftest import des_queue, des_sharing
from laws.scale_parts import queue_departures
from laws.scale_parts import sharing_departures as scale_sharing
from oracles.ciw_networks import closed_network_visits, fcfs_ends, sharing_ends
from toy_fleet import ASK, DOWN, UP, WORK, toy_class, toy_server

__all__ = [
    "CLOSED",
    "FCFS",
    "SHARING",
    "Closed",
    "Open",
    "closed_difference",
    "fcfs_difference",
    "sharing_difference",
]

Reals = NDArray[np.float64]
_ENGINES: dict[str, Any] = {"des": des, "scale": scale}
#: Number of the resource in a visit.
_ACCELERATORS = 2


@dataclass(frozen=True)
class Closed:
    """Clients that think for times of their own and ask the server, lap by lap.

    Attributes
    ----------
    num_clients, num_accelerators, num_laps : int
    load : float
        Of the accelerators, were nobody ever to wait.
    is_split : bool
        A lap is a mini-batch of Split-FedLLM: compute, send, ask, receive, compute; else it is that
        of the machine repairman, compute and ask.
    """

    num_clients: int
    num_accelerators: int
    load: float
    is_split: bool = False
    num_laps: int = 8

    def __str__(self) -> str:
        kind = "split" if self.is_split else "repairman"
        return f"{kind} {self.num_clients} {self.num_accelerators} {self.load}"

    @property
    def think_s(self) -> list[float]:
        """Unequal, so that no two clients ever come at the same moment."""
        rng = np.random.default_rng([self.num_clients, self.num_accelerators])
        found: list[float] = rng.uniform(0.6, 1.4, self.num_clients).tolist()
        return found

    @property
    def message_s(self) -> list[float]:
        """Of one message; none where clients are no part of Split-FedLLM."""
        return [0.3 * think for think in reversed(self.think_s)]

    @property
    def service_s(self) -> float:
        """Of one request: as much as gives the load."""
        lap_s = 1.0 + 0.3 + 0.3 + 1.0 if self.is_split else 1.0
        return self.load * self.num_accelerators * lap_s / self.num_clients


CLOSED = tuple(
    Closed(clients, accelerators, load, is_split)
    for is_split in (False, True)
    for clients, load in ((20, 0.6), (60, 1.45))
    for accelerators in (1, 2, 4)
)


@dataclass(frozen=True)
class Open:
    """Customers who come from outside, as drawn numbers: Poisson arrivals and any services."""

    name: str
    num_servers: int
    load: float
    services: Callable[[np.random.Generator, int], Reals]
    num_customers: int

    def __str__(self) -> str:
        return f"{self.name} {self.load}"

    def drawn(self) -> tuple[Reals, Reals]:
        """Gaps between arrivals, and services of mean 1."""
        rng = np.random.default_rng(0)
        gaps = rng.exponential(1 / (self.load * self.num_servers), self.num_customers)
        return gaps, self.services(rng, self.num_customers)


FCFS = (
    Open("M/D/1", 1, 0.8, lambda rng, num: np.ones(num), 2000),
    Open("M/M/3", 3, 0.9, lambda rng, num: rng.exponential(1.0, num), 2000),
)
SHARING = (
    Open("M/LN/1-PS", 1, 0.7, lambda rng, num: rng.lognormal(-0.125, 0.5, num), 800),
    Open("M/M/2-PS", 2, 0.8, lambda rng, num: rng.exponential(1.0, num), 800),
)


def closed_difference(engine: str, case: Closed, pace: float = 1.0) -> float:
    """Largest difference of the moments at which clients join and leave the queue [s].

    fedsim's services are ``pace`` times as long; so in the functions below.
    """
    own = list(zip(case.think_s, case.message_s, strict=True))
    before = [[think, message][: 1 + case.is_split] for think, message in own]
    after = [[message, think] if case.is_split else [] for think, message in own]
    expected = closed_network_visits(
        before, after, case.service_s, case.num_accelerators, case.num_laps
    )
    visits = _ENGINES[engine].simulate(_closed(case, pace), keeps_visits=True).visits
    asked = visits[visits["resource"] == _ACCELERATORS]
    # Sorted by client, and a client's by number.
    shape = case.num_clients, case.num_laps
    found = asked["join_s"].reshape(shape), asked["leave_s"].reshape(shape)
    return float(np.abs(np.subtract(found, expected)).max())


def _closed(case: Closed, pace: float) -> Simulation:
    """One class a client: the same steps at a pace of its own."""
    own = zip(case.think_s, case.message_s, strict=True)
    classes = tuple(toy_class(str(i), *seconds) for i, seconds in enumerate(own))
    lap = (
        (WORK, UP, ASK, DOWN, replace(WORK, label="work behind")) if case.is_split else (WORK, ASK)
    )
    steps = lap * case.num_laps
    protocol = Protocol("closed", (), (Each(steps), Gather(steps[-1].label)))
    server = toy_server(pace * case.service_s, num_accelerators=case.num_accelerators)
    return prepare(
        FederationSpec(classes, server, classes[0].plan), lambda _: protocol, PolicySpec(), seed=0
    )


def fcfs_difference(engine: str, case: Open, pace: float = 1.0) -> float:
    """Largest difference of a departure [s]."""
    gaps, service = case.drawn()
    queue = des_queue if engine == "des" else queue_departures
    _, end = queue(np.cumsum(gaps), pace * service, num_accelerators=case.num_servers)
    return float(np.abs(end - fcfs_ends(gaps, service, case.num_servers)).max())


def sharing_difference(engine: str, case: Open, pace: float = 1.0) -> float:
    """Largest difference of a departure, relative to its time."""
    gaps, service = case.drawn()
    sharing = des_sharing if engine == "des" else scale_sharing
    expected = sharing_ends(gaps, service, case.num_servers)
    found = sharing(np.cumsum(gaps), pace * service, case.num_servers)
    return float(np.max(np.abs(found / expected - 1)))
