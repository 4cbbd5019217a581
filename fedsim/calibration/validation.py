"""From raw measurements to fits with everything that says how far to believe them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

import numpy as np

from fedsim.calibration.bootstrap import bootstrap_covariance
from fedsim.calibration.disturbance import Noise, latest, retest_noise
from fedsim.calibration.fit import Array, TimeModel, choose_form, fit_time_model
from fedsim.calibration.judge import (
    Coverage,
    Errors,
    by_regime,
    conformal_ratio,
    coverage,
    held_out,
    nested_forms,
    three_forward,
)
from fedsim.calibration.measurements import Visit
from fedsim.calibration.shape import COPY_PHASES, PHASES, PRECISIONS, Phase, Point, regime_of
from fedsim.errors import CalibrationError
from fedsim.spec.device import FEATURES, Form, Regime

__all__ = ["MIN_SHAPES", "Validation", "validate"]

#: Fewer shapes than this in a number format are shown and never fitted.
MIN_SHAPES: Final = 8
#: No format multiplies faster than this many times 32-bit arithmetic (H100: 989 over 66.9 TFLOP/s).
_FASTEST_FORMAT: Final = 16.0


@dataclass(frozen=True)
class Validation:
    """One number format's fit and its judgement.

    Attributes
    ----------
    precision : str
    points : tuple of Point
    seconds : ndarray
        ``(n,)`` measured: median of the passes' medians [s].
    predicted : ndarray
        ``(n,)`` without the point's configuration [s].
    model : TimeModel
        Fitted to all points.
    covariance : ndarray
        ``(num_features, num_features)`` of the coefficients, by hierarchical bootstrap.
    form_errors : mapping
        Cross-validated error of each form.
    nested : Errors
        Of choosing the form and fitting it, both without the left-out fold.
    nested_choices : mapping
        How often each form was chosen there.
    held_out : mapping of str to Errors
        By split, passes over the model only.
    regimes : mapping
        Errors by regime, configurations left out.
    noise : mapping
        Test-retest noise by regime.
    interval_95 : mapping
        Factor around a prediction, by regime.
    coverage : mapping
        Of intervals that did not see the covered point.
    baselines : mapping of str to Errors
        Other rules on the same points.
    own_on_baseline : mapping of str to Errors
        This model on each baseline's points.
    """

    precision: str
    points: tuple[Point, ...]
    seconds: Array
    predicted: Array
    model: TimeModel
    covariance: Array
    form_errors: Mapping[Form, float]
    nested: Errors
    nested_choices: Mapping[str, int]
    held_out: Mapping[str, Errors]
    regimes: Mapping[Regime, Errors]
    noise: Mapping[Regime, Noise]
    interval_95: Mapping[Regime, float]
    coverage: Mapping[Regime, Coverage]
    baselines: Mapping[str, Errors]
    own_on_baseline: Mapping[str, Errors]

    @property
    def num_shapes(self) -> int:
        """Configurations."""
        return len({point.shape for point in self.points})

    @property
    def standard_error(self) -> dict[str, float]:
        """Of each coefficient."""
        errors = np.sqrt(np.diag(self.covariance))
        return {name: float(e) for name, e in zip(FEATURES, errors, strict=True)}


def validate(
    visits: Sequence[Visit],
    lower_bounds: Mapping[str, float] | None = None,
    *,
    has_own_memory: bool = False,
    num_bootstraps: int = 200,
) -> dict[str, Validation]:
    """Fit and judge every number format that has enough shapes.

    Parameters
    ----------
    visits : sequence of Visit
        Of the same pass only the last attempt counts.
    lower_bounds : mapping, optional
        Smallest possible coefficient by feature.
    has_own_memory : bool
        Whether the device is an accelerator, to which messages are copied.
    num_bootstraps : int

    Raises
    ------
    CalibrationError
        If no format has enough shapes, or a shape lacks a phase or a pass that others have.
    """
    fitted = [v for v in latest(visits) if v.shape.attention == "eager"]
    _check_complete(fitted)
    lower = np.array([(lower_bounds or {}).get(name, 0.0) for name in FEATURES])
    found: dict[str, Validation] = {}
    for precision in PRECISIONS:
        own = [v for v in fitted if v.shape.precision == precision]
        if len({v.shape for v in own}) >= MIN_SHAPES:
            bounds = lower if precision == "float32" else lower / _FASTEST_FORMAT
            found[precision] = _validated(precision, own, bounds, has_own_memory, num_bootstraps)
    if not found:
        raise CalibrationError(
            f"no number format has {MIN_SHAPES} shapes with eager attention; a plan needs as many "
            "to be fitted and judged."
        )
    return found


def table_of(
    visits: Sequence[Visit], *, has_own_memory: bool
) -> tuple[tuple[Point, ...], Array, Array]:
    """Points, their features ``(n, num_features)`` and seconds ``(n,)``."""
    medians: dict[Point, list[float]] = {}
    for visit in visits:
        for phase in visit.seconds:
            medians.setdefault(Point(phase, visit.shape), []).append(visit.median_s(phase))
    points = tuple(sorted(medians, key=lambda point: point.name))
    features = np.array([point.work().features() for point in points], dtype=np.float64)
    if not has_own_memory:
        features[:, FEATURES.index("copied_bytes")] = 0.0
    return points, features, np.array([median(medians[point]) for point in points])


def _validated(
    precision: str,
    visits: Sequence[Visit],
    lower: Array,
    has_own_memory: bool,
    num_bootstraps: int,
) -> Validation:
    points, features, seconds = table_of(visits, has_own_memory=has_own_memory)
    groups = np.array([point.shape.name for point in points])
    form, form_errors = choose_form(features, seconds, groups, lower)
    model = fit_time_model(features, seconds, lower, form)
    splits = held_out(points, features, seconds, lower, form)
    order, predicted = splits["configuration"]
    left_out = np.empty_like(seconds)
    left_out[order] = predicted
    log_ratios = np.log(seconds / np.maximum(left_out, 1e-12))
    regimes = {r: i for r, i in by_regime(points).items() if len(i)}
    nested, choices = nested_forms(features, seconds, groups, lower)
    baselines, own = _baselines(points, features, seconds, left_out)
    covered = {r: coverage(points, log_ratios, r) for r in regimes}
    return Validation(
        precision=precision,
        points=points,
        seconds=seconds,
        predicted=left_out,
        model=model,
        covariance=bootstrap_covariance(
            visits, form, lower, has_own_memory=has_own_memory, num_bootstraps=num_bootstraps
        ),
        form_errors=form_errors,
        nested=nested,
        nested_choices=choices,
        held_out={
            name: Errors.of(values[chosen], seconds[indices[chosen]])
            for name, (indices, values) in splits.items()
            if len(chosen := _model_only(points, indices))
        },
        regimes={r: Errors.of(left_out[i], seconds[i]) for r, i in regimes.items()},
        noise={r: retest_noise(visits, _phases(r)) for r in regimes},
        interval_95={r: conformal_ratio(log_ratios[i]) for r, i in regimes.items()},
        coverage={r: c for r, c in covered.items() if c is not None},
        baselines=baselines,
        own_on_baseline=own,
    )


def _phases(regime: Regime) -> tuple[Phase, ...]:
    return tuple(phase for phase in (*PHASES, *COPY_PHASES) if regime_of(phase) == regime)


def _model_only(points: Sequence[Point], indices: Array) -> Array:
    """Places of the passes over the model among some points."""
    return np.array(
        [k for k, i in enumerate(indices) if regime_of(points[int(i)].phase) == "model"],
        dtype=np.int64,
    )


def _baselines(
    points: Sequence[Point], features: Array, seconds: Array, left_out: Array
) -> tuple[dict[str, Errors], dict[str, Errors]]:
    """Constant FLOP rate and three times a forward, on the same points as this model."""
    model = by_regime(points)["model"]
    columns = [FEATURES.index(name) for name in ("linear_flop", "attention_flop", "head_flop")]
    flop = features[:, columns].sum(axis=1)
    shapes = np.array([point.shape.name for point in points])
    constant = np.empty_like(seconds)
    for name in sorted(set(shapes.tolist())):
        inside = shapes == name
        known = np.array([i for i in model if not inside[i]])
        constant[inside] = flop[inside] * np.median(seconds[known] / flop[known])
    indices, thrice = three_forward(points, seconds)
    baselines = {
        "constant FLOP rate": Errors.of(constant[model], seconds[model]),
        "3 x forward": Errors.of(thrice, seconds[indices]),
    }
    own = {
        "constant FLOP rate": Errors.of(left_out[model], seconds[model]),
        "3 x forward": Errors.of(left_out[indices], seconds[indices]),
    }
    return baselines, own


def _check_complete(visits: Sequence[Visit]) -> None:
    passes = {v.pass_index for v in visits}
    phases = {phase for v in visits for phase in v.seconds}
    by_shape: dict[str, set[int]] = {}
    for visit in visits:
        by_shape.setdefault(visit.shape.name, set()).add(visit.pass_index)
        missing = phases - set(visit.seconds)
        if missing:
            raise CalibrationError(
                f"measurements of {visit.shape.name}, pass {visit.pass_index}: "
                f"{', '.join(sorted(missing))} missing. Restore the file, or measure again with "
                "'fedsim calibrate'."
            )
    for name, found in by_shape.items():
        if found != passes:
            raise CalibrationError(
                f"measurements of {name}: passes {sorted(passes - found)} missing. Restore the "
                "file, or measure again with 'fedsim calibrate'."
            )
