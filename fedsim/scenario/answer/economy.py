"""The answer's entries on energy and money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fedsim.analytic import AnalyticResult, Seconds
from fedsim.fleet import SimulationResult
from fedsim.fleet.energy import (
    Amounts,
    Energy,
    amounts_of,
    class_energy,
    money,
    server_energy_j,
)
from fedsim.ledger import SETUP_ROUND, LedgerRow
from fedsim.scenario.file.price_table import PriceTable
from fedsim.spec.federation import FederationSpec
from fedsim.spec.price import PriceSpec

__all__ = [
    "Spent",
    "Stretch",
    "economy_tables",
    "spent_in_closed_form",
    "spent_in_simulation",
    "stretches",
]


@dataclass(frozen=True, eq=False)
class Spent:
    """What a run took, from which its energy and money follow.

    Attributes
    ----------
    amounts, wasted : mapping
        Seconds and bytes of all clients of a class, by its name; of these, what was late or lost.
    busy_s : float
        Of the server's accelerators, summed over them [s].
    makespan_s : float
        All rounds [s].
    total : LedgerRow
        Bytes of everybody.
    """

    amounts: Mapping[str, Amounts]
    busy_s: float
    makespan_s: float
    total: LedgerRow
    wasted: Mapping[str, Amounts] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Stretch:
    """Rounds that are alike, in closed form.

    Attributes
    ----------
    num_rounds : int
    seconds : sequence of Seconds
        One client of each class in a round, alone.
    rows : sequence of LedgerRow
        What it sends in a round.
    round_s, busy_s : float
        A round; the server's accelerators in it [s].
    """

    num_rounds: int
    seconds: Sequence[Seconds]
    rows: Sequence[LedgerRow]
    round_s: float
    busy_s: float


def stretches(answer: AnalyticResult) -> list[Stretch]:
    """The rounds of a closed form by equal plans."""
    return [
        Stretch(
            part.period.num_rounds,
            [cost.seconds for cost in part.classes],
            [cost.round for cost in part.classes],
            part.round_time.mean_s,
            part.server_busy_s,
        )
        for part in answer.periods
    ]


def spent_in_closed_form(
    federation: FederationSpec, rounds: Sequence[Stretch], total: LedgerRow
) -> Spent:
    """All rounds of a run that nobody simulated.

    Parameters
    ----------
    federation : FederationSpec
    rounds : sequence of Stretch
    total : LedgerRow
        Of the run.
    """
    amounts = {c.name: Amounts() for c in federation.classes}
    for stretch in rounds:
        for number, client_class in enumerate(federation.classes):
            times = client_class.num_clients * stretch.num_rounds
            one = _amounts_of_one(stretch.seconds[number], stretch.rows[number], stretch.round_s)
            amounts[client_class.name] = amounts[client_class.name].plus(one, times)
    return Spent(
        amounts,
        sum(stretch.num_rounds * stretch.busy_s for stretch in rounds),
        sum(stretch.num_rounds * stretch.round_s for stretch in rounds),
        total,
    )


def _amounts_of_one(own: Seconds, row: LedgerRow, round_s: float) -> Amounts:
    """One client in a round."""
    computing = own.client_compute + own.client_messages
    return Amounts(
        compute_s=computing,
        uplink_s=own.uplink,
        downlink_s=own.transfer - own.uplink,
        idle_s=max(0.0, round_s - computing - own.transfer),
        uplink_bytes=float(row.uplink_message_bytes),
        downlink_bytes=float(row.downlink_message_bytes),
    )


def spent_in_simulation(
    federation: FederationSpec, result: SimulationResult, total: LedgerRow, *, setup: bool = True
) -> Spent:
    """All rounds of a simulated run, and of these what came to nothing.

    Parameters
    ----------
    federation : FederationSpec
    result : SimulationResult
    total : LedgerRow
        Of the run.
    setup : bool
        With the set-up, where it was simulated.
    """
    amounts, wasted = {}, {}
    for number, client_class in enumerate(federation.classes):
        name = client_class.name
        rows = [
            (k, r)
            for k, r in result.ledger.rows.items()
            if k.party == name and (setup or k.round_index != SETUP_ROUND)
        ]
        amounts[name] = amounts_of((r for _, r in rows), result.idle_s[number])
        wasted[name] = amounts_of(r for k, r in rows if k.outcome != "used")
    makespan_s = result.makespan_s - (0.0 if setup else result.setup_s)
    return Spent(amounts, result.accelerator_busy_s, makespan_s, total, wasted)


def economy_tables(price: PriceTable, federation: FederationSpec, spent: Spent) -> dict[str, Any]:
    """``energy`` and ``money`` of a run, over all clients and rounds."""
    energies = {c.name: class_energy(spent.amounts[c.name], c) for c in federation.classes}
    server_j = server_energy_j(federation.server, spent.busy_s, spent.makespan_s)
    missing = _missing(federation)
    known_j = sum(energy.known_j for energy in energies.values()) + (server_j or 0.0)
    has_any = server_j is not None or any(
        part is not None for e in energies.values() for part in (e.compute_j, e.radio_j, e.idle_j)
    )
    total_j = known_j if has_any else None
    return {
        "energy": {
            "clients": {
                "compute_j": _sum(energies, "compute_j"),
                "radio_j": _sum(energies, "radio_j"),
                "idle_j": _sum(energies, "idle_j"),
            },
            "server_j": server_j,
            "total_j": total_j,
            "wasted_j": sum(
                class_energy(spent.wasted[c.name], c).known_j
                for c in federation.classes
                if c.name in spent.wasted
            ),
            "missing": missing,
        },
        "money": _money(price, spent.total, federation, spent.makespan_s, total_j),
    }


def _money(
    price: PriceTable,
    total: LedgerRow,
    federation: FederationSpec,
    makespan_s: float,
    energy_j: float | None,
) -> dict[str, Any] | None:
    given = PriceSpec(**price.model_dump())
    if given == PriceSpec(given.currency):
        return None
    return money(given, total, federation.server, makespan_s, energy_j)


def _sum(energies: dict[str, Energy], name: str) -> float | None:
    parts = [getattr(energy, name) for energy in energies.values()]
    known = [part for part in parts if part is not None]
    return sum(known) if known else None


def _missing(federation: FederationSpec) -> list[str]:
    """Which figures a sum of energies lacks."""
    found: dict[str, None] = {}
    for client_class in federation.classes:
        device, link = client_class.device, client_class.link
        if device.power_w is None:
            found.setdefault(f"power of '{device.name}'")
        if device.idle_power_w is None:
            found.setdefault(f"idle power of '{device.name}'")
        radio = (
            link.transmit_power_w,
            link.receive_power_w,
            link.uplink_j_per_byte,
            link.downlink_j_per_byte,
        )
        if all(figure is None for figure in radio):
            found.setdefault(f"radio energy of '{link.name}'")
    server = federation.server.device
    if server.power_w is None:
        found.setdefault(f"power of '{server.name}'")
    if server.idle_power_w is None:
        found.setdefault(f"idle power of '{server.name}'")
    return list(found)
