"""Peak memory: exact categories plus an allocator term, judged on configurations left out.

Weights, gradients, optimizer state and saved activations are counted, never fitted. What lives for
a moment beside them (temporaries, and what the allocator holds at the peak) is the counted
workspace, times a fitted factor where that predicts what it did not see. No count that a scenario
gives is touched by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from fedsim.calibration.fit import Array
from fedsim.calibration.judge import Errors
from fedsim.calibration.measurements import Visit
from fedsim.calibration.shape import Phase, Point, Shape
from fedsim.cost.memory import (
    inference_peak_bytes,
    training_memory,
    weights_bytes,
)
from fedsim.protocol.operation import InferLogits, Train

__all__ = ["MemoryFit", "Ratio", "chosen_factor", "fit_memory"]

_PHASES: Final[tuple[Phase, ...]] = ("train", "logits")
#: What a fitted factor has to beat the counted workspace by, as a more complicated form of time.
_BETTER: Final = 0.95


@dataclass(frozen=True)
class Ratio:
    """5 % and 95 % quantiles of measured over counted peaks, at most and at least 1."""

    low: float
    high: float

    @classmethod
    def of(cls, counted: Array, measured: Array) -> Ratio:
        """Of some points."""
        low, high = np.quantile(measured / counted, [0.05, 0.95])
        return cls(min(1.0, float(low)), max(1.0, float(high)))


@dataclass(frozen=True)
class MemoryFit:
    """How well peak memory is predicted.

    Attributes
    ----------
    workspace_factor : float
        Allocator term: live temporaries over the counted workspace; 1 where fitting it does not
        help on configurations left out.
    peak : Errors
        Predicted over measured peak, each configuration left out in turn, the choice between a
        fitted factor and 1 made without it too; padded shapes.
    unfitted_peak : Errors
        The same with a factor of 1, which is what scenarios use.
    unpadded_peak : Errors or None
        Unpadded shapes, whose groups are freed one after the other: the prediction is an upper
        bound.
    saved : Errors
        Counted over hooked bytes of what autograd keeps; padded shapes without checkpointing.
    padded_ratio, unpadded_ratio : Ratio or None
        Measured over what scenarios say, a factor of 1; their margins follow from it.
    """

    workspace_factor: float
    peak: Errors
    unfitted_peak: Errors
    unpadded_peak: Errors | None
    saved: Errors | None
    padded_ratio: Ratio | None = None
    unpadded_ratio: Ratio | None = None


def fit_memory(visits: Sequence[Visit]) -> MemoryFit | None:
    """Fit the allocator term to all memory readings, or None if there are too few.

    Only shapes in a format whose activations are stored in it, with eager attention, are priced by
    the table of saved tensors; the others are left to their measurement.
    """
    rows = [
        (visit.shape, phase, memory)
        for visit in visits
        for phase, memory in visit.memory.items()
        if phase in _PHASES and visit.shape.attention == "eager"
        if not visit.shape.precision.endswith("-autocast")
    ]
    padded = [row for row in rows if row[0].is_padded]
    if len({shape.name for shape, _, _ in padded}) < 3:
        return None
    exact, workspace = _counted([(shape, phase) for shape, phase, _ in padded])
    measured = np.array([memory.peak_bytes for _, _, memory in padded], dtype=np.float64)
    names = np.array([shape.name for shape, _, _ in padded])
    predicted = np.empty_like(measured)
    for name in sorted(set(names.tolist())):
        inside = names == name
        rest = (exact[~inside], workspace[~inside], measured[~inside], names[~inside])
        predicted[inside] = exact[inside] + chosen_factor(*rest) * workspace[inside]
    factor = chosen_factor(exact, workspace, measured, names)
    kept = [
        (Point(phase, shape), memory.saved_bytes)
        for shape, phase, memory in padded
        if phase != "logits" and not shape.is_checkpointed
        if shape.precision in ("float32", "tf32") and shape.head == "classification"
    ]
    unpadded = [row for row in rows if not row[0].is_padded]
    unpadded_errors = unpadded_ratio = None
    if unpadded:
        one, other = _counted([(shape, phase) for shape, phase, _ in unpadded])
        peaks = np.array([m.peak_bytes for _, _, m in unpadded], dtype=np.float64)
        unpadded_errors = Errors.of(one + factor * other, peaks)
        unpadded_ratio = Ratio.of(one + other, peaks)
    return MemoryFit(
        workspace_factor=factor,
        peak=Errors.of(predicted, measured),
        unfitted_peak=Errors.of(exact + workspace, measured),
        unpadded_peak=unpadded_errors,
        saved=_saved_errors(kept),
        padded_ratio=Ratio.of(exact + workspace, measured),
        unpadded_ratio=unpadded_ratio,
    )


def chosen_factor(exact: Array, workspace: Array, measured: Array, names: Array) -> float:
    """The fitted factor if it predicts configurations that it did not see, and 1 otherwise.

    Each configuration is left out in turn. Both the median and the 95 % quantile of the absolute
    errors have to be smaller by a twentieth than those of the workspace as it is counted: a term
    that helps the middle and hurts the tail is none to rest on.

    Parameters
    ----------
    exact, workspace, measured : ndarray
        ``(n,)`` counted bytes but for the workspace, the workspace, the measured peak [B].
    names : ndarray
        ``(n,)`` of configurations.
    """
    predicted = np.empty_like(measured)
    for name in sorted(set(names.tolist())):
        inside = names == name
        if inside.all():
            return 1.0
        factor = _factor(exact[~inside], workspace[~inside], measured[~inside])
        predicted[inside] = exact[inside] + factor * workspace[inside]
    fitted, plain = (Errors.of(one, measured) for one in (predicted, exact + workspace))
    is_better = fitted.median <= _BETTER * plain.median and fitted.p95 <= _BETTER * plain.p95
    return _factor(exact, workspace, measured) if is_better else 1.0


def _saved_errors(kept: Sequence[tuple[Point, int]]) -> Errors | None:
    if not kept:
        return None
    counted = []
    for point, _ in kept:
        operation = point.operation()
        assert isinstance(operation, Train)
        table = training_memory(point.shape.training(), operation.part, operation.batch)
        counted.append(float(table.saved_bytes))
    return Errors.of(np.array(counted), np.array([float(found) for _, found in kept]))


def _counted(points: Sequence[tuple[Shape, Phase]]) -> tuple[Array, Array]:
    """Exact bytes and workspace of each point [B]."""
    exact, workspace = [], []
    for shape, phase in points:
        operation = Point(phase, shape).operation()
        training = shape.training()
        if isinstance(operation, InferLogits):
            fixed = weights_bytes(training, operation.part)
            peak = inference_peak_bytes(training, operation.part, operation.batch)
            exact.append(float(fixed))
            workspace.append(float(peak - fixed))
            continue
        assert isinstance(operation, Train)
        table = training_memory(training, operation.part, operation.batch)
        exact.append(float(table.total_bytes - table.workspace_bytes))
        workspace.append(float(table.workspace_bytes))
    return np.array(exact), np.array(workspace)


def _factor(exact: Array, workspace: Array, measured: Array) -> float:
    """Median of what is left over the workspace, weighted by how much it matters."""
    ratio = (measured - exact) / workspace
    weight = workspace / measured
    order = np.argsort(ratio)
    total = np.cumsum(weight[order])
    middle = int(np.searchsorted(total, total[-1] / 2))
    return max(0.0, float(ratio[order][middle]))
