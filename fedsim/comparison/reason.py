"""What drives a cost, in the numbers of the result itself: the "why" of a verdict.

Every sentence is arithmetic on the plan that comes back with a result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fedsim.comparison.result import Result
from fedsim.units import format_bytes, format_flop

__all__ = ["bottleneck", "reason"]

_VALUE_BYTES: Final = {"float32": 4, "float16": 2, "bfloat16": 2}


def reason(result: Result, metric: str) -> str:
    """Why a result costs what it costs, or an empty text where nothing is known.

    Parameters
    ----------
    result : Result
    metric : str
        ``bytes``, ``flop``, ``memory``, ``time``, ``setup``, ``energy`` or ``money``.
    """
    if metric == "time":
        return _time(result)
    if metric in _PARTS:
        return _largest_part(metric, result.energy_j if metric == "energy" else result.money)
    if result.framework not in _DRIVERS:
        return ""
    table = _explaining_class(result, metric)
    sentence: str = _DRIVERS[result.framework](table["plan"], metric)
    if metric in ("bytes", "flop") and sentence and result.privacy:
        sentence += f", and {_hiding(result, metric, table['name'])}"
    if sentence and len({repr(_work(c["plan"])) for c in result.classes}) > 1:
        return f"{sentence} (class '{table['name']}'; other classes have other plans)"
    return sentence


def _work(plan: Mapping[str, Any]) -> dict[str, Any]:
    """What a plan trains and sends, whoever does it."""
    return {name: value for name, value in plan.items() if name not in ("device", "link")}


def _explaining_class(result: Result, metric: str) -> Mapping[str, Any]:
    """The class that sets a maximum, or else the largest one."""
    if metric == "memory":
        return max(result.classes, key=lambda c: c["per_client_round"]["peak_memory_bytes"])
    return max(result.classes, key=lambda c: c["num_clients"])


def _hiding(result: Result, metric: str, name: str) -> str:
    added = next(row for row in result.privacy["difference"] if row["party"] == name)
    if metric == "flop":
        return f"privacy adds {format_flop(added['client_flop'])}"
    num_bytes = added["uplink_payload_bytes"] + added["downlink_payload_bytes"]
    # Fewer bits a value may save more than the keys and shares take.
    return f"privacy {'adds' if num_bytes >= 0 else 'saves'} {format_bytes(abs(num_bytes))}"


#: A shared resource that is busy for more than this share of the rounds' time sets their pace.
_BUSY: Final = 0.8
#: Clients that wait for more than this share of a round wait for somebody.
_IDLE: Final = 0.2
_RESOURCES: Final = {
    "uplink": "the server's uplink",
    "downlink": "the server's downlink",
    "accelerators": "the server's accelerators",
}


def bottleneck(result: Result) -> str:
    """What sets the pace of a result's rounds, in words; empty where nothing stands out.

    A resource of the server that is nearly always busy; else the class that the others wait for;
    else clients that are slower than most of their class.
    """
    known = {name: share for name, share in result.utilization.items() if share}
    if known:
        busiest = max(known, key=lambda name: known[name])
        if known[busiest] >= _BUSY:
            verb = "are" if busiest == "accelerators" else "is"
            return f"{_RESOURCES[busiest]} {verb} {100 * known[busiest]:.0f} % busy"
    idle = {table["name"]: table.get("idle_fraction") or 0.0 for table in result.classes}
    waiting = sum(t["num_clients"] * idle[t["name"]] for t in result.classes) / result.num_clients
    if waiting < _IDLE or result.num_clients < 2:
        return ""
    slowest = min(idle, key=lambda name: idle[name])
    who = "its slowest clients set"
    if len(idle) > 1:
        is_all = idle[slowest] < _IDLE
        who = f"class '{slowest}' sets" if is_all else f"the slowest of class '{slowest}' set"
    return f"{who} the pace, and in the mean a client waits {100 * waiting:.0f} % of a round"


def _time(result: Result) -> str:
    time = result.round_time
    if not time or time["mean"] <= 0:
        return ""
    part = max(("compute", "transfer", "wait"), key=lambda name: time[name])
    words = {"compute": "computing", "transfer": "sending", "wait": "waiting"}
    share = f"{100 * time[part] / time['mean']:.0f} % of its round is {words[part]}"
    what = bottleneck(result)
    if part == "wait" and what:
        return f"{what} ({share})"
    return f"{share}; {what}" if what else share


#: Parts of a sum in words.
_PARTS: Final[Mapping[str, Mapping[str, str]]] = {
    "energy": {
        "compute_j": "clients' computing",
        "radio_j": "clients' radio",
        "idle_j": "clients' idling",
        "server_j": "the server's",
    },
    "money": {
        "uplink": "for the uplink",
        "downlink": "for the downlink",
        "accelerators": "for the server's accelerators",
        "energy": "for energy",
    },
}


def _largest_part(metric: str, amounts: Mapping[str, Any]) -> str:
    words = _PARTS[metric]
    known = {name: amounts[name] for name in words if amounts.get(name)}
    if not known:
        return ""
    most = max(known, key=lambda name: known[name])
    return f"{100 * known[most] / sum(known.values()):.0f} % of it is {words[most]}"


def _fedllm(plan: Mapping[str, Any], metric: str) -> str:
    samples = plan["workload"]["samples_per_client"]
    if metric == "bytes":
        return f"it sends {_adapters(plan)}, whatever the data"
    if metric == "flop":
        return f"it trains all {plan['num_layers']} blocks on {_passes(plan, samples)}"
    if metric == "memory":
        return f"a client holds all {plan['num_layers']} blocks and trains them"
    return f"a client receives all {plan['num_layers']} blocks once"


def _kd_fedllm(plan: Mapping[str, Any], metric: str) -> str:
    public = plan["workload"]["public_samples"]
    if metric == "bytes":
        values = f"{public:,} public samples x {plan['head_width']:,} values"
        if plan["model"]["head"] == "language_model":
            tokens = _tokens_words(plan)
            values = f"{public:,} public samples x {tokens} x {plan['head_width']:,} values"
        return f"it sends logits: {values} x {_value_bytes(plan)} B each way"
    if metric == "flop":
        samples = plan["workload"]["samples_per_client"]
        epochs = plan["workload"]["distillation_epochs"]
        return (
            f"beside training on {_passes(plan, samples)} it gives logits for {public:,} public "
            f"samples and distills {'them' if epochs == 1 else f'them {epochs} times'}"
        )
    if metric == "memory":
        return f"a client holds all {plan['num_layers']} blocks and trains them"
    return f"a client receives all {plan['num_layers']} blocks and the public text once"


def _split_fedllm(plan: Mapping[str, Any], metric: str) -> str:
    layer, num_layers = plan["split"]["cut_layer"], plan["num_layers"]
    half = " and a half" if plan["split"]["half_block"] else ""
    if metric == "bytes":
        samples = plan["workload"]["samples_per_client"]
        return (
            f"it sends every token's activation and gets its gradient: {_passes(plan, samples)} x "
            f"{_tokens_words(plan)} x {plan['hidden_size']:,} values x {_value_bytes(plan)} B"
        )
    if metric == "flop":
        return f"a client runs {layer}{half} of {num_layers} blocks"
    if metric == "memory":
        return f"a client holds and trains {layer}{half} of {num_layers} blocks"
    return f"a client receives {layer}{half} of {num_layers} blocks, and the embeddings"


_DRIVERS: Final[Mapping[str, Any]] = {
    "fedllm": _fedllm,
    "kd_fedllm": _kd_fedllm,
    "split_fedllm": _split_fedllm,
}


def _adapters(plan: Mapping[str, Any]) -> str:
    if plan["lora"] is None:
        return f"all {plan['num_trainable']:,} parameters"
    adapter = plan["num_adapter_values"]
    rest = plan["num_trainable"] - adapter if plan["lora"]["shares_head"] else 0
    values = f"{adapter:,} adapter values at r = {plan['lora']['r']}"
    if rest:
        values = f"({values} + {rest:,} others, the head above all)"
    return f"{values} x {_value_bytes(plan)} B each way"


def _value_bytes(plan: Mapping[str, Any]) -> int:
    return _VALUE_BYTES[plan["model"]["payload_dtype"]]


def _passes(plan: Mapping[str, Any], samples: int) -> str:
    epochs = plan["workload"]["local_epochs"]
    return f"{samples:,} samples" if epochs == 1 else f"{samples:,} samples, {epochs} times,"


def _tokens_words(plan: Mapping[str, Any]) -> str:
    if plan["workload"]["padding"] == "max_tokens":
        return f"{plan['workload']['max_tokens']:,} tokens"
    return "their own tokens"
