"""What crosses a cut: activations, labels and last-token indices as tensors of one message."""

from __future__ import annotations

import torch
from torch import Tensor

from fedsim.runtime.text_batch import TextBatch
from fedsim.runtime.trainer import groups_of
from fedsim.spec.dtype import index_dtype
from fedsim.spec.plan import ClientPlan

__all__ = ["activation_message", "pack_tokens", "received_batch", "unpack_tokens"]


def activation_message(
    outputs: list[Tensor] | Tensor, batch: TextBatch, plan: ClientPlan
) -> dict[str, Tensor]:
    """Tensors of step c2 ahead of its codec.

    From groups of activations, or from what :func:`pack_tokens` makes of them.
    """
    training = plan.training
    compute_dtype = getattr(torch, training.numerics.compute_dtype)
    if training.head.kind == "classification":
        assert batch.labels is not None
        labels, num_labels = batch.labels, training.head.num_classes
    else:
        labels = batch.token_ids
        num_labels = training.model.vocab_size
        if not batch.is_padded:
            labels = pack_tokens(
                [labels[chosen, :length].unsqueeze(-1) for length, chosen in groups_of(batch)],
                batch,
            ).squeeze(-1)
    max_tokens = plan.train_epochs[0].max_tokens
    packed = outputs if isinstance(outputs, Tensor) else pack_tokens(outputs, batch)
    return {
        "activations": packed.to(compute_dtype),
        "labels": labels.to(getattr(torch, index_dtype(num_labels))),
        "last_index": batch.last_index.to(getattr(torch, index_dtype(max_tokens))),
    }


def received_batch(
    tensors: dict[str, Tensor], *, is_padded: bool, is_classifier: bool
) -> TextBatch:
    """The server's view of a batch: labels and lengths, and no text for a classification."""
    last_index = tensors["last_index"].to(torch.int64)
    labels = tensors["labels"].to(torch.int64)
    num_samples = len(last_index)
    width = int(tensors["activations"].shape[1]) if is_padded else int(last_index.max()) + 1
    if is_classifier:
        # Only the shape is read: a classifying server never sees token ids.
        ids = torch.zeros((num_samples, width), dtype=torch.int64, device=labels.device)
        return TextBatch(ids, last_index, labels, is_padded)
    if is_padded:
        return TextBatch(labels, last_index, None, is_padded)
    ids = torch.zeros((num_samples, width), dtype=torch.int64, device=labels.device)
    ids[_real(last_index, width)] = labels
    return TextBatch(ids, last_index, None, is_padded)


def pack_tokens(groups: list[Tensor], batch: TextBatch) -> Tensor:
    """One tensor of all groups: ``(B, T, d)`` padded, ``(tokens, d)`` in sample order otherwise."""
    if batch.is_padded:
        return groups[0]
    lengths = batch.last_index + 1
    offsets = torch.cumsum(lengths, 0) - lengths
    packed = groups[0].new_empty(int(lengths.sum()), groups[0].shape[-1])
    for tensor, (length, chosen) in zip(groups, groups_of(batch), strict=True):
        where = offsets[chosen][:, None] + torch.arange(length, device=lengths.device)
        packed[where.flatten()] = tensor.detach().flatten(0, 1)
    return packed


def unpack_tokens(packed: Tensor, batch: TextBatch) -> list[Tensor]:
    """The groups of :func:`pack_tokens` again."""
    if batch.is_padded:
        return [packed]
    lengths = batch.last_index + 1
    offsets = torch.cumsum(lengths, 0) - lengths
    return [
        packed[offsets[chosen][:, None] + torch.arange(length, device=lengths.device)]
        for length, chosen in groups_of(batch)
    ]


def _real(last_index: Tensor, width: int) -> Tensor:
    return torch.arange(width, device=last_index.device)[None, :] <= last_index[:, None]
