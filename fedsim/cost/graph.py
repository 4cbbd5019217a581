"""Computation as a table of rows: matrix products and elementwise functions of named tensors.

Which gradients are computed, which tensors are kept for the backward pass and what checkpointing
recomputes all follow from three rules applied to the rows in order. They are autograd's:

1. a row's output needs a gradient if any of its inputs does;
2. a matrix product computes the gradient of each factor that needs one, at the cost of one product
   each, and keeps the *other* factor for it;
3. an elementwise function keeps what its derivative reads.

So frozen bases, partly adapted models and cuts at any place need no formula of their own. This file
knows the rules; ``model_graph`` knows the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from fedsim.spec.batch import BatchShape

__all__ = ["CheckpointUnit", "Extent", "FlopClass", "PartWork", "Row", "Tensor", "walk"]

#: ``integer`` counts operations of secure aggregation and differential privacy: no product.
FlopClass = Literal["linear", "attention", "lora", "head", "integer"]


@dataclass(frozen=True, slots=True)
class Extent:
    """A count that grows with a batch, as a polynomial in its sums.

    ``constant + per_sample * samples + per_token * tokens + per_pair * token pairs``.
    """

    per_token: int = 0
    per_pair: int = 0
    per_sample: int = 0
    constant: int = 0

    def __add__(self, other: Extent) -> Extent:
        return Extent(
            self.per_token + other.per_token,
            self.per_pair + other.per_pair,
            self.per_sample + other.per_sample,
            self.constant + other.constant,
        )

    def times(self, factor: int) -> Extent:
        """The extent multiplied by ``factor``."""
        return Extent(
            self.per_token * factor,
            self.per_pair * factor,
            self.per_sample * factor,
            self.constant * factor,
        )

    def of(self, batch: BatchShape) -> int:
        """The count for one batch."""
        return (
            self.per_token * batch.num_tokens
            + self.per_pair * batch.num_token_pairs
            + self.per_sample * batch.num_samples
            + self.constant
        )


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the table.

    Attributes
    ----------
    name : str
    size : Extent
        Number of elements.
    is_trained : bool
        A trained parameter, which needs a gradient.
    is_parameter : bool
        Parameters are stored anyway and are never counted as kept.
    storage : str
        Tensors that share memory (views) have the same storage; empty stands for their own.
    """

    name: str
    size: Extent
    is_trained: bool = False
    is_parameter: bool = False
    storage: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One operation.

    Attributes
    ----------
    output : Tensor
    inputs : tuple of Tensor
    kind : {"product", "mul", "function"}
        A matrix product; an elementwise product (keeps the other factor, like a product); any other
        function (keeps ``kept`` if its output needs a gradient).
    flop : Extent
        FLOPs of a matrix product, counted once forward and once for each gradient.
    flop_class : str
        Kind of product, for the time model.
    kept : tuple of Tensor
        What a ``function`` keeps for its derivative.
    num_kernels : int
        How many operators the row stands for, for the time model.
    """

    output: Tensor
    inputs: tuple[Tensor, ...]
    kind: Literal["product", "mul", "function"]
    flop: Extent = Extent()
    flop_class: FlopClass = "linear"
    kept: tuple[Tensor, ...] = ()
    num_kernels: int = 1


@dataclass(frozen=True, slots=True)
class CheckpointUnit:
    """Rows that gradient checkpointing treats as one: a block, or half of one."""

    rows: tuple[Row, ...]
    is_checkpointed: bool = False


@dataclass(slots=True)
class PartWork:
    """Sums over a stretch of rows.

    Attributes
    ----------
    forward_flop, backward_flop, recompute_flop : dict of FlopClass to Extent
        Matrix FLOPs; ``backward_flop`` does not include what checkpointing recomputes.
    saved : dict of str to Extent
        Elements kept between forward and backward, by storage.
    forward_moved, backward_moved, recompute_moved : Extent
        Activation elements read and written by the rows.
    forward_kernels, backward_kernels, recompute_kernels : int
        Operators launched.
    largest_segment_saved : Extent
        Elements that recomputing the largest checkpointed unit keeps for a while.
    needs_gradient : bool
        Whether the last output needs a gradient: whether there is a backward pass at all.
    """

    forward_flop: dict[FlopClass, Extent] = field(default_factory=dict)
    backward_flop: dict[FlopClass, Extent] = field(default_factory=dict)
    recompute_flop: dict[FlopClass, Extent] = field(default_factory=dict)
    saved: dict[str, Extent] = field(default_factory=dict)
    forward_moved: Extent = Extent()
    backward_moved: Extent = Extent()
    recompute_moved: Extent = Extent()
    forward_kernels: int = 0
    backward_kernels: int = 0
    recompute_kernels: int = 0
    largest_segment_saved: Extent = Extent()
    needs_gradient: bool = False


def walk(units: Sequence[CheckpointUnit], entry: str | None) -> PartWork:
    """Apply the rules to all rows in order.

    Parameters
    ----------
    units : sequence of CheckpointUnit
        The rows.
    entry : str or None
        Name of a tensor whose gradient is wanted although nothing below it is trained: received
        activations, or the embedded text.
    """
    work = PartWork()
    needing = set() if entry is None else {entry}
    for unit in units:
        _walk_unit(unit, work, needing)
    work.needs_gradient = units[-1].rows[-1].output.name in needing
    return work


def _walk_unit(unit: CheckpointUnit, work: PartWork, needing: set[str]) -> None:
    saved: dict[str, Extent] = {}
    last_saver = -1
    for index, row in enumerate(unit.rows):
        needy = [tensor for tensor in row.inputs if tensor.is_trained or tensor.name in needing]
        _add_flop(work.forward_flop, row, 1)
        work.forward_kernels += row.num_kernels
        work.forward_moved += _moved(row)
        if not needy:
            continue
        needing.add(row.output.name)
        work.backward_kernels += row.num_kernels * max(1, len(needy))
        work.backward_moved += _moved(row).times(max(1, len(needy)))
        if row.kind == "product":
            _add_flop(work.backward_flop, row, len(needy))
        kept = _kept(row, needy)
        if kept:
            last_saver = index
        for tensor in kept:
            if not tensor.is_parameter:
                saved.setdefault(tensor.storage or tensor.name, tensor.size)
    if unit.is_checkpointed and last_saver >= 0:
        _add_recomputation(unit, work, last_saver)
        work.largest_segment_saved = _larger(work.largest_segment_saved, _total(saved.values()))
        entry = unit.rows[0].inputs[0]
        saved = {entry.storage or entry.name: entry.size}
    for storage, size in saved.items():
        work.saved.setdefault(storage, size)


def _add_recomputation(unit: CheckpointUnit, work: PartWork, last_saver: int) -> None:
    # torch's non-reentrant checkpointing stops as soon as the last kept tensor exists again. A
    # product keeps its factors before it runs, so the last row that keeps anything is not rerun.
    for row in unit.rows[:last_saver]:
        _add_flop(work.recompute_flop, row, 1)
        work.recompute_kernels += row.num_kernels
        work.recompute_moved += _moved(row)


def _kept(row: Row, needy: list[Tensor]) -> tuple[Tensor, ...]:
    if row.kind == "function":
        return row.kept
    names = {tensor.name for tensor in needy}
    left, right = row.inputs
    return tuple(other for tensor, other in ((left, right), (right, left)) if tensor.name in names)


def _moved(row: Row) -> Extent:
    # Traffic of activations: weights are counted apart. What several operators make together is
    # written and read by each of them.
    total = row.output.size
    for tensor in row.inputs:
        if not tensor.is_parameter:
            total += tensor.size
    return total if row.kind == "product" else total.times(row.num_kernels)


def _add_flop(sums: dict[FlopClass, Extent], row: Row, times: int) -> None:
    if row.kind == "product" and times:
        before = sums.get(row.flop_class, Extent())
        sums[row.flop_class] = before + row.flop.times(times)


def _total(extents: Iterable[Extent]) -> Extent:
    total = Extent()
    for extent in extents:
        total += extent
    return total


def _larger(first: Extent, second: Extent) -> Extent:
    # Segments of one model differ by a constant factor only, so any positive batch orders them.
    probe = BatchShape.padded(1, 64)
    return first if first.of(probe) >= second.of(probe) else second
