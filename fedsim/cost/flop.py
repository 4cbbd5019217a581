"""Matrix FLOPs of an operation, exact: what ``torch.utils.flop_counter`` counts for it.

Two FLOPs a multiply-add, matrix products only, eager attention. Elementwise work has no matrix
FLOPs; its time is the time model's business.

Secure aggregation and differential privacy have no matrix products; their operations are counted by
:func:`fedsim.cost.privacy_flop.privacy_operations`, as a class of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from fedsim.cost.graph import Extent, FlopClass
from fedsim.cost.model_graph import part_work
from fedsim.cost.privacy_flop import privacy_operations
from fedsim.protocol.operation import ModelOperation, Operation, PrivacyOperation
from fedsim.spec.batch import BatchShape
from fedsim.spec.plan import TrainingSpec

__all__ = ["flop_by_class", "operation_flop"]


# A round of thousands of batches has few different ones.
@lru_cache(maxsize=65536)
def operation_flop(operation: Operation, training: TrainingSpec) -> int:
    """Matrix FLOPs of one operation, or its operations on 64-bit words [FLOP]."""
    return sum(flop_by_class(operation, training).values())


def flop_by_class(operation: Operation, training: TrainingSpec) -> dict[FlopClass, int]:
    """Matrix FLOPs by kind of product [FLOP].

    Parameters
    ----------
    operation : Operation
        What is done, on which part of the model and which batch.
    training : TrainingSpec
        Model, tuning and numerics.
    """
    if isinstance(operation, PrivacyOperation):
        return {"integer": privacy_operations(operation)}
    if not isinstance(operation, ModelOperation):
        return {}
    work, facts = part_work(training, operation.part), operation.facts
    passes = [work.forward_flop] if facts.forward else []
    passes += [work.backward_flop, work.recompute_flop] if facts.backward else []
    return _sum(passes, operation.batch)


def _sum(passes: Sequence[Mapping[FlopClass, Extent]], batch: BatchShape) -> dict[FlopClass, int]:
    total: dict[FlopClass, int] = {}
    for extents in passes:
        for flop_class, extent in extents.items():
            total[flop_class] = total.get(flop_class, 0) + extent.of(batch)
    return total
