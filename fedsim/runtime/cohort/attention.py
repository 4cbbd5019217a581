"""Causal attention of a packed stream, group by group of samples of about equal length.

A group is a dense batch, so torch's fused kernel runs without a mask; what stands behind a shorter
sample's last token is seen by nobody and dropped. One gradient for all groups is written in one
tensor: slicing the stream for each would have autograd add up as many streams of zeros.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fedsim.runtime.cohort.packing import AttentionPlan, LengthGroup

__all__ = ["packed_attention"]


def packed_attention(
    qkv: Tensor, plan: AttentionPlan, *, num_heads: int, num_kv_heads: int, scaling: float
) -> Tensor:
    """Attention outputs of a stream.

    Parameters
    ----------
    qkv : Tensor
        ``(N, (h + 2 g) * head_size)``: queries, keys and values of each token.
    plan : AttentionPlan
    num_heads, num_kv_heads : int
        h and g.
    scaling : float
        Factor on the products of queries and keys.

    Returns
    -------
    Tensor
        ``(N, h * head_size)``.
    """
    result: Tensor = _PackedAttention.apply(  # type: ignore[no-untyped-call]
        qkv, plan, num_heads, num_kv_heads, scaling
    )
    return result


class _PackedAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        qkv: Tensor,
        plan: AttentionPlan,
        num_heads: int,
        num_kv_heads: int,
        scaling: float,
    ) -> Tensor:
        wants_gradient = ctx.needs_input_grad[0]
        heads = [num_heads, num_kv_heads, num_kv_heads]
        gathered = qkv.index_select(0, plan.order)
        outputs, ctx.saved = [], []
        for tokens, group in _by_group(gathered, plan):
            with torch.set_grad_enabled(wants_gradient):
                leaves = [
                    leaf.detach().requires_grad_(wants_gradient)
                    for leaf in _split(tokens, group, heads)
                ]
                queries, keys, values = leaves
                output = functional.scaled_dot_product_attention(
                    queries,
                    keys,
                    values,
                    is_causal=True,
                    scale=scaling,
                    enable_gqa=num_heads != num_kv_heads,
                )
            outputs.append(output.detach().transpose(1, 2).flatten(2).flatten(0, 1))
            if wants_gradient:
                ctx.saved.append((output, leaves))
        ctx.plan, ctx.heads = plan, heads
        return torch.cat(outputs).index_select(0, plan.inverse)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        plan: AttentionPlan = ctx.plan
        num_places = len(plan.order)
        # What stands for nothing has no gradient, and gives none to what stands before it.
        gathered = gradient.new_zeros(num_places, gradient.shape[1])
        gathered.index_copy_(0, plan.inverse, gradient)
        width = gradient.shape[1] // ctx.heads[0] * sum(ctx.heads)
        result = gradient.new_empty(num_places, width)
        groups = zip(_by_group(gathered, plan), _by_group(result, plan), ctx.saved, strict=True)
        for (own, group), (tokens, _), (output, leaves) in groups:
            views = own.view(group.num_samples, group.width, ctx.heads[0], -1)
            with torch.enable_grad():
                found = torch.autograd.grad(output, leaves, views.transpose(1, 2))
            for part, leaf_gradient in zip(_split(tokens, group, ctx.heads), found, strict=True):
                part.copy_(leaf_gradient)
        return result.index_select(0, plan.inverse), None, None, None, None


def _by_group(tokens: Tensor, plan: AttentionPlan) -> Iterator[tuple[Tensor, LengthGroup]]:
    """Each group's rows."""
    start = 0
    for group in plan.groups:
        stop = start + group.width * group.num_samples
        yield tokens[start:stop], group
        start = stop


def _split(tokens: Tensor, group: LengthGroup, heads: list[int]) -> list[Tensor]:
    """Views ``(n, heads, T, head_size)`` of a group's queries, keys and values."""
    views = tokens.view(group.num_samples, group.width, sum(heads), -1)
    return [part.transpose(1, 2) for part in torch.split(views, heads, dim=2)]
