"""What a scenario answers, as the JSON that other programs may rely on.

Decides the keys and what each quantity claims to be. Nothing is computed here but sums.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from fedsim import __version__
from fedsim.analytic import AnalyticResult, ClassCost
from fedsim.learning.store import Laws
from fedsim.ledger import LedgerRow
from fedsim.protocol.operation import Part
from fedsim.protocol.parameters import parameters
from fedsim.protocol.payload import adapter_payload
from fedsim.protocol.step import Protocol
from fedsim.scenario.accuracy import accuracy_tables
from fedsim.scenario.economy import economy_tables
from fedsim.scenario.engine import Choice
from fedsim.scenario.protection import Protection, privacy_entry, privacy_notes
from fedsim.scenario.run_costs import run_costs
from fedsim.scenario.settings import Settings
from fedsim.scenario.simulated import Simulated, simulated_tables, simulated_total
from fedsim.spec.device import DeviceSpec
from fedsim.spec.federation import ClientClass, FederationSpec
from fedsim.spec.link import LinkSpec
from fedsim.spec.plan import ClientPlan

__all__ = ["SCHEMA", "Found", "ScenarioResult", "answer_json", "result_table"]

SCHEMA: Final = 1
_BYTES: Final = (
    "uplink_payload_bytes",
    "downlink_payload_bytes",
    "uplink_message_bytes",
    "downlink_message_bytes",
)
_TOTALS: Final = (*_BYTES, "messages", "client_flop", "server_flop")


@dataclass(frozen=True)
class ScenarioResult:
    """The answer to one scenario file.

    Attributes
    ----------
    table : dict
        One entry of ``scenarios`` in the JSON: file, question, seed, engine, profile, results.
    """

    table: dict[str, Any]

    @property
    def results(self) -> list[dict[str, Any]]:
        """One table for each result, in the order of the file."""
        results: list[dict[str, Any]] = self.table["results"]
        return results


def answer_json(answers: list[ScenarioResult]) -> str:
    """The whole document; the same input gives the same bytes."""
    document = {
        "schema": SCHEMA,
        "fedsim": __version__,
        "scenarios": [answer.table for answer in answers],
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


@dataclass(frozen=True, eq=False)
class Found:
    """What was found for one result.

    Attributes
    ----------
    answer : AnalyticResult
        The closed form's: counts of a client and round, memory.
    setup_s : float
        One-off transfers of the slowest client, alone [s].
    choice : Choice
        Which engine answered.
    framework : callable
        Plan to protocol.
    simulated : Simulated or None
        None where the closed form answered, or nothing can run.
    protection : Protection or None
        What ``[privacy]`` hides.
    laws : Laws or None
        Of learning, where the scenario names some.
    """

    answer: AnalyticResult
    setup_s: float
    choice: Choice
    framework: Callable[[ClientPlan], Protocol]
    simulated: Simulated | None = None
    protection: Protection | None = None
    laws: Laws | None = None


def result_table(
    name: str,
    framework: str,
    settings: Settings,
    federation: FederationSpec,
    found: Found,
) -> dict[str, Any]:
    """One result.

    Parameters
    ----------
    name, framework : str
    settings : Settings
        What the result was computed from; it comes back in every class's plan.
    federation : FederationSpec
    found : Found
    """
    answer, simulated = found.answer, found.simulated
    table = {
        **_identity(name, framework, federation, found),
        "classes": [_class_table(cost, settings) for cost in answer.classes],
        "setup": _setup(answer, _setup_seconds(found)),
        "server_per_round": {
            "flop": answer.server_round.server_flop,
            "peak_memory_bytes": answer.server_memory_bytes,
        },
        "server": _server(federation),
        "privacy": privacy_entry(found.protection, federation, answer),
        "totals": _picked(answer.total, _TOTALS),
        "wasted": None,
        "rounds": None,
        "utilization": None,
        **_closed_form_times(answer, federation.num_rounds),
    }
    total = answer.total
    if simulated is not None:
        table |= simulated_tables(simulated, answer, _TOTALS)
        total = simulated_total(simulated, answer)
    table |= economy_tables(settings.price, federation, found.framework, answer, simulated, total)
    notes = list(_notes(framework, settings, found))
    costs = run_costs(table, settings.price, federation, found.framework, simulated)
    learned = accuracy_tables(table, settings, found.laws, federation, costs)
    if learned["no_accuracy"]:
        notes.append(f"no accuracy: {learned['no_accuracy']}")
    return table | learned | {"exactness": _exactness(framework, settings, found), "notes": notes}


def _identity(
    name: str, framework: str, federation: FederationSpec, found: Found
) -> dict[str, Any]:
    return {
        "name": name,
        "framework": framework,
        "engine_used": found.choice.engine,
        "engine_reason": found.choice.reason,
        "status": "infeasible" if found.answer.infeasible else "ok",
        "reason": found.answer.infeasible,
        "suggestions": [
            {
                "who": who,
                "changes": dict(suggestion.changes),
                "peak_memory_bytes": suggestion.peak_bytes,
            }
            for who, suggestion in found.answer.suggestions
        ],
        "num_rounds": federation.num_rounds,
    }


def _setup_seconds(found: Found) -> float:
    simulated = found.simulated
    if simulated is not None and simulated.simulation.policy.simulates_setup:
        return simulated.result.setup_s
    return found.setup_s


def _server(federation: FederationSpec) -> dict[str, Any]:
    server = federation.server
    return {
        "device": _device(server.device),
        "num_accelerators": server.num_accelerators,
        "uplink_bytes_per_s": server.uplink_bytes_per_s,
        "downlink_bytes_per_s": server.downlink_bytes_per_s,
    }


def _closed_form_times(answer: AnalyticResult, num_rounds: int) -> dict[str, Any]:
    time = answer.round_time
    return {
        "round_time_s": {
            "mean": time.mean_s,
            # All rounds are alike here; an engine that draws them spreads these.
            "p05": time.mean_s,
            "p50": time.mean_s,
            "p95": time.mean_s,
            "low": time.low_s,
            "high": time.high_s,
            "compute": time.compute_s,
            "transfer": time.transfer_s,
            "wait": time.wait_s,
        },
        "makespan_s": {
            "mean": num_rounds * time.mean_s,
            "low": num_rounds * time.low_s,
            "high": num_rounds * time.high_s,
        },
    }


def _class_table(cost: ClassCost, settings: Settings) -> dict[str, Any]:
    seconds = cost.seconds
    return {
        "name": cost.client_class.name,
        "num_clients": cost.client_class.num_clients,
        "plan": _plan_table(cost.client_class, settings),
        "per_client_round": {
            **_picked(cost.round, _BYTES),
            "client_flop": cost.round.client_flop,
            "server_flop": cost.round.server_flop,
            "peak_memory_bytes": cost.peak_memory_bytes,
            "energy_j": cost.energy_j,
        },
        "per_client_setup": _picked(cost.setup, _BYTES),
        "own_round_s": {
            "total": seconds.total,
            "client_compute": seconds.client_compute,
            "server_compute": seconds.server_compute,
            "messages": seconds.messages,
            "transfer": seconds.transfer,
        },
    }


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
    table["workload"]["batch_size"] = plan.batch_size
    if training.lora is not None:
        table["lora"]["r"] = training.lora.r
    else:
        table["lora"] = None
    if plan.cut is not None:
        table["split"]["cut_layer"] = plan.cut.layer
    trained = [p for p in parameters(training) if p.is_trained]
    return {
        **table,
        "device": _device(client_class.device),
        "link": _link(client_class.link),
        "num_trainable": sum(p.num_values for p in trained),
        "num_adapter_values": sum(p.num_values for p in trained if ".lora_" in p.name),
        "head_width": training.head.width(model.vocab_size),
        "num_layers": model.num_layers,
        "hidden_size": model.hidden_size,
    }


def _device(device: DeviceSpec) -> dict[str, Any]:
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
        "source": link.source,
    }


def _setup(answer: AnalyticResult, setup_s: float) -> dict[str, Any]:
    """Of all clients together; one client's stands with its class."""
    sums = {
        name: sum(
            cost.client_class.num_clients * getattr(cost.setup, name) for cost in answer.classes
        )
        for name in _BYTES
    }
    return {**sums, "transfer_s": setup_s}


