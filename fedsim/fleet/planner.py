"""A simulation's plans round by round: its population with the protocols of one round.

Equal rounds are one object, so whoever keeps what it worked out by it works it out once.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from fedsim.errors import ScenarioError
from fedsim.fleet.contributions import Contributions
from fedsim.fleet.population import ClientGroup, Population
from fedsim.fleet.recent import Recent
from fedsim.fleet.simulation import Simulation
from fedsim.planning import ClientFacts, Need, View, groups, plan, policy
from fedsim.protocol.step import Protocol
from fedsim.spec.plan import ClientPlan
from fedsim.spec.policy import PolicySpec

__all__ = ["MAX_PLANS", "Planner"]

#: Different plans in one run. A schedule that makes more of them plans clients one by one.
MAX_PLANS = 2000
#: Plans whose protocols are remembered: a few plans may go to other clients in every round.
_NUM_PROTOCOLS = 64
#: Combinations of plans and groups up to which each has a place in a table.
_MAX_CODE = 1_000_000

Integers = NDArray[np.int64]


class Planner:
    """Makes the simulation of each round out of a run's.

    Few of them are remembered, so a schedule whose rounds are all different keeps no more memory
    after a thousand rounds than after ten.

    Parameters
    ----------
    simulation : Simulation
        Of the whole run: what it would be without schedules.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._base = simulation
        self._schedules = simulation.federation.schedules
        needs = {need for schedule in self._schedules for need in schedule.needs}
        needs |= {need for schedule in simulation.policy.schedules for need in schedule.needs}
        self._last_used: Integers | None = None
        if Need.HISTORY in needs:
            self._last_used = np.zeros(len(simulation.population), dtype=np.int64)
        self._facts = _facts(simulation.population) if self._schedules else None
        self._known: Recent[tuple[object, ...], Simulation] = Recent()
        self._protocols: Recent[ClientPlan, Protocol] = Recent(_NUM_PROTOCOLS)
        self._plans: set[ClientPlan] = set()
        self._segments = [type(segment) for segment in simulation.server_protocol.round]

    def policy(self, round_index: int, now_s: float) -> PolicySpec:
        """The policy of a round, when the server begins to look for clients.

        Parameters
        ----------
        round_index : int
        now_s : float
            The clock [s].
        """
        base = self._base.policy
        return policy(base, View(round_index, now_s, None, self._last_used))

    def at(self, round_index: int, asked: Integers, now_s: float) -> Simulation:
        """The simulation of a round that begins; its policy is the run's.

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
        if self._facts is None:
            return self._base
        view = View(round_index, now_s, asked, self._last_used)
        base = self._base.population
        distinct, index = _client_groups(
            base.group_index, groups(self._schedules, self._facts, view)
        )
        client_groups = tuple(
            replace(
                base.groups[client_group],
                plan=plan(base.groups[client_group].plan, self._schedules, group, view),
            )
            for client_group, *group in distinct
        )
        # The server's own work is of the first group: of all, where there is one.
        server_plan = plan(
            self._base.federation.server_plan, self._schedules, [0] * len(self._schedules), view
        )
        is_as_before = index is base.group_index
        key = (client_groups, server_plan, None if is_as_before else index.tobytes())
        return self._known.of(
            key, lambda: self._made(client_groups, index, server_plan, round_index)
        )

    def note_used(self, round_index: int, clients: Integers) -> None:
        """Remember who contributed, for schedules that ask."""
        if self._last_used is not None:
            self._last_used[clients] = round_index

    def _made(
        self,
        client_groups: tuple[ClientGroup, ...],
        index: NDArray[np.int32],
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
        protocols = tuple(self._protocol(client_group.plan) for client_group in client_groups)
        server_protocol = self._protocol(server_plan)
        for protocol in (*protocols, server_protocol):
            self._check(protocol, round_index)
        return replace(
            base,
            federation=replace(base.federation, server_plan=server_plan),
            protocols=protocols,
            server_protocol=server_protocol,
            population=replace(base.population, groups=client_groups, group_index=index),
            contributions=Contributions(
                [(p, v.plan.training) for p, v in zip(protocols, client_groups, strict=True)],
                (server_protocol, server_plan.training),
                base.federation.server.device,
            ),
        )

    def _protocol(self, plan: ClientPlan) -> Protocol:
        return self._protocols.of(plan, lambda: self._base.framework(plan))

    def _check(self, protocol: Protocol, round_index: int) -> None:
        if [type(segment) for segment in protocol.round] != self._segments:
            raise ScenarioError(
                f"round {round_index}: a schedule's plan has other segments than the rounds before "
                "(a cut below all adapters, say); let all rounds have one kind of protocol."
            )


def _client_groups(
    group_index: NDArray[np.int32], own: Integers
) -> tuple[list[list[int]], NDArray[np.int32]]:
    """Distinct (group of clients, group under each schedule), and each client's place among them.

    Where everybody is of the first group, the places are ``group_index`` itself.
    """
    num_groups = int(group_index.max()) + 1
    if not own.any():
        nobody = [0] * own.shape[1]
        return [[number, *nobody] for number in range(num_groups)], group_index
    columns = (group_index, *own.T)
    sizes = [int(column.max()) + 1 for column in columns]
    if prod(sizes) > _MAX_CODE:
        distinct, index = np.unique(np.column_stack(columns), axis=0, return_inverse=True)
        return distinct.tolist(), index.reshape(-1).astype(np.int32)
    # One number for each combination: a million clients are counted and not sorted.
    code = np.ravel_multi_index(columns, sizes)
    found = np.flatnonzero(np.bincount(code, minlength=prod(sizes)))
    place = np.zeros(prod(sizes), dtype=np.int32)
    place[found] = np.arange(len(found), dtype=np.int32)
    return np.column_stack(np.unravel_index(found, sizes)).tolist(), place[code]


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
