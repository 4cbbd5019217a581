"""Batches of several clients as one stream of tokens without any padding.

Tokens stand client by client, sample by sample. This file knows where everything is; it computes
nothing with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from fedsim.runtime.text_batch import TextBatch

__all__ = ["AttentionPlan", "LengthGroup", "PackedBatch", "RowSpan", "attention_plan", "pack"]

#: Places of a group that may stand for nothing: about as long as one more call of the kernel takes.
MAX_FILLED: Final = 96


@dataclass(frozen=True, slots=True)
class RowSpan:
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
    """Samples that attend together: ``num_samples`` of up to ``width`` tokens."""

    width: int
    num_samples: int


@dataclass(frozen=True)
class AttentionPlan:
    """In which order attention takes the tokens.

    Attributes
    ----------
    groups : tuple of LengthGroup
        One after the other, by rising length.
    order : Tensor
        ``(M,)``, M >= N: place in the stream of what stands in each place of the groups. Behind a
        shorter sample's last token stands some token, which causal attention shows to nobody.
    inverse : Tensor
        ``(N,)``: place in the groups of each token of the stream.
    """

    groups: tuple[LengthGroup, ...]
    order: Tensor
    inverse: Tensor


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
    tokens, samples : tuple of RowSpan
        Whose tokens and whose samples they are.
    plan : AttentionPlan
    """

    token_ids: Tensor
    positions: Tensor
    rows: Tensor
    lengths: Tensor
    labels: Tensor | None
    tokens: tuple[RowSpan, ...]
    samples: tuple[RowSpan, ...]
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
            tokens=_equal_spans(slots, num_tokens),
            samples=_equal_spans(slots, num_samples),
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
        tokens=_spans(slots, [len(place) for place in places]),
        samples=_spans(slots, [len(own) for own in lengths]),
        plan=attention_plan(all_lengths),
    )


def attention_plan(lengths: Tensor, max_filled: int = MAX_FILLED) -> AttentionPlan:
    """Group samples of equal or nearly equal length.

    Parameters
    ----------
    lengths : Tensor
        ``(S,)``.
    max_filled : int
        Places that a group may fill for nothing, so that there are fewer groups.
    """
    sample_order = torch.argsort(lengths, stable=True)
    by_length = lengths[sample_order]
    groups = _groups(by_length.tolist(), max_filled)
    device = lengths.device
    widths = torch.repeat_interleave(
        torch.tensor([group.width for group in groups], device=device),
        torch.tensor([group.num_samples for group in groups], device=device),
    )
    starts = (torch.cumsum(lengths, 0) - lengths)[sample_order]
    num_places = int(widths.sum())
    within = torch.arange(num_places, device=device)
    within = within - torch.repeat_interleave(torch.cumsum(widths, 0) - widths, widths)
    is_token = within < torch.repeat_interleave(by_length, widths)
    order = torch.repeat_interleave(starts, widths) + within * is_token
    inverse = torch.empty(int(lengths.sum()), dtype=torch.int64, device=device)
    inverse[order[is_token]] = torch.arange(num_places, device=device)[is_token]
    return AttentionPlan(tuple(groups), order, inverse)


def _groups(sorted_lengths: Sequence[int], max_filled: int) -> list[LengthGroup]:
    groups: list[LengthGroup] = []
    width, num_samples, num_tokens = 0, 0, 0
    for length in sorted_lengths:
        if num_samples and length * num_samples - num_tokens > max_filled:
            groups.append(LengthGroup(width, num_samples))
            num_samples, num_tokens = 0, 0
        width, num_samples, num_tokens = length, num_samples + 1, num_tokens + length
    groups.append(LengthGroup(width, num_samples))
    return groups


def _spans(slots: Sequence[int], sizes: Sequence[int]) -> tuple[RowSpan, ...]:
    found, start = [], 0
    for slot, size in zip(slots, sizes, strict=True):
        found.append(RowSpan(slot, start, start + size))
        start += size
    return tuple(found)


def _equal_spans(slots: Sequence[int], size: int) -> tuple[RowSpan, ...]:
    return _spans(slots, [size] * len(slots))
