"""Fit the law to curves: least squares and a weak prior.

Of a group, with a bootstrap over its runs; of one configuration, with the families that fit it as
well and with the scatter between seeds of the whole group, for two or three seeds know little of
their own.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from fedsim.draws import generator
from fedsim.learning.curves import CurveGroup, Run
from fedsim.learning.families import fitted_families
from fedsim.learning.law import LearningLaw, law_values
from fedsim.learning.reach import Measured

__all__ = ["fit_configuration", "fit_group", "measured_configurations"]

Reals = NDArray[np.float64]

_NUM_DRAWS: Final = 200
#: Accuracy that a run may be off the law, against which the prior weighs.
_SCATTER: Final = 0.02
#: Prior: ``logit`` of the ceiling, logarithm of kappa, and all slopes, as mean and deviation. Wide:
#: it decides only what the curves do not say, such as the ceiling of a curve that still rises.
_CEILING: Final = (1.5, 2.0)
_KAPPA: Final = (0.2, 0.7)
_SLOPE: Final = (0.0, 1.0)
_PLACES: Final = 41
#: Rounds within this share of a run's length are judged together for how far seeds are apart.
_NEAR: Final = 0.3
#: A configuration has begun to learn at so many times the accuracy of guessing.
_LEARNS: Final = 2.0


def measured_configurations(group: CurveGroup) -> tuple[Measured, ...]:
    """What was run: every configuration, with where it stood at the end."""
    found = []
    for runs in group.configurations().values():
        rounds = min(run.rounds[-1] for run in runs)
        accuracy = float(np.mean([run.accuracy[-1] for run in runs]))
        found.append(
            Measured(
                dict(runs[0].covariates),
                rounds,
                accuracy,
                len(runs),
                accuracy < _LEARNS * group.chance,
            )
        )
    return tuple(found)


def fit_configuration(
    group: CurveGroup,
    runs: tuple[Run, ...],
    pool: CurveGroup | None = None,
    *,
    seed: int = 0,
    num_draws: int = _NUM_DRAWS,
) -> LearningLaw:
    """Fit the law of one configuration.

    Parameters
    ----------
    group : CurveGroup
        Whose conditions and chance it has.
    runs : tuple of Run
        Of equal covariates.
    pool : CurveGroup, optional
        Whose runs say how far seeds are apart; the group itself without it.
    seed : int
        Of the draws.
    num_draws : int

    Notes
    -----
    One more run is off the law by ``t s sqrt(1 + 1/n)``: ``s`` is the standard deviation of runs
    around their configuration's law, over all configurations that learn and have several, ``n``
    runs were made of this one, and ``t`` is Student's of the freedom that ``s`` has.
    """
    data = _Data(runs, np.zeros((len(runs), 0)), group.chance)
    parameters = data.fitted(np.ones(len(runs)), None)
    last_round = min(run.rounds[-1] for run in runs)
    random = generator(seed, 0, f"{group.framework} {runs[0].name}", "learning scatter")
    places = np.linspace(0.0, 1.0, _PLACES)
    residuals, freedom = _between_seeds(pool or group, places)
    scatter = np.zeros((0, _PLACES))
    if freedom:
        paths = _scattered(residuals, freedom, num_draws, random)
        scatter = np.sqrt(1.0 + 1.0 / len(runs)) * paths
    own = group.model_copy(update={"runs": runs})
    return LearningLaw(
        framework=group.framework,
        conditions=dict(group.conditions),
        covariates=(),
        fixed=dict(runs[0].covariates),
        middle=np.zeros(0),
        last_round=last_round,
        chance=group.chance,
        measured=measured_configurations(own),
        parameters=parameters,
        draws=np.tile(parameters, (len(scatter), 1)),
        places=places,
        scatter=scatter,
        families=fitted_families(data.rounds, data.accuracy, group.chance),
    )


def _between_seeds(group: CurveGroup, places: Reals) -> tuple[Reals, int]:
    """Residual curves of all runs that have another of their configuration, and their freedom."""
    curves, freedom = [np.zeros((0, len(places)))], 0
    for measured, runs in zip(
        measured_configurations(group), group.configurations().values(), strict=True
    ):
        if len(runs) < 2 or measured.is_at_chance:
            continue
        rows = np.array(
            [np.interp(places * measured.rounds, run.rounds, run.accuracy) for run in runs]
        )
        curves.append(rows - rows.mean(axis=0))
        freedom += len(runs) - 1
    return _evened(np.concatenate(curves), places), freedom


def _evened(residuals: Reals, places: Reals) -> Reals:
    """Residuals whose spread is that of the rounds around.

    A few seeds that meet in one round by luck are not surer there than in the rounds beside it.
    """
    spread = np.sqrt((residuals**2).sum(axis=0))
    is_near = np.abs(places[:, np.newaxis] - places) <= _NEAR
    around = np.sqrt((is_near * spread**2).sum(axis=1) / is_near.sum(axis=1))
    return np.asarray(residuals * (around / np.where(spread > 0, spread, 1.0)))


def fit_group(group: CurveGroup, *, seed: int = 0, num_draws: int = _NUM_DRAWS) -> LearningLaw:
    """Fit the law.

    Parameters
    ----------
    group : CurveGroup
    seed : int
        Of the bootstrap.
    num_draws : int
        Runs are drawn anew with replacement, configuration by configuration, so many times.
    """
    ranges = group.ranges()
    measured = measured_configurations(group)
    varied = tuple(name for name, (low, high) in ranges.items() if high > low)
    fixed = {name: low for name, (low, high) in ranges.items() if high == low}
    logs = np.array(
        [[np.log(run.covariates[name]) for name in varied] for run in group.runs]
    ).reshape(len(group.runs), len(varied))
    middle = logs.mean(axis=0)
    data = _Data(group.runs, logs - middle, group.chance)
    parameters = data.fitted(np.ones(len(group.runs)), None)
    members = _resampled_together(group)
    # Few runs that are drawn from themselves scatter too little.
    size = float(np.mean([len(rows) for rows in members]))
    wider = np.sqrt(size / (size - 1.0)) if size > 1 else 1.0
    random = generator(seed, 0, group.framework, "learning bootstrap")
    draws = np.empty((num_draws, len(parameters)))
    for b in range(num_draws):
        weights = np.zeros(len(group.runs))
        for rows in members:
            np.add.at(weights, random.choice(rows, len(rows)), 1.0)
        draws[b] = parameters + wider * (data.fitted(weights, parameters) - parameters)
    places = np.linspace(0.0, 1.0, _PLACES)
    last_round = min(one.rounds for one in measured)
    residuals = np.array(
        [
            np.interp(places, np.array(run.rounds) / last_round, off)
            for run, off in zip(group.runs, data.residuals(parameters), strict=True)
        ]
    )
    return LearningLaw(
        framework=group.framework,
        conditions=dict(group.conditions),
        covariates=varied,
        fixed=fixed,
        middle=middle,
        last_round=last_round,
        chance=group.chance,
        measured=measured,
        parameters=parameters,
        draws=draws,
        places=places,
        scatter=_scattered(residuals, max(1, len(residuals) - 1 - len(varied)), num_draws, random),
    )


class _Data:
    """All points of all runs as arrays."""

    def __init__(self, runs: tuple[Run, ...], logs: Reals, chance: float) -> None:
        self.chance = chance
        self.num_covariates = logs.shape[1]
        self.run = np.repeat(np.arange(len(runs)), [len(run.rounds) for run in runs])
        self.rounds = np.concatenate([np.array(run.rounds, dtype=float) for run in runs])
        self.accuracy = np.concatenate([np.array(run.accuracy) for run in runs])
        self.logs = logs[self.run]

    def residuals(self, parameters: Reals) -> list[Reals]:
        """Measured less fitted, by run."""
        off = self.accuracy - law_values(parameters, self.rounds, self.logs, self.chance)
        return [off[self.run == number] for number in range(int(self.run.max()) + 1)]

    def fitted(self, weights: Reals, start: Reals | None) -> Reals:
        """Parameters of the best fit, each run counted so many times."""
        root = np.sqrt(weights[self.run]) / _SCATTER
        # Points of a run move together: they count as one a dozen, whatever the spacing.
        counts = np.bincount(self.run)
        root *= np.sqrt(np.minimum(1.0, 12.0 / counts))[self.run]

        def deviations(parameters: Reals) -> Reals:
            off = self.accuracy - law_values(parameters, self.rounds, self.logs, self.chance)
            return np.concatenate((root * off, _prior(parameters)))

        starts = [start] if start is not None else self._starts()
        found = [least_squares(deviations, s, method="trf", max_nfev=200) for s in starts]
        best = min(found, key=lambda answer: float(answer.cost))
        return np.asarray(best.x)

    def _starts(self) -> list[Reals]:
        slopes = np.zeros(2 * self.num_covariates)
        middle = np.log(max(1.0, float(np.median(self.rounds))))
        return [
            np.concatenate(([ceiling, middle + shift, 0.2], slopes))
            for ceiling in (0.0, 2.0)
            for shift in (-1.0, 1.0)
        ]


def _scattered(
    residuals: Reals, freedom: int, num_draws: int, random: np.random.Generator
) -> Reals:
    """Paths with the residuals' own covariance over rounds, as Student's t of their freedom.

    A run's points move together, so whole residual curves are mixed and not points.
    """
    mixture = random.standard_normal((num_draws, len(residuals)))
    widths = np.sqrt(freedom / random.chisquare(freedom, num_draws))
    return np.asarray((mixture @ residuals) / np.sqrt(freedom) * widths[:, np.newaxis])


def _prior(parameters: Reals) -> Reals:
    ceiling = (parameters[0] - _CEILING[0]) / _CEILING[1]
    kappa = (parameters[2] - _KAPPA[0]) / _KAPPA[1]
    slopes = (parameters[3:] - _SLOPE[0]) / _SLOPE[1]
    return np.concatenate(([ceiling, kappa], slopes))


def _resampled_together(group: CurveGroup) -> list[NDArray[np.int64]]:
    """Runs of each configuration; all runs where one has no second seed to be drawn instead."""
    names = sorted(group.runs[0].covariates)
    keys = [tuple(run.covariates[name] for name in names) for run in group.runs]
    members = [
        np.array([i for i, other in enumerate(keys) if other == key], dtype=np.int64)
        for key in sorted(set(keys))
    ]
    if min(len(rows) for rows in members) > 1:
        return members
    return [np.arange(len(group.runs), dtype=np.int64)]
