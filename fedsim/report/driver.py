"""What drives a cost, in the numbers of the result itself: the "why" of a verdict.

Every sentence is arithmetic on the plan that comes back with a result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fedsim.report.answer import Result
from fedsim.units import format_bytes, format_flop

__all__ = ["driver"]

_VALUE_BYTES: Final = {"float32": 4, "float16": 2, "bfloat16": 2}


def driver(result: Result, metric: str) -> str:
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
    if sentence and len({repr(c["plan"]) for c in result.classes}) > 1:
        return f"{sentence} (class '{table['name']}'; other classes have other plans)"
    return sentence


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


def _time(result: Result) -> str:
    time = result.round_time
    part = max(("compute", "transfer", "wait"), key=lambda name: time[name])
    if time["mean"] <= 0:
        return ""
    words = {"compute": "computing", "transfer": "sending", "wait": "waiting"}
    return f"{100 * time[part] / time['mean']:.0f} % of its round is {words[part]}"


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
