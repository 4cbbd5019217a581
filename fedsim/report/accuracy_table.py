"""What a scenario is expected to learn, and what a target accuracy costs: by measured curves.

Above the numbers stands whose they are: a reader takes an accuracy for that of the model asked
about, and it is so only where the curves were measured on just that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from fedsim.report.answer import Result, framework_label
from fedsim.report.cost_table import result_table
from fedsim.units import format_bytes, format_joules, format_seconds

__all__ = ["AccuracyTable"]

_ACCURACY: Final = "accuracy"
#: Blanks between two columns.
_GAP: Final = 2
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
        yield from (Text(f" {line}", style="yellow") for line in _whose(known))
        rows = [(result.name, _cells(result)) for result in known]
        names = list(dict.fromkeys(name for _, cells in rows for name in cells))
        if _needed_width(rows, names) <= options.max_width:
            yield _table(rows, names)
        else:
            yield from _stacked(rows)
        yield from (Text(f" * {line}", style="dim") for line in _labels(known))


def _needed_width(rows: Sequence[tuple[str, _Cells]], names: Sequence[str]) -> int:
    """Columns at which no number is cut."""
    texts = ([name, *(cells.get(name, "-") for _, cells in rows)] for name in names)
    widths = [max(len(line) for text in column for line in text.split("\n")) for column in texts]
    return _label_width(rows) + sum(width + _GAP for width in widths) + _GAP


def _label_width(rows: Sequence[tuple[str, _Cells]]) -> int:
    """A name may be folded between its words, for these hold numbers too."""
    return max(len(word) for label, _ in rows for word in f"  {label}".split(" "))


def _table(rows: Sequence[tuple[str, _Cells]], names: Sequence[str]) -> Table:
    table = result_table("")
    table.title = None
    table.add_column("result", overflow="fold", min_width=_label_width(rows))
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for label, cells in rows:
        table.add_row(Text(f"  {label}"), *(Text(cells.get(name, "-")) for name in names))
    return table


def _stacked(rows: Sequence[tuple[str, _Cells]]) -> list[Text]:
    """One figure a line where columns would cut them."""
    lines = []
    for label, cells in rows:
        lines.append(Text(f" {label}"))
        lines += [Text(f"   {name}: {cell.replace(chr(10), '  ')}") for name, cell in cells.items()]
    return lines


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
            else f"{_told(budget, accuracy)}\n{budget['rounds']:,} rounds ({limit})"
        )
    return cells


def _told(entry: Mapping[str, Any], accuracy: Mapping[str, Any]) -> str:
    """An accuracy, or the last that was measured."""
    last = accuracy["last_measured"]
    text = _range(entry, _percent)
    if entry["mean"] is None and entry["low"] is None and last:
        text = f"{_percent(last['accuracy'])} after\n{last['rounds']:,} rounds"
    return f"{text}\non {accuracy['as_measured_on']}" if accuracy["transferred"] else text


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


def _whose(results: Sequence[Result]) -> list[str]:
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
