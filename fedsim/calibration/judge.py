"""How far to believe a fit: held-out errors, conformal intervals, coverage, baselines.

Every error here is on points that the fit did not see. What is left out with what follows from the
plan alone and is hashed before anything is measured.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.stats import binomtest

from fedsim.calibration.fit import Array, choose_form, fit_time_model, folds_of
from fedsim.calibration.shape import PRECISIONS, Point, framework_of, regime_of
from fedsim.spec.device import REGIMES, Form, Regime

__all__ = [
    "SPLITS",
    "Coverage",
    "Errors",
    "conformal_ratio",
    "held_out",
    "held_out_hash",
    "held_out_list",
    "nested_forms",
    "three_forward",
]

#: What is left out together, each in turn.
SPLITS: Final = (
    "configuration",
    "width_or_depth",
    "batch_and_tokens",
    "framework",
    "larger_model",
)
_LEVEL: Final = 0.95


@dataclass(frozen=True)
class Errors:
    """Relative errors, predicted over measured minus 1, on points that the fit did not see.

    Attributes
    ----------
    num_points : int
    median, p95, largest : float
        Of the absolute errors.
    bias : float
        Median of the signed errors: positive means predicted too slow.
    """

    num_points: int
    median: float
    p95: float
    largest: float
    bias: float

    @classmethod
    def of(cls, predicted: Array, measured: Array) -> Errors:
        """Errors of some points."""
        errors = predicted / measured - 1.0
        absolute = np.abs(errors)
        return cls(
            len(errors),
            float(np.median(absolute)),
            float(np.quantile(absolute, 0.95)),
            float(absolute.max()),
            float(np.median(errors)),
        )


@dataclass(frozen=True)
class Coverage:
    """How many held-out points a 95 % interval covers.

    Attributes
    ----------
    num_points, num_covered : int
    share : float
    low, high : float
        95 % Clopper-Pearson interval of the share.
    """

    num_points: int
    num_covered: int
    share: float
    low: float
    high: float

    @classmethod
    def of(cls, num_covered: int, num_points: int) -> Coverage:
        """Coverage with its binomial interval."""
        interval = binomtest(num_covered, num_points).proportion_ci(_LEVEL, method="exact")
        return cls(
            num_points,
            num_covered,
            num_covered / num_points,
            float(interval.low),
            float(interval.high),
        )


def held_out_list(points: Sequence[Point]) -> dict[str, dict[str, list[str]]]:
    """Which points are left out together: split, group, names of points.

    Left out by framework: the phases that are one framework's own (``train`` stands for FedLLM).
    Averages and messages belong to several and are never left out there.
    """
    splits: dict[str, dict[str, list[str]]] = {name: {} for name in SPLITS}
    widest = max(point.shape.hidden_size for point in points)
    for point in points:
        shape = point.shape
        groups = [
            ("configuration", shape.name),
            ("width_or_depth", f"hidden_size={shape.hidden_size}"),
            ("width_or_depth", f"num_layers={shape.num_layers}"),
            ("batch_and_tokens", f"B={shape.batch_size},T={shape.num_tokens}"),
        ]
        framework = framework_of(point.phase)
        if framework is not None:
            groups.append(("framework", framework))
        if shape.hidden_size == widest:
            groups.append(("larger_model", f"hidden_size={widest}"))
        for split, group in groups:
            splits[split].setdefault(group, []).append(point.name)
    return splits


def held_out_hash(points: Sequence[Point]) -> str:
    """Hash of the held-out lists of a plan's points, one list a number format.

    A campaign fixes it ahead of its first measurement; the fit is refused if its own differs.
    """
    lists = []
    for precision in PRECISIONS:
        own = [p for p in points if p.shape.precision == precision and p.shape.attention == "eager"]
        if own:
            splits = held_out_list(own)
            groups = [(s, sorted((g, sorted(n)) for g, n in splits[s].items())) for s in SPLITS]
            lists.append((precision, groups))
    return hashlib.sha256(repr(lists).encode()).hexdigest()


def held_out(
    points: Sequence[Point],
    features: Array,
    seconds: Array,
    lower: Array,
    form: Form,
) -> dict[str, tuple[Array, Array]]:
    """Predictions of left-out points.

    Returns
    -------
    dict
        By split: indices of the points and their predictions [s]. In ``width_or_depth`` each point
        is left out twice.
    """
    names = {point.name: index for index, point in enumerate(points)}
    found: dict[str, tuple[Array, Array]] = {}
    for split, groups in held_out_list(points).items():
        indices: list[int] = []
        predicted: list[float] = []
        for members in groups.values():
            inside = np.zeros(len(points), dtype=bool)
            inside[[names[name] for name in members]] = True
            if inside.all() or (~inside).sum() < features.shape[1]:
                # Nothing to fit to is left: a plan with one width has no width to leave out.
                continue
            model = fit_time_model(features[~inside], seconds[~inside], lower, form)
            indices.extend(int(i) for i in np.nonzero(inside)[0])
            predicted.extend(float(p) for p in model.predict(features[inside]))
        found[split] = (np.array(indices, dtype=np.int64), np.array(predicted))
    return found


def conformal_ratio(log_ratios: Array) -> float:
    """Half width of the 95 % interval of measured over predicted, as a factor.

    Parameters
    ----------
    log_ratios : ndarray
        ``log(measured / predicted)`` of held-out points.

    Notes
    -----
    The ``ceil(0.95 (n + 1))``-th smallest absolute value: exchangeable new points are covered with
    at least 95 % probability, whatever the distribution. With fewer than 19 points it is the
    largest, and covers less.

    References
    ----------
    Lei et al., "Distribution-free predictive inference for regression", JASA 2018; Vovk,
    "Cross-conformal predictors", 2015, for residuals of folds.
    """
    scores = np.sort(np.abs(log_ratios))
    place = min(math.ceil(_LEVEL * (len(scores) + 1)), len(scores))
    return float(np.exp(scores[place - 1]))


def coverage(points: Sequence[Point], log_ratios: Array, regime: Regime) -> Coverage | None:
    """Coverage of the points of one regime by an interval from the other configurations'."""
    chosen = np.array([regime_of(point.phase) == regime for point in points])
    shapes = np.array([point.shape.name for point in points])
    if len(set(shapes[chosen].tolist())) < 2:
        return None
    num_covered = 0
    for name in sorted(set(shapes[chosen].tolist())):
        inside = chosen & (shapes == name)
        limit = math.log(conformal_ratio(log_ratios[chosen & (shapes != name)]))
        num_covered += int((np.abs(log_ratios[inside]) <= limit).sum())
    return Coverage.of(num_covered, int(chosen.sum()))


