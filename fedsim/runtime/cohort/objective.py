"""Losses of a stream: one value a target row, each divided by what its own client averages over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fedsim.errors import ProtocolError
from fedsim.runtime.cohort.packing import PackedBatch, RowSpan
from fedsim.runtime.options import RunOptions

__all__ = ["TargetRows", "distillation_losses", "target_rows", "training_losses"]


@dataclass(frozen=True)
class TargetRows:
    """The rows of the logits that a loss or a result is made of.

    Attributes
    ----------
    spans : tuple of RowSpan
        Whose rows they are.
    wanted : Tensor or None
        Their places in the stream; None where they are all of it.
    targets : Tensor or None
        Labels, or next tokens.
    weights : Tensor
        ``(rows,)``: one over the number of rows of the client.
    batch : PackedBatch
    """

    spans: tuple[RowSpan, ...]
    wanted: Tensor | None
    targets: Tensor | None
    weights: Tensor
    batch: PackedBatch


def target_rows(batch: PackedBatch, is_pooled: bool, *, is_training_loss: bool) -> TargetRows:
    """Samples of a classification; of a language model next tokens, or all tokens."""
    device = batch.token_ids.device
    if is_pooled:
        return TargetRows(batch.samples, None, batch.labels, _weights(batch.samples, device), batch)
    if not is_training_loss:
        return TargetRows(batch.tokens, None, None, _weights(batch.tokens, device), batch)
    # Every token but a sample's last has a next one.
    is_target = torch.ones(batch.num_tokens, dtype=torch.bool, device=device)
    is_target[batch.last] = False
    wanted = torch.nonzero(is_target).flatten()
    spans, start = [], 0
    for tokens, samples in zip(batch.tokens, batch.samples, strict=True):
        stop = start + (tokens.stop - tokens.start) - (samples.stop - samples.start)
        spans.append(RowSpan(tokens.slot, start, stop))
        start = stop
    owned = tuple(spans)
    return TargetRows(owned, wanted, batch.token_ids[wanted + 1], _weights(owned, device), batch)


def training_losses(logits: Tensor, rows: TargetRows) -> Tensor:
    """Cross entropy of each row, weighted.

    Raises
    ------
    ProtocolError
        If a classification's batch has no labels.
    """
    if rows.targets is None:
        raise ProtocolError("a batch without labels cannot be trained on; it can be distilled.")
    losses = functional.cross_entropy(logits.float(), rows.targets, reduction="none")
    return losses * rows.weights


def distillation_losses(
    logits: Tensor, rows: TargetRows, teachers: Mapping[int, Tensor | None], options: RunOptions
) -> Tensor:
    """Distance of each row to the teacher's, weighted; see :mod:`fedsim.runtime.objective`.

    Raises
    ------
    ProtocolError
        If a client has a batch and no teacher, or one with another number of rows.
    """
    student = logits.float()
    teacher = torch.cat([_teacher_rows(rows, place, teachers) for place in range(_num(rows))])
    teacher = teacher.float()
    if options.distillation_loss == "mae":
        return (student - teacher).abs().mean(dim=-1) * rows.weights
    temperature = options.distillation_temperature
    divergence = functional.kl_div(
        functional.log_softmax(student / temperature, dim=-1),
        functional.log_softmax(teacher / temperature, dim=-1),
        reduction="none",
        log_target=True,
    )
    return temperature**2 * divergence.sum(dim=-1) * rows.weights


def _num(rows: TargetRows) -> int:
    return len(rows.spans)


def _teacher_rows(rows: TargetRows, place: int, teachers: Mapping[int, Tensor | None]) -> Tensor:
    span, samples = rows.spans[place], rows.batch.samples[place]
    teacher = teachers.get(span.slot)
    if teacher is None:
        raise ProtocolError(f"client {span.slot} of the cohort has a batch and no teacher.")
    if teacher.dim() == 3:  # of a language model, padded
        lengths = rows.batch.lengths[samples.start : samples.stop]
        places = torch.arange(teacher.shape[1], device=teacher.device)
        teacher = teacher[places[None, :] < lengths[:, None]]
    if len(teacher) != span.stop - span.start:
        raise ProtocolError(
            f"client {span.slot} of the cohort: {span.stop - span.start} target rows and "
            f"a teacher of {len(teacher)} rows."
        )
    return teacher


def _weights(spans: tuple[RowSpan, ...], device: torch.device) -> Tensor:
    counts = torch.tensor([span.stop - span.start for span in spans], device=device)
    return torch.repeat_interleave(1.0 / counts.clamp(min=1), counts)
