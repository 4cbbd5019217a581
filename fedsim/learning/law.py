"""The law of a learning curve, with the scatter of what was measured around it.

A curve rises from chance ``a0`` to a ceiling ``a`` as Morgan, Mercer and Flodin's growth law::

    accuracy(t) = a - (a - a0) / (1 + (t / tau)^kappa)

with ``t`` rounds; ``logit a`` and ``log tau`` are affine in the logarithms of the covariates. It
has the slow start of random weights (``kappa`` above 1) and the tail of a power law. Domhan,
Springenberg and Hutter, "Speeding up automatic hyperparameter optimization of deep neural networks
by extrapolation of learning curves", IJCAI 2015, list it among eleven families (MMF).

A law answers for the settings that were measured, and between three or more values of a covariate;
for the rounds that were measured, and for a measured setting half as many again. It refuses the
rest: see :meth:`LearningLaw.accuracy`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from fedsim.errors import ScenarioError
from fedsim.learning.families import Family, family_values
from fedsim.learning.reach import FEWEST_VALUES, Measured, check_between, learned_values

__all__ = ["FARTHEST", "Basis", "LearningLaw", "Prediction", "Unseen", "law_values"]

Reals = NDArray[np.float64]

#: Rounds beyond which no number is named, as a multiple of those that were measured.
FARTHEST: Final = 1.5
#: Where a range over families is asked for, a target is looked for up to so many measured lengths.
_FAMILIES_FARTHEST: Final = 1000.0
_LOW, _HIGH = 0.025, 0.975

#: What an answer stands on: a setting that was measured, a law between such, up to half as many
#: rounds again, a range over families of curves, or nothing.
Basis = Literal["measured", "interpolated", "later rounds", "families", "not measured"]


@dataclass(frozen=True)
class Prediction:
    """A number with its 95 % interval, or what is known instead.

    Attributes
    ----------
    mean : float or None
        None where nothing was measured that says it; of a range over families, too.
    low, high : float or None
        None where they lie beyond what was measured, or where one single run was made.
    basis : str
    extrapolates : tuple of str
        What lies beyond the measured rounds, in words; empty where nothing does.
    """

    mean: float | None
    low: float | None
    high: float | None
    basis: Basis = "measured"
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
    """A law fitted to one group of curves, or to one configuration of it.

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
    last_round : int
        The last that every configuration has.
    chance : float
    measured : tuple of Measured
        All configurations of the group, those that stayed at chance as well; of one
        configuration's own law, this one.
    parameters : ndarray, shape (3 + 2 p,)
    draws : ndarray, shape (b, 3 + 2 p)
        Of the parameters: fits to bootstrap samples of the runs.
    places : ndarray, shape (q,)
        Rounds as shares of the longest run.
    scatter : ndarray, shape (b, q)
        How far one more run may be above its law there, one path for each draw. Empty where no
        configuration was run twice, so that nothing is known of it.
    families : tuple of Family
        Curves that fit equally well; of one configuration's own law.
    unseen : Unseen or None
        How well such laws predicted configurations that they were not fitted to; None where nobody
        looked, or nothing lay between others.
    """

    framework: str
    conditions: dict[str, str | int | float | bool]
    covariates: tuple[str, ...]
    fixed: dict[str, float]
    middle: Reals
    last_round: int
    chance: float
    measured: tuple[Measured, ...]
    parameters: Reals
    draws: Reals
    places: Reals
    scatter: Reals
    families: tuple[Family, ...] = ()
    unseen: Unseen | None = None

    @property
    def farthest(self) -> float:
        """Rounds beyond which it names no number."""
        return (FARTHEST if self.families else 1.0) * self.last_round

    @property
    def interpolates(self) -> dict[str, tuple[float, float]]:
        """Covariates that it answers between values of, with their ends."""
        found = learned_values(self.covariates, self.measured)
        return {
            name: (min(values), max(values))
            for name, values in found.items()
            if len(values) >= FEWEST_VALUES
        }

    def configuration(self, covariates: Mapping[str, float]) -> Measured | None:
        """The measured one of these covariates, if there is one."""
        return next((one for one in self.measured if one.covariates == covariates), None)

    def accuracy(
        self, rounds: float, *, extrapolates: bool = False, **covariates: float
    ) -> Prediction:
        """Accuracy of one more run after so many rounds.

        Parameters
        ----------
        rounds : float
        extrapolates : bool
            Beyond the rounds that it answers for, the range over families instead of nothing.
        **covariates : float

        Raises
        ------
        ScenarioError
            If a covariate is missing, of another value than the only one that was measured, or not
            between three measured ones; with the reason.
        """
        self.check(covariates)
        if rounds > self.farthest:
            return self._far_accuracy(rounds, extrapolates)
        return self.told(rounds, covariates)

    def told(self, rounds: float, covariates: Mapping[str, float]) -> Prediction:
        """What the law says, whether or not it should be asked: for checks of just that."""
        basis: Basis = "interpolated" if self.covariates else "measured"
        beyond: tuple[str, ...] = ()
        if rounds > self.last_round:
            basis = "later rounds"
            beyond = (f"{rounds:,.0f} rounds; measured up to {self.last_round:,}",)
        logs, place = self._logs(covariates), np.array([float(rounds)])
        mean = float(self._path(self.parameters, place, logs)[0])
        if not len(self.scatter):
            return Prediction(mean, None, None, basis, beyond)
        paths = self._paths(place, logs)[:, 0]
        low, high = np.quantile(paths, (_LOW, _HIGH)) + self._margin * np.array((-1.0, 1.0))
        down, up = self._between_families(place, mean)
        low, high = max(float(low - down[0]), 0.0), min(float(high + up[0]), 1.0)
        return Prediction(mean, min(low, mean), max(high, mean), basis, beyond)

    def rounds_to(
        self, target: float, *, extrapolates: bool = False, **covariates: float
    ) -> Prediction:
        """Rounds of one more run until an accuracy is reached first.

        Parameters
        ----------
        target : float
            Accuracy.
        extrapolates : bool
            As for :meth:`accuracy`.
        **covariates : float

        Notes
        -----
        What lies beyond :attr:`farthest` is None: nothing that was measured says where it is.
        """
        self.check(covariates)
        logs, farthest = self._logs(covariates), self.farthest
        grid = np.unique(np.concatenate(([0.0], np.geomspace(0.1, farthest, 2000))))
        path = self._path(self.parameters, grid, logs)
        mean = _first(grid, path, target)
        if not np.isfinite(mean) and extrapolates and self.families:
            return self._far_rounds(target)
        low, high = self._ends(grid, logs, path, target) if len(self.scatter) else (mean, mean)
        ends = [min(low, mean), mean, max(high, mean)]
        basis: Basis = "interpolated" if self.covariates else "measured"
        beyond: tuple[str, ...] = ()
        if not np.isfinite(mean):
            basis = "not measured"
            beyond = (f"not reached within {farthest:,.0f} rounds; {self._last_words()}",)
        elif mean > self.last_round:
            basis = "later rounds"
            beyond = (f"{mean:,.0f} rounds; measured up to {self.last_round:,}",)
        found = [float(end) if np.isfinite(end) else None for end in ends]
        if not len(self.scatter):
            return Prediction(found[1], None, None, basis, beyond)
        return Prediction(found[1], found[0], found[2], basis, beyond)

    def check(self, covariates: Mapping[str, float]) -> None:
        """Refuse what was not measured.

        Raises
        ------
        ScenarioError
            As :meth:`accuracy` does.
        """
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
        if self.covariates:
            check_between(self.framework, self.covariates, self.measured, covariates)

    def _last_words(self) -> str:
        accuracy = ""
        if not self.covariates and self.measured:
            last = self.measured[0]
            accuracy = f", {last.accuracy:.1%} after {last.rounds:,}"
        return f"not measured beyond {self.last_round:,} rounds{accuracy}"

    def _far_accuracy(self, rounds: float, extrapolates: bool) -> Prediction:
        if not (extrapolates and self.families) or self._is_at_chance:
            return Prediction(None, None, None, "not measured", (self._last_words(),))
        found = [
            self._family_path(family, np.array([float(rounds)]))[0] for family in self.families
        ]
        words = f"range over {len(found)} families of curves; {self._last_words()}"
        return Prediction(None, float(min(found)), float(max(found)), "families", (words,))

    def _far_rounds(self, target: float) -> Prediction:
        if self._is_at_chance:
            return Prediction(None, None, None, "not measured", (self._last_words(),))
        farthest = _FAMILIES_FARTHEST * self.last_round
        grid = np.concatenate(([0.0], np.geomspace(0.1, farthest, 5000)))
        found = [_first(grid, self._family_path(f, grid), target) for f in self.families]
        low, high = (float(e) if np.isfinite(e) else None for e in (min(found), max(found)))
        words = f"range over {len(found)} families of curves; {self._last_words()}"
        return Prediction(None, low, high, "families", (words,))

    @property
    def _is_at_chance(self) -> bool:
        return all(one.is_at_chance for one in self.measured)

    def _family_path(self, family: Family, rounds: Reals) -> Reals:
        return family_values(family.name, family.parameters, rounds, self.chance)

    def _between_families(self, rounds: Reals, mean: Reals | float) -> tuple[Reals, Reals]:
        """How far other families that fit as well lie below and above the law."""
        if not self.families:
            return np.zeros(len(rounds)), np.zeros(len(rounds))
        paths = np.array([self._family_path(family, rounds) for family in self.families])
        down = np.maximum(0.0, mean - paths.min(axis=0))
        return down, np.maximum(0.0, paths.max(axis=0) - mean)

    def _ends(self, grid: Reals, logs: Reals, path: Reals, target: float) -> tuple[float, float]:
        """Rounds at both ends of the interval: of the highest curves and of the lowest."""
        paths, margin = self._paths(grid, logs), self._margin
        down, up = self._between_families(grid, path)
        low, high = (
            float(
                np.quantile(
                    [_first(grid, one + shift, target) for one in paths],
                    share,
                    method="inverted_cdf",
                )
            )
            for share, shift in ((_LOW, margin + up), (_HIGH, -margin - down))
        )
        return low, high

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

    def _logs(self, covariates: Mapping[str, float]) -> Reals:
        values = np.array([covariates[name] for name in self.covariates])
        return np.asarray(np.log(values) - self.middle) if len(values) else np.zeros(0)


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
