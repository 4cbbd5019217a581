"""How far a law reaches: the settings that were measured, and what lies between three of them.

A setting that stayed at chance ends the reach on its side. Where one lies among settings that
learned, nothing between them is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import linprog

from fedsim.errors import ScenarioError

__all__ = ["FEWEST_VALUES", "Measured", "check_between", "is_between", "learned_values"]

#: A covariate is interpolated in where it was measured at so many values: what a law says of the
#: middle one can then be held against a measurement, and with two values it cannot.
FEWEST_VALUES: Final = 3


@dataclass(frozen=True)
class Measured:
    """One configuration that was run.

    Attributes
    ----------
    covariates : dict of str to float
    rounds : int
        The last that was judged.
    accuracy : float
        Then, in the mean of the runs.
    num_runs : int
    is_at_chance : bool
        It has not begun to learn: less than twice chance.
    """

    covariates: dict[str, float]
    rounds: int
    accuracy: float
    num_runs: int
    is_at_chance: bool


def learned_values(names: Sequence[str], measured: Sequence[Measured]) -> dict[str, list[float]]:
    """Values of covariates at which something was learned; all that were run where nothing was."""
    learning = [one for one in measured if not one.is_at_chance] or list(measured)
    return {name: sorted({one.covariates[name] for one in learning}) for name in names}


def is_between(points: Sequence[Sequence[float]], point: Sequence[float]) -> bool:
    """Whether a point is in the convex hull of others, its surface included.

    A box would not do: of (r, samples) = (1, 100) and (32, 1000), the corner (32, 100) is not
    between them.
    """
    if not points:
        return False
    corners = np.asarray(points, dtype=float).reshape(len(points), -1)
    if corners.shape[1] == 0:
        return True
    # Weights that are not negative, add up to 1 and mix the corners to the point.
    rows = np.vstack((corners.T, np.ones(len(corners))))
    wanted = np.concatenate((np.asarray(point, dtype=float), [1.0]))
    return bool(linprog(np.zeros(len(corners)), A_eq=rows, b_eq=wanted).status == 0)


def check_between(
    framework: str,
    names: Sequence[str],
    measured: Sequence[Measured],
    asked: Mapping[str, float],
) -> None:
    """Refuse what does not lie between three measured values, or where something did not learn.

    Raises
    ------
    ScenarioError
        With what was measured instead.
    """
    here, values = f"learning curves of {framework}", learned_values(names, measured)
    exact = [n for n in names if asked[n] in values[n] and len(values[n]) < FEWEST_VALUES]
    free = [name for name in names if name not in exact]
    for name in free:
        if len(values[name]) < FEWEST_VALUES:
            found = " and ".join(f"{value:g}" for value in values[name])
            raise ScenarioError(
                f"{here}: {name} = {asked[name]:g} is asked for, and {found} alone were measured"
                f"{_at_chance(measured, values, [name])}; fewer than {FEWEST_VALUES} values are "
                "not interpolated, for nothing says how well."
            )
    like = [
        one
        for one in measured
        if not one.is_at_chance and all(one.covariates[name] == asked[name] for name in exact)
    ]
    points = [_place(one.covariates, free) for one in like]
    if not is_between(points, _place(asked, free)):
        ranges = ", ".join(f"{n} {min(v):g} to {max(v):g}" for n, v in values.items())
        raise ScenarioError(
            f"{here}: {_words(asked, names)} lies outside what was measured ({ranges})"
            f"{_at_chance(measured, values, free)}: measure it too."
        )
    for one in measured:
        if one.is_at_chance and is_between(points, _place(one.covariates, free)):
            raise ScenarioError(
                f"{here}: {_words(one.covariates, free)}, within what was measured, stayed at "
                f"chance ({one.accuracy:.1%}); no law holds over it, so measured settings alone "
                "are told."
            )


def _place(covariates: Mapping[str, float], names: Sequence[str]) -> list[float]:
    return [float(np.log(covariates[name])) for name in names]


def _words(covariates: Mapping[str, float], names: Sequence[str]) -> str:
    return ", ".join(f"{name} = {covariates[name]:g}" for name in names)


def _at_chance(
    measured: Sequence[Measured], values: Mapping[str, list[float]], names: Sequence[str]
) -> str:
    """Which values ended the reach by not learning."""
    found = sorted(
        {
            f"{name} = {one.covariates[name]:g}"
            for one in measured
            for name in names
            if one.is_at_chance and one.covariates[name] not in values[name]
        }
    )
    return f" ({', '.join(found)} stayed at chance)" if found else ""
