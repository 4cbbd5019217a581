"""Losses: cross entropy on private labels, distillation on public logits.

A *target row* is what one value of the loss belongs to: a sample of a classification, a position of
a language model.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fedsim.runtime.options import RunOptions

__all__ = ["classification_loss", "distillation_loss", "language_model_loss", "real_positions"]


def classification_loss(pooled: Tensor, labels: Tensor, num_samples: int) -> Tensor:
    """Cross entropy of ``(n, C)`` logits, summed over n and divided by the batch's samples."""
    return functional.cross_entropy(pooled.float(), labels, reduction="sum") / num_samples


def language_model_loss(
    logits: Tensor, token_ids: Tensor, last_index: Tensor, num_targets: int
) -> Tensor:
    """Next-token cross entropy of ``(n, T, V)`` logits over the batch's real next tokens."""
    positions = torch.arange(token_ids.shape[1] - 1, device=token_ids.device)
    is_target = positions[None, :] < last_index[:, None]
    losses = functional.cross_entropy(
        logits[:, :-1].float().transpose(1, 2), token_ids[:, 1:], reduction="none"
    )
    return (losses * is_target).sum() / max(1, num_targets)


def distillation_loss(
    student: Tensor, teacher: Tensor, num_rows: int, options: RunOptions
) -> Tensor:
    """Distance of ``(n, C)`` logits to the teacher's, averaged over the batch's target rows.

    References
    ----------
    Hinton, Vinyals, Dean (2015), arXiv 1503.02531, with the factor ``T^2``; FedMD (Li, Wang 2019),
    arXiv 1910.03581, for the mean absolute difference.
    """
    student, teacher = student.float(), teacher.float()
    if options.distillation_loss == "mae":
        return (student - teacher).abs().sum() / (num_rows * student.shape[-1])
    temperature = options.distillation_temperature
    divergence = functional.kl_div(
        functional.log_softmax(student / temperature, dim=-1),
        functional.log_softmax(teacher / temperature, dim=-1),
        reduction="sum",
        log_target=True,
    )
    return temperature**2 * divergence / num_rows


def real_positions(last_index: Tensor, length: int) -> Tensor:
    """Mask ``(B, T)`` of the positions that hold a real token."""
    return torch.arange(length, device=last_index.device)[None, :] <= last_index[:, None]
