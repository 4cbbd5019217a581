"""Which visits were disturbed by whatever else the machine did, and how noisy it is.

The spread of repeats inside a visit does not see contamination, because a competing job slows all
of them alike. Passes that are separated in time do, and so do the sentinels.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import Final

import numpy as np

from fedsim.calibration.measurements import Visit
from fedsim.calibration.shape import Phase, Point, Shape

__all__ = ["Noise", "fused_over_eager", "latest", "retest_noise", "to_redo", "unsettled"]

#: A deviation below it never counts as a disturbance.
_SMALLEST: Final = 0.05


@dataclass(frozen=True)
class Noise:
    """The machine's test-retest noise: relative difference of two passes' medians at one point.

    Attributes
    ----------
    median, p95 : float
    """

    median: float
    p95: float


def latest(visits: Sequence[Visit]) -> list[Visit]:
    """Of each shape and pass the last attempt."""
    last: dict[tuple[str, int], Visit] = {}
    for visit in sorted(visits, key=lambda v: v.key):
        last[visit.shape.name, visit.pass_index] = visit
    return list(last.values())


def retest_noise(visits: Sequence[Visit], phases: Sequence[Phase] | None = None) -> Noise:
    """Noise over all points and all pairs of consecutive passes."""
    differences = [
        abs(one - other) / ((one + other) / 2)
        for (phase, _), medians in _by_point(visits).items()
        if phases is None or phase in phases
        for one, other in pairwise(medians)
    ]
    if not differences:
        return Noise(0.0, 0.0)
    return Noise(float(np.median(differences)), float(np.quantile(differences, 0.95)))


def fused_over_eager(visits: Sequence[Visit], phase: Phase = "train") -> dict[str, float]:
    """Time of fused over eager attention, by the eager shape, where both were measured."""
    seconds: dict[Shape, list[float]] = {}
    for visit in latest(visits):
        seconds.setdefault(visit.shape, []).append(visit.median_s(phase))
    return {
        twin.name: median(values) / median(seconds[twin])
        for shape, values in seconds.items()
        if shape.attention == "sdpa" and (twin := replace(shape, attention="eager")) in seconds
    }


def to_redo(visits: Sequence[Visit], limit: int) -> list[Visit]:
    """Disturbed visits, the worst first: those to be made again.

    A visit is disturbed if a sentinel beside it, or its phases on the whole, took longer than
    usual by more than ``max(5 %, 2 x noise)``. Being faster than usual is no disturbance of this
    visit but of the others.
    """
    current = latest(visits)
    scores = _scores(current)
    worst = sorted((v for v in current if scores[v.key] > 1), key=lambda v: -scores[v.key])
    return worst[:limit]


def unsettled(visits: Sequence[Visit]) -> set[str]:
    """Names of points whose passes still disagree; they stay, flagged."""
    current = latest(visits)
    allowed = _allowed(retest_noise(current))
    found = set()
    for (phase, shape_name), medians in _by_point(current).items():
        middle = median(medians)
        off = sum(abs(value / middle - 1) > allowed for value in medians)
        if off * 2 >= len(medians):
            shape = next(v.shape for v in current if v.shape.name == shape_name)
            found.add(Point(phase, shape).name)
    return found


def _scores(visits: Sequence[Visit]) -> dict[tuple[str, int, int], float]:
    """How far above what is allowed each visit deviates; above 1 it is disturbed."""
    allowed = _allowed(retest_noise(visits))
    usual = {
        key: median(values)
        for key, values in _collected((key, value) for v in visits for key, value in _items(v))
    }
    sentinels = {
        name: median(v.sentinel_s[name] for v in visits)
        for name in (visits[0].sentinel_s if visits else ())
    }
    spread = {
        name: _allowed(Noise(median(abs(v.sentinel_s[name] / usual_s - 1) for v in visits), 0.0))
        for name, usual_s in sentinels.items()
    }
    scores = {}
    for visit in visits:
        whole = median(value / usual[key] - 1 for key, value in _items(visit))
        kernels = [
            (visit.sentinel_s[name] / usual_s - 1) / spread[name]
            for name, usual_s in sentinels.items()
        ]
        scores[visit.key] = max(whole / allowed, *kernels)
    return scores


def _items(visit: Visit) -> list[tuple[tuple[Phase, str], float]]:
    return [((phase, visit.shape.name), visit.median_s(phase)) for phase in visit.seconds]


def _collected(
    items: Iterable[tuple[tuple[Phase, str], float]],
) -> ItemsView[tuple[Phase, str], list[float]]:
    found: dict[tuple[Phase, str], list[float]] = {}
    for key, value in items:
        found.setdefault(key, []).append(value)
    return found.items()


def _by_point(visits: Sequence[Visit]) -> dict[tuple[Phase, str], list[float]]:
    ordered = sorted(visits, key=lambda v: v.key)
    return dict(_collected(item for visit in ordered for item in _items(visit)))


def _allowed(noise: Noise) -> float:
    return max(_SMALLEST, 2 * noise.median)
