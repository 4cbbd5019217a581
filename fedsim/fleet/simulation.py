"""What a simulating engine is given, and what it gives back.

The rules by which the one becomes the other are in ``docs/simulation.md``; both engines keep them,
each in its own way, and neither knows the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fedsim.errors import ScenarioError
from fedsim.fleet.contributions import Contributions
from fedsim.fleet.population import Population, draw_population
from fedsim.fleet.rounds import Rounds
from fedsim.fleet.trace import TraceEvent
from fedsim.ledger import Ledger
from fedsim.protocol.step import Protocol, has_exclusive_steps
from fedsim.spec.federation import FederationSpec
from fedsim.spec.plan import ClientPlan
from fedsim.spec.policy import PolicySpec
from fedsim.spec.schedule import Need

__all__ = ["VISIT", "Simulation", "SimulationResult", "prepare"]

#: One visit of a shared resource. ``round_index`` is the round, or the client's own iteration where
#: there are no common rounds; ``visit`` counts a client's visits within one attempt at a segment;
#: ``resource`` is 0 for the server's uplink side, 1 for its downlink side, 2 for its accelerators.
VISIT = np.dtype(
    [
        ("round_index", np.int64),
        ("client", np.int64),
        ("segment", np.int64),
        ("attempt", np.int64),
        ("visit", np.int64),
        ("resource", np.int64),
        ("join_s", np.float64),
        ("leave_s", np.float64),
    ]
)


@dataclass(frozen=True, eq=False)
class Simulation:
    """A question to an engine.

    Attributes
    ----------
    federation : FederationSpec
    framework : callable
        Plan to protocol.
    protocols : tuple of Protocol
        One for each of ``population.groups``.
    server_protocol : Protocol
        Built from the server's plan: what it does once a round.
    population : Population
    policy : PolicySpec
    seed : int
    contributions : Contributions
        What the server's work once a round takes, by who contributed.
    """

    federation: FederationSpec
    framework: Callable[[ClientPlan], Protocol]
    protocols: tuple[Protocol, ...]
    server_protocol: Protocol
    population: Population
    policy: PolicySpec
    seed: int
    contributions: Contributions

    @cached_property
    def has_exclusive_steps(self) -> bool:
        """Whether clients of a round work on one thing at the server, one after the other."""
        return any(has_exclusive_steps(protocol.round) for protocol in self.protocols)


@dataclass(frozen=True, eq=False)
class SimulationResult:
    """An engine's answer.

    Attributes
    ----------
    rounds : Rounds
    ledger : Ledger
        ``party`` is a class's name, with sums over its clients and attempts. In modes without
        common rounds, ``round_index`` is 1 for everything.
    idle_s : tuple of float
        By class: seconds that clients of a round spent waiting for others after their own work.
    setup_s : float
        Of the one-off set-up, where it is simulated [s].
    makespan_s : float
        End of the last round [s].
    accelerator_busy_s : float
        Seconds in which accelerators worked, summed over them [s].
    num_events : int
        Events that were handled; an engine's own count.
    visits : ndarray of VISIT or None
        Sorted, where they were asked for.
    approximation : str
        How the times were approximated; empty where they were not.
    trace : tuple of TraceEvent or None
        Sorted by start and client, where it was asked for.
    """

    rounds: Rounds
    ledger: Ledger
    idle_s: tuple[float, ...]
    setup_s: float
    makespan_s: float
    accelerator_busy_s: float
    num_events: int
    visits: NDArray[np.void] | None = None
    approximation: str = ""
    details: dict[str, float] = field(default_factory=dict)
    trace: tuple[TraceEvent, ...] | None = None


def prepare(
    federation: FederationSpec,
    framework: Callable[[ClientPlan], Protocol],
    policy: PolicySpec,
    seed: int,
) -> Simulation:
    """Draw the population and build every protocol.

    Parameters
    ----------
    federation : FederationSpec
    framework : callable
        Plan to protocol.
    policy : PolicySpec
    seed : int
        Everything that is drawn depends on it.

    Raises
    ------
    ScenarioError
        If plans change by round where there are no common rounds, or by losses.
    """
    _check_schedules(federation, policy)
    population = draw_population(federation, seed)
    protocols = tuple(framework(group.plan) for group in population.groups)
    server_protocol = framework(federation.server_plan)
    return Simulation(
        federation=federation,
        framework=framework,
        protocols=protocols,
        server_protocol=server_protocol,
        population=population,
        policy=policy,
        seed=seed,
        contributions=Contributions(
            [(p, v.plan.training) for p, v in zip(protocols, population.groups, strict=True)],
            (server_protocol, federation.server_plan.training),
            federation.server.device,
        ),
    )


def _check_schedules(federation: FederationSpec, policy: PolicySpec) -> None:
    """Refuse schedules that look at what no simulation knows, or has no rounds to change by."""
    needs = [(repr(s), s.needs) for s in federation.schedules]
    asking = [(repr(s), s.needs) for s in policy.schedules]
    if (needs or asking) and policy.mode != "synchronous":
        raise ScenarioError(
            f"policy.mode = '{policy.mode}' has no rounds by which plans could change; set "
            'policy.mode = "synchronous", or leave the schedules out.'
        )
    for name, own in (*needs, *asking):
        if Need.LOSSES in own:
            raise ScenarioError(
                f"schedule {name} looks at losses, and nobody trains in a simulation; run it by "
                "'fedsim train', or let it look at something else."
            )
    for name, own in asking:
        if Need.COHORT in own:
            raise ScenarioError(
                f"schedule {name} looks at whom a round asks, and says itself how many they are; "
                "let it look at something else."
            )
