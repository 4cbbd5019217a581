"""What a person reads first: the answer, a row a case, what would change it, what not to trust."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import log
from typing import Any, Final

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fedsim.comparison.result import Result
from fedsim.comparison.verdict import label
from fedsim.comparison.wording import figure, listed, percent, range_of, significant
from fedsim.report.adaptive_table import AdaptiveTable, Row
from fedsim.report.scenario.accuracy_table import whose
from fedsim.units import JOULES, SECONDS, format_bytes

__all__ = [
    "answer_part",
    "doubts",
    "labelled",
    "result_columns",
    "rows_part",
    "trust_part",
    "unable_part",
    "would_change_part",
]

#: Rows of the first table; the others come with everything else.
_MAX_ROWS: Final = 18
_MAX_CHANGES: Final = 3
_LABEL_WIDTH: Final = 8

_Cell = Callable[[Result], str]


def answer_part(scenario: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The answer in sentences: the first two are it, the others are beside it."""
    found = scenario.get("answer")
    if not found:
        return
    for number, sentence in enumerate(found["sentences"]):
        style = ("bold green" if found["is_decided"] else "bold yellow") if number == 0 else ""
        yield Padding(Text(sentence, style=style if number < 2 else "dim"), (0, 0, 0, 1))


def unable_part(results: Sequence[Result]) -> Iterator[RenderableType]:
    """Who cannot run or never succeeds, why, and the smallest change with which it would."""
    for result in results:
        if result.is_comparable and result.status == "ok":
            continue
        verb = {"infeasible": "cannot run", "failed": "never succeeds"}.get(
            result.status, "succeeds only in part"
        )
        yield labelled("unable", f"{result.name} {verb}: {result.table['reason']}.", "red")
        for whom, changes in suggestions(result).items():
            yield labelled(
                "", f"{' and '.join(whom)} would fit with {', or '.join(changes)}.", "red"
            )
    for result in results:
        for each in result.excluded:
            text = (
                f"{result.name}: class '{each['name']}' ({each['num_clients']:,} clients) is left "
                f"out: {each['reason']}."
            )
            yield labelled("without", text, "yellow")


def suggestions(result: Result) -> dict[tuple[str, ...], list[str]]:
    """Changes that would fit, by whom they would make fit."""
    by_whom: dict[str, list[str]] = {}
    for suggestion in result.suggestions:
        who = suggestion["who"]
        changes = " and ".join(
            f"{key} = {_as_typed(value)}" for key, value in suggestion["changes"].items()
        )
        text = f"{changes} ({format_bytes(suggestion['peak_memory_bytes'])})"
        subject = "the server" if who == "server" else f"class '{who}'"
        by_whom.setdefault(subject, []).append(text)
    joined: dict[tuple[str, ...], list[str]] = {}
    for changes_of_one in dict.fromkeys(tuple(texts) for texts in by_whom.values()):
        whom = tuple(who for who, texts in by_whom.items() if tuple(texts) == changes_of_one)
        joined[whom] = list(changes_of_one)
    return joined