def by_regime(points: Sequence[Point]) -> dict[Regime, Array]:
    """Indices of the points of each regime."""
    regimes = [regime_of(point.phase) for point in points]
    return {
        regime: np.array([i for i, r in enumerate(regimes) if r == regime], dtype=np.int64)
        for regime in REGIMES
    }


def nested_forms(
    features: Array, seconds: Array, groups: Array, lower: Array, num_folds: int = 6
) -> tuple[Errors, dict[str, int]]:
    """Error of choosing the form and fitting it, both without the left-out fold.

    Returns
    -------
    tuple
        Errors on the outer folds, and how often each form was chosen in them.
    """
    folds = folds_of(groups, num_folds)
    predicted = np.empty_like(seconds)
    chosen: dict[str, int] = {}
    for fold in range(num_folds):
        inside = folds == fold
        form, _ = choose_form(features[~inside], seconds[~inside], groups[~inside], lower)
        chosen[form] = chosen.get(form, 0) + 1
        model = fit_time_model(features[~inside], seconds[~inside], lower, form)
        predicted[inside] = model.predict(features[inside])
    return Errors.of(predicted, seconds), chosen


def three_forward(points: Sequence[Point], seconds: Array) -> tuple[Array, Array]:
    """The rule of simulators that know inference speed only: training is three times a forward.

    Each shape's own measured forward pass (``logits``) is taken as known, which favors the rule.

    Returns
    -------
    tuple
        Indices of the model's other phases and their predictions [s].
    """
    forward: Mapping[str, float] = {
        point.shape.name: float(s)
        for point, s in zip(points, seconds, strict=True)
        if point.phase == "logits"
    }
    indices, predicted = [], []
    for index, point in enumerate(points):
        if regime_of(point.phase) != "model" or point.phase == "logits":
            continue
        below = point.shape.cut_layer / point.shape.num_layers
        times = {
            "train": 3.0,
            "distill": 3.0,
            "c1": below,
            "c3": 3.0 * (1 - below),
            "c5": 2.0 * below,
        }[point.phase]
        indices.append(index)
        predicted.append(times * forward[point.shape.name])
    return np.array(indices, dtype=np.int64), np.array(predicted)
