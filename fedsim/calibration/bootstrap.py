"""Covariance of coefficients by hierarchical bootstrap: configurations, passes, repeats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    tables = {shape: _table(own) for shape, own in by_shape.items()}
    found = []
    for _ in range(num_bootstraps):
        rows, seconds = [], []
        for index in rng.integers(len(shapes), size=len(shapes)):
            shape = shapes[index]
            for phase, value in _resampled(tables[shape], rng).items():
                rows.append(features[shape, phase])
                seconds.append(value)
        model = fit_time_model(np.array(rows), np.array(seconds), lower, form)
        found.append(model.coefficients)
    if len(found) < 2:
        return np.zeros((len(FEATURES), len(FEATURES)))
    return np.asarray(np.cov(np.array(found), rowvar=False))


@dataclass(frozen=True)
class _Table:
    """A configuration's times as one array, so that a replicate is a few draws and not thousands.

    Attributes
    ----------
    phases : tuple of str
    seconds : ndarray
        ``(num_passes, num_phases, num_repeats)`` [s]; fewer repeats than others are gone through
        again, and ``num_repeats`` says how many there are.
    num_repeats : ndarray
        ``(num_passes, num_phases)``.
    """

    phases: tuple[Phase, ...]
    seconds: Array
    num_repeats: NDArray[np.int64]


def _table(visits: Sequence[Visit]) -> _Table:
    # Every visit has every phase: whatever lacks one was refused.
    phases = tuple(visits[0].seconds)
    counts = np.array([[len(visit.seconds[phase]) for phase in phases] for visit in visits])
    most = int(counts.max())
    seconds = [[np.resize(visit.seconds[phase], most) for phase in phases] for visit in visits]
    return _Table(phases, np.array(seconds), counts)


def _resampled(table: _Table, rng: np.random.Generator) -> dict[Phase, float]:
    """One replicate of a configuration's times: the median over passes of medians [s]."""
    num_passes, _, most = table.seconds.shape
    passes = rng.integers(num_passes, size=num_passes)
    counts = table.num_repeats[passes]
    drawn = rng.integers(counts[:, :, None], size=(*counts.shape, most))
    values = np.take_along_axis(table.seconds[passes], drawn, axis=2)
    # A visit with fewer repeats than others draws no more of them than it has.
    values[np.arange(most) >= counts[:, :, None]] = np.nan
    medians = np.nanmedian(values, axis=2)
    middle = np.median(medians, axis=0)
    return {phase: float(value) for phase, value in zip(table.phases, middle, strict=True)}


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
