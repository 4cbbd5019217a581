"""How far off the law is: on configurations that it has not seen, and on later rounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedsim.learning.curves import CurveGroup, Run
from fedsim.learning.fit import fit_group
from fedsim.learning.law import Prediction

__all__ = ["CurveErrors", "HeldOut", "check_curves"]

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
        Every run, by a fit to all other configurations; empty where there is but one.
    later : tuple of HeldOut
        Every run's last round, by a fit to the first half of the rounds of all runs.
    """

    framework: str
    configurations: tuple[HeldOut, ...]
    later: tuple[HeldOut, ...]


def check_curves(group: CurveGroup, *, seed: int = 0) -> CurveErrors:
    """Fit without what is predicted, and compare."""
    return CurveErrors(
        group.framework, tuple(_configurations(group, seed)), tuple(_later(group, seed))
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
