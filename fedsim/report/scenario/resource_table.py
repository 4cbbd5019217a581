"""Energy and money of a scenario's results, as far as they are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from fedsim.comparison.result import Result
from fedsim.comparison.wording import figure
from fedsim.report.adaptive_table import AdaptiveTable, Row
from fedsim.units import JOULES, format_joules

__all__ = ["energy_table", "money_table"]

_ENERGIES: Final = {
    "compute_j": "clients'\ncomputing",
    "radio_j": "clients'\nradio",
    "idle_j": "clients'\nidling",
    "server_j": "server",
    "total_j": "energy\nin all",
    "wasted_j": "of it\nwasted",
}
_COSTS: Final = {
    "uplink": "uplink",
    "downlink": "downlink",
    "accelerators": "accelerators",
    "energy": "energy",
    "setup": "of it\nset-up",
    "total": "cost\nin all",
}


def energy_table(results: Sequence[Result]) -> AdaptiveTable | None:
    """One column for each kind of energy that a result knows."""
    return _table("Energy, all clients and rounds", results, _ENERGIES, _energies)


def money_table(results: Sequence[Result]) -> AdaptiveTable | None:
    """One column for each kind of cost that a result knows."""
    return _table("Money, all clients and rounds", results, _COSTS, _costs)


def _table(
    title: str,
    results: Sequence[Result],
    titles: Mapping[str, str],
    cells: Callable[[Result], dict[str, str]],
) -> AdaptiveTable | None:
    known = [cells(result) for result in results]
    names = [name for name in titles if any(name in found for found in known)]
    if not names:
        return None
    rows = [
        Row(f"  {result.name}", tuple(found.get(name, "-") for name in names))
        for result, found in zip(results, known, strict=True)
        if found
    ]
    return AdaptiveTable(title, [titles[name] for name in names], rows)


def _energies(result: Result) -> dict[str, str]:
    found = {
        name: format_joules(result.energy_j[name])
        for name in _ENERGIES
        if result.energy_j.get(name)
    }
    if "total_j" in found:
        total_j = result.energy_j["total_j"]
        interval = (result.table.get("energy") or {}).get("interval_95_j") or (total_j, total_j)
        bound = "≥ " if result.missing_energies else ""
        found["total_j"] = bound + figure(JOULES, total_j, *interval)
    return found


def _costs(result: Result) -> dict[str, str]:
    currency = result.money.get("currency", "")
    return {
        name: f"{result.money[name]:,.2f} {currency}".rstrip()
        for name in _COSTS
        if result.money.get(name)
    }
