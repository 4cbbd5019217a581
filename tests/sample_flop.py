"""FLOPs of one sample, by the cost table."""

from __future__ import annotations

from fedsim.cost.flop import operation_flop
from fedsim.protocol.operation import (
    BackwardFromCut,
    ForwardToCut,
    InferLogits,
    Part,
    Train,
    TrainAboveCut,
)
from fedsim.spec.batch import BatchShape
from fedsim.spec.plan import TrainingSpec

__all__ = ["split_flop", "whole_flop"]


def whole_flop(spec: TrainingSpec, t: int, *, trains: bool = True) -> int:
    """FLOPs of one sample of t tokens through the whole model."""
    part, batch = Part.whole(spec.model.num_layers), BatchShape.padded(1, t)
    return operation_flop(Train(part, batch) if trains else InferLogits(part, batch), spec)


def split_flop(spec: TrainingSpec, t: int, position: int) -> tuple[int, int]:
    """FLOPs of client and server for one sample cut after ``position`` half-blocks."""
    batch = BatchShape.padded(1, t)
    below, above = Part.below(position), Part.above(position, spec.model.num_layers)
    client = operation_flop(ForwardToCut(below, batch), spec)
    client += operation_flop(BackwardFromCut(below, batch), spec)
    return client, operation_flop(TrainAboveCut(above, batch), spec)
