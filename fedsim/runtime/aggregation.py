"""Weighted averages of tensors that clients sent."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fedsim.errors import ProtocolError

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

    Raises
    ------
    ProtocolError
        If clients sent different names or shapes.

    Notes
    -----
    Sums run in 64-bit floats over sorted ids: the result does not depend on the order of arrival,
    and the average of equal tensors is that tensor, bit by bit.
    """
    ids = sorted(contributions)
    shapes = {cid: {name: t.shape for name, t in contributions[cid].items()} for cid in ids}
    for client_id in ids[1:]:
        if shapes[client_id] != shapes[ids[0]]:
            raise ProtocolError(
                f"{client_id} sent tensors of other names or shapes than {ids[0]}; a plain average "
                "needs equal ranks, target modules and cuts."
            )
    total = sum(weights[client_id] for client_id in ids)
    averages: dict[str, Tensor] = {}
    for name, first in contributions[ids[0]].items():
        accumulated = torch.zeros_like(first, dtype=torch.float64)
        for client_id in ids:
            share = weights[client_id] / total
            accumulated += share * contributions[client_id][name].to(torch.float64)
        averages[name] = accumulated.to(first.dtype)
    return averages
