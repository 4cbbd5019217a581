"""Weighted averages of tensors that clients sent."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["weighted_average"]


def weighted_average(
    contributions: Mapping[str, Mapping[str, Tensor]], weights: Mapping[str, float]
) -> dict[str, Tensor]:
    """Average of named tensors over clients.

    Parameters
    ----------
    contributions : mapping
        Client id to its named tensors; all have the same names and shapes.
    weights : mapping
        Client id to its weight; they are normalized over those who contributed.

    Notes
    -----
    Sums run in 64-bit floats over sorted ids: the result does not depend on the order of arrival,
    and the average of equal tensors is that tensor, bit by bit.
    """
    ids = sorted(contributions)
    total = sum(weights[client_id] for client_id in ids)
    averages: dict[str, Tensor] = {}
    for name, first in contributions[ids[0]].items():
        accumulated = torch.zeros_like(first, dtype=torch.float64)
        for client_id in ids:
            share = weights[client_id] / total
            accumulated += share * contributions[client_id][name].to(torch.float64)
        averages[name] = accumulated.to(first.dtype)
    return averages
