"""A scenario's answer for a reader at a terminal: the answer first, everything else on demand."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text

from fedsim.comparison.result import Result, framework_label, results_of
from fedsim.comparison.wording import listed
from fedsim.errors import ScenarioError, nearest
from fedsim.report.scenario.accuracy_table import AccuracyTable
from fedsim.report.scenario.cost_table import count_table, time_table
from fedsim.report.scenario.period_table import period_table
from fedsim.report.scenario.privacy_table import privacy_table
from fedsim.report.scenario.resource_table import energy_table, money_table
from fedsim.report.scenario.round_table import round_table
from fedsim.report.scenario.summary import (
    answer_part,
    labelled,
    rows_part,
    trust_part,
    unable_part,
    would_change_part,
)
from fedsim.report.scenario.verdict_table import claim_part, verdict_part

__all__ = ["PARTS", "checked_parts", "scenario_report"]

#: More results than this are not a table that anyone reads; the JSON holds them all.
_MAX_SHOWN: Final = 60
_NUMBER: Final = re.compile(r"\b\d[\d,]*\b")

_Part = Callable[[Mapping[str, Any], Sequence[Result]], Iterator[RenderableType]]


def scenario_report(
    scenario: Mapping[str, Any], shows: Collection[str] = (), *, everything: bool = False
) -> RenderableType:
    """What a terminal shows of one answer.

    Parameters
    ----------
    scenario : mapping
        One entry of ``scenarios`` in the JSON.
    shows : collection of str
        Of :data:`PARTS`, what to show below the answer.
    everything : bool
        All of them.
    """
    results = results_of(scenario)
    parts: list[RenderableType] = [
        Panel(
            Text(str(scenario["question"]), style="bold"),
            subtitle=escape(_subtitle(scenario)),
            subtitle_align="left",
            box=box.ROUNDED,
        )
    ]
    for line in scenario.get("warnings") or ():
        parts.append(labelled("warning", f"{line}.", "yellow"))
    parts.extend(answer_part(scenario))
    parts.append(Padding(Text(_setting(results), style="dim"), (0, 0, 0, 1)))
    parts.extend(rows_part(results))
    parts.extend(unable_part(results))
    parts.extend(would_change_part(scenario))
    parts.extend(trust_part(results))
    chosen = [name for name in PARTS if everything or name in shows]
    if not chosen:
        more = f"--show {', '.join(PARTS)}; --all; --json FILE"
        parts.append(labelled("more", more, "dim"))
    for name in chosen:
        parts.extend(PARTS[name](scenario, results[:_MAX_SHOWN]))
    if chosen and len(results) > _MAX_SHOWN:
        parts.append(Text(f"... and {len(results) - _MAX_SHOWN} more results; --json has all."))
    return Group(*parts)


def checked_parts(names: Iterable[str], option: str, more: str = "") -> list[str]:
    """Names of what to show below the answer.

    Parameters
    ----------
    names : iterable of str
    option : str
        What messages call the place where they were written.
    more : str
        What else may be written there.

    Raises
    ------
    ScenarioError
        If one of them is none.
    """
    found = list(names)
    for name in found:
        if name not in PARTS:
            raise ScenarioError(
                f"{option} {name}: allowed: {', '.join(PARTS)}{more}.{nearest(name, PARTS)}"
            )
    return found


def _subtitle(scenario: Mapping[str, Any]) -> str:
    profile = scenario["profile"]
    device = f", profile {profile['name']}" if profile else ""
    return f"{scenario['file']}, engine {scenario['engine']}, seed {scenario['seed']}{device}"


def _setting(results: Sequence[Result]) -> str:
    """What all results share, read from the first."""
    first = results[0]
    plan = first.plan
    head = plan["model"]["head"].replace("_", " ")
    classes = f", {plan['head_width']:,} classes" if head == "classification" else ""
    data = plan["workload"]["dataset"]
    counts = sorted({result.num_clients for result in results})
    clients = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    return (
        f"{plan['model']['name']}, {head}{classes}{f', {data}' if data else ''}; "
        f"{clients} client{'s' if counts[-1] != 1 else ''}; up+down: a client and round; once: "
        "its set-up"
    )


def _tables(*tables: Callable[[Sequence[Result]], RenderableType | None]) -> _Part:
    def part(_: Mapping[str, Any], results: Sequence[Result]) -> Iterator[RenderableType]:
        for table in tables:
            found = table(results)
            if found is not None:
                yield found

    return part


def _notes(_: Mapping[str, Any], results: Sequence[Result]) -> Iterator[RenderableType]:
    """What a reader must know ahead of believing a figure."""
    yield Text("Notes", style="bold")
    for line in (*_bounds(results), *_engines(results), *_sources(results)):
        yield Text(f" * {line}", style="dim")


def _bounds(results: Sequence[Result]) -> Iterator[str]:
    notes: dict[str, list[Result]] = {}
    for result in results:
        for note in result.table["notes"]:
            # Who answered has a line of its own.
            if note != f"simulated by engine '{result.engine}'":
                notes.setdefault(note, []).append(result)
    for note, noted in notes.items():
        frameworks = {result.framework for result in noted}
        everyone = [result for result in results if result.framework in frameworks]
        names = [framework_label(r.framework) for r in noted]
        if len(noted) < len(everyone):
            names = [result.name for result in noted]
        yield f"{listed(list(dict.fromkeys(names)))}: {note}."


def _engines(results: Sequence[Result]) -> Iterator[str]:
    """Who answered, and why it; reasons that differ in their first number alone are one."""
    answered: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        if result.engine and result.is_feasible:
            reason = _NUMBER.sub("#", result.engine_reason, count=1)
            answered.setdefault((result.engine, reason), []).append(result)
    for (engine, _), group in answered.items():
        whom = "" if len(answered) == 1 else f" for {listed([r.name for r in group])}"
        yield f"engine {engine}{whom}: {_common_reason([r.engine_reason for r in group])}."


def _common_reason(reasons: Sequence[str]) -> str:
    numbers = {found[0] for reason in reasons if (found := _NUMBER.search(reason))}
    if len(numbers) < 2:
        return reasons[0]
    ordered = sorted(numbers, key=lambda number: int(number.replace(",", "")))
    return _NUMBER.sub(f"{ordered[0]} to {ordered[-1]}", reasons[0], count=1)


def _sources(results: Sequence[Result]) -> Iterator[str]:
    """Where the figures of devices and links come from."""
    found: dict[str, str] = {}
    for result in results:
        for table in result.classes:
            for what in ("device", "link"):
                entry = table["plan"][what]
                found.setdefault(entry["name"], entry["source"])
    for name, source in found.items():
        if source:
            yield f"{name}: {source}."


#: What can be shown below the answer, in this order.
PARTS: Final[Mapping[str, _Part]] = {
    "counts": _tables(count_table, period_table, privacy_table),
    "time": _tables(time_table),
    "rounds": _tables(round_table),
    "energy": _tables(energy_table, money_table),
    "accuracy": _tables(AccuracyTable),
    "verdicts": verdict_part,
    "claims": claim_part,
    "notes": _notes,
}
