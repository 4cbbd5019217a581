"""``python -m fuzz.settings``: every key of every shipped scenario changes a figure or says so.

Scenarios are cut to few clients, rounds and samples. A figure is what was computed; plans, names
and seeds come back as they were given and count for nothing.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import tomli_w

from fedsim.errors import FedsimError
from fedsim.protocol import FRAMEWORKS
from fedsim.scenario.build.case import reads
from fedsim.scenario.file.document import read_document, scenario_names
from fedsim.scenario.file.merge import merged
from fedsim.scenario.run import read_scenario
from unit.test_scenario_affects import CHANGES, KEYS

__all__ = ["Pair", "cut_table", "judged", "pairs"]

#: Keys that change what an answer says about itself, and no figure.
LABELS: Final = {path for path, affects, _ in KEYS if affects == {"label"}}
#: What comes back as it was given, or says where a figure is from.
_ECHOES: Final = (
    *("plan", "name", "case", "axes", "framework", "engine_used", "engine_reason", "reason"),
    *("notes", "seeds", "num_seeds", "source", "holds", "device", "link", "server", "suggestions"),
)
#: Two values for each key that a class may have for itself.
_SWEPT: Final[Mapping[str, tuple[Any, Any]]] = {
    "link.uplink": ("1 Mbit/s", "2 Mbit/s"),
    "link.downlink": ("1 Mbit/s", "2 Mbit/s"),
    "link.round_trip": ("1 s", "2 s"),
    "link.transmit_power": ("1 W", "2 W"),
    "device.slowdown": (2.0, 3.0),
    "device.power": ("5 W", "6 W"),
    "device.memory": ("64 GB", "1 kB"),
    "lora.r": (2, 3),
    "split.cut_layer": (2, 3),
    "workload.batch_size": (2, 5),
    "workload.samples_per_client": (7, 11),
    "workload.public_samples": (7, 11),
    "fleet.dropout_probability": (0.3, 0.6),
    "price.currency": ("EUR", "USD"),
    "server.discipline": ("fifo", "sharing"),
    "policy.retries": (1, 2),
}


@dataclass(frozen=True, order=True)
class Pair:
    """A key of a shipped scenario, with one value to set or two to sweep.

    Attributes
    ----------
    scenario, key : str
    is_swept : bool
    """

    scenario: str
    key: str
    is_swept: bool = False


def pairs() -> list[Pair]:
    """Every key of every shipped scenario, those of classes by their names, and sweeps."""
    found: list[Pair] = []
    for scenario in scenario_names():
        keys = [key for key in CHANGES if not key.startswith(("fleet.class.", "goal."))]
        own = [key.rpartition(".")[2] for key in CHANGES if key.startswith("fleet.class.")]
        names = [each["name"] for each in cut_table(scenario)["fleet"].get("class", ())]
        keys += [f"fleet.class.{name}.{key}" for name in names for key in own if key != "name"]
        found.extend(Pair(scenario, key) for key in keys)
        found.extend(Pair(scenario, key, is_swept=True) for key in _SWEPT)
    return found


@cache
def cut_table(scenario: str) -> dict[str, Any]:
    """A shipped scenario with few clients, rounds, samples and swept values."""
    table = read_document(scenario).table
    small: dict[str, Any] = {
        "fleet": {"num_clients": 20 if "class" in table["fleet"] else 6},
        "workload": {"num_rounds": 2, "samples_per_client": 40},
    }
    if "clients_per_round" in table.get("policy", {}):
        small["policy"] = {"clients_per_round": 4}
    table = merged(table, small)
    for case in table["case"]:
        if "sweep" in case:
            case["sweep"] = {key: values[:2] for key, values in case["sweep"].items()}
            for key, few in (
                ("fleet.num_clients", [3, 6]),
                ("workload.public_samples", [20, 40]),
                ("workload.samples_per_client", [20, 40]),
            ):
                if key in case["sweep"]:
                    case["sweep"][key] = few
        elif "workload" in case:
            case["workload"] = merged(case["workload"], {"public_samples": 20})
        if "quorum" in case.get("policy", {}):
            case["policy"]["quorum"] = 3
        if "buffer_size" in case.get("policy", {}):
            case["policy"]["buffer_size"] = 3
    return table


def judged(pair: Pair) -> str:
    """What a change comes to: ``changed``, ``warned``, ``refused``, ``label``, or ``silent: ...``.

    Silent is wrong: whoever gave the value believes that it counts.
    """
    if pair.key in LABELS:
        return "label"
    try:
        return _swept(pair) if pair.is_swept else _set(pair)
    except FedsimError:
        return "refused"


def _set(pair: Pair) -> str:
    before = _before(pair.scenario)
    path = pair.key.rpartition(".")[2] if pair.key.startswith("fleet.class.") else ""
    value = CHANGES[f"fleet.class.{path}" if path else pair.key][0]
    after = _answered(cut_table(pair.scenario), f"{pair.key}={_inline(value)}")
    first, second = _figures(before), _figures(after)
    if any(pair.key in line for line in after["warnings"]):
        return "warned"
    if [name for name, _ in first] != [name for name, _ in second]:
        return "changed"
    blind = [
        result["name"]
        for (_, old), (_, new), result in zip(first, second, after["results"], strict=True)
        if old == new and reads(FRAMEWORKS[result["framework"]], pair.key)
    ]
    return f"silent: {', '.join(blind)}" if blind else "changed"


def _swept(pair: Pair) -> str:
    table = cut_table(pair.scenario)
    cases = [
        {**{k: v for k, v in case.items() if k != "sweep"},
         "sweep": {pair.key: list(_SWEPT[pair.key])}}
        for case in table["case"]
    ]  # fmt: skip
    after = _answered({**table, "case": cases, "goal": {}})
    by_case: dict[str, set[str]] = {}
    for (_, figures), result in zip(_figures(after), after["results"], strict=True):
        by_case.setdefault(result["case"], set()).add(figures)
    blind = [
        case
        for case, found in by_case.items()
        if len(found) == 1
        and not any(f"'{case}'" in line and pair.key in line for line in after["warnings"])
    ]
    if blind:
        return f"silent: {', '.join(blind)}"
    return "changed" if all(len(found) > 1 for found in by_case.values()) else "warned"


@cache
def _before(scenario: str) -> dict[str, Any]:
    return _answered(cut_table(scenario))


def _answered(table: dict[str, Any], *overrides: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.toml"
        path.write_text(tomli_w.dumps(table), encoding="utf-8")
        return read_scenario(path, overrides).answer(num_seeds=1).table


def _figures(answer: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each result by its name, with what was computed."""
    return [
        (result["name"], json.dumps(_computed(result), sort_keys=True))
        for result in answer["results"]
    ]


