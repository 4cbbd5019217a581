"""What a scenario is expected to learn, and what a target accuracy costs: by measured curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from fedsim.comparison.result import Result, framework_label
from fedsim.units import format_bytes, format_joules, format_seconds

__all__ = ["AccuracyTable"]


@dataclass(frozen=True)
class AccuracyTable:
    """Accuracy after all rounds, and what it takes to a target.

    Attributes
    ----------
    results : sequence of Result
    """

    results: Sequence[Result]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """A row for each result with an accuracy; below it, what the curves are of."""
        known = [r for r in self.results if r.table.get("accuracy")]
        if not known:
            return
        targets = [r.table.get("to_target") for r in known]
        table = Table(
            title="Accuracy by measured learning curves",
            title_justify="left",
            title_style="bold",
            box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
            header_style="bold",
        )
        table.add_column("result", overflow="fold", min_width=16)
        table.add_column("after all rounds", justify="right", no_wrap=True)
        target = next((t["target"] for t in targets if t), None)
        if target is not None:
            names = [f"rounds to {target:.0%}", "time", "bytes", "energy", "cost"]
            # Nobody named prices: the last column would be empty.
            has_cost = any(t and t["money"] is not None for t in targets)
            for name in names if has_cost else names[:-1]:
                table.add_column(name, justify="right")
        has_budget = any(r.table.get("under_budget") for r in known)
        if has_budget:
            table.add_column("for the budget", justify="right")
        for result, found in zip(known, targets, strict=True):
            cells = [_range(result.table["accuracy"], _percent)]
            if target is not None:
                costs = _costs(found, str(result.money.get("currency", "")))
                cells += costs if has_cost else costs[:-1]
            if has_budget:
                cells.append(_for_budget(result.table.get("under_budget")))
            table.add_row(Text(f"  {result.name}"), *cells)
        yield table
        yield from (Text(f" * {line}", style="dim") for line in _labels(known))


def _costs(found: Mapping[str, Any] | None, currency: str) -> list[str]:
    if not found:
        return ["-"] * 5
    energy, money = found["energy_j"], found["money"]
    return [
        _range(found["rounds"], lambda rounds: f"{rounds:,.0f}"),
        _range(found["time_s"], format_seconds),
        _only(found["payload_bytes"]["mean"], format_bytes),
        "-" if energy is None else _only(energy["mean"], format_joules),
        "-" if money is None else _only(money["mean"], lambda m: f"{m:,.2f} {currency}".rstrip()),
    ]


def _for_budget(found: Mapping[str, Any] | None) -> str:
    if not found:
        return "-"
    limit = found["limited_by"].removeprefix("budget_")
    if found["rounds"] is None:
        return f"{limit} unknown"
    return f"{_range(found, _percent)}  ({found['rounds']:,} rounds; {limit})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _only(value: float | None, written: Any) -> str:
    return "not reached" if value is None else str(written(value))


def _range(entry: Mapping[str, Any], written: Any) -> str:
    """Middle and interval; an open end is beyond what anything measured can say."""
    if entry["mean"] is None:
        low = entry["low"]
        return "not reached" if low is None else f"not before {written(low)}"
    low = "0" if entry["low"] is None else written(entry["low"])
    high = "?" if entry["high"] is None else written(entry["high"])
    return f"{written(entry['mean'])}  {low} .. {high}"


def _labels(results: Sequence[Result]) -> list[str]:
    """Whose curves these are, how they differ from the scenario, and what was extrapolated."""
    lines: dict[str, None] = {}
    for result in results:
        entry = result.table["accuracy"]
        with_ = entry["measured_with"]
        named = ", ".join(f"{k} {with_[k]}" for k in ("model", "weights", "dataset") if k in with_)
        machine = f" on {entry['machine']}" if entry["machine"] else ""
        lines.setdefault(f"curves of {named or 'one set of conditions'}, measured{machine}.")
        if entry["differs"]:
            lines.setdefault(f"not this scenario's own conditions: {'; '.join(entry['differs'])}.")
    for result in results:
        if unseen := result.table["accuracy"].get("unseen"):
            lines.setdefault(
                f"{framework_label(result.framework)}: other settings than the measured ones were "
                f"missed by {100 * unseen['error']:.0f} points (median), "
                f"{unseen['num_covered']} of {unseen['num_runs']} within the interval."
            )
    beyond: dict[str, list[str]] = {}
    for result in results:
        target = result.table.get("to_target") or {}
        found = (*result.table["accuracy"]["extrapolates"],
                 *(target.get("rounds") or {}).get("extrapolates", ()),
                 *(result.table.get("under_budget") or {}).get("extrapolates", ()))  # fmt: skip
        if found:
            beyond.setdefault("; ".join(dict.fromkeys(found)), []).append(result.name)
    for what, names in beyond.items():
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        lines.setdefault(f"extrapolated for {shown}: {what}.")
    return list(lines)
