"""What stands above a scenario's results: the answer, the verdicts and the article's claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedsim.comparison.claim import break_even_ranks, claims
from fedsim.comparison.goal import answer
from fedsim.comparison.result import Result
from fedsim.comparison.verdict import verdicts
from fedsim.scenario.file.goal_table import GoalTable

__all__ = ["compared"]


def compared(
    goal: GoalTable,
    tables: Sequence[Mapping[str, Any]],
    worlds: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """``answer``, ``axes``, ``verdicts``, ``claims`` and ``break_even`` of a scenario.

    Parameters
    ----------
    goal : GoalTable
    tables : sequence of mapping
        The results.
    worlds : mapping, optional
        By a result's name, the same in the world that the goal compares with.
    """
    results = [Result(table) for table in tables]
    found = verdicts(results)
    others = None if worlds is None else {name: Result(t) for name, t in worlds.items()}
    axes: dict[str, list[Any]] = {}
    for result in results:
        for key, value in result.axes.items():
            values = axes.setdefault(key, [])
            if value not in values:
                values.append(value)
    runs = [result for result in results if result.is_comparable]
    return {
        "axes": axes,
        "answer": answer(goal.model_dump(), results, found, others).table(),
        "verdicts": [verdict.table() for verdict in found],
        "claims": [claim.table() for claim in claims(runs)],
        "break_even": [
            {"name": result.name, "r": float(rank)} for result, rank in break_even_ranks(runs)
        ],
    }
