"""What a result's rounds cost, and what its set-up costs once: never the one spread over the other.

Totals hold both. How many rounds are made decides how much of the set-up each would bear, so a
number of rounds to a target is priced by rounds alone, and the set-up stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fedsim.cost.duration import transfer_seconds, unpack_seconds
from fedsim.fleet.energy import Amounts, amounts_of, class_energy, money, server_energy_j
from fedsim.ledger import SETUP_ROUND, LedgerRow
from fedsim.protocol.step import Direction, Each, Protocol, Transfer, leaf_steps
from fedsim.scenario.answer.simulated import Simulated
from fedsim.scenario.file.price_table import PriceTable
from fedsim.spec.federation import ClientClass, FederationSpec
from fedsim.spec.plan import ClientPlan
from fedsim.spec.price import PriceSpec

__all__ = ["RunCosts", "run_costs"]


@dataclass(frozen=True)
class RunCosts:
    """Costs of everybody; None where the scenario does not know them.

    Attributes
    ----------
    num_successful : int
        Rounds that had a contribution: a failed round costs, and teaches nothing.
    num_failed : int
    round_s : mapping
        ``mean``, ``low`` and ``high`` of the time for each successful round [s].
    round_bytes : float
        Payload of both ways for each successful round [B].
    round_j, round_money : float or None
    setup : mapping
        ``payload_bytes``, ``time_s``, ``energy_j`` and ``money``, once.
    """

    num_successful: int
    num_failed: int
    round_s: Mapping[str, float | None]
    round_bytes: float
    round_j: float | None
    round_money: float | None
    setup: Mapping[str, float | None]


def run_costs(
    table: Mapping[str, Any],
    price: PriceTable,
    federation: FederationSpec,
    framework: Callable[[ClientPlan], Protocol],
    simulated: Simulated | None,
) -> RunCosts:
    """Take a result's totals apart.

    Parameters
    ----------
    table : mapping
        The result, its energy and money included.
    price : PriceTable
    federation : FederationSpec
    framework : callable
        Plan to protocol.
    simulated : Simulated or None
    """
    num_failed = 0 if table["rounds"] is None else int(table["rounds"]["num_failed"])
    num = int(table["num_rounds"]) - num_failed
    setup, totals = table["setup"], table["totals"]
    setup_bytes = setup["uplink_payload_bytes"] + setup["downlink_payload_bytes"]
    setup_s = float(setup["transfer_s"])
    setup_j = _setup_joules(federation, framework, simulated, setup_s)
    setup_money = None
    if table["money"] is not None and table["money"]["total"] is not None:
        sent = LedgerRow(
            uplink_message_bytes=setup["uplink_message_bytes"],
            downlink_message_bytes=setup["downlink_message_bytes"],
        )
        given = PriceSpec(**price.model_dump())
        setup_money = money(given, sent, federation.server, setup_s, setup_j)["total"]
    rounds_bytes = totals["uplink_payload_bytes"] + totals["downlink_payload_bytes"] - setup_bytes
    each = table["successful_round"] or {}
    return RunCosts(
        num_successful=num,
        num_failed=num_failed,
        round_s=each.get("time_s") or dict.fromkeys(("mean", "low", "high")),
        round_bytes=rounds_bytes / num if num else 0.0,
        round_j=_mean(each.get("energy_j")),
        round_money=_mean(each.get("money")),
        setup={
            "payload_bytes": setup_bytes,
            "time_s": setup_s,
            "energy_j": None if table["energy"]["total_j"] is None else setup_j,
            "money": None if setup_money is None else float(setup_money),
        },
    )


def _mean(entry: Mapping[str, float] | None) -> float | None:
    return None if entry is None else entry["mean"]


def _setup_joules(
    federation: FederationSpec,
    framework: Callable[[ClientPlan], Protocol],
    simulated: Simulated | None,
    setup_s: float,
) -> float | None:
    """Energy of everybody until round 1 begins; the server's idles meanwhile [J]."""
    known = []
    for client_class in federation.classes:
        amounts = _setup_amounts(client_class, framework)
        if simulated is not None and simulated.simulation.policy.simulates_setup:
            amounts = _simulated_amounts(client_class, simulated)
        energy = class_energy(amounts, client_class)
        known += [part for part in (energy.compute_j, energy.radio_j, energy.idle_j) if part]
    server_j = server_energy_j(federation.server, 0.0, setup_s)
    return sum(known) + (server_j or 0.0) if known or server_j is not None else None


def _simulated_amounts(client_class: ClientClass, simulated: Simulated) -> Amounts:
    rows = simulated.result.ledger.rows.items()
    return amounts_of(
        row
        for key, row in rows
        if key.party == client_class.name and key.round_index == SETUP_ROUND
    )


def _setup_amounts(
    client_class: ClientClass, framework: Callable[[ClientPlan], Protocol]
) -> Amounts:
    """All clients of a class, each alone on its link."""
    one = Amounts()
    for segment in framework(client_class.plan).setup:
        for times, step in leaf_steps(segment.steps) if isinstance(segment, Each) else ():
            if not isinstance(step, Transfer) or step.direction is Direction.UP:
                continue
            size = step.payload.message_bytes
            received = Amounts(
                compute_s=unpack_seconds(step.payload, client_class.device),
                downlink_s=transfer_seconds(size, step.direction, client_class.link),
                downlink_bytes=size,
            )
            one = one.plus(received, times)
    return Amounts().plus(one, client_class.num_clients)
