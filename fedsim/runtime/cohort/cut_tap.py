"""Where Split-FedLLM's cut would be: what crosses it is rounded as it would be sent, and shown.

The server's copy for each client (V1) makes the update of both sides together that of the whole
model, so one pass computes it; the tap lets the caller meter what two parties would exchange.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fedsim.runtime.cohort.packing import Segment

__all__ = ["CutTap", "cross_cut"]


@dataclass(frozen=True)
class CutTap:
    """A cut and who watches it.

    Attributes
    ----------
    position : int
        Half-blocks on the client, as in :class:`fedsim.spec.plan.Cut`.
    payload_dtype : torch.dtype
        In which activations and gradients cross.
    on_activations, on_gradients : callable or None
        ``(slot, tensor)`` for each client, ``(tokens, d)`` samples one after the other.
    """

    position: int
    payload_dtype: torch.dtype
    on_activations: Callable[[int, Tensor], None] | None = None
    on_gradients: Callable[[int, Tensor], None] | None = None


def cross_cut(hidden: Tensor, segments: tuple[Segment, ...], cut: CutTap) -> Tensor:
    """The stream behind the cut."""
    result: Tensor = _Crossing.apply(hidden, segments, cut)  # type: ignore[no-untyped-call]
    return result


class _Crossing(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, segments: tuple[Segment, ...], cut: CutTap) -> Tensor:
        ctx.own = (segments, cut)
        sent = hidden.to(cut.payload_dtype)
        _show(sent, segments, cut.on_activations)
        return sent.to(hidden.dtype) if sent.dtype != hidden.dtype else hidden.view_as(hidden)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        segments, cut = ctx.own
        sent = gradient.to(cut.payload_dtype)
        _show(sent, segments, cut.on_gradients)
        return sent.to(gradient.dtype), None, None


def _show(
    tensor: Tensor, segments: tuple[Segment, ...], show: Callable[[int, Tensor], None] | None
) -> None:
    if show is None:
        return
    for segment in segments:
        show(segment.slot, tensor[segment.start : segment.stop].detach())
