"""What drives a cost, in the numbers of the result itself: the "why" of a verdict.

Every sentence is what comes back with a result: the largest steps of its own protocol and their
tensors, so a framework of one's own is explained too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fedsim.comparison.result import Result
from fedsim.units import format_bytes, format_flop

__all__ = ["bottleneck", "reason"]

#: A share that needs no saying.
_NEARLY_ALL: Final = 0.95


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
    table = _explaining_class(result, metric)
    sentence = _steps(table, metric)
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


def _steps(table: Mapping[str, Any], metric: str) -> str:
    """The steps that take most of a count, as the class's own protocol has them."""
    why, num_layers = table["why"][metric], table["plan"]["num_layers"]
    if why is None:
        return ""
    labels = _joined(why["steps"])
    if metric in ("bytes", "setup"):
        return f"{labels}: {_message(why)}{_share(why)}"
    blocks = f"{why['half_blocks'] / 2:g} of {num_layers} blocks"
    if metric == "memory":
        return f"{labels} holds {blocks}{' and trains them' if why['is_training'] else ''}"
    samples = f", {why['num_samples']:,} samples" if why["num_samples"] else ""
    what = f"{blocks}{samples}" if why["half_blocks"] else "no part of the model"
    return f"{labels}: {what}{_share(why)}"


def _message(why: Mapping[str, Any]) -> str:
    """One message: its largest tensor where that is nearly all of it, or all of its tensors."""
    contents = _joined([name.replace("_", " ") for name in why["contents"]])
    if why["is_one_tensor"]:
        values = f"{' x '.join(f'{size:,}' for size in why['shape'])} values"
    else:
        values = f"{why['num_tensors']:,} tensors with {why['num_values']:,} values"
    times = f", {why['num_messages']:,} times" if why["num_messages"] > 1 else ""
    return f"{contents}, {values} x {why['value_bytes']} B{times}"


def _share(why: Mapping[str, Any]) -> str:
    """How much of it that is, where it is not nearly all."""
    return "" if why["share"] > _NEARLY_ALL else f" ({100 * why['share']:.0f} % of it)"


def _joined(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
