"""Fit seconds to features: non-negative, bounded by the hardware, robust, in relative error.

Counts are never fitted. What comes out are seconds per FLOP, per byte and per operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from fedsim.cost.duration import PARTS
from fedsim.errors import CalibrationError
from fedsim.spec.device import FEATURES, FORMS, Form

__all__ = ["Array", "TimeModel", "choose_form", "fit_time_model", "folds_of"]

Array = NDArray[np.float64]

#: Relative residuals beyond it count linearly: contaminated points must not steer the fit.
_HUBER: Final = 0.1
_REWEIGHTINGS: Final = 30
_SIDE_CHANGES: Final = 15
_NEGLIGIBLE: Final = 1e-6
_TINY_S: Final = 1e-12

_COLUMNS: Final = {
    part: np.array([PARTS[name] == part for name in FEATURES])
    for part in ("arithmetic", "traffic", "launches", "rest")
}


@dataclass(frozen=True)
class TimeModel:
    """A form and its coefficients.

    Attributes
    ----------
    form : {"additive", "roofline", "dispatch"}
        See :func:`fedsim.cost.duration.combine`.
    coefficients : ndarray
        ``(num_features,)`` seconds a unit, in the order of :data:`fedsim.spec.device.FEATURES`.
    """

    form: Form
    coefficients: Array

    def predict(self, features: Array) -> Array:
        """Seconds of points ``(n, num_features)``: ``(n,)`` [s]."""
        return _combined(self.form, features * self.coefficients)


def fit_time_model(
    features: Array, seconds: Array, lower: Array | None = None, form: Form = "additive"
) -> TimeModel:
    """Fit one form.

    Parameters
    ----------
    features : ndarray
        ``(n, num_features)``.
    seconds : ndarray
        ``(n,)`` [s].
    lower : ndarray, optional
        Smallest possible coefficients: no product is faster than the hardware's fastest one.
    form : {"additive", "roofline", "dispatch"}

    Returns
    -------
    TimeModel
        Coefficients of features that no point has are 0.

    Raises
    ------
    CalibrationError
        If there are fewer points than coefficients.

    Notes
    -----
    The maximum in two of the forms makes them piecewise linear: given which side of it each point
    is on, the fit is a linear one. Sides are taken from the previous fit, beginning with the
    additive one, until none changes; the fit with the smallest loss counts.
    """
    bounds = np.zeros(features.shape[1]) if lower is None else lower
    num_active = int((features != 0).any(axis=0).sum())
    if len(seconds) < num_active or not len(seconds):
        raise CalibrationError(
            f"{len(seconds)} points cannot be fitted to {num_active} coefficients; measure more "
            "shapes."
        )
    coefficients = _linear_fit(features, seconds, bounds)
    best = TimeModel("additive", coefficients)
    if form == "additive":
        return best
    best = TimeModel(form, coefficients)
    sides = None
    for _ in range(_SIDE_CHANGES):
        masked, fresh_sides = _one_side(form, features, coefficients)
        if sides is not None and np.array_equal(sides, fresh_sides):
            break
        sides = fresh_sides
        coefficients = _linear_fit(masked, seconds, bounds)
        candidate = TimeModel(form, coefficients)
        if _loss(candidate, features, seconds) < _loss(best, features, seconds):
            best = candidate
    return best


def choose_form(
    features: Array, seconds: Array, groups: Array, lower: Array | None = None, num_folds: int = 5
) -> tuple[Form, dict[Form, float]]:
    """The form with the smallest cross-validated error, and the errors of all.

    Parameters
    ----------
    groups : ndarray
        ``(n,)`` labels; points of one group are left out together.

    Returns
    -------
    tuple
        The form, and each one's median absolute relative error on left-out points. A more
        complicated form has to beat the additive one by a twentieth.
    """
    folds = folds_of(groups, num_folds)
    errors: dict[Form, float] = {}
    for form in FORMS:
        predicted = np.empty_like(seconds)
        for fold in range(num_folds):
            inside = folds == fold
            if not inside.any():
                continue
            model = fit_time_model(features[~inside], seconds[~inside], lower, form)
            predicted[inside] = model.predict(features[inside])
        errors[form] = float(np.median(np.abs(predicted / seconds - 1.0)))
    best = min(FORMS, key=lambda form: errors[form])
    if errors[best] > 0.95 * errors["additive"]:
        best = "additive"
    return best, errors


def folds_of(groups: Array, num_folds: int) -> NDArray[np.int64]:
    """Fold of each point: groups in the order of their labels, dealt out in turn."""
    labels = sorted(set(groups.tolist()))
    place = {label: index % num_folds for index, label in enumerate(labels)}
    return np.array([place[label] for label in groups.tolist()])


def _combined(form: Form, priced: Array) -> Array:
    parts = {part: priced[:, columns].sum(axis=1) for part, columns in _COLUMNS.items()}
    if form == "additive":
        return np.asarray(sum(parts.values()))
    if form == "roofline":
        busy = np.maximum(parts["arithmetic"], parts["traffic"]) + parts["launches"]
        return np.asarray(busy + parts["rest"])
    busy = np.maximum(parts["launches"], parts["arithmetic"] + parts["traffic"])
    return np.asarray(busy + parts["rest"])


def _one_side(form: Form, features: Array, coefficients: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Features without the columns that each point's maximum leaves out."""
    priced = features * coefficients
    parts = {part: priced[:, columns].sum(axis=1) for part, columns in _COLUMNS.items()}
    masked = features.copy()
    if form == "roofline":
        sides = parts["arithmetic"] >= parts["traffic"]
        first, second = _COLUMNS["traffic"], _COLUMNS["arithmetic"]
    else:
        sides = parts["launches"] >= parts["arithmetic"] + parts["traffic"]
        first = _COLUMNS["arithmetic"] | _COLUMNS["traffic"]
        second = _COLUMNS["launches"]
    masked[np.ix_(sides, first)] = 0.0
    masked[np.ix_(~sides, second)] = 0.0
    return masked, sides


def _loss(model: TimeModel, features: Array, seconds: Array) -> float:
    residual = np.abs(model.predict(features) / seconds - 1.0)
    huber = np.where(residual <= _HUBER, residual**2 / 2, _HUBER * (residual - _HUBER / 2))
    return float(huber.sum())


def _linear_fit(features: Array, seconds: Array, lower: Array) -> Array:
    """Huber regression of relative error by reweighted non-negative least squares."""
    relative = features / np.maximum(seconds, _TINY_S)[:, None]
    largest = np.abs(relative).max(axis=0)
    active = largest > 0
    scale = largest[active]
    scaled, floor = relative[:, active] / scale, lower[active] * scale
    target = 1.0 - scaled @ floor
    weights = np.ones(len(seconds))
    solution = np.zeros(len(scale))
    for _ in range(_REWEIGHTINGS):
        root = np.sqrt(weights)
        previous = solution
        solution, _ = nnls(scaled * root[:, None], target * root)
        residual = np.abs(scaled @ solution - target)
        weights = np.where(residual <= _HUBER, 1.0, _HUBER / np.maximum(residual, 1e-300))
        if np.allclose(solution, previous, rtol=1e-9, atol=0.0):
            break
    # What explains less than a millionth of every point is zero.
    solution[(scaled * solution).max(axis=0) < _NEGLIGIBLE] = 0.0
    # A side of the maximum that no point is on costs what the hardware's bound says.
    coefficients = lower.copy()
    coefficients[active] = (solution + floor) / scale
    return coefficients