def _picked(row: LedgerRow, names: tuple[str, ...]) -> dict[str, int]:
    return {name: getattr(row, name) for name in names}


def _exactness(framework: str, settings: Settings, found: Found) -> dict[str, str]:
    time = "simulated" if found.answer.round_time.is_exact else "lower_bound"
    if found.simulated is not None:
        time = "approximate" if found.simulated.result.approximation else "simulated"
    workload = settings.workload
    # Without padding to a fixed length, counts follow the texts: a distribution stands for them.
    follows_texts = workload.padding != "max_tokens"
    count = "approximate" if follows_texts else "exact"
    sends_tokens = framework not in ("fedllm", "kd_fedllm") or (
        framework == "kd_fedllm" and settings.model.head == "language_model"
    )
    payload = count if sends_tokens else "exact"
    setup = "exact" if framework in ("fedllm", "split_fedllm") else count
    if found.protection is not None:
        # No real run masks or adds noise, so none reproduces what that takes.
        count = "approximate"
        if found.protection.hides_sums:
            payload = "approximate"
            if found.simulated is not None:
                time = "approximate"
            elif len(found.answer.classes) > 1:
                # Its messages wait for the slowest client, which no segment of the round says.
                time = "lower_bound"
    return {
        "uplink_payload_bytes": payload,
        "downlink_payload_bytes": payload,
        "uplink_message_bytes": payload,
        "downlink_message_bytes": payload,
        "client_flop": count,
        "server_flop": count,
        "peak_memory_bytes": "approximate",
        "energy_j": "simulated",
        "setup": setup,
        "totals": count if found.simulated is None else "simulated",
        "round_time_s": time,
        "makespan_s": time,
    }


