"""How far off laws are on what they have not seen: settings, later rounds, seeds.

The checks ask for what a scenario may ask for: a setting between others, up to half as many rounds
again, one more seed. How often an interval holds what was measured is told with its own interval:
seven of nine refutes little.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.stats import beta

from fedsim.learning.curves import CurveGroup, Run
from fedsim.learning.fit import fit_configuration, fit_group, measured_configurations
from fedsim.learning.law import FARTHEST, LearningLaw, Prediction, Unseen
from fedsim.learning.reach import is_between

__all__ = ["Coverage", "CurveErrors", "HeldOut", "check_curves", "coverage", "group_laws"]

#: Fits of the bootstrap of a law; half as many in each check, of which there are several.
_NUM_DRAWS: Final = 200
#: Points of a curve, the one ahead of round 1 included, from which later ones are predicted.
_FEWEST_POINTS: Final = 4


@dataclass(frozen=True)
class HeldOut:
    """One run that a fit had not seen, at one of its rounds.

    Attributes
    ----------
    name : str
    rounds : int
    measured, predicted, low, high : float
        Accuracy.
    """

    name: str
    rounds: int
    measured: float
    predicted: float
    low: float
    high: float

    @property
    def error(self) -> float:
        """Predicted less measured."""
        return self.predicted - self.measured

    @property
    def is_covered(self) -> bool:
        """Whether the 95 % interval holds what was measured."""
        return self.low <= self.measured <= self.high


@dataclass(frozen=True)
class CurveErrors:
    """Errors of one group.

    Attributes
    ----------
    framework : str
    configurations : tuple of HeldOut
        Every run of a configuration that lies between others, by a fit to those; what stayed at
        chance there is among them, for a law that covers it says otherwise.
    later : tuple of HeldOut
        A later round of every run, by a fit to the rounds ahead of it: as far beyond those as the
        rounds that were judged allow, and at most as far as a law answers.
    seeds : tuple of HeldOut
        Every run's last round, by a fit to the other seeds of its configuration.
    """

    framework: str
    configurations: tuple[HeldOut, ...]
    later: tuple[HeldOut, ...]
    seeds: tuple[HeldOut, ...]


@dataclass(frozen=True)
class Coverage:
    """How often intervals held what was measured.

    Attributes
    ----------
    num_covered, num_runs : int
    low, high : float
        95 % interval of the share (Clopper and Pearson).
    width : float
        Median width of the intervals [accuracy].
    """

    num_covered: int
    num_runs: int
    low: float
    high: float
    width: float


def coverage(found: tuple[HeldOut, ...]) -> Coverage:
    """Share of runs within their interval.

    Notes
    -----
    Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the
    binomial", Biometrika 26 (1934): quantiles of the beta distribution. Runs of one configuration
    share their fit, so the truth is a little wider.
    """
    hits, num = sum(one.is_covered for one in found), len(found)
    low = float(beta.ppf(0.025, hits, num - hits + 1)) if hits else 0.0
    high = float(beta.ppf(0.975, hits + 1, num - hits)) if hits < num else 1.0
    width = float(np.median([one.high - one.low for one in found])) if found else 0.0
    return Coverage(hits, num, low, high, width)


def group_laws(
    group: CurveGroup, *, seed: int = 0, num_draws: int = _NUM_DRAWS
) -> tuple[LearningLaw, ...]:
    """The group's law, and one for each configuration that was run.

    The former interpolates, says how well laws like it predict settings that they have not seen,
    and refuses what it cannot know. Where a configuration was measured, its own law knows nothing
    of the others' shape, those that stay at chance included. A group of one configuration has but
    its own.
    """
    own = tuple(
        fit_configuration(group, runs, seed=seed, num_draws=num_draws)
        for runs in group.configurations().values()
    )
    return own if len(own) == 1 else (_checked(group, seed, num_draws), *own)


def _that_learn(group: CurveGroup) -> CurveGroup:
    """Without configurations that stay at chance; all, where nothing learns."""
    runs = [
        run
        for measured, found in zip(
            measured_configurations(group), group.configurations().values(), strict=True
        )
        for run in found
        if not measured.is_at_chance
    ]
    return group.model_copy(update={"runs": tuple(runs)}) if runs else group


def _checked(group: CurveGroup, seed: int, num_draws: int) -> LearningLaw:
    law = fit_group(_that_learn(group), seed=seed, num_draws=num_draws)
    if law.covariates != _varied(group):
        # Nothing that learns differs: the law of what does, with no slope to interpolate by.
        law = fit_group(group, seed=seed, num_draws=num_draws)
    # How to learn cannot be read off what does not learn; that it does not belongs to the answer.
    law = replace(law, measured=measured_configurations(group))
    held_out = _configurations(group, seed, num_draws // 2)
    if not held_out:
        return law
    unseen = Unseen(
        float(np.median([abs(one.error) for one in held_out])),
        max(max(one.low - one.measured, one.measured - one.high, 0.0) for one in held_out),
        sum(one.is_covered for one in held_out),
        len(held_out),
    )
    return replace(law, unseen=unseen)


def check_curves(group: CurveGroup, *, seed: int = 0, num_draws: int = _NUM_DRAWS) -> CurveErrors:
    """Fit without what is predicted, and compare."""
    return CurveErrors(
        group.framework,
        tuple(_configurations(group, seed, num_draws // 2)),
        tuple(_later(group, seed)),
        tuple(_seeds(group, seed)),
    )


def _varied(group: CurveGroup) -> tuple[str, ...]:
    return tuple(name for name, (low, high) in group.ranges().items() if high > low)


def _configurations(group: CurveGroup, seed: int, num_draws: int) -> list[HeldOut]:
    """Each that lies between the others that learn."""
    found, names = [], _varied(group)
    learning = _that_learn(group)
    for runs in group.configurations().values():
        rest = tuple(run for run in learning.runs if run.covariates != runs[0].covariates)
        points = [[np.log(run.covariates[name]) for name in names] for run in rest]
        if not is_between(points, [np.log(runs[0].covariates[name]) for name in names]):
            continue
        law = fit_group(group.model_copy(update={"runs": rest}), seed=seed, num_draws=num_draws)
        # Two values are too few to answer a scenario by, and enough to see how well that would go.
        found += [_last_of(run, law) for run in runs]
    return found


def _later(group: CurveGroup, seed: int) -> list[HeldOut]:
    """The farthest round that a law of the rounds ahead of it answers for."""
    found = []
    cut, target = _cut(group)
    if not cut:
        return []
    early = group.model_copy(
        update={
            "runs": tuple(
                run.model_copy(
                    update={
                        "rounds": tuple(t for t in run.rounds if t <= cut),
                        "accuracy": run.accuracy[: sum(t <= cut for t in run.rounds)],
                    }
                )
                for run in group.runs
            )
        }
    )
    for runs in early.configurations().values():
        law = fit_configuration(early, runs, seed=seed)
        if not len(law.scatter):
            return []
        whole = [run for run in group.runs if run.covariates == runs[0].covariates]
        found += [
            _held_out(run, run.rounds.index(target), law.told(target, run.covariates))
            for run in whole
        ]
    return found


def _cut(group: CurveGroup) -> tuple[int, int]:
    """Last round of a fit, and the round to be predicted: of those that all runs have."""
    common = sorted(set.intersection(*(set(run.rounds) for run in group.runs)))
    pairs = [
        (target / cut, cut, target)
        for place, cut in enumerate(common)
        for target in common[place + 1 :]
        if place + 1 >= _FEWEST_POINTS and target <= FARTHEST * cut
    ]
    _, cut, target = max(pairs, default=(0.0, 0, 0))
    return cut, target


def _seeds(group: CurveGroup, seed: int) -> list[HeldOut]:
    found = []
    for runs in group.configurations().values():
        for run in runs if len(runs) > 1 else ():
            rest = tuple(one for one in runs if one is not run)
            pool = group.model_copy(update={"runs": tuple(o for o in group.runs if o is not run)})
            law = fit_configuration(group, rest, pool, seed=seed)
            if len(law.scatter):
                found.append(_last_of(run, law))
    return found


def _last_of(run: Run, law: LearningLaw) -> HeldOut:
    """At the last of the run's rounds that the law was fitted to as many of."""
    place = max(k for k, rounds in enumerate(run.rounds) if rounds <= law.last_round)
    return _held_out(run, place, law.told(run.rounds[place], run.covariates))


def _held_out(run: Run, place: int, told: Prediction) -> HeldOut:
    assert told.mean is not None
    assert told.low is not None
    assert told.high is not None
    return HeldOut(run.name, run.rounds[place], run.accuracy[place], told.mean, told.low, told.high)
