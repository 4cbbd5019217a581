"""A scenario's answer for a reader at a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from fedsim.report.accuracy_table import AccuracyTable
from fedsim.report.answer import Result, framework_label, results_of
from fedsim.report.claim import break_even_ranks, claims
from fedsim.report.cost_table import CostTables
from fedsim.report.privacy_table import PrivacyTable
from fedsim.report.round_table import ResourceTable, RoundTable
from fedsim.report.verdict import verdicts
from fedsim.units import format_bytes

__all__ = ["scenario_report"]

#: More results than this are not a table that anyone reads; the JSON holds them all.
_MAX_SHOWN: Final = 60
_MAX_RANKS: Final = 20
_MAX_NAMES: Final = 4
_NUMBER: Final = re.compile(r"\b\d[\d,]*\b")


def scenario_report(scenario: Mapping[str, Any]) -> RenderableType:
    """Everything that a terminal shows of one answer.

    Parameters
    ----------
    scenario : mapping
        One entry of ``scenarios`` in the JSON.
    """
    results = results_of(scenario)
    shown = results[:_MAX_SHOWN]
    parts: list[RenderableType] = [
        Panel(
            Text(str(scenario["question"]), style="bold"),
            subtitle=escape(_subtitle(scenario)),
            subtitle_align="left",
            box=box.ROUNDED,
        ),
        Text(_setting(results), style="dim"),
        Text(),
        CostTables(shown),
        PrivacyTable(shown),
        RoundTable(shown),
        ResourceTable(shown),
        AccuracyTable(shown),
    ]
    if len(results) > len(shown):
        parts.append(Text(f"... and {len(results) - len(shown)} more results; --json has all."))
    parts.extend(_notes(results))
    parts.extend(_verdict_part(results))
    parts.extend(_claim_part(results))
    return Group(*parts)


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
    rounds = first.table["num_rounds"]
    return (
        f"{plan['model']['name']}, {head}{classes}{f', {data}' if data else ''}; "
        f"{first.num_clients:,} clients; {rounds:,} round{'s' if rounds != 1 else ''}"
    )


def _notes(results: Sequence[Result]) -> Iterator[RenderableType]:
    """What a reader must know ahead of believing a figure."""
    for line in (*_infeasible(results), *_bounds(results), *_failed(results)):
        yield Text(f" * {line}", style="yellow")
    for line in _uncalibrated(results):
        yield Text(f" * {line}", style="yellow")
    for line in (*_energies(results), *_engines(results), _conventions(results)):
        yield Text(f" * {line}", style="dim")
    yield Text()


def _infeasible(results: Sequence[Result]) -> Iterator[str]:
    for result in results:
        if not result.is_feasible:
            yield f"{result.name} cannot run: {result.table['reason']}."
            for whom, changes in _suggestions(result).items():
                yield f"  {' and '.join(whom)} would fit with {', or '.join(changes)}."


def _suggestions(result: Result) -> dict[tuple[str, ...], list[str]]:
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
        yield f"{_listed(list(dict.fromkeys(names)))}: {note}."


def _failed(results: Sequence[Result]) -> Iterator[str]:
    for result in results:
        failed = result.rounds.get("num_failed", 0)
        if failed:
            yield (
                f"{result.name}: {failed:,} of {result.table['num_rounds']:,} rounds failed, for "
                "nobody's work came in time."
            )


def _engines(results: Sequence[Result]) -> Iterator[str]:
    """Who answered, and why it; reasons that differ in their first number alone are one."""
    answered: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        if result.engine and result.is_feasible:
            reason = _NUMBER.sub("#", result.engine_reason, count=1)
            answered.setdefault((result.engine, reason), []).append(result)
    for (engine, _), group in answered.items():
        whom = "" if len(answered) == 1 else f" for {_listed([r.name for r in group])}"
        yield f"engine {engine}{whom}: {_common_reason([r.engine_reason for r in group])}."


def _common_reason(reasons: Sequence[str]) -> str:
    numbers = {found[0] for reason in reasons if (found := _NUMBER.search(reason))}
    if len(numbers) < 2:
        return reasons[0]
    ordered = sorted(numbers, key=lambda number: int(number.replace(",", "")))
    return _NUMBER.sub(f"{ordered[0]} to {ordered[-1]}", reasons[0], count=1)


def _energies(results: Sequence[Result]) -> Iterator[str]:
    missing = dict.fromkeys(name for result in results for name in result.missing_energies)
    if missing and any(result.energy_j for result in results):
        yield f"energy is a lower bound; not known: {_listed(list(missing))}."


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _MAX_NAMES
    return ", ".join(names[:_MAX_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def _conventions(results: Sequence[Result]) -> str:
    simulates = any(result.plan["policy"].get("simulates_setup") for result in results)
    sum_ = "; the time of all rounds does, where it is simulated" if simulates else ""
    return f"up, down and set-up are payload bytes; a round's time does not hold the set-up{sum_}."


def _uncalibrated(results: Sequence[Result]) -> Iterator[str]:
    factors: dict[str, float] = {}
    for result in results:
        devices = [table["plan"]["device"] for table in result.classes]
        for device in (*devices, result.table["server"]["device"]):
            if not device["is_calibrated"]:
                low, high = device["interval_95"]
                factors[device["name"]] = max(high, 1 / low)
    if not factors:
        return
    factor = max(factors.values())
    yield (
        f"nobody measured {', '.join(factors)}: computing times are within a factor of "
        f"{factor:.2g} of the truth with 95 % probability, at best. 'fedsim calibrate' measures."
    )


def _verdict_part(results: Sequence[Result]) -> Iterator[RenderableType]:
    found = verdicts(results)
    if not found:
        return
    table = Table(
        title="Which framework wins, and why"
        if len({r.framework for r in results}) > 1
        else "Least",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_header=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column(width=20)
    table.add_column(ratio=1)
    for verdict in found:
        if verdict.is_same:
            continue
        body = Text()
        body.append(verdict.headline, style="green" if verdict.winner is not None else "")
        for detail in verdict.details:
            body.append(f"\n{detail}.", style="dim")
        table.add_row(Text(verdict.metric.title, style="bold"), body)
        table.add_section()
    same = [verdict for verdict in found if verdict.is_same]
    if same:
        titles = (f"{v.metric.title}{v.headline.removeprefix('all results')}" for v in same)
        table.add_row(Text("the same for all", style="bold"), "\n".join(titles))
    yield table


_FATE: Final = {True: ("holds", "green"), False: ("fails", "red"), None: ("partly", "yellow")}


def _claim_part(results: Sequence[Result]) -> Iterator[RenderableType]:
    found = claims(results)
    if not found:
        return
    table = Table(
        title="The article's claims on these numbers",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_header=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column(width=6)
    table.add_column(width=28)
    table.add_column(ratio=1)
    for claim in found:
        word, style = _FATE[claim.holds]
        table.add_row(Text(word, style=style), claim.text, claim.evidence)
    yield table
    ranks = break_even_ranks(results)
    if ranks:
        yield Padding(Text(_break_even(ranks)), (0, 0, 1, 1))


def _break_even(ranks: list[tuple[Result, Fraction]]) -> str:
    """The rank below which FedLLM sends less than KD-FedLLM."""
    points = [f"{result.name}: {_rank(rank, result)}" for result, rank in ranks[:_MAX_RANKS]]
    if len(ranks) > len(points):
        points.append(f"... and {len(ranks) - len(points):,} more")
    return "Break-even rank, below which FedLLM sends less than KD-FedLLM:\n   " + "\n   ".join(
        points
    )


def _rank(rank: Fraction, result: Result) -> str:
    if rank <= 1:
        return "none, KD-FedLLM sends less at every rank"
    if rank > result.plan["hidden_size"]:
        return "none, FedLLM sends less at every rank that the model's width allows"
    return f"r = {float(rank):.2f}"
