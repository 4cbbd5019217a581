"""How far off the law is: on configurations that it has not seen, and on later rounds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fedsim.learning.curves import CurveGroup, Run
from fedsim.learning.fit import fit_group
from fedsim.learning.law import LearningLaw, Prediction, Unseen

__all__ = ["CurveErrors", "HeldOut", "check_curves", "group_laws"]

#: Fits of the bootstrap in a check; there are as many checks as configurations.
_NUM_DRAWS = 100


@dataclass(frozen=True)
class HeldOut:
    """One run that a fit had not seen, at its last round.

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
        Every run of a configuration that learns, by a fit to all others of those; empty where
        there is but one.
    later : tuple of HeldOut
        Every run's last round, by a fit to the first half of the rounds of all runs.
    """

    framework: str
    configurations: tuple[HeldOut, ...]
    later: tuple[HeldOut, ...]


def group_laws(group: CurveGroup, *, seed: int = 0) -> tuple[LearningLaw, ...]:
    """The group's law, and one for each configuration of which several runs were measured.

    The former interpolates, and says how well laws like it predict configurations that they have
    not seen. Where a configuration was measured, its own law knows nothing of the others' shape.
    Configurations that stay at chance (below twice of it) have their own laws only: how those that
    learn differ cannot be read off those that do not.
    """
    configurations = group.configurations().values()
    own = [runs for runs in configurations if len(runs) > 1 and len(configurations) > 1]
    return (
        _checked(_that_learn(group), seed),
        *(
            fit_group(
                group.model_copy(update={"runs": tuple(runs)}), seed=seed, num_draws=_NUM_DRAWS
            )
            for runs in own
        ),
    )


def _that_learn(group: CurveGroup) -> CurveGroup:
    learning = [
        run
        for runs in group.configurations().values()
        for run in runs
        if np.mean([one.accuracy[-1] for one in runs]) >= 2 * group.chance
    ]
    return group.model_copy(update={"runs": tuple(learning)}) if learning else group


def _checked(group: CurveGroup, seed: int) -> LearningLaw:
    law, held_out = fit_group(group, seed=seed), _configurations(group, seed)
    if not held_out:
        return law
    unseen = Unseen(
        float(np.median([abs(one.error) for one in held_out])),
        max(max(one.low - one.measured, one.measured - one.high, 0.0) for one in held_out),
        sum(one.is_covered for one in held_out),
        len(held_out),
    )
    return replace(law, unseen=unseen)


def check_curves(group: CurveGroup, *, seed: int = 0) -> CurveErrors:
    """Fit without what is predicted, and compare."""
    return CurveErrors(
        group.framework,
        tuple(_configurations(_that_learn(group), seed)),
        tuple(_later(group, seed)),
    )


def _configurations(group: CurveGroup, seed: int) -> list[HeldOut]:
    found = []
    for runs in group.configurations().values():
        names = {run.name for run in runs}
        rest = tuple(run for run in group.runs if run.name not in names)
        if not rest:
            return []
        law = fit_group(group.model_copy(update={"runs": rest}), seed=seed, num_draws=_NUM_DRAWS)
        if any(runs[0].covariates[name] != value for name, value in law.fixed.items()):
            # The only other value of a covariate: nothing says what it does.
            continue
        found += [_held_out(run, law.accuracy(run.rounds[-1], **run.covariates)) for run in runs]
    return found


def _later(group: CurveGroup, seed: int) -> list[HeldOut]:
    halves = []
    for run in group.runs:
        num = int(np.searchsorted(run.rounds, run.rounds[-1] / 2, side="right"))
        if num < 3:
            return []
        halves.append(
            run.model_copy(update={"rounds": run.rounds[:num], "accuracy": run.accuracy[:num]})
        )
    law = fit_group(
        group.model_copy(update={"runs": tuple(halves)}), seed=seed, num_draws=_NUM_DRAWS
    )
    return [_held_out(run, law.accuracy(run.rounds[-1], **run.covariates)) for run in group.runs]


def _held_out(run: Run, prediction: Prediction) -> HeldOut:
    assert prediction.mean is not None
    assert prediction.low is not None
    assert prediction.high is not None
    return HeldOut(
        run.name, run.rounds[-1], run.accuracy[-1], prediction.mean, prediction.low, prediction.high
    )