def _notes(framework: str, settings: Settings, found: Found) -> list[str]:
    notes: list[str] = []
    answer = found.answer
    if found.simulated is not None:
        notes.extend(_simulation_notes(found, found.simulated))
    elif not answer.round_time.is_exact:
        notes.append(f"time is a lower bound: {answer.round_time.why}")
    if settings.workload.padding != "max_tokens":
        notes.append(
            "lengths of texts are drawn from a distribution, and one order of them stands for all "
            "rounds: counts that follow the texts are approximate"
        )
    if framework != "kd_fedllm" and _uploads_differ(answer):
        notes.append(
            "clients send adapters of different shapes: what they cost is counted, how the server "
            "averages them is not said"
        )
    notes.extend(privacy_notes(framework, found.protection))
    return notes


def _simulation_notes(found: Found, simulated: Simulated) -> list[str]:
    notes = [f"simulated by engine '{found.choice.engine}'"]
    if simulated.result.approximation:
        notes.append(simulated.result.approximation)
    num_rounds = simulated.simulation.federation.num_rounds
    if simulated.interval_rounds < num_rounds:
        notes.append(
            f"the 95 % interval was simulated over {simulated.interval_rounds:,} of "
            f"{num_rounds:,} rounds"
        )
    if any(c.client_samples is not None for c in simulated.simulation.federation.classes):
        notes.append(
            "what one client costs is given for a client of middling data; totals are of all"
        )
    return notes


def _uploads_differ(answer: AnalyticResult) -> bool:
    adapters = set()
    for cost in answer.classes:
        plan = cost.client_class.plan
        part = Part.whole(plan.training.model.num_layers)
        if plan.cut is not None:
            part = Part.below(plan.cut.position)
        adapters.add(adapter_payload(plan.training, part, plan.shares_head))
    return len(adapters) > 1