def _computed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _computed(each) for name, each in value.items() if name not in _ECHOES}
    return [_computed(each) for each in value] if isinstance(value, list) else value


def _inline(value: Any) -> str:
    """A value in one line, as it follows ``--set KEY=``."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k} = {_inline(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value)


def _told(pair: Pair) -> tuple[Pair, str]:
    return pair, judged(pair)


def _outcomes(chosen: list[Pair]) -> Iterator[tuple[Pair, str]]:
    with multiprocessing.Pool(len(os.sched_getaffinity(0))) as pool:
        yield from pool.imap_unordered(_told, chosen, chunksize=8)


def main() -> int:
    """Try them all; 1 if one was silent."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.settings", description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="only every Nth pair")
    parser.add_argument("--only", nargs=2, metavar=("SCENARIO", "KEY"))
    options = parser.parse_args()
    chosen = pairs()[:: options.every]
    if options.only:
        chosen = [p for p in pairs() if [p.scenario, p.key] == options.only]
    counts = Counter[str]()
    for pair, outcome in _outcomes(chosen):
        counts[outcome.partition(":")[0]] += 1
        if outcome.startswith("silent"):
            how = "sweep" if pair.is_swept else "--set"
            sys.stdout.write(f"FAILED {pair.scenario} {how} {pair.key}: {outcome}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{len(chosen)} pairs of scenario and key: {dict(counts)}\n")
    return int(counts["silent"] > 0)


if __name__ == "__main__":
    sys.exit(main())
