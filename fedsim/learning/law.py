"""The law of a learning curve, with the scatter of what was measured around it.

A curve rises from chance ``a0`` to a ceiling ``a`` as Morgan, Mercer and Flodin's growth law::

    accuracy(t) = a - (a - a0) / (1 + (t / tau)^kappa)

with ``t`` rounds; ``logit a`` and ``log tau`` are affine in the logarithms of the covariates. It
has the slow start of random weights (``kappa`` above 1) and the tail of a power law. Domhan,
Springenberg and Hutter, "Speeding up automatic hyperparameter optimization of deep neural networks
by extrapolation of learning curves", IJCAI 2015, list it among eleven families (MMF).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedsim.errors import ScenarioError

__all__ = ["LearningLaw", "Prediction", "Unseen", "law_values"]

Reals = NDArray[np.float64]

#: Beyond so many times the rounds that were measured no number of rounds is named at all.
_FARTHEST = 4.0
_LOW, _HIGH = 0.025, 0.975


@dataclass(frozen=True)
class Prediction:
    """A number with its 95 % interval.

    Attributes
    ----------
    mean : float or None
        None where the law says that it is never reached, or too far beyond what was measured.
    low, high : float or None
    extrapolates : tuple of str
        What lies beyond the measured range, in words; empty where nothing does.
    """

    mean: float | None
    low: float | None
    high: float | None
    extrapolates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unseen:
    """Errors of laws on runs that they have not seen.

    Attributes
    ----------
    error : float
        Median of the absolute differences of accuracy.
    margin : float
        The farthest that one lay outside its interval; intervals are widened by it.
    num_covered, num_runs : int
        Runs within their 95 % interval, of so many.
    """

    error: float
    margin: float
    num_covered: int
    num_runs: int


def law_values(parameters: Reals, rounds: Reals, logs: Reals, chance: float) -> Reals:
    """Accuracy after some rounds.

    Parameters
    ----------
    parameters : ndarray, shape (3 + 2 p,)
        ``logit a``, ``log tau``, ``log kappa``, then slopes of the first two.
    rounds : ndarray, shape (n,)
    logs : ndarray, shape (n, p) or (p,)
        Logarithms of covariates, relative to their middle.
    chance : float
    """
    num = (len(parameters) - 3) // 2
    ceiling_logit = parameters[0] + logs @ parameters[3 : 3 + num]
    log_tau = parameters[1] + logs @ parameters[3 + num :]
    ceiling = chance + (1.0 - chance) / (1.0 + np.exp(-ceiling_logit))
    with np.errstate(divide="ignore", over="ignore"):
        grown = np.exp(np.exp(parameters[2]) * (np.log(rounds) - log_tau))
    return np.asarray(ceiling - (ceiling - chance) / (1.0 + grown))


@dataclass(frozen=True, eq=False)
class LearningLaw:
    """A law fitted to one group of curves.

    Attributes
    ----------
    framework : str
    conditions : dict
    covariates : tuple of str
        In which it interpolates: those that differ between runs.
    fixed : dict of str to float
        Covariates that all runs have in common.
    middle : ndarray, shape (p,)
        Logarithms that the slopes refer to.
    ranges : dict of str to (float, float)
    last_round : int
    chance : float
    parameters : ndarray, shape (3 + 2 p,)
    draws : ndarray, shape (b, 3 + 2 p)
        Of the parameters: fits to bootstrap samples of the runs.
    places : ndarray, shape (q,)
        Rounds as shares of the longest run.
    scatter : ndarray, shape (b, q)
        How far one more run may be above its law there, one path for each draw.
    unseen : Unseen or None
        How well such laws predicted configurations that they were not fitted to; None where nobody
        looked, or there is one configuration only.
    """

    framework: str
    conditions: dict[str, str | int | float | bool]
    covariates: tuple[str, ...]
    fixed: dict[str, float]
    middle: Reals
    ranges: dict[str, tuple[float, float]]
    last_round: int
    chance: float
    parameters: Reals
    draws: Reals
    places: Reals
    scatter: Reals
    unseen: Unseen | None = None

    def accuracy(self, rounds: float, **covariates: float) -> Prediction:
        """Accuracy of one more run after so many rounds.

        Raises
        ------
        ScenarioError
            If a covariate is missing, or of another value than in all measured runs.
        """
        logs = self._logs(covariates)
        mean = float(self._path(self.parameters, np.array([rounds]), logs)[0])
        paths = self._paths(np.array([float(rounds)]), logs)[:, 0]
        low, high = np.quantile(paths, (_LOW, _HIGH)) + self._margin * np.array((-1.0, 1.0))
        low, high = max(float(low), 0.0), min(float(high), 1.0)
        beyond = self._beyond(covariates)
        if rounds > self.last_round:
            beyond = (*beyond, f"{rounds:,.0f} rounds; measured up to {self.last_round:,}")
        return Prediction(mean, min(float(low), mean), max(float(high), mean), beyond)

    def rounds_to(self, target: float, **covariates: float) -> Prediction:
        """Rounds of one more run until an accuracy is reached first.

        Parameters
        ----------
        target : float
            Accuracy.

        Notes
        -----
        An end of the interval that lies beyond four times the measured rounds is None: nothing that
        was measured says where it is.
        """
        logs = self._logs(covariates)
        farthest = _FARTHEST * self.last_round
        grid = np.unique(np.concatenate(([0.0], np.geomspace(0.1, farthest, 2000))))
        mean = _first(grid, self._path(self.parameters, grid, logs), target)
        paths, margin = self._paths(grid, logs), self._margin
        ends_of = {
            share: np.array([_first(grid, path, target - shift) for path in paths])
            for share, shift in ((_LOW, margin), (_HIGH, -margin))
        }
        low, high = (
            float(np.quantile(times, share, method="inverted_cdf"))
            for share, times in ends_of.items()
        )
        beyond = self._beyond(covariates)
        ends = [min(low, mean), mean, max(high, mean)]
        if ends[1] > self.last_round:
            what = f"{ends[1]:,.0f}" if np.isfinite(ends[1]) else f"more than {farthest:,.0f}"
            beyond = (*beyond, f"{what} rounds; measured up to {self.last_round:,}")
        found = [float(end) if np.isfinite(end) else None for end in ends]
        return Prediction(found[1], found[0], found[2], beyond)

    @property
    def _margin(self) -> float:
        return 0.0 if self.unseen is None else self.unseen.margin

    def _paths(self, rounds: Reals, logs: Reals) -> Reals:
        """Curves of further runs, shape (b, n): the law's own uncertainty and a run's scatter."""
        share = np.clip(rounds / self.last_round, 0.0, 1.0)
        scatter = np.array([np.interp(share, self.places, row) for row in self.scatter])
        curves = np.array([self._path(draw, rounds, logs) for draw in self.draws])
        return np.asarray(np.clip(curves + scatter, 0.0, 1.0))

    def _path(self, parameters: Reals, rounds: Reals, logs: Reals) -> Reals:
        return law_values(parameters, rounds, logs, self.chance)

    def _logs(self, covariates: dict[str, float]) -> Reals:
        needed = {*self.covariates, *self.fixed}
        if set(covariates) != needed:
            raise ScenarioError(
                f"learning curves of {self.framework}: {', '.join(sorted(needed))} needed; found: "
                f"{', '.join(sorted(covariates)) or 'none'}."
            )
        for name, value in self.fixed.items():
            if covariates[name] != value:
                raise ScenarioError(
                    f"learning curves of {self.framework}: all have {name} = {value:g}, and "
                    f"{covariates[name]:g} is asked for: measure other values too."
                )
        values = np.array([covariates[name] for name in self.covariates])
        return np.asarray(np.log(values) - self.middle) if len(values) else np.zeros(0)

    def _beyond(self, covariates: dict[str, float]) -> tuple[str, ...]:
        found = []
        for name in self.covariates:
            low, high = self.ranges[name]
            if not low <= covariates[name] <= high:
                found.append(f"{name} = {covariates[name]:g}; measured {low:g} to {high:g}")
        return tuple(found)


def _first(rounds: Reals, accuracy: Reals, target: float) -> float:
    """When a curve is first at a target; infinite where it is not."""
    reached = np.flatnonzero(accuracy >= target)
    if not len(reached):
        return float("inf")
    k = int(reached[0])
    if k == 0:
        return float(rounds[0])
    rise = accuracy[k] - accuracy[k - 1]
    return float(rounds[k - 1] + (rounds[k] - rounds[k - 1]) * (target - accuracy[k - 1]) / rise)
