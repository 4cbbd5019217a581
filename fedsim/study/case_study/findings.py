"""What the runs say on the article's claims about accuracy: differences with intervals over seeds.

A verdict is *holds* or *does not hold* where a 95 % interval leaves no doubt, and *undecided*
elsewhere. Two seeds decide little, and the verdict then says so; it owes nobody an ordering.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from scipy.stats import t as student

__all__ = ["Finding", "SeriesPoint", "Verdict", "findings"]

Verdict = Literal["holds", "holds under conditions", "does not hold", "undecided", "not measured"]


#: What learns is at so many times the accuracy of guessing.
_LEARNS: Final = 2.0


@dataclass(frozen=True)
class SeriesPoint:
    """Accuracy at the last round of one value of a series.

    Attributes
    ----------
    series : str
    value : int
    rounds : int
    accuracy : dict of int to float
        By seed.
    """

    series: str
    value: int
    rounds: int
    accuracy: Mapping[int, float]


@dataclass(frozen=True)
class Finding:
    """A claim and what was measured.

    Attributes
    ----------
    claim : str
        In our words.
    verdict : str
    evidence : str
    """

    claim: str
    verdict: Verdict
    evidence: str


def findings(points: Sequence[SeriesPoint], chance: float = 0.0) -> list[Finding]:
    """A verdict for each claim about accuracy (Table I, Section V and Fig. 3 of the article).

    Parameters
    ----------
    points : sequence of SeriesPoint
    chance : float
        Accuracy of guessing. A series whose lowest value stays below twice of it compares learning
        with none, and its verdict says so.
    """
    by_series: dict[str, list[SeriesPoint]] = {}
    for point in points:
        by_series.setdefault(point.series, []).append(point)
    found = [
        _rises("FedLLM's accuracy rises with the rank", by_series.get("fedllm", []), chance),
        _rises("KD-FedLLM's rises with the public set", by_series.get("kd", []), chance),
        _rises("Split-FedLLM's rises with training samples", by_series.get("split", []), chance),
        _above("FedLLM is more accurate than KD-FedLLM", by_series, "fedllm", "kd"),
        _above("FedLLM is more accurate than Split-FedLLM (V1)", by_series, "fedllm", "split"),
        _above("FedLLM is more accurate than Split-FedLLM (V2)", by_series, "fedllm", "split-v2"),
        _above("Split-FedLLM is more accurate than KD-FedLLM", by_series, "split", "kd"),
    ]
    for framework, series in (
        ("FedLLM", "fedllm"),
        ("KD-FedLLM", "kd"),
        ("Split-FedLLM", "split"),
    ):
        if f"{series}-dropouts" in by_series:
            claim = f"{framework} is less accurate where 30 % of the clients drop out of each round"
            found.append(_above(claim, by_series, series, f"{series}-dropouts"))
    for series, words in (
        ("fedllm-default-init", "with peft's own initialization"),
        ("fedllm-rslora", "with rank-stabilized scaling"),
        ("fedllm-scaled-rate", "with a learning rate that grows as r^1.5"),
    ):
        if series in by_series:
            claim = f"FedLLM's accuracy rises with the rank {words}"
            found.append(_rises(claim, by_series[series], chance))
    return found


def _rises(claim: str, points: Sequence[SeriesPoint], chance: float) -> Finding:
    """Largest value against the smallest, seed by seed."""
    if len({point.value for point in points}) < 2:
        return Finding(claim, "not measured", "one value of it, or none, was run")
    low = min(points, key=lambda point: point.value)
    high = max(points, key=lambda point: point.value)
    found = _judged(claim, high, low, f"from {low.value:,} to {high.value:,}")
    is_at_chance = float(np.mean(list(low.accuracy.values()))) < _LEARNS * chance
    if found.verdict != "holds" or not is_at_chance:
        return found
    # A run that did not learn says nothing on how much can be learned.
    why = f"; at {low.value:,} it stayed at chance, so this is whether it learns, not how much"
    if low.series.startswith("fedllm"):
        why += ": the step size, which grows as the rank falls"
    return Finding(claim, "holds under conditions", found.evidence + why)


def _above(
    claim: str, by_series: Mapping[str, Sequence[SeriesPoint]], one: str, other: str
) -> Finding:
    """Both at the largest data of their series; FedLLM at r = 8, where the others are."""
    first, second = (_main(by_series.get(series, [])) for series in (one, other))
    if first is None or second is None:
        return Finding(claim, "not measured", "one of the two was not run")
    return _judged(claim, first, second, "at r = 8 and the largest data")


def _main(points: Sequence[SeriesPoint]) -> SeriesPoint | None:
    if not points:
        return None
    if points[0].series == "fedllm":
        return next((point for point in points if point.value == 8), None)
    return max(points, key=lambda point: point.value)


def _judged(claim: str, first: SeriesPoint, second: SeriesPoint, where: str) -> Finding:
    seeds = sorted(set(first.accuracy) & set(second.accuracy))
    if first.rounds != second.rounds:
        return Finding(claim, "not measured", "the two stand at different rounds")
    differences = np.array([first.accuracy[seed] - second.accuracy[seed] for seed in seeds])
    if not len(differences):
        return Finding(claim, "not measured", "no seed in common")
    if len(differences) and not differences.any():
        verdict: Verdict = "does not hold"
        return Finding(claim, verdict, f"{where}: equal in every seed, {len(seeds)} in all")
    mean = float(differences.mean())
    if len(differences) < 2:
        return Finding(claim, "undecided", f"{where}: {_points(mean)}, one seed")
    width = float(differences.std(ddof=1)) / len(seeds) ** 0.5
    half = float(student.ppf(0.975, len(seeds) - 1)) * width
    verdict = "undecided"
    if mean - half > 0:
        verdict = "holds"
    elif mean + half < 0:
        verdict = "does not hold"
    evidence = (
        f"{where}: {_points(mean)} ({_points(mean - half)} .. {_points(mean + half)}), "
        f"{len(seeds)} seeds, {first.rounds} rounds"
    )
    return Finding(claim, verdict, evidence)


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f} points"
