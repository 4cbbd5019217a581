"""The figures that ``questions.md`` quotes, out of fresh runs of its scenarios.

    python docs/question_quotes.py

says which of them the page no longer has. The tests do the same for all but the million.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from fedsim.scenario import run_scenario
from fedsim.units import format_bytes, format_seconds

__all__ = ["BASELINE", "QUOTES", "missing_quotes"]

#: What half_fleet_lte is compared with: the same clients, all on the case study's link.
BASELINE: Final = ("fleet.class=[]",)
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


def _round(table: Mapping[str, Any], part: str = "mean") -> str:
    return format_seconds(table["round_time_s"][part])


def _total(table: Mapping[str, Any]) -> str:
    return format_seconds(table["makespan_s"]["mean"])


def _ratio(more: Mapping[str, Any], less: Mapping[str, Any]) -> str:
    return f"{more['round_time_s']['mean'] / less['round_time_s']['mean']:.3g} times"


def _busy(table: Mapping[str, Any], what: str) -> str:
    return f"{100 * table['utilization'][what]:.0f} %"


def _wasted(table: Mapping[str, Any]) -> str:
    wasted = table["wasted"]
    return format_bytes(wasted["uplink_message_bytes"] + wasted["downlink_message_bytes"])


def _exchanged(table: Mapping[str, Any]) -> str:
    one = table["classes"][0]["per_client_round"]
    return format_bytes(one["uplink_payload_bytes"] + one["downlink_payload_bytes"])


def _half_fleet_lte() -> Iterator[str]:
    home, half = _tables("half_fleet_lte", BASELINE), _tables("half_fleet_lte")
    for case in half:
        yield f"from {_round(home[case])} to {_round(half[case])}"
        yield f"{_ratio(half[case], home[case])}"
        yield _exchanged(half[case])


def _overnight() -> Iterator[str]:
    tables = _tables("overnight")
    for table in tables.values():
        yield _total(table)
        yield f"{_round(table, 'wait')} of a round's {_round(table)}"
    wasted = tables["over-selected"]["wasted"]["client_flop"]
    yield f"{100 * wasted / tables['over-selected']['totals']['client_flop']:.0f} %"


def _saturation() -> Iterator[str]:
    tables = _tables("saturation")
    for number in (3000, 10000):
        table = tables[f"fedllm num_clients={number}"]
        yield f"{_round(table, 'wait')} of its {_round(table)}"
    most = tables["fedllm num_clients=30000"]
    yield _ratio(most, tables["fedllm num_clients=10000"])
    yield _busy(most, "uplink")
    kd = tables["kd num_clients=30000"]
    yield f"{_round(kd, 'wait')} of their {_round(kd)}"
    yield _busy(kd, "uplink")


def _stragglers() -> Iterator[str]:
    tables = _tables("stragglers")
    for table in tables.values():
        yield _total(table)
    for case in ("over-selected", "quorum", "buffered"):
        yield _wasted(tables[case])


def _second_gpu() -> Iterator[str]:
    tables = _tables("second_gpu")
    for number in (20, 50, 100):
        one, two = (tables[f"{case} num_clients={number}"] for case in ("one", "two"))
        yield f"from {_round(one)} to {_round(two)}"
        yield _busy(one, "accelerators")


def _million() -> Iterator[str]:
    (table,) = _tables("million").values()
    yield _total(table)
    yield _round(table)
    yield _round(table, "compute")
    yield _round(table, "wait")
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
