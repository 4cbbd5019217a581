"""Causal attention of a packed stream, group by group of samples of equal length.

Without padding every group is a dense batch, so torch's fused kernel runs without a mask. One
gradient for all groups is written in one tensor: slicing the stream for each group would have
autograd add up as many streams of zeros.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fedsim.runtime.cohort.packing import AttentionPlan

__all__ = ["packed_attention"]


def packed_attention(
    qkv: Tensor,
    plan: AttentionPlan,
    *,
    num_heads: int,
    num_kv_heads: int,
    scaling: float,
    is_last_only: bool,
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
    is_last_only : bool
        Only each sample's last token asks.

    Returns
    -------
    Tensor
        ``(N, h * head_size)``; ``(S, h * head_size)`` where ``is_last_only``.
    """
    heads = (num_heads, num_kv_heads, scaling, is_last_only)
    result: Tensor = _PackedAttention.apply(qkv, plan, *heads)  # type: ignore[no-untyped-call]
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
        is_last_only: bool,
    ) -> Tensor:
        wants_gradient = ctx.needs_input_grad[0]
        heads = (num_heads, num_kv_heads, num_kv_heads)
        gathered = qkv.index_select(0, plan.order)
        outputs, ctx.saved, start = [], [], 0
        for group in plan.groups:
            stop = start + group.length * group.num_samples
            leaves = _split(gathered[start:stop], group.length, heads, is_last_only)
            with torch.set_grad_enabled(wants_gradient):
                leaves = [leaf.detach().requires_grad_(wants_gradient) for leaf in leaves]
                queries, keys, values = leaves
                output = functional.scaled_dot_product_attention(
                    queries,
                    keys,
                    values,
                    is_causal=not is_last_only and group.length > 1,
                    scale=scaling,
                    enable_gqa=num_heads != num_kv_heads,
                )
            outputs.append(output.detach().transpose(1, 2).flatten(2).flatten(0, 1))
            if wants_gradient:
                ctx.saved.append((output, leaves))
            start = stop
        ctx.plan, ctx.heads, ctx.is_last_only = plan, heads, is_last_only
        ctx.shape = qkv.shape
        inverse = plan.sample_inverse if is_last_only else plan.inverse
        return torch.cat(outputs).index_select(0, inverse)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        plan: AttentionPlan = ctx.plan
        order = plan.sample_order if ctx.is_last_only else plan.order
        gathered = gradient.index_select(0, order)
        result = gradient.new_empty(ctx.shape)
        if ctx.is_last_only:
            result.zero_()  # no other token asked
        start, out_start = 0, 0
        for group, (output, leaves) in zip(plan.groups, ctx.saved, strict=True):
            num_asking = group.num_samples * (1 if ctx.is_last_only else group.length)
            stop = start + group.length * group.num_samples
            own = gathered[out_start : out_start + num_asking]
            own = own.view(group.num_samples, -1, *output.shape[1::2]).transpose(1, 2)
            with torch.enable_grad():
                found = torch.autograd.grad(output, leaves, own)
            parts = _split(result[start:stop], group.length, ctx.heads, ctx.is_last_only)
            for part, leaf_gradient in zip(parts, found, strict=True):
                part.copy_(leaf_gradient)
            start, out_start = stop, out_start + num_asking
        return result.index_select(0, plan.inverse), None, None, None, None, None


def _split(
    tokens: Tensor, length: int, heads: tuple[int, int, int], is_last_only: bool
) -> list[Tensor]:
    """Views ``(n, heads, T, head_size)`` of a group's queries, keys and values."""
    views = tokens.view(-1, length, sum(heads), tokens.shape[-1] // sum(heads))
    queries, keys, values = (
        part.transpose(1, 2) for part in torch.split(views, list(heads), dim=2)
    )
    return [queries[:, :, -1:] if is_last_only else queries, keys, values]
