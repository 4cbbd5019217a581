"""A class of clients in an answer: its plan, and what one client of it takes."""

from __future__ import annotations

from typing import Any, Final

from fedsim.analytic import ClassCost
from fedsim.ledger import LedgerRow
from fedsim.protocol.parameters import parameters
from fedsim.protocol.step import Protocol
from fedsim.scenario.answer.why import why_table
from fedsim.scenario.file.settings import Settings
from fedsim.spec.device import DeviceSpec
from fedsim.spec.federation import ClientClass
from fedsim.spec.link import LinkSpec

__all__ = [
    "BYTES",
    "class_table",
    "client_round_table",
    "device_table",
    "memory_table",
    "picked",
]

#: Counts of bytes, of a client and of all.
BYTES: Final = (
    "uplink_payload_bytes",
    "downlink_payload_bytes",
    "uplink_message_bytes",
    "downlink_message_bytes",
)


def class_table(
    cost: ClassCost,
    protocol: Protocol,
    settings: Settings,
    *,
    is_feasible: bool,
    idle_fraction: float | None,
) -> dict[str, Any]:
    """One class.

    Parameters
    ----------
    cost : ClassCost
    protocol : Protocol
        Of its clients.
    settings : Settings
    is_feasible : bool
        What cannot run takes no time and no energy, whatever the formulas say.
    idle_fraction : float or None
        Share of a round in which its clients wait for others.
    """
    seconds = cost.seconds
    own_s = {
        "total": seconds.total,
        "client_compute": seconds.client_compute,
        "server_compute": seconds.server_compute,
        "messages": seconds.messages,
        "transfer": seconds.transfer,
    }
    return {
        "name": cost.client_class.name,
        "num_clients": cost.client_class.num_clients,
        "plan": _plan_table(cost.client_class, settings),
        "per_client_round": client_round_table(cost, is_feasible=is_feasible),
        **memory_table(cost.client_class.device, cost.peak_memory_bytes, settings),
        "per_client_setup": picked(cost.setup, BYTES),
        "own_round_s": own_s if is_feasible else None,
        "idle_fraction": idle_fraction if is_feasible else None,
        "why": why_table(protocol, cost.client_class.plan.training),
    }


def client_round_table(cost: ClassCost, *, is_feasible: bool) -> dict[str, Any]:
    """What one client of a class takes in a round."""
    return {
        **picked(cost.round, BYTES),
        "client_flop": cost.round.client_flop,
        "server_flop": cost.round.server_flop,
        "peak_memory_bytes": cost.peak_memory_bytes,
        "energy_j": cost.energy_j if is_feasible else None,
    }


def memory_table(device: DeviceSpec, peak_bytes: int, settings: Settings) -> dict[str, Any]:
    """Whether a predicted peak fits, and by how much it may be too low.

    ``does not fit`` is above the memory by the prediction itself; ``tight`` is below it by less
    than predictions were missed by.
    """
    margin = device.memory_margins.of(is_padded=settings.workload.padding != "none").high_ratio
    fit = None
    if device.memory_bytes is not None:
        fit = "fits" if peak_bytes * margin <= device.memory_bytes else "tight"
        fit = "does not fit" if peak_bytes > device.memory_bytes else fit
    return {"memory_fit": fit, "memory_margin": margin - 1}


def _plan_table(client_class: ClientClass, settings: Settings) -> dict[str, Any]:
    """The settings of one class in the words of the file, with what a reader derives more from."""
    plan = client_class.plan
    training = plan.training
    model = training.model
    table = settings.model_dump(
        mode="json",
        include={"model", "lora", "workload", "split", "learning", "policy", "privacy"},
    )
    table["workload"]["samples_per_client"] = plan.train_epochs[0].num_samples
    # As the first round finds them, whatever a schedule makes of them later.
    table["workload"]["local_epochs"] = len(plan.train_epochs)
    for name in ("batch_size", "accumulation_steps", "distillation_epochs"):
        table["workload"][name] = getattr(plan, name)
    if training.lora is not None:
        table["lora"]["r"] = training.lora.r
    else:
        table["lora"] = None
    if plan.cut is not None:
        table["split"]["cut_layer"] = plan.cut.layer
    for encoding in plan.codecs.encodings:
        ways = table.setdefault("codec", {}).setdefault(encoding.content.value, {})
        ways[encoding.direction.value] = encoding.name
    trained = [p for p in parameters(training) if p.is_trained]
    return {
        **table,
        "device": device_table(client_class.device),
        "link": _link(client_class.link),
        "num_trainable": sum(p.num_values for p in trained),
        "num_adapter_values": sum(p.num_values for p in trained if ".lora_" in p.name),
        "head_width": training.head.width(model.vocab_size),
        "num_layers": model.num_layers,
        "hidden_size": model.hidden_size,
    }


def device_table(device: DeviceSpec) -> dict[str, Any]:
    """A device, and how surely its times are known."""
    return {
        "name": device.name,
        "is_calibrated": device.is_calibrated,
        "relative_sigma": device.relative_sigma,
        "interval_95": list(device.ratios_95("model")),
        "memory_bytes": device.memory_bytes,
        "source": device.source,
    }


def _link(link: LinkSpec) -> dict[str, Any]:
    return {
        "name": link.name,
        "uplink_bytes_per_s": link.uplink_bytes_per_s,
        "downlink_bytes_per_s": link.downlink_bytes_per_s,
        "round_trip_s": link.round_trip_s,
        "uplink_sigma": link.uplink_sigma,
        "downlink_sigma": link.downlink_sigma,
        "source": link.source,
    }


def picked(row: LedgerRow, names: tuple[str, ...]) -> dict[str, int]:
    """Some figures of a row of the ledger."""
    return {name: getattr(row, name) for name in names}