def _as_typed(value: object) -> str:
    """A value as it stands in a scenario file."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def rows_part(results: Sequence[Result]) -> Iterator[RenderableType]:
    """One row a result; what all rows share stands above them once."""
    matrix = _matrix(results)
    if matrix is not None:
        yield matrix
        return
    shown = results[:_MAX_ROWS]
    columns = result_columns(shown)
    cells = {name: [cell(result) for result in shown] for name, cell in columns}
    same = {
        name: values[0]
        for name, values in cells.items()
        if len(shown) > 1 and len(set(values)) == 1 and name not in _KEPT
    }
    names = [name for name, values in cells.items() if name not in same and set(values) != {"-"}]
    known = {" ".join(name.split()): value for name, value in same.items() if value != "-"}
    if known:
        text = ", ".join(f"{name} {value}" for name, value in known.items())
        yield Text(f" the same for all: {text}", style="dim")
    rows: list[Row] = []
    heading = ""
    for number, result in enumerate(shown):
        title = f"{_name(result, results)}, by {', '.join(map(_short, result.axes))}"
        if result.axes and title != heading:
            rows.append(Row(title, (), "bold cyan"))
            heading = title
        name = f"  {', '.join(map(_written, result.axes.values()))}"
        rows.append(
            Row(
                name if result.axes else _name(result, results),
                tuple(cells[column][number] for column in names),
                "" if result.status == "ok" else "red",
            )
        )
    yield AdaptiveTable("", names, rows, optional=_OPTIONAL)
    if len(results) > len(shown):
        yield Text(f" ... and {len(results) - len(shown)} more rows: --all", style="dim")


#: Columns that stay even where all rows agree.
_KEPT: Final = ("round (95 %)",)
_OPTIONAL: Final = ("energy\na round", "once", "used of\nasked", "cost")


def _short(key: str) -> str:
    return key.rpartition(".")[2]


def _name(result: Result, results: Sequence[Result]) -> str:
    return label(result, results, without=tuple(result.axes))


def _written(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def result_columns(results: Sequence[Result]) -> list[tuple[str, _Cell]]:
    """Headings of a table with a row a result, each with what stands below it."""
    num = {result.table["num_rounds"] for result in results}
    total = f"{num.pop():,} rounds" if len(num) == 1 else "all rounds"
    columns: list[tuple[str, _Cell]] = [
        ("fits", _fits),
        ("round (95 %)", _round),
        (total, _makespan),
        ("up+down", lambda r: format_bytes(r.exchanged_bytes)),
        ("once", lambda r: format_bytes(r.setup_bytes)),
        ("energy\na round", _energy),
    ]
    if any(result.money.get("total") is not None for result in results):
        columns.append(("cost", _money))
    if any(result.rounds for result in results):
        columns.append(("used of\nasked", _used))
    if any(result.table.get("accuracy") for result in results):
        columns.append(("accuracy", _accuracy))
    return columns


def _fits(result: Result) -> str:
    if result.excluded:
        left_out = sum(each["num_clients"] for each in result.excluded)
        return percent(result.num_clients / (left_out + result.num_clients))
    if not result.is_feasible:
        return "no"
    return "tight" if result.is_tight else "yes"


def _round(result: Result) -> str:
    entry = result.successful_round.get("time_s")
    if not entry:
        return "-"
    return f"{'≥ ' if result.is_lower_bound else ''}{range_of(SECONDS, entry)}"


def _makespan(result: Result) -> str:
    entry = result.table.get("makespan_s")
    if not entry or not result.is_comparable:
        return "-"
    bound = "≥ " if result.is_lower_bound else ""
    return bound + figure(SECONDS, entry["mean"], entry["low"], entry["high"])


def _energy(result: Result) -> str:
    entry = result.successful_round.get("energy_j")
    if not entry or not entry["mean"]:
        return "-"
    bound = "≥ " if result.missing_energies else ""
    return bound + figure(JOULES, entry["mean"], entry["low"], entry["high"])


def _money(result: Result) -> str:
    total = result.money.get("total")
    return "-" if total is None else f"{total:,.2f} {result.money['currency']}".rstrip()


def _used(result: Result) -> str:
    if not result.rounds:
        return "-"
    return " of ".join(_count(result.mean_of_rounds(name)) for name in ("used", "asked"))


def _count(mean: float) -> str:
    return f"{mean:,.0f}" if mean == round(mean) or mean >= 1000 else f"{mean:.3g}"


def _accuracy(result: Result) -> str:
    entry = result.table.get("accuracy") or {}
    mean = entry.get("mean")
    if mean is None or entry.get("transferred"):
        return "-"
    return f"{100 * mean:.0f} % ({100 * entry['low']:.0f}..{100 * entry['high']:.0f})"


def _matrix(results: Sequence[Result]) -> AdaptiveTable | None:
    """Two swept keys as rows and columns: the time of a round of who takes least there."""
    axes = list(dict.fromkeys(key for result in results for key in result.axes))
    if len(axes) != 2 or any(len(result.axes) != 2 for result in results) or len(results) < 4:
        return None
    rows, columns = (list(dict.fromkeys(r.axes[axis] for r in results)) for axis in axes)
    cases = list(dict.fromkeys(result.case for result in results))
    at: dict[tuple[Any, Any], list[Result]] = {}
    for result in results:
        at.setdefault((result.axes[axes[0]], result.axes[axes[1]]), []).append(result)

    def cell(row: Any, column: Any) -> str:
        runs = [r for r in at.get((row, column), ()) if r.is_comparable]
        if not runs:
            return "cannot run"
        least = min(runs, key=lambda r: r.successful_round["time_s"]["mean"])
        who = "" if len(cases) == 1 else f"{_name(least, results)} "
        return f"{who}{_makespan_of_round(least)}"

    down, across = map(_short, axes)
    who = "" if len(cases) == 1 else " of who takes least"
    return AdaptiveTable(
        f"time of a round{who}, by {down} and {across}",
        [f"{across}\n{_written(column)}" for column in columns],
        [Row(_written(row), tuple(cell(row, column) for column in columns)) for row in rows],
        name_column=down,
    )


def _makespan_of_round(result: Result) -> str:
    entry = result.successful_round["time_s"]
    return figure(SECONDS, entry["mean"], entry["low"], entry["high"])


def would_change_part(scenario: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The nearest changes that turn the answer over."""
    found = scenario.get("would_change") or []
    if not found:
        return
    for entry in found[:_MAX_CHANGES]:
        yield labelled("change", entry["text"])


