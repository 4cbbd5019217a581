"""Intervals of a mean round and of the ratio of two, from the draws that all results share.

Everything is on the logarithmic scale, where what nobody knows multiplies: each factor that is
moved to its two ends shifts the logarithm, and so does another seed. Shifts are independent and add
up in squares. Two results are compared draw by draw, so what is off for both alike cancels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, log, sqrt
from typing import Any

import numpy as np
from scipy.special import stdtrit

__all__ = ["Interval", "interval_95", "ratio_95"]

_UPPER = 0.975


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % prediction interval.

    Attributes
    ----------
    middle, low, high : float
        ``high`` is infinite where some draws never come to an end.
    """

    middle: float
    low: float
    high: float


def interval_95(
    draws: Mapping[str, Any], quantity: str, mean: float, num_rounds: int
) -> Interval | None:
    """Prediction interval of a quantity of one round, in the mean over all rounds of another draw.

    Parameters
    ----------
    draws : mapping
        ``common_draws`` of a result.
    quantity : str
        ``round_s``, ``energy_j`` or ``money``.
    mean : float
        Of the run itself.
    num_rounds : int
        Of the run, which may have more than its replications.

    Returns
    -------
    Interval or None
        None where the quantity is not known.

    Notes
    -----
    Seeds: ``t(n - 1) * s * sqrt(1 + 1/n)`` around the mean of the logarithms, with the sample's
    standard deviation s. Where replications have fewer rounds (k of K), the variance within a
    run is taken from theirs and put back at its size for K: ``max(0, s^2 - W/k) + W/K``, rounds
    of one run being taken as independent.
    """
    values = draws[quantity]
    if not mean > 0 or values[0] is None:
        return None
    shifts = [_shift(value, values[0]) for value in values]
    finite = [shift for shift in shifts if shift < inf]
    middle = mean * exp(sum(finite) / len(finite))
    variance = _variance(finite)
    if draws["num_rounds"] < num_rounds and len(finite) > 1:
        within = draws["round_variance"]
        variance = max(0.0, variance - within / draws["num_rounds"]) + within / num_rounds
    down, up = _ends({name: _pair(pair[quantity], values[0]) for name, pair in _ends_of(draws)})
    return _interval(middle, variance, len(finite), down, up, never=len(finite) < len(shifts))


def ratio_95(
    more: Mapping[str, Any], less: Mapping[str, Any], quantity: str, ratio: float
) -> Interval | None:
    """Prediction interval of the ratio of two results' mean rounds, draw by draw.

    Parameters
    ----------
    more, less : mapping
        ``common_draws`` of numerator and denominator.
    quantity : str
    ratio : float
        Of the two runs themselves, or of what they take to a target.

    Returns
    -------
    Interval or None
        None where one of the quantities is not known.
    """
    above, below = more[quantity], less[quantity]
    if not ratio > 0 or above[0] is None or below[0] is None:
        return None
    num = _common(more["seeds"], less["seeds"])
    shifts = [
        _difference(_shift(_at(above, i), above[0]), _shift(_at(below, i), below[0]))
        for i in range(num)
        if _at(above, i) is not None and _at(below, i) is not None
    ]
    middle = ratio * exp(sum(shifts) / len(shifts))
    ends: dict[str, tuple[float, float]] = {}
    for name in dict.fromkeys((*more["ends"], *less["ends"])):
        first = _pair(more["ends"].get(name, {}).get(quantity), above[0])
        second = _pair(less["ends"].get(name, {}).get(quantity), below[0])
        ends[name] = (_difference(first[0], second[0]), _difference(first[1], second[1]))
    down, up = _ends(ends)
    never = any(_at(above, i) is None for i in range(num))
    return _interval(middle, _variance(shifts), len(shifts), down, up, never=never)


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Seeds that both have; what was not drawn at all is the same in every draw."""
    if len(first) == 1 or len(second) == 1:
        return max(len(first), len(second))
    return min(len(first), len(second))


def _at(values: Sequence[float | None], index: int) -> float | None:
    return values[0] if len(values) == 1 else values[index]


def _ends_of(draws: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return list(draws["ends"].items())


def _shift(value: float | None, centre: float) -> float:
    return inf if value is None else log(value / centre) if value > 0 else 0.0


def _pair(values: Sequence[float | None] | None, centre: float) -> tuple[float, float]:
    if values is None:
        return 0.0, 0.0
    first, second = values
    return _shift(first, centre), _shift(second, centre)


def _difference(more: float, less: float) -> float:
    """Of two logarithms; nothing where neither ever comes to an end."""
    return 0.0 if more == less == inf else more - less


def _ends(pairs: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
    """Squares of how far the factors move the logarithm, down and up."""
    down = sum(min(0.0, *pair) ** 2 for pair in pairs.values())
    up = sum(max(0.0, *pair) ** 2 for pair in pairs.values())
    return down, up


def _variance(shifts: Sequence[float]) -> float:
    return float(np.var(shifts, ddof=1)) if len(shifts) > 1 else 0.0


def _interval(
    middle: float, variance: float, num: int, down: float, up: float, *, never: bool
) -> Interval:
    drawn = 0.0
    if num > 1:
        drawn = float(stdtrit(num - 1, _UPPER)) ** 2 * variance * (1 + 1 / num)
    high = inf if never or up == inf else middle * exp(sqrt(up + drawn))
    return Interval(middle, middle * exp(-sqrt(down + drawn)), high)
