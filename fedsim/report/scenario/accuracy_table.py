"""What a scenario is expected to learn, and what a target accuracy costs: by measured curves.

Above the numbers stands whose they are: a reader takes an accuracy for that of the model asked
about, and it is so only where the curves were measured on just that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from fedsim.comparison.result import Result, framework_label
from fedsim.report.adaptive_table import AdaptiveTable, Row
from fedsim.units import format_bytes, format_joules, format_seconds

__all__ = ["AccuracyTable", "whose"]

_ACCURACY: Final = "accuracy"
_Cells = dict[str, str]


@dataclass(frozen=True)
class AccuracyTable:
    """Accuracy after all rounds, and what it takes to a target.

    Attributes
    ----------
    results : sequence of Result
    """

    results: Sequence[Result]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """A row for each result with an accuracy; above it whose it is, below what else to know."""
        known = [r for r in self.results if r.table.get("accuracy")]
        if not known:
            return
        yield Text("Accuracy by measured learning curves", style="italic")
        yield from (Text(f" {line}", style="yellow") for line in whose(known))
        cells = [_cells(result) for result in known]
        names = list(dict.fromkeys(name for found in cells for name in found))
        rows = [
            Row(f"  {result.name}", tuple(found.get(name, "-") for name in names))
            for result, found in zip(known, cells, strict=True)
        ]
        yield AdaptiveTable("", names, rows)
        yield from (Text(f" * {line}", style="dim") for line in _labels(known))


def _cells(result: Result) -> _Cells:
    """Column to text, in the order of the columns."""
    accuracy, target = result.table["accuracy"], result.table.get("to_target")
    cells = {_ACCURACY: _told(accuracy, accuracy)}
    if target:
        money = target["money"]
        cells |= {
            f"rounds to {target['target']:.0%}": _range(target["rounds"], _rounds),
            "time": _range(target["time_s"], format_seconds),
            "bytes": _only(target["payload_bytes"], format_bytes),
            "energy": _only(target["energy_j"], format_joules),
        }
        # Nobody named prices: the column would be empty.
        if money is not None:
            currency = str(result.money.get("currency", ""))
            cells["cost"] = _only(money, lambda m: f"{m:,.2f} {currency}".rstrip())
    budget = result.table.get("under_budget")
    if budget:
        limit = budget["limited_by"].removeprefix("budget_")
        cells["for the budget"] = (
            f"{limit} unknown"
            if budget["rounds"] is None
            else f"{_told(budget, accuracy)}, {budget['rounds']:,} rounds ({limit})"
        )
    return cells


def _told(entry: Mapping[str, Any], accuracy: Mapping[str, Any]) -> str:
    """An accuracy, or the last that was measured."""
    last = accuracy["last_measured"]
    text = _range(entry, _percent)
    if entry["mean"] is None and entry["low"] is None and last:
        text = f"{_percent(last['accuracy'])} after {last['rounds']:,} rounds"
    return f"{text} on {accuracy['as_measured_on']}" if accuracy["transferred"] else text


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _rounds(rounds: float) -> str:
    return f"{rounds:,.0f}"


def _only(entry: Mapping[str, Any] | None, written: Callable[[Any], str]) -> str:
    if entry is None:
        return "-"
    return _range({**entry, "basis": ""}, written, has_interval=entry["mean"] is None)


def _range(
    entry: Mapping[str, Any], written: Callable[[Any], str], *, has_interval: bool = True
) -> str:
    """Middle and interval; an open end is beyond what anything measured can say."""
    mean, low, high = entry["mean"], entry["low"], entry["high"]
    if mean is None:
        if low is None:
            return "not reached"
        return (
            f"not before\n{written(low)}" if high is None else f"{written(low)} .. {written(high)}"
        )
    if not has_interval or (low is None and high is None):
        return written(mean)
    first = "0" if low is None else written(low)
    last = "?" if high is None else written(high)
    return f"{written(mean)}\n{first} .. {last}"


def whose(results: Sequence[Result]) -> list[str]:
    """Model, weights and data of the curves, and what a bag of words reaches on these."""
    lines: dict[str, None] = {}
    for result in results:
        entry = result.table["accuracy"]
        with_ = entry["measured_with"]
        weights = with_.get("learning.weights")
        model = with_.get("model.name", "one model")
        named = f"{model} with {weights} weights" if weights else str(model)
        data = with_.get("workload.dataset")
        machine = f", measured on {entry['machine']}" if entry["machine"] else ""
        verb, end = ("as measured on", ": not this scenario's own.")
        if not entry["transferred"]:
            verb, end = "of", "."
        lines.setdefault(f"{verb} {named}{f' on {data}' if data else ''}{machine}{end}")
    for result in results:
        entry = result.table["accuracy"]
        base = entry.get("baseline")
        if base:
            lines.setdefault(
                f"a bag of words (TF-IDF and logistic regression) reaches "
                f"{_percent(base['accuracy'])} on {entry['measured_with']['workload.dataset']}."
            )
    return list(lines)


def _labels(results: Sequence[Result]) -> list[str]:
    """What is not the scenario's own, what was not measured, and what stands apart."""
    lines: dict[str, None] = {}
    for result in results:
        if unseen := result.table["accuracy"].get("unseen"):
            lines.setdefault(
                f"{framework_label(result.framework)}: other settings than the measured ones were "
                f"missed by {100 * unseen['error']:.0f} points (median), "
                f"{unseen['num_covered']} of {unseen['num_runs']} within the interval."
            )
    grouped: dict[str, list[str]] = {}
    for result in results:
        for line in _remarks(result.table):
            grouped.setdefault(line, []).append(result.name)
    for line, names in grouped.items():
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        lines.setdefault(f"{shown}: {line}.")
    return [*lines, *_setup(results)]


def _setup(results: Sequence[Result]) -> list[str]:
    """What comes once on top of costs that are of rounds alone."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        entry = result.table.get("to_target") or result.table.get("under_budget")
        if entry:
            found.setdefault(framework_label(result.framework), []).append(entry["setup"])
    if not found:
        return []
    currency = next((str(r.money.get("currency", "")) for r in results if r.money), "")
    parts = []
    for name, setups in found.items():
        words = [
            _span(setups, "payload_bytes", format_bytes),
            _span(setups, "time_s", format_seconds),
        ]
        words.append(_span(setups, "energy_j", format_joules))
        words.append(_span(setups, "money", lambda m: f"{m:,.2f} {currency}".rstrip()))
        parts.append(f"{name} {', '.join(word for word in words if word)}")
    return [f"costs are of rounds; the set-up comes once on top: {'; '.join(parts)}."]


def _span(setups: Sequence[Mapping[str, Any]], name: str, written: Callable[[Any], str]) -> str:
    known = [setup[name] for setup in setups if setup[name] is not None]
    if not known:
        return ""
    low, high = written(min(known)), written(max(known))
    return low if low == high else f"{low} to {high}"


def _remarks(table: Mapping[str, Any]) -> list[str]:
    accuracy, target = table["accuracy"], table.get("to_target") or {}
    budget = table.get("under_budget") or {}
    found = []
    if accuracy["differs"]:
        found.append(f"not this scenario's own conditions: {'; '.join(accuracy['differs'])}")
    if accuracy["is_at_chance"]:
        found.append("stayed at chance")
    beyond = (*accuracy["extrapolates"],
              *(target.get("rounds") or {}).get("extrapolates", ()),
              *budget.get("extrapolates", ()))  # fmt: skip
    found += list(dict.fromkeys(beyond))
    return found