def trust_part(results: Sequence[Result]) -> Iterator[RenderableType]:
    """What not to trust, above everything else that is known."""
    for line in doubts(results):
        yield labelled("trust", line, "yellow")


def labelled(what: str, text: str, style: str = "default") -> RenderableType:
    """A line with a word ahead of it; what is too long goes on below the text."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=_LABEL_WIDTH, no_wrap=True)
    table.add_column(ratio=1)
    table.add_row(Text(f" {what}", style=f"bold {style}"), Text(text, style=style))
    return table


def doubts(results: Sequence[Result]) -> Iterator[str]:
    """How far figures can be trusted, a sentence each without its full stop."""
    counts = {result.table["exactness"]["client_flop"] for result in results}
    exact = "bytes and FLOP are exact" if counts == {"exact"} else "bytes and FLOP follow the texts"
    unmeasured = _unmeasured(results)
    if unmeasured:
        names, times = unmeasured
        yield f"{exact}; seconds x/÷ {significant(times, 2)}: nobody measured {listed(names)}"
    else:
        yield exact
    runs = [result for result in results if result.table.get("interval")]
    seeds = {result.table["interval"]["num_seeds"] for result in runs if result.is_simulated}
    if seeds:
        alone = any("one draw of the clients" in n for r in runs for n in r.table["notes"])
        if alone:
            yield "one draw of the clients: another one gives other seconds (--seeds 5)"
        elif max(seeds) > 1:
            yield (
                f"intervals and ratios are over {max(seeds)} draws of clients and rounds, devices "
                "and links; a row's first figure is of one draw"
            )
    bounds = [label(result, results) for result in runs if result.is_lower_bound]
    if bounds:
        yield f"times of {listed(list(dict.fromkeys(bounds)))} are lower bounds: clients queue"
    missing = dict.fromkeys(name for result in results for name in result.missing_energies)
    if missing and any(result.energy_j for result in results):
        kinds = dict.fromkeys(name.partition(" of ")[0] for name in missing)
        yield f"energy is a lower bound: no figure for {' and '.join(kinds)} of some of them"
    tight = [label(result, results) for result in results if result.is_tight]
    if tight:
        tight_names = listed(list(dict.fromkeys(tight)))
        yield f"memory of {tight_names} is tight: predicted peaks were missed by as much as is left"
    yield from dict.fromkeys(
        note for result in results for note in result.table["notes"] if "unusable" in note
    )
    told = [result for result in results if result.table.get("accuracy")]
    if told:
        yield from (f"accuracy {line}" if line.startswith("of ") else line for line in whose(told))
    else:
        reasons = dict.fromkeys(r.table["no_accuracy"] for r in results if r.table["no_accuracy"])
        yield f"no accuracy: {next(iter(reasons), 'no learning curves are named')}"


def _unmeasured(results: Sequence[Result]) -> tuple[list[str], float] | None:
    """Devices that nobody measured, and the factor that their times are known to."""
    factors: dict[str, float] = {}
    for result in results:
        devices = [table["plan"]["device"] for table in result.classes]
        for device in (*devices, result.table["server"]["device"]):
            if not device["is_calibrated"]:
                low, high = device["interval_95"]
                factors[device["name"]] = max(high, 1 / low)
    if not factors or log(max(factors.values())) == 0:
        return None
    return list(factors), max(factors.values())
