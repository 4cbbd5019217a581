"""Batches of several clients as one stream of tokens without any padding.

Tokens stand client by client, sample by sample. This file knows where everything is; it computes
nothing with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fedsim.runtime.text_batch import TextBatch

__all__ = ["AttentionPlan", "LengthGroup", "PackedBatch", "Segment", "attention_plan", "pack"]


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive rows that belong to one client.

    Attributes
    ----------
    slot : int
        The client's place in the cohort.
    start, stop : int
        Its rows.
    """

    slot: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class LengthGroup:
    """Samples of equal length that attend together: ``num_samples`` of ``length`` tokens."""

    length: int
    num_samples: int


@dataclass(frozen=True)
class AttentionPlan:
    """In which order attention takes the tokens.

    Attributes
    ----------
    groups : tuple of LengthGroup
        One after the other, by rising length.
    order : Tensor
        ``(N,)`` place in the stream of each token, groups one after the other.
    inverse : Tensor
        ``(N,)`` place in the groups of each token of the stream.
    sample_order, sample_inverse : Tensor
        ``(S,)`` the same of samples.
    """

    groups: tuple[LengthGroup, ...]
    order: Tensor
    inverse: Tensor
    sample_order: Tensor
    sample_inverse: Tensor


@dataclass(frozen=True)
class PackedBatch:
    """Several clients' batches.

    Attributes
    ----------
    token_ids, positions, rows : Tensor
        ``(N,)`` each token's id, its place in its sample, and its sample's place in the client's
        batch.
    lengths : Tensor
        ``(S,)`` tokens of each sample.
    labels : Tensor or None
        ``(S,)``; None where some batch has none.
    tokens, samples : tuple of Segment
        Whose tokens and whose samples they are.
    plan : AttentionPlan
    """

    token_ids: Tensor
    positions: Tensor
    rows: Tensor
    lengths: Tensor
    labels: Tensor | None
    tokens: tuple[Segment, ...]
    samples: tuple[Segment, ...]
    plan: AttentionPlan

    @property
    def num_tokens(self) -> int:
        """N."""
        return len(self.token_ids)

    @property
    def last(self) -> Tensor:
        """``(S,)`` place in the stream of each sample's last token."""
        return torch.cumsum(self.lengths, 0) - 1

    @property
    def slots(self) -> list[int]:
        """The clients, in the order of their rows."""
        return [segment.slot for segment in self.tokens]

    def for_slots(self, slots: Sequence[int]) -> PackedBatch:
        """One client's batch as that of several: the same samples once for each."""
        num, num_tokens, num_samples = len(slots), self.num_tokens, len(self.lengths)
        lengths = self.lengths.repeat(num)
        return replace(
            self,
            token_ids=self.token_ids.repeat(num),
            positions=self.positions.repeat(num),
            rows=self.rows.repeat(num),
            lengths=lengths,
            labels=None if self.labels is None else self.labels.repeat(num),
            tokens=_equal_segments(slots, num_tokens),
            samples=_equal_segments(slots, num_samples),
            plan=attention_plan(lengths),
        )


def pack(batches: Sequence[tuple[int, TextBatch]]) -> PackedBatch:
    """Batches by slot as one stream, padding left out."""
    lengths = [batch.last_index + 1 for _, batch in batches]
    masks = [
        torch.arange(batch.token_ids.shape[1], device=batch.token_ids.device) <= last[:, None]
        for _, batch in batches
        for last in [batch.last_index]
    ]
    places = [torch.nonzero(mask) for mask in masks]
    labels = [batch.labels for _, batch in batches if batch.labels is not None]
    slots = [slot for slot, _ in batches]
    all_lengths = torch.cat(lengths)
    return PackedBatch(
        token_ids=torch.cat(
            [batch.token_ids[mask] for (_, batch), mask in zip(batches, masks, strict=True)]
        ),
        positions=torch.cat([place[:, 1] for place in places]),
        rows=torch.cat([place[:, 0] for place in places]),
        lengths=all_lengths,
        labels=torch.cat(labels) if len(labels) == len(batches) else None,
        tokens=_segments(slots, [len(place) for place in places]),
        samples=_segments(slots, [len(own) for own in lengths]),
        plan=attention_plan(all_lengths),
    )


def attention_plan(lengths: Tensor) -> AttentionPlan:
    """Group samples of equal length."""
    sample_order = torch.argsort(lengths, stable=True)
    by_length = lengths[sample_order]
    starts = (torch.cumsum(lengths, 0) - lengths)[sample_order]
    num_tokens = int(lengths.sum())
    within = torch.arange(num_tokens, device=lengths.device)
    within = within - torch.repeat_interleave(torch.cumsum(by_length, 0) - by_length, by_length)
    order = torch.repeat_interleave(starts, by_length) + within
    values, counts = torch.unique_consecutive(by_length, return_counts=True)
    groups = zip(values.tolist(), counts.tolist(), strict=True)
    return AttentionPlan(
        tuple(LengthGroup(length, count) for length, count in groups),
        order,
        _inverse(order),
        sample_order,
        _inverse(sample_order),
    )


def _inverse(order: Tensor) -> Tensor:
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(len(order), device=order.device)
    return inverse


def _segments(slots: Sequence[int], sizes: Sequence[int]) -> tuple[Segment, ...]:
    found, start = [], 0
    for slot, size in zip(slots, sizes, strict=True):
        found.append(Segment(slot, start, start + size))
        start += size
    return tuple(found)


def _equal_segments(slots: Sequence[int], size: int) -> tuple[Segment, ...]:
    return _segments(slots, [size] * len(slots))
