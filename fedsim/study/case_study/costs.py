"""What the study's runs cost a client and round, and the article's claims about that (Fig. 4).

Bytes are those of messages that were sent, FLOP those of the steps that were run. A claim about all
results of a framework holds, does not hold, or holds under the conditions that its evidence names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedsim.comparison.claim import (
    COMPUTES_LEAST,
    COMPUTES_MOST,
    FLAT_IN_RANK,
    PROPORTIONAL_TO_RANK,
    SENDS_LEAST,
    SENDS_MOST,
    flat,
    proportional,
)
from fedsim.study.case_study.findings import Finding, Verdict
from fedsim.study.case_study.plan import SERIES, StudyRun
from fedsim.text_file import read_text
from fedsim.training.folder import METRICS, SUMMARY
from fedsim.units import format_bytes, format_flop

__all__ = ["CostPoint", "cost_findings", "cost_points"]

_VERDICTS: Final[dict[bool | None, Verdict]] = {
    True: "holds",
    None: "holds under conditions",
    False: "does not hold",
}
_MAIN: Final = {"fedllm": "FedLLM", "kd": "KD-FedLLM", "split": "Split-FedLLM"}


@dataclass(frozen=True)
class CostPoint:
    """What one run cost a client in the last of its rounds.

    Attributes
    ----------
    series : str
    framework : str
    value : int
        Of what the series varies.
    exchanged_bytes : float
        Payload up and down [B].
    client_flop, server_flop : float
        The server's by client.
    """

    series: str
    framework: str
    value: int
    exchanged_bytes: float
    client_flop: float
    server_flop: float


def cost_points(runs: Sequence[StudyRun], out: Path) -> list[CostPoint]:
    """Costs of every run that is done."""
    points = []
    for run in runs:
        if not (out / run.name / SUMMARY).is_file():
            continue
        text = read_text(out / run.name / METRICS)
        # Another seed may have begun since, of which only the set-up is there.
        last = next(
            record
            for record in map(json.loads, reversed(text.splitlines()))
            if record["client_train_loss"]
        )
        num = len(last["client_train_loss"])
        points.append(
            CostPoint(
                run.series,
                SERIES[run.series][0],
                run.value,
                (last["uplink_payload_bytes"] + last["downlink_payload_bytes"]) / num,
                last["client_flop"] / num,
                last["server_flop"] / num,
            )
        )
    return points


def cost_findings(points: Sequence[CostPoint]) -> list[Finding]:
    """Verdicts on communication and computation (Table I, Section V and Fig. 4 of the article)."""
    own = {name: [p for p in points if p.series == name] for name in _MAIN}
    fedllm, kd, split = own.values()
    return [
        *_grows(PROPORTIONAL_TO_RANK, fedllm, _bytes),
        *_is_flat(FLAT_IN_RANK, fedllm, _flop),
        *_grows("KD-FedLLM's communication is proportional to the public set", kd, _bytes),
        *_grows("KD-FedLLM's computation is proportional to the public set", kd, _flop),
        *_grows("Split-FedLLM's communication is proportional to its samples", split, _bytes),
        *_grows("Split-FedLLM's computation is proportional to its samples", split, _flop),
        *_extreme(SENDS_LEAST, kd, [*fedllm, *split], _bytes, -1, format_bytes),
        *_extreme(SENDS_MOST, split, [*fedllm, *kd], _bytes, 1, format_bytes),
        *_extreme(COMPUTES_MOST, kd, [*fedllm, *split], _flop, 1, format_flop),
        *_extreme(COMPUTES_LEAST, split, [*fedllm, *kd], _flop, -1, format_flop),
    ]


def _bytes(point: CostPoint) -> float:
    return point.exchanged_bytes


def _flop(point: CostPoint) -> float:
    return point.client_flop


def _ends(points: Sequence[CostPoint]) -> tuple[CostPoint, CostPoint] | None:
    ordered = sorted(points, key=lambda point: point.value)
    if len(ordered) < 2 or ordered[0].value == ordered[-1].value:
        return None
    return ordered[0], ordered[-1]


def _grows(
    claim: str, points: Sequence[CostPoint], cost: Callable[[CostPoint], float]
) -> Iterator[Finding]:
    """Proportional, or a line that does not begin at zero."""
    ends = _ends(points)
    if ends is None:
        return
    low, high = ends
    fate, evidence = proportional(low.value, high.value, cost(low), cost(high))
    yield Finding(claim, _VERDICTS[fate], evidence)


def _is_flat(
    claim: str, points: Sequence[CostPoint], cost: Callable[[CostPoint], float]
) -> Iterator[Finding]:
    ends = _ends(points)
    if ends is None:
        return
    low, high = ends
    fate, evidence = flat(low.value, high.value, cost(low), cost(high))
    yield Finding(claim, _VERDICTS[fate], evidence)


def _extreme(
    claim: str,
    ours: Sequence[CostPoint],
    others: Sequence[CostPoint],
    cost: Callable[[CostPoint], float],
    sign: int,
    shown: Callable[[float], str],
) -> Iterator[Finding]:
    """Whether each of ours is beyond each of the others; the pairs that are not are named."""
    pairs = [(own, other) for own in ours for other in others]
    if not pairs:
        return
    failing = [(own, other) for own, other in pairs if sign * (cost(own) - cost(other)) <= 0]
    counted = f"{len(pairs) - len(failing)} of {len(pairs)} pairs of runs"
    if not failing:
        closest = min(pairs, key=lambda pair: abs(cost(pair[0]) / cost(pair[1]) - 1))
        yield Finding(claim, "holds", f"{counted}; the closest: {_pair(closest, cost, shown)}")
        return
    verdict: Verdict = "does not hold" if len(failing) == len(pairs) else "holds under conditions"
    worst = max(failing, key=lambda pair: abs(cost(pair[0]) / cost(pair[1]) - 1))
    yield Finding(claim, verdict, f"{counted}; not, among others, {_pair(worst, cost, shown)}")


def _pair(
    pair: tuple[CostPoint, CostPoint],
    cost: Callable[[CostPoint], float],
    shown: Callable[[float], str],
) -> str:
    return " against ".join(f"{_named(point)} with {shown(cost(point))}" for point in pair)


def _named(point: CostPoint) -> str:
    return f"{_MAIN[point.series]} ({SERIES[point.series][2]} {point.value:,})"
