"""Covariance of coefficients by hierarchical bootstrap: configurations, passes, repeats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fedsim.calibration.fit import Array, fit_time_model
from fedsim.calibration.measurements import Visit
from fedsim.calibration.shape import Phase, Point, Shape
from fedsim.spec.device import FEATURES, Form

__all__ = ["bootstrap_covariance"]

_SEED = 20261123


def bootstrap_covariance(
    visits: Sequence[Visit],
    form: Form,
    lower: Array,
    *,
    has_own_memory: bool,
    num_bootstraps: int,
) -> Array:
    """Covariance of the coefficients ``(num_features, num_features)``.

    Each replicate draws configurations with replacement; of each drawn configuration its passes
    with replacement, all phases together, because what disturbs a pass disturbs all of them; and of
    each drawn pass its repeats.
    """
    by_shape: dict[Shape, list[Visit]] = {}
    for visit in sorted(visits, key=lambda v: v.key):
        by_shape.setdefault(visit.shape, []).append(visit)
    shapes = list(by_shape)
    features = _features(shapes, visits, has_own_memory)
    rng = np.random.default_rng(_SEED)
    found = []
    for _ in range(num_bootstraps):
        rows, seconds = [], []
        for index in rng.integers(len(shapes), size=len(shapes)):
            shape = shapes[index]
            for phase, value in _resampled(by_shape[shape], rng).items():
                rows.append(features[shape, phase])
                seconds.append(value)
        model = fit_time_model(np.array(rows), np.array(seconds), lower, form)
        found.append(model.coefficients)
    if len(found) < 2:
        return np.zeros((len(FEATURES), len(FEATURES)))
    return np.asarray(np.cov(np.array(found), rowvar=False))


def _resampled(visits: Sequence[Visit], rng: np.random.Generator) -> dict[Phase, float]:
    """One replicate of a configuration's times: the median over passes of medians [s]."""
    medians: dict[Phase, list[float]] = {}
    for index in rng.integers(len(visits), size=len(visits)):
        for phase, values in visits[index].seconds.items():
            drawn = np.array(values)[rng.integers(len(values), size=len(values))]
            medians.setdefault(phase, []).append(float(np.median(drawn)))
    return {phase: float(np.median(values)) for phase, values in medians.items()}


def _features(
    shapes: Sequence[Shape], visits: Sequence[Visit], has_own_memory: bool
) -> Mapping[tuple[Shape, Phase], Array]:
    phases = {phase for visit in visits for phase in visit.seconds}
    found = {}
    for shape in shapes:
        for phase in phases:
            row = np.array(Point(phase, shape).work().features(), dtype=np.float64)
            if not has_own_memory:
                row[FEATURES.index("copied_bytes")] = 0.0
            found[shape, phase] = row
    return found
