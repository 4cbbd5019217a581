"""Fit seconds to features: non-negative, bounded by the hardware, robust, in relative error.

Counts are never fitted. What comes out are seconds per FLOP, per byte and per operator, with the
errors on shapes that the fit did not see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from fedsim.errors import CalibrationError
from fedsim.spec.device import FEATURES

__all__ = ["FitResult", "HeldOut", "Observation", "fit_time_model"]

Array = NDArray[np.float64]

#: Relative residuals beyond it count linearly: contaminated points must not steer the fit.
_HUBER: Final = 0.1
_REWEIGHTINGS: Final = 30
_NEGLIGIBLE: Final = 1e-6
_Z95: Final = 1.959963984540054
#: Two-sided scale of the median absolute deviation for normal errors.
_MAD_SCALE: Final = 1.4826


@dataclass(frozen=True, slots=True)
class Observation:
    """One measured point.

    Attributes
    ----------
    group : str
        Points of one group are left out together.
    features : tuple of float
        In the order of :data:`fedsim.spec.device.FEATURES`.
    seconds : float
        Median of all passes [s].
    """

    group: str
    features: tuple[float, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Relative errors on points that the fit did not see.

    Attributes
    ----------
    errors : tuple of float
        Predicted over measured, minus 1, in the order of the observations.
    median, p95, largest : float
        Of the absolute errors.
    bias : float
        Median of the signed errors.
    coverage_95 : float
        Share of points within the 95 % interval.
    """

    errors: tuple[float, ...]
    median: float
    p95: float
    largest: float
    bias: float
    coverage_95: float


@dataclass(frozen=True, slots=True)
class FitResult:
    """Coefficients and how far to believe them.

    Attributes
    ----------
    seconds_per_unit : dict of str to float
    relative_sigma : float
        Standard deviation of the logarithm of measured over predicted, on held-out points.
    held_out : HeldOut
        Leave one group out.
    """

    seconds_per_unit: dict[str, float]
    relative_sigma: float
    held_out: HeldOut


def fit_time_model(
    observations: Sequence[Observation], lower_bounds: dict[str, float] | None = None
) -> FitResult:
    """Fit the additive time model.

    Parameters
    ----------
    observations : sequence of Observation
    lower_bounds : dict, optional
        Smallest possible coefficient by feature: no product is faster than the fastest one that
        this machine was seen to do.

    Raises
    ------
    CalibrationError
        If there are fewer groups than can be left out in turn.
    """
    features = np.array([o.features for o in observations], dtype=np.float64)
    seconds = np.array([o.seconds for o in observations], dtype=np.float64)
    groups = [o.group for o in observations]
    names = sorted(set(groups))
    if len(names) < 3 or len(observations) < len(FEATURES):
        raise CalibrationError(
            f"{len(observations)} points in {len(names)} groups cannot be fitted; measure at least "
            f"{len(FEATURES)} points of 3 shapes."
        )
    bounds = np.array([(lower_bounds or {}).get(name, 0.0) for name in FEATURES])
    coefficients = _robust_fit(features, seconds, bounds)
    predicted = np.empty_like(seconds)
    membership = np.array(groups)
    for name in names:
        inside = membership == name
        predicted[inside] = features[inside] @ _robust_fit(
            features[~inside], seconds[~inside], bounds
        )
    log_ratio = np.log(seconds / np.maximum(predicted, 1e-12))
    sigma = _robust_sigma(log_ratio)
    held_out = _held_out(predicted / seconds - 1.0, log_ratio, sigma)
    return FitResult(
        dict(zip(FEATURES, (float(c) for c in coefficients), strict=True)), sigma, held_out
    )


def _robust_fit(features: Array, seconds: Array, lower: Array) -> Array:
    """Huber regression of relative error by reweighted bounded least squares."""
    relative = features / seconds[:, None]
    scale = np.maximum(np.abs(relative).max(axis=0), 1e-300)
    scaled = relative / scale
    weights = np.ones(len(seconds))
    solution = np.zeros(features.shape[1])
    for _ in range(_REWEIGHTINGS):
        root = np.sqrt(weights)
        result = lsq_linear(
            scaled * root[:, None], root, bounds=(lower * scale, np.full(len(lower), np.inf))
        )
        previous, solution = solution, result.x
        residual = np.abs(scaled @ solution - 1.0)
        weights = np.where(residual <= _HUBER, 1.0, _HUBER / np.maximum(residual, 1e-300))
        if np.allclose(solution, previous, rtol=1e-9, atol=0.0):
            break
    coefficients: Array = np.maximum(solution / scale, lower)
    # A bounded solver leaves crumbs at its bounds: what explains less than a millionth of every
    # point is zero.
    coefficients[(scaled * solution).max(axis=0) < _NEGLIGIBLE] = 0.0
    return np.asarray(np.maximum(coefficients, lower))


def _robust_sigma(log_ratio: Array) -> float:
    """Standard deviation that 95 % of the points are within 1.96 of.

    The larger of the median-based and the 95 %-quantile-based estimate: the first ignores tails,
    the second is what an interval has to cover.
    """
    spread = _MAD_SCALE * float(np.median(np.abs(log_ratio - np.median(log_ratio))))
    tail = float(np.quantile(np.abs(log_ratio), 0.95)) / _Z95
    return max(spread, tail)


def _held_out(errors: Array, log_ratio: Array, sigma: float) -> HeldOut:
    absolute = np.abs(errors)
    return HeldOut(
        errors=tuple(float(e) for e in errors),
        median=float(np.median(absolute)),
        p95=float(np.quantile(absolute, 0.95)),
        largest=float(absolute.max()),
        bias=float(np.median(errors)),
        coverage_95=float(np.mean(np.abs(log_ratio) <= _Z95 * sigma)),
    )
