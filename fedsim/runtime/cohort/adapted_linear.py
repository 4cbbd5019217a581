"""A frozen product for everybody, and to each client's rows its own low-rank one.

Rows stand client by client, so each client's product is a narrow one on a slice. Gradients of the
factors are added where the optimizer reads them; autograd hears of the inputs' alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fedsim.runtime.cohort.adapter_bank import LoraFactors
from fedsim.runtime.cohort.frozen_linear import FrozenLinear
from fedsim.runtime.cohort.packing import RowSpan

__all__ = ["ClientRows", "adapted_product", "head_product"]


@dataclass(frozen=True)
class ClientRows:
    """Whose rows a stream holds, and what their adapters need to know.

    Attributes
    ----------
    spans : tuple of RowSpan
    ranks : sequence of int
        By slot.
    scalings : sequence of float
        By slot; in training times what dropout multiplies the kept values by.
    """

    spans: tuple[RowSpan, ...]
    ranks: Sequence[int]
    scalings: Sequence[float]


def adapted_product(
    inputs: Tensor,
    linear: FrozenLinear,
    factors: LoraFactors,
    rows: ClientRows,
    mask: Tensor | None,
    residual: Tensor | None = None,
) -> Tensor:
    """``x W + b + s (mask * x) A^T B^T`` for each client's rows, added to a residual stream.

    Parameters
    ----------
    inputs : Tensor
        ``(N, in)``.
    linear : FrozenLinear
    factors : LoraFactors
    rows : ClientRows
    mask : Tensor or None
        ``(N, in)``, bool: what dropout keeps. Its factor is part of the rows' scalings.
    residual : Tensor or None
        ``(N, out)``.
    """
    result: Tensor = _AdaptedProduct.apply(  # type: ignore[no-untyped-call]
        inputs, factors.a, factors.b, residual, linear, factors, rows, mask
    )
    return result


def head_product(
    inputs: Tensor, head: Tensor, gradient: Tensor, spans: tuple[RowSpan, ...]
) -> Tensor:
    """``(S, d)`` times each client's head ``(K, C, d)``."""
    result: Tensor = _HeadProduct.apply(inputs, head, gradient, spans)  # type: ignore[no-untyped-call]
    return result


class _AdaptedProduct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        a: Tensor,
        b: Tensor,
        residual: Tensor | None,
        linear: FrozenLinear,
        factors: LoraFactors,
        rows: ClientRows,
        mask: Tensor | None,
    ) -> Tensor:
        output = linear.product(inputs, residual)
        kept = inputs if mask is None else inputs * mask
        inner = inputs.new_empty(len(inputs), a.shape[1])
        for slot, own, rank in _slices(rows):
            torch.mm(kept[own], a[slot, :rank].t(), out=inner[own, :rank])
            output[own].addmm_(inner[own, :rank], b[slot, :rank], alpha=rows.scalings[slot])
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(kept, inner)
            ctx.own = (a, b, linear, factors, rows, mask)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        kept, inner = ctx.saved_tensors
        a, b, linear, factors, rows, mask = ctx.own
        gradient = gradient.contiguous()
        found, branch = None, None
        if ctx.needs_input_grad[0]:
            found = linear.input_gradient(gradient)
            # Dropout is undone before the branch meets the frozen product's gradient.
            branch = found if mask is None else torch.empty_like(kept)
        for slot, own, rank in _slices(rows):
            scaling = rows.scalings[slot]
            inner_gradient = (gradient[own] @ b[slot, :rank].t()).mul_(scaling)
            factors.b_gradient[slot, :rank].addmm_(
                inner[own, :rank].t(), gradient[own], alpha=scaling
            )
            factors.a_gradient[slot, :rank].addmm_(inner_gradient.t(), kept[own])
            if branch is None:
                continue
            if mask is None:
                branch[own].addmm_(inner_gradient, a[slot, :rank])
            else:
                torch.mm(inner_gradient, a[slot, :rank], out=branch[own])
        if found is not None and branch is not None and mask is not None:
            found.add_(branch.mul_(mask))
        residual = gradient if ctx.needs_input_grad[3] else None
        return found, None, None, residual, None, None, None, None


class _HeadProduct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, head: Tensor, gradient: Tensor, spans: tuple[RowSpan, ...]
    ) -> Tensor:
        output = inputs.new_empty(len(inputs), head.shape[1])
        for span in spans:
            own = slice(span.start, span.stop)
            torch.mm(inputs[own], head[span.slot].t(), out=output[own])
        ctx.save_for_backward(inputs)
        ctx.own = (head, gradient, spans)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, None, None]:
        (inputs,) = ctx.saved_tensors
        head, head_gradient, spans = ctx.own
        found = torch.empty_like(inputs) if ctx.needs_input_grad[0] else None
        for span in spans:
            own = slice(span.start, span.stop)
            head_gradient[span.slot].addmm_(gradient[own].t(), inputs[own])
            if found is not None:
                torch.mm(gradient[own], head[span.slot], out=found[own])
        return found, None, None, None


def _slices(rows: ClientRows) -> list[tuple[int, slice, int]]:
    return [(span.slot, slice(span.start, span.stop), rows.ranks[span.slot]) for span in rows.spans]
