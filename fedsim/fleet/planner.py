"""A simulation's plans round by round: its population with the protocols of one round.

Equal rounds are one object, so whoever keeps what it worked out by it works it out once.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedsim.errors import ScenarioError
from fedsim.fleet.contributions import Contributions
from fedsim.fleet.population import ClientGroup, Population
from fedsim.fleet.simulation import Simulation
from fedsim.planning import ClientFacts, Need, View, groups, plan
from fedsim.protocol.step import Protocol
from fedsim.spec.plan import ClientPlan

__all__ = ["MAX_PLANS", "Planner"]

#: Different plans in one run. A schedule that makes more of them plans clients one by one.
MAX_PLANS = 2000

Integers = NDArray[np.int64]


class Planner:
    """Makes the simulation of each round out of a run's.

    Parameters
    ----------
    simulation : Simulation
        Of the whole run: what it would be without schedules.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._base = simulation
        self._schedules = simulation.federation.schedules
        needs = {need for schedule in self._schedules for need in schedule.needs}
        self._last_used: Integers | None = None
        if Need.HISTORY in needs:
            self._last_used = np.zeros(len(simulation.population), dtype=np.int64)
        self._facts = _facts(simulation.population)
        self._known: dict[tuple[object, ...], Simulation] = {}
        self._plans: set[ClientPlan] = set()
        self._segments = [type(segment) for segment in simulation.server_protocol.round]

    def at(self, round_index: int, asked: Integers, now_s: float) -> Simulation:
        """The simulation of a round that begins.

        Parameters
        ----------
        round_index : int
        asked : ndarray of int64
            Clients that it asks, sorted.
        now_s : float
            The clock [s].

        Raises
        ------
        ScenarioError
            If there are too many plans, or one of them has no protocol of the same segments.
        """
        if not self._schedules:
            return self._base
        view = View(round_index, now_s, asked, self._last_used)
        base = self._base.population
        own = groups(self._schedules, self._facts, view)
        columns = np.column_stack((base.group_index, own))
        distinct, index = np.unique(columns, axis=0, return_inverse=True)
        client_groups = tuple(
            replace(
                base.groups[client_group],
                plan=plan(base.groups[client_group].plan, self._schedules, group, view),
            )
            for client_group, *group in distinct.tolist()
        )
        # The server's own work is of the first group: of all, where there is one.
        server_plan = plan(
            self._base.federation.server_plan, self._schedules, [0] * len(self._schedules), view
        )
        key = (client_groups, server_plan, index.tobytes())
        if key not in self._known:
            self._known[key] = self._made(
                client_groups, index.reshape(-1), server_plan, round_index
            )
        return self._known[key]

    def note_used(self, round_index: int, clients: Integers) -> None:
        """Remember who contributed, for schedules that ask."""
        if self._last_used is not None:
            self._last_used[clients] = round_index

    def _made(
        self,
        client_groups: tuple[ClientGroup, ...],
        index: Integers,
        server_plan: ClientPlan,
        round_index: int,
    ) -> Simulation:
        base = self._base
        self._plans.update(client_group.plan for client_group in client_groups)
        if len(self._plans) > MAX_PLANS:
            raise ScenarioError(
                f"round {round_index}: schedules have made {len(self._plans):,} different plans; "
                f"at most {MAX_PLANS:,} are simulated. Let a schedule have fewer groups or values."
            )
        protocols = tuple(base.framework(client_group.plan) for client_group in client_groups)
        server_protocol = base.framework(server_plan)
        for protocol in (*protocols, server_protocol):
            self._check(protocol, round_index)
        return replace(
            base,
            federation=replace(base.federation, server_plan=server_plan),
            protocols=protocols,
            server_protocol=server_protocol,
            population=replace(
                base.population, groups=client_groups, group_index=index.astype(np.int32)
            ),
            contributions=Contributions(
                [(p, v.plan.training) for p, v in zip(protocols, client_groups, strict=True)],
                (server_protocol, server_plan.training),
                base.federation.server.device,
            ),
        )

    def _check(self, protocol: Protocol, round_index: int) -> None:
        if [type(segment) for segment in protocol.round] != self._segments:
            raise ScenarioError(
                f"round {round_index}: a schedule's plan has other segments than the rounds before "
                "(a cut below all adapters, say); let all rounds have one kind of protocol."
            )


def _facts(population: Population) -> ClientFacts:
    return ClientFacts(
        class_names=population.class_names,
        class_index=population.class_index,
        num_samples=population.num_samples,
        slowdown=population.slowdown,
        uplink=population.uplink,
        downlink=population.downlink,
        round_trip=population.round_trip,
    )
