"""Verdicts metric by metric, and the article's claims, out of the answer's JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from fedsim.comparison.result import Result
from fedsim.comparison.wording import significant

__all__ = ["claim_part", "verdict_part"]

_MAX_SHOWN: Final = 40
_FATE: Final = {True: ("holds", "green"), False: ("fails", "red"), None: ("partly", "yellow")}


def verdict_part(scenario: Mapping[str, Any], _: Sequence[Result]) -> Iterator[RenderableType]:
    """Who takes least, by how much, how surely and why."""
    found = [v for v in scenario.get("verdicts") or () if len(v["ranking"]) > 1]
    if not found:
        return
    yield Text("\nWho takes least, and why", style="bold")
    for verdict in found[:_MAX_SHOWN]:
        at = verdict["at"]
        size = f", {at['num_clients']:,} clients of {at['samples_per_client']:,.6g}" if at else ""
        yield Text(f" {verdict['title']}{size}", style="bold cyan")
        style = "green" if verdict["winner"] is not None else "yellow"
        yield Padding(Text(verdict["text"], style=style), (0, 0, 0, 3))
        for line in verdict["reasons"]:
            yield Padding(Text(f"{line}.", style="dim"), (0, 0, 0, 3))
    if len(found) > _MAX_SHOWN:
        yield Text(f" ... and {len(found) - _MAX_SHOWN} more verdicts; --json has all.")


def claim_part(scenario: Mapping[str, Any], results: Sequence[Result]) -> Iterator[RenderableType]:
    """The article's claims on these numbers, and the ranks at which two of them turn over."""
    found = scenario.get("claims") or []
    if found:
        yield Text("\nThe article's claims on these numbers", style="bold")
    for claim in found:
        word, style = _FATE[claim["holds"]]
        line = Text(f" {word:<7}", style=style)
        line.append(claim["claim"], style="default")
        yield line
        yield Padding(Text(claim["evidence"], style="dim"), (0, 0, 0, 8))
    ranks = scenario.get("break_even") or []
    by_rank: dict[str, list[str]] = {}
    widths = {result.name: result.plan["hidden_size"] for result in results}
    for entry in ranks:
        by_rank.setdefault(_rank(entry["r"], widths.get(entry["name"], 0)), []).append(
            entry["name"]
        )
    if by_rank:
        yield Text(" break-even rank, below which FedLLM sends less than KD-FedLLM", style="bold")
    for rank, names in by_rank.items():
        yield Padding(Text(f"{', '.join(names)}: {rank}", style="dim"), (0, 0, 0, 8))


def _rank(rank: float, width: int) -> str:
    if rank <= 1:
        return "none, KD-FedLLM sends less at every rank"
    if width and rank > width:
        return "none, FedLLM sends less at every rank that the model's width allows"
    return f"r = {significant(rank, 3)}"
