"""Families of growth curves that fit a few rounds equally well and part beyond them.

Where a law is asked about rounds that were not measured, what is not known is mostly which family
the curve belongs to, and no scatter of seeds shows it. So several are fitted to one configuration's
runs, and their spread is part of the interval. All begin at chance:

=============  =====================================================
``mmf``        ``a - (a - c) / (1 + (t / tau)^k)``
``weibull``    ``a - (a - c) exp(-(t / tau)^k)``, the exponential where ``k = 1``
``power``      ``a - (a - c) (1 + t / tau)^-k``
``logarithm``  ``c + b log(1 + t / tau)``, cut off at 1
=============  =====================================================

The first three are among the eleven of Domhan, Springenberg and Hutter, "Speeding up automatic
hyperparameter optimization of deep neural networks by extrapolation of learning curves", IJCAI
2015; the fourth has no ceiling, and so bounds what the others leave open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

__all__ = ["FAMILIES", "Family", "family_values", "fitted_families"]

Reals = NDArray[np.float64]

#: A family fits as well as the best where its error is at most so many times the best one's ...
_EQUAL_RATIO: Final = 1.5
#: ... or so much above it: half a point of accuracy is less than seeds differ by.
_EQUAL_ACCURACY: Final = 0.005
#: So many stay, however they fit: a range over fewer would be narrow by lack of imagination.
_FEWEST: Final = 3
#: Accuracy that a point may be off, against which the weak prior below weighs.
_SCATTER: Final = 0.02
#: Prior of ``log k``, as for the law itself.
_KAPPA: Final = (0.2, 0.7)


def _mmf(grown: Reals, kappa: float) -> Reals:
    return np.asarray(1.0 / (1.0 + grown**kappa))


def _weibull(grown: Reals, kappa: float) -> Reals:
    return np.asarray(np.exp(-(grown**kappa)))


def _power(grown: Reals, kappa: float) -> Reals:
    return np.asarray((1.0 + grown) ** -kappa)


#: What is left of the way to the ceiling after ``t / tau``.
_LEFT: Final[Mapping[str, Callable[[Reals, float], Reals]]] = {
    "mmf": _mmf,
    "weibull": _weibull,
    "power": _power,
}
FAMILIES: Final = (*_LEFT, "logarithm")


@dataclass(frozen=True)
class Family:
    """One family fitted to one configuration.

    Attributes
    ----------
    name : str
        One of :data:`FAMILIES`.
    parameters : tuple of float
        ``logit a`` (or ``log b``), ``log tau`` and, but for the logarithm, ``log k``.
    error : float
        Root mean square of the differences of accuracy.
    """

    name: str
    parameters: tuple[float, ...]
    error: float


def family_values(
    name: str, parameters: Reals | tuple[float, ...], rounds: Reals, chance: float
) -> Reals:
    """Accuracy after some rounds."""
    grown = np.asarray(rounds, dtype=float) / np.exp(parameters[1])
    if name == "logarithm":
        return np.asarray(np.minimum(1.0, chance + np.exp(parameters[0]) * np.log1p(grown)))
    ceiling = chance + (1.0 - chance) / (1.0 + np.exp(-parameters[0]))
    with np.errstate(over="ignore"):
        left = _LEFT[name](grown, float(np.exp(parameters[2])))
    return np.asarray(ceiling - (ceiling - chance) * left)


def fitted_families(rounds: Reals, accuracy: Reals, chance: float) -> tuple[Family, ...]:
    """Those that fit the points of one configuration equally well, at least three.

    Parameters
    ----------
    rounds, accuracy : ndarray, shape (n,)
        Of all runs together.
    chance : float
    """
    found = sorted(
        (_fitted(name, rounds, accuracy, chance) for name in FAMILIES), key=lambda one: one.error
    )
    limit = max(_EQUAL_RATIO * found[0].error, found[0].error + _EQUAL_ACCURACY)
    return tuple(
        family for place, family in enumerate(found) if place < _FEWEST or family.error <= limit
    )


def _fitted(name: str, rounds: Reals, accuracy: Reals, chance: float) -> Family:
    middle = float(np.log(max(1.0, float(np.median(rounds)))))
    has_kappa = name != "logarithm"

    def deviations(parameters: Reals) -> Reals:
        off = np.asarray(accuracy - family_values(name, parameters, rounds, chance)) / _SCATTER
        if not has_kappa:
            return np.asarray(off)
        prior = [(parameters[0] - 1.5) / 2.0, (parameters[2] - _KAPPA[0]) / _KAPPA[1]]
        return np.concatenate((off, prior))

    starts = [
        [first, middle + shift, *([0.2] if has_kappa else [])]
        for first in ((0.0, 2.0) if has_kappa else (-3.0, -1.0))
        for shift in (-1.0, 1.0)
    ]
    # Bounds keep exponentials finite; nothing that was measured comes near them.
    low, high = [-12.0, middle - 12.0, -4.0], [12.0, middle + 12.0, 3.0]
    num = 3 if has_kappa else 2
    answers = [
        least_squares(deviations, start, bounds=(low[:num], high[:num]), max_nfev=200)
        for start in starts
    ]
    best = min(answers, key=lambda answer: float(answer.cost))
    off = np.asarray(accuracy - family_values(name, np.asarray(best.x), rounds, chance))
    return Family(name, tuple(float(value) for value in best.x), float(np.sqrt(np.mean(off**2))))
