"""Memory of a training step by category, from the same table as the FLOPs.

Weights, gradients, optimizer state and what is kept for the backward pass are exact sums; what
lives for a moment beside them (the workspace) is an estimate, and the sum is checked against the
allocator by ``fedsim verify``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fedsim.cost.graph import Extent
from fedsim.cost.model_graph import part_work
from fedsim.protocol.operation import ModelOperation, Operation, Part
from fedsim.protocol.parameters import num_trainable, part_parameters
from fedsim.protocol.payload import logits_payload
from fedsim.spec.batch import BatchShape
from fedsim.spec.dtype import dtype_bytes
from fedsim.spec.plan import ClientPlan, TrainingSpec

__all__ = [
    "TrainingMemory",
    "inference_peak_bytes",
    "knowledge_bytes",
    "peak_memory_bytes",
    "training_memory",
    "weights_bytes",
]

#: A weighted average holds three 64-bit copies of a tensor for a moment: converted, weighted and
#: summed.
AVERAGING_BYTES: Final = 24

#: Adam keeps two moments a trained value; plain SGD nothing.
_STATE_VALUES: Final = {"adam": 2, "sgd": 0}


@dataclass(frozen=True, slots=True)
class TrainingMemory:
    """Bytes by category [B].

    Attributes
    ----------
    weights_bytes : int
        Frozen and trained parameters of the part.
    gradient_bytes, optimizer_bytes : int
        Of the trained parameters.
    saved_bytes : int
        Activations kept between forward and backward.
    workspace_bytes : int
        Estimate of what is live beside them at the peak.
    """

    weights_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    saved_bytes: int
    workspace_bytes: int

    @property
    def total_bytes(self) -> int:
        """Sum of all categories [B]."""
        return (
            self.weights_bytes
            + self.gradient_bytes
            + self.optimizer_bytes
            + self.saved_bytes
            + self.workspace_bytes
        )


def training_memory(training: TrainingSpec, part: Part, batch: BatchShape) -> TrainingMemory:
    """Peak memory of a training step on one part of the model."""
    work = part_work(training, part)
    value_bytes = dtype_bytes(training.numerics.compute_dtype)
    trained = num_trainable(training, part)
    saved = sum(extent.of(batch) for extent in work.saved.values()) if work.needs_gradient else 0
    saved += work.largest_segment_saved.of(batch)
    return TrainingMemory(
        weights_bytes=weights_bytes(training, part),
        gradient_bytes=_trained_bytes(training) * trained,
        optimizer_bytes=_trained_bytes(training) * _STATE_VALUES[training.optimizer] * trained,
        saved_bytes=value_bytes * saved,
        workspace_bytes=value_bytes * _workspace(training, part).of(batch),
    )


def inference_peak_bytes(training: TrainingSpec, part: Part, batch: BatchShape) -> int:
    """Peak memory of a forward pass without gradients [B]."""
    value_bytes = dtype_bytes(training.numerics.compute_dtype)
    return weights_bytes(training, part) + value_bytes * _workspace(training, part).of(batch)


def peak_memory_bytes(operation: Operation, training: TrainingSpec) -> int:
    """Peak memory of whoever does an operation [B]; 0 for those without a model.

    A mask or noise is expanded after training, when activations, gradients and moments are free
    again, and can be expanded piece by piece: it is not modeled.
    """
    if not isinstance(operation, ModelOperation):
        return 0
    if operation.facts.backward:
        return training_memory(training, operation.part, operation.batch).total_bytes
    return inference_peak_bytes(training, operation.part, operation.batch)


def knowledge_bytes(plan: ClientPlan, num_contributions: int = 0) -> tuple[int, int]:
    """Logits of the public set that a party of KD-FedLLM holds [B].

    Parameters
    ----------
    plan : ClientPlan
    num_contributions : int
        Clients whose logits the server has received; 0 for a client.

    Returns
    -------
    tuple of int
        While it trains (its own and the teacher's), and while the server averages (all that were
        received, one of them and its share in 64 bits, and their sum in 64 bits).
    """
    payload = logits_payload(plan)
    values = sum(tensor.num_values for tensor in payload.tensors)
    # What was received has been decoded: a codec saves bytes on the link and none here.
    training = 2 * payload.plain_bytes
    averaging = (
        num_contributions * payload.plain_bytes + AVERAGING_BYTES * values
        if num_contributions
        else 0
    )
    return training, averaging


def weights_bytes(training: TrainingSpec, part: Part) -> int:
    """Frozen and trained parameters of a part [B]."""
    frozen_bytes, trained_bytes = (
        dtype_bytes(training.numerics.weights_dtype),
        _trained_bytes(training),
    )
    return sum(
        p.num_values * (trained_bytes if p.is_trained else frozen_bytes)
        for p in part_parameters(training, part)
    )


def _trained_bytes(training: TrainingSpec) -> int:
    return dtype_bytes(training.trained_dtype)


def _workspace(training: TrainingSpec, part: Part) -> Extent:
    # Live at once in a block's widest place: the residual stream with its gradient, and two tensors
    # of the widest kind (feed-forward or attention scores), or the logits with their gradient.
    model = training.model
    wide = max(model.intermediate_size, 3 * model.hidden_size)
    block = Extent(per_token=2 * model.hidden_size + 2 * wide, per_pair=2 * model.num_heads)
    if not part.has_head or training.head.kind == "classification":
        return block
    widening = 4 // dtype_bytes(training.numerics.compute_dtype)
    logits = (1 + 2 * widening) * model.vocab_size
    return Extent(per_token=max(block.per_token, logits), per_pair=block.per_pair)
