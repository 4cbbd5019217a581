"""The figures that ``questions.md`` quotes, out of fresh runs of its scenarios.

    python docs/question_quotes.py

says which of them the page no longer has. The tests do the same for all but the million.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from fedsim.comparison.metric import metric_named
from fedsim.comparison.result import Result
from fedsim.comparison.wording import factor, percent, range_of
from fedsim.scenario import run_scenario
from fedsim.units import SECONDS, format_bytes

__all__ = ["QUOTES", "missing_quotes"]

_PAGE: Final = Path(__file__).resolve().parent / "questions.md"

_Tables = dict[str, dict[str, Any]]


def missing_quotes(name: str, page: str) -> list[str]:
    """Figures of a scenario that its section of the page does not have.

    Parameters
    ----------
    name : str
        A key of :data:`QUOTES`.
    page : str
        Text of the page.
    """
    sections = [s for s in page.split("\n## ") if f"fedsim scenario {name}\n" in s]
    if len(sections) != 1:
        raise ValueError(f"{len(sections)} sections with the command of {name!r}; needed: 1")
    answer = " ".join(sections[0].partition("```{image}")[2].split())
    return [quote for quote in QUOTES[name]() if quote not in answer]


def _tables(name: str, overrides: tuple[str, ...] = ()) -> _Tables:
    return {table["name"]: table for table in run_scenario(name, overrides=overrides).results}


def _round(table: Mapping[str, Any]) -> str:
    return range_of(SECONDS, table["round_time_s"])


def _total(table: Mapping[str, Any]) -> str:
    return range_of(SECONDS, table["makespan_s"])


def _ratio(more: Mapping[str, Any], less: Mapping[str, Any]) -> str:
    """On the draws that both share, as verdicts say it."""
    found = metric_named("time").ratio(Result(more), Result(less))
    return factor(found.middle, found.low, found.high)


def _waiting(table: Mapping[str, Any]) -> str:
    time = table["round_time_s"]
    return percent(time["wait"] / time["mean"])


def _busy(table: Mapping[str, Any], what: str) -> str:
    return f"{100 * table['utilization'][what]:.0f} %"


def _wasted(table: Mapping[str, Any]) -> str:
    wasted = table["wasted"]
    return format_bytes(wasted["uplink_message_bytes"] + wasted["downlink_message_bytes"])


def _exchanged(table: Mapping[str, Any]) -> str:
    one = table["classes"][0]["per_client_round"]
    return format_bytes(one["uplink_payload_bytes"] + one["downlink_payload_bytes"])


def _half_fleet_lte() -> Iterator[str]:
    table = run_scenario("half_fleet_lte").table
    # A sentence says "FedLLM takes RATIO as long: ROUND instead of ROUND."
    changes = [line for line in table["answer"]["sentences"] if " instead of " in line]
    for line, result in zip(changes, table["results"], strict=True):
        ratio, _, times = line.partition(" takes ")[2].partition(" as long: ")
        yield ratio
        yield times.removesuffix(".")
        yield _exchanged(result)
    fedllm, kd = (result for result in table["results"] if result["case"] in ("fedllm", "kd"))
    yield _ratio(kd, fedllm)


def _overnight() -> Iterator[str]:
    tables = _tables("overnight")
    for table in tables.values():
        yield _total(table)
        yield f"{_waiting(table)} of a round"
    yield _ratio(tables["everybody"], tables["over-selected"])
    wasted = tables["over-selected"]["wasted"]["client_flop"]
    yield f"{100 * wasted / tables['over-selected']['totals']['client_flop']:.0f} %"


def _saturation() -> Iterator[str]:
    tables = _tables("saturation")
    for number in (3000, 10000):
        table = tables[f"fedllm num_clients={number}"]
        yield f"{_waiting(table)} of its {_round(table)}"
    most = tables["fedllm num_clients=30000"]
    yield _ratio(most, tables["fedllm num_clients=10000"])
    yield _busy(most, "uplink")
    for number in (30000, 100000):
        table = tables[f"kd num_clients={number}"]
        yield f"{_waiting(table)} of their {_round(table)}"


def _stragglers() -> Iterator[str]:
    tables = _tables("stragglers")
    for table in tables.values():
        yield _total(table)
    for case in ("over-selected", "quorum", "buffered"):
        yield _wasted(tables[case])
    yield _ratio(tables["all"], tables["buffered"])
    yield _ratio(tables["buffered"], tables["over-selected"])
    yield _ratio(tables["buffered"], tables["quorum"])


def _second_gpu() -> Iterator[str]:
    tables = _tables("second_gpu")
    for number in (20, 50, 100):
        one, two = (tables[f"{case} num_clients={number}"] for case in ("one", "two"))
        yield f"{_round(one)} for {_round(two)}, {_ratio(one, two)}"
        yield _busy(one, "accelerators")


def _million() -> Iterator[str]:
    (table,) = _tables("million").values()
    yield _total(table)
    yield _round(table)
    time = table["round_time_s"]
    yield f"{percent(time['compute'] / time['mean'])} are computing"
    yield f"{_waiting(table)} waiting"
    yield f"{table['rounds']['num_lost'] / table['num_rounds']:,.0f}"
    yield _busy(table, "uplink")
    yield format_bytes(table["totals"]["uplink_payload_bytes"])
    (quick,) = _tables("million", ("policy.quorum=950000",)).values()
    yield _total(quick)
    yield _round(quick)


#: By scenario, what its section has to say.
QUOTES: Final[Mapping[str, Callable[[], Iterator[str]]]] = {
    "half_fleet_lte": _half_fleet_lte,
    "overnight": _overnight,
    "saturation": _saturation,
    "stragglers": _stragglers,
    "second_gpu": _second_gpu,
    "million": _million,
}


def main() -> int:
    """Print what the page lacks; 1 if there is anything."""
    page = _PAGE.read_text(encoding="utf-8")
    lines = [f"{name}: {quote}" for name in QUOTES for quote in missing_quotes(name, page)]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
