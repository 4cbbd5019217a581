"""The answer's entries on energy and money."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fedsim.analytic import AnalyticResult
from fedsim.fleet.energy import (
    Amounts,
    Energy,
    amounts_of,
    class_energy,
    money,
    server_energy_j,
)
from fedsim.ledger import LedgerRow
from fedsim.protocol.duration import (
    operation_seconds,
    pack_seconds,
    transfer_seconds,
    unpack_seconds,
)
from fedsim.protocol.step import Compute, Direction, Each, Once, Protocol, Site, leaf_steps
from fedsim.scenario.price_table import PriceTable
from fedsim.scenario.simulated import Simulated
from fedsim.spec.federation import ClientClass, FederationSpec
from fedsim.spec.plan import ClientPlan
from fedsim.spec.price import PriceSpec

__all__ = ["economy_tables"]


def economy_tables(
    price: PriceTable,
    federation: FederationSpec,
    framework: Callable[[ClientPlan], Protocol],
    answer: AnalyticResult,
    simulated: Simulated | None,
    total: LedgerRow,
) -> dict[str, Any]:
    """``energy`` and ``money`` of a result, over all clients and rounds."""
    if simulated is None:
        makespan_s = federation.num_rounds * answer.round_time.mean_s
        amounts = {
            c.name: _alone(c, federation, framework, answer.round_time.mean_s)
            for c in federation.classes
        }
        wasted: dict[str, Amounts] = {}
        busy_s = _busy_seconds(federation, framework, answer)
    else:
        result = simulated.result
        makespan_s, busy_s = result.makespan_s, result.accelerator_busy_s
        amounts, wasted = {}, {}
        for number, client_class in enumerate(federation.classes):
            rows = [(k, r) for k, r in result.ledger.rows.items() if k.party == client_class.name]
            name = client_class.name
            amounts[name] = amounts_of((r for _, r in rows), result.idle_s[number])
            wasted[name] = amounts_of(r for k, r in rows if k.outcome != "used")
    energies = {c.name: class_energy(amounts[c.name], c) for c in federation.classes}
    server_j = server_energy_j(federation.server, busy_s, makespan_s)
    missing = _missing(federation)
    known_j = sum(energy.known_j for energy in energies.values()) + (server_j or 0.0)
    has_any = server_j is not None or any(
        part is not None for e in energies.values() for part in (e.compute_j, e.radio_j, e.idle_j)
    )
    return {
        "energy": {
            "clients": {
                "compute_j": _sum(energies, "compute_j"),
                "radio_j": _sum(energies, "radio_j"),
                "idle_j": _sum(energies, "idle_j"),
            },
            "server_j": server_j,
            "total_j": known_j if has_any else None,
            "wasted_j": sum(
                class_energy(wasted[c.name], c).known_j
                for c in federation.classes
                if c.name in wasted
            ),
            "missing": missing,
        },
        "money": _money(price, total, federation, makespan_s, known_j if has_any else None),
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


def _alone(
    client_class: ClientClass,
    federation: FederationSpec,
    framework: Callable[[ClientPlan], Protocol],
    round_s: float,
) -> Amounts:
    """All rounds of all clients of a class in closed form."""
    one = Amounts()
    training, device, link = client_class.plan.training, client_class.device, client_class.link
    for segment in framework(client_class.plan).round:
        for times, step in leaf_steps(segment.steps) if isinstance(segment, Each) else ():
            if isinstance(step, Compute):
                if step.site is Site.CLIENT:
                    seconds = operation_seconds(step.operation, training, device)
                    one = one.plus(Amounts(compute_s=seconds), times)
                continue
            size = step.payload.message_bytes
            seconds = transfer_seconds(size, step.direction, link)
            if step.direction is Direction.UP:
                packing = pack_seconds(step.payload, device)
                sent = Amounts(compute_s=packing, uplink_s=seconds, uplink_bytes=size)
            else:
                packing = unpack_seconds(step.payload, device)
                sent = Amounts(compute_s=packing, downlink_s=seconds, downlink_bytes=size)
            one = one.plus(sent, times)
    own_s = one.compute_s + one.uplink_s + one.downlink_s
    one = one.plus(Amounts(idle_s=max(0.0, round_s - own_s)))
    return Amounts().plus(one, client_class.num_clients * federation.num_rounds)


def _busy_seconds(
    federation: FederationSpec, framework: Callable[[ClientPlan], Protocol], answer: AnalyticResult
) -> float:
    """Seconds of the server's accelerators: what each client asks for, and what all get once."""
    each = sum(
        cost.seconds.server_compute * cost.client_class.num_clients for cost in answer.classes
    )
    training, device = federation.server_plan.training, federation.server.device
    num = federation.num_clients
    once = sum(
        times * operation_seconds(step.operation, training, device, num)
        for segment in framework(federation.server_plan).round
        if isinstance(segment, Once)
        for times, step in leaf_steps(segment.steps)
        if isinstance(step, Compute)
    )
    return federation.num_rounds * (each + once)
