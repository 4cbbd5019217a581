"""A scenario's answer for a reader at a terminal."""

from __future__ import annotations

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

from fedsim.report.answer import Result, framework_label, results_of
from fedsim.report.claim import break_even_ranks, claims
from fedsim.report.cost_table import CostTables
from fedsim.report.verdict import verdicts

__all__ = ["scenario_report"]

#: More results than this are not a table that anyone reads; the JSON holds them all.
_MAX_SHOWN: Final = 60
_MAX_RANKS: Final = 20


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
    lines = [*_infeasible(results), *_bounds(results), *_uncalibrated(results)]
    lines.append("up, down and set-up are payload bytes; a round's time does not hold the set-up.")
    for line in lines:
        yield Text(f" * {line}", style="yellow" if line is not lines[-1] else "dim")
    yield Text()


def _infeasible(results: Sequence[Result]) -> Iterator[str]:
    for result in results:
        if not result.is_feasible:
            yield f"{result.name} cannot run: {result.table['reason']}."


def _bounds(results: Sequence[Result]) -> Iterator[str]:
    notes: dict[str, list[str]] = {}
    for result in results:
        for note in result.table["notes"]:
            notes.setdefault(note, []).append(framework_label(result.framework))
    for note, frameworks in notes.items():
        yield f"{', '.join(dict.fromkeys(frameworks))}: {note}."


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
        body = Text()
        body.append(verdict.headline, style="green" if verdict.winner is not None else "")
        for detail in verdict.details:
            body.append(f"\n{detail}.", style="dim")
        table.add_row(Text(verdict.metric.title, style="bold"), body)
        table.add_section()
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
