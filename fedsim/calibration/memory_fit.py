"""Peak memory: exact categories plus a fitted allocator term, judged on configurations left out.

Weights, gradients, optimizer state and saved activations are counted, never fitted. What lives for
a moment beside them (temporaries, and what the allocator holds at the peak) is the counted
workspace times one fitted factor. No count that a scenario gives is touched by it.
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
from fedsim.protocol.memory import (
    inference_peak_bytes,
    training_memory,
    weights_bytes,
)
from fedsim.protocol.operation import InferLogits, Train

__all__ = ["MemoryFit", "fit_memory"]

_PHASES: Final[tuple[Phase, ...]] = ("train", "logits")


@dataclass(frozen=True)
class MemoryFit:
    """How well peak memory is predicted.

    Attributes
    ----------
    workspace_factor : float
        Allocator term: live temporaries over the counted workspace.
    peak : Errors
        Predicted over measured peak, each configuration left out in turn; padded shapes.
    unfitted_peak : Errors
        The same with a factor of 1, which is what scenarios use.
    unpadded_peak : Errors or None
        Unpadded shapes, whose groups are freed one after the other: the prediction is an upper
        bound.
    saved : Errors
        Counted over hooked bytes of what autograd keeps; padded shapes without checkpointing.
    """

    workspace_factor: float
    peak: Errors
    unfitted_peak: Errors
    unpadded_peak: Errors | None
    saved: Errors | None


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
        factor = _factor(exact[~inside], workspace[~inside], measured[~inside])
        predicted[inside] = exact[inside] + factor * workspace[inside]
    factor = _factor(exact, workspace, measured)
    kept = [
        (Point(phase, shape), memory.saved_bytes)
        for shape, phase, memory in padded
        if phase != "logits" and not shape.is_checkpointed
        if shape.precision in ("float32", "tf32") and shape.head == "classification"
    ]
    unpadded = [row for row in rows if not row[0].is_padded]
    unpadded_errors = None
    if unpadded:
        one, other = _counted([(shape, phase) for shape, phase, _ in unpadded])
        peaks = np.array([m.peak_bytes for _, _, m in unpadded], dtype=np.float64)
        unpadded_errors = Errors.of(one + factor * other, peaks)
    return MemoryFit(
        workspace_factor=factor,
        peak=Errors.of(predicted, measured),
        unfitted_peak=Errors.of(exact + workspace, measured),
        unpadded_peak=unpadded_errors,
        saved=_saved_errors(kept),
    )


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
