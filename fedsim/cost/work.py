"""What an operation asks of a device: the features that the time model prices.

FLOPs here are the exact ones of :mod:`~fedsim.cost.flop`, split by kind, because kinds run at
different rates. The rest (bytes moved, operators) is a description good enough to fit time with; it
never becomes a count that anyone is told is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, assert_never

from fedsim.cost.flop import flop_by_class
from fedsim.cost.graph import Extent
from fedsim.cost.model_graph import part_work
from fedsim.cost.privacy_flop import privacy_operations
from fedsim.protocol.operation import (
    Aggregate,
    BackwardFromCut,
    Distill,
    ForwardToCut,
    InferLogits,
    Operation,
    Part,
    PrivacyOperation,
    ProcessKnowledge,
    Replace,
    Train,
    TrainAboveCut,
)
from fedsim.protocol.parameters import num_trainable, part_parameters
from fedsim.protocol.payload import Payload
from fedsim.spec.device import FEATURES
from fedsim.spec.dtype import dtype_bytes
from fedsim.spec.plan import TrainingSpec

__all__ = [
    "Work",
    "decoding_work",
    "encoding_work",
    "operation_work",
    "pack_work",
    "sum_of_work",
    "unpack_work",
]

#: Reads and writes of one trained value in an optimizer step: gradient, value and Adam's two
#: moments are read, value and moments written; SGD reads two and writes one.
_OPTIMIZER_ACCESSES: Final = {"adam": 7, "sgd": 3}

#: Averaging one value: 4 B read and 8 B written by the conversion, 16 B by the product, 24 B by the
#: sum; three operators a tensor.
_AVERAGING_BYTES: Final = 52
_AVERAGING_KERNELS: Final = 3

#: Traffic for which one operation on a 64-bit word is priced: the word. A time model that was
#: fitted to training knows no rate of integer arithmetic, and a processor runs hardware AES and
#: 64-bit products at about the rate at which it passes over memory.
_WORD_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Work:
    """Features of one execution, in the order of :data:`fedsim.spec.device.FEATURES`.

    Attributes
    ----------
    linear_flop, attention_flop, head_flop : float
        Matrix FLOPs of linear layers, of attention and of the head.
    lora_bytes : float
        Traffic of the adapters' skinny products, which no device runs at its FLOP rate.
    moved_bytes : float
        Traffic of elementwise work.
    weight_bytes : float
        Weights read by linear layers and the head, once for each product; what limits a product of
        few tokens.
    parameter_bytes : float
        Traffic of passes over parameters: optimizer steps, averages, replacements.
    num_kernels : float
        Operators launched by the model.
    num_parameter_kernels : float
        Operators launched over parameters; they are small, many, and outside of autograd.
    num_replaced_tensors : float
        Tensors put in the place of others, each found by its name.
    num_calls : float
        1: what a step of the model costs however small it is.
    packed_bytes, unpacked_bytes : float
        Messages written into a buffer and read out of one.
    num_packed_tensors, num_unpacked_tensors : float
        Tensors of those messages.
    num_messages : float
        1 for a message.
    copied_bytes : float
        Traffic between the accelerator and the host; a device that computes on its CPU has none.
    encoded_bytes, decoded_bytes : float
        Traffic of codecs, of the sender and of the receiver.
    num_codec_kernels : float
        Operators that codecs launch.
    """

    linear_flop: float = 0.0
    attention_flop: float = 0.0
    head_flop: float = 0.0
    lora_bytes: float = 0.0
    moved_bytes: float = 0.0
    weight_bytes: float = 0.0
    parameter_bytes: float = 0.0
    num_kernels: float = 0.0
    num_parameter_kernels: float = 0.0
    num_replaced_tensors: float = 0.0
    num_calls: float = 0.0
    packed_bytes: float = 0.0
    unpacked_bytes: float = 0.0
    num_packed_tensors: float = 0.0
    num_unpacked_tensors: float = 0.0
    num_messages: float = 0.0
    copied_bytes: float = 0.0
    encoded_bytes: float = 0.0
    decoded_bytes: float = 0.0
    num_codec_kernels: float = 0.0

    def features(self) -> tuple[float, ...]:
        """The features as a vector."""
        return tuple(getattr(self, name) for name in FEATURES)


# A round of thousands of batches has few different ones.
@lru_cache(maxsize=65536)
def operation_work(
    operation: Operation, training: TrainingSpec, num_contributions: int = 1
) -> Work:
    """Features of one operation.

    Parameters
    ----------
    operation : Operation
    training : TrainingSpec
    num_contributions : int
        Clients whose parameters or logits an aggregation reads. The protocol does not know it: how
        many the server waits for is policy.
    """
    if isinstance(operation, PrivacyOperation):
        amount = privacy_operations(operation)
        return Work(
            parameter_bytes=float(_WORD_BYTES * amount),
            num_parameter_kernels=1.0 if amount else 0.0,
        )
    match operation:
        case Train() | Distill() | TrainAboveCut() | BackwardFromCut():
            return _training_work(operation, training)
        case InferLogits() | ForwardToCut():
            part = part_work(training, operation.part)
            return _model_work(
                operation, training, part.forward_moved, part.forward_kernels, Work()
            )
        case Aggregate():
            values = num_trainable(training, operation.part)
            return _averaging_work(
                values, _num_tensors(training, operation.part), num_contributions
            )
        case ProcessKnowledge():
            values = operation.num_rows * operation.num_columns
            return _averaging_work(values, 1, num_contributions)
        case Replace():
            values = num_trainable(training, operation.part)
            num_tensors = _num_tensors(training, operation.part)
            return Work(parameter_bytes=8.0 * values, num_replaced_tensors=float(num_tensors))
        case _:
            assert_never(operation)


def sum_of_work(works: Sequence[Work]) -> Work:
    """Features of several executions together."""
    return Work(**{name: sum(getattr(work, name) for work in works) for name in FEATURES})


# A message is priced for every client of every engine; its codec is asked once.
@lru_cache(maxsize=4096)
def pack_work(payload: Payload) -> Work:
    """Features of encoding and writing a message: what its sender does ahead of sending."""
    num_bytes, num_tensors, num_messages = _message_amounts(payload)
    return replace(
        encoding_work(payload),
        packed_bytes=num_bytes,
        num_packed_tensors=num_tensors,
        copied_bytes=num_bytes,
        num_messages=num_messages,
    )


@lru_cache(maxsize=4096)
def unpack_work(payload: Payload) -> Work:
    """Features of reading and decoding a message: what its receiver does after the last byte."""
    num_bytes, num_tensors, num_messages = _message_amounts(payload)
    return replace(
        decoding_work(payload),
        unpacked_bytes=num_bytes,
        num_unpacked_tensors=num_tensors,
        copied_bytes=num_bytes,
        num_messages=num_messages,
    )


def encoding_work(payload: Payload) -> Work:
    """Features of encoding a message alone."""
    if payload.codec is None:
        return Work()
    works = [payload.codec.encoding_work(tensor) for tensor in payload.encoded]
    return Work(
        encoded_bytes=float(sum(work.moved_bytes for work in works)),
        num_codec_kernels=float(sum(work.num_operators for work in works)),
    )


def decoding_work(payload: Payload) -> Work:
    """Features of decoding a message alone."""
    if payload.codec is None:
        return Work()
    works = [payload.codec.decoding_work(tensor) for tensor in payload.encoded]
    return Work(
        decoded_bytes=float(sum(work.moved_bytes for work in works)),
        num_codec_kernels=float(sum(work.num_operators for work in works)),
    )


def _message_amounts(payload: Payload) -> tuple[float, float, float]:
    """Bytes, tensors and messages; an empty payload is not sent."""
    num_bytes = payload.payload_bytes
    if num_bytes == 0:
        return 0.0, 0.0, 0.0
    return float(num_bytes), float(len(payload.tensors)), 1.0


def _averaging_work(num_values: int, num_tensors: int, num_contributions: int) -> Work:
    """A weighted average in 64-bit floats: convert, multiply, add for each contribution."""
    return Work(
        parameter_bytes=float(_AVERAGING_BYTES * num_values * num_contributions),
        num_parameter_kernels=float(_AVERAGING_KERNELS * num_tensors * num_contributions),
    )


def _num_tensors(training: TrainingSpec, part: Part) -> int:
    return sum(1 for p in part_parameters(training, part) if p.is_trained)


def _training_work(
    operation: Train | Distill | TrainAboveCut | BackwardFromCut, training: TrainingSpec
) -> Work:
    part = part_work(training, operation.part)
    moved, kernels = (
        part.backward_moved + part.recompute_moved,
        part.backward_kernels + part.recompute_kernels,
    )
    if not isinstance(operation, BackwardFromCut):
        moved, kernels = moved + part.forward_moved, kernels + part.forward_kernels
    update = Work()
    if operation.is_update:
        update = _optimizer_work(training, operation.part)
    return _model_work(operation, training, moved, kernels, update)


def _optimizer_work(training: TrainingSpec, part: Part) -> Work:
    values = num_trainable(training, part)
    accesses = _OPTIMIZER_ACCESSES[training.optimizer]
    return Work(
        parameter_bytes=float(4 * accesses * values),
        num_parameter_kernels=float(accesses * _num_tensors(training, part)),
    )


def _model_work(
    operation: Train | Distill | TrainAboveCut | BackwardFromCut | InferLogits | ForwardToCut,
    training: TrainingSpec,
    moved: Extent,
    kernels: int,
    update: Work,
) -> Work:
    flop = flop_by_class(operation, training)
    value_bytes = dtype_bytes(training.numerics.compute_dtype)
    lora = training.lora
    # 2 r FLOPs go with each value that a skinny product reads or writes.
    lora_bytes = value_bytes * flop.get("lora", 0) / (2 * lora.r) if lora is not None else 0.0
    batch = operation.batch
    linear, head = flop.get("linear", 0), flop.get("head", 0)
    # 2 FLOPs a token go with each weight that a product reads; each group reads them anew.
    weights_read = (linear + head) / (2 * batch.num_tokens) if batch.num_tokens else 0.0
    return Work(
        linear_flop=float(linear),
        attention_flop=float(flop.get("attention", 0)),
        head_flop=float(head),
        lora_bytes=float(lora_bytes),
        moved_bytes=float(value_bytes * moved.of(batch)),
        weight_bytes=float(value_bytes * weights_read * batch.num_groups),
        parameter_bytes=update.parameter_bytes,
        num_kernels=float(kernels * batch.num_groups),
        num_parameter_kernels=update.num_parameter_kernels,
        num_calls=1.0,
    )
