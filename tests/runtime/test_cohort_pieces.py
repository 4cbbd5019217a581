"""Packed streams, frozen products and attention against the plain way to say them."""

from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional

from fedsim.runtime.cohort.attention import packed_attention
from fedsim.runtime.cohort.frozen_linear import FrozenLinear, has_blocked_weights
from fedsim.runtime.cohort.packing import attention_plan, pack
from tiny import tiny_batch

LENGTHS = [3, 1, 4, 3, 4, 4, 2]


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# --- packing -------------------------------------------------------------------------------------


def test_a_stream_is_the_texts_one_after_the_other() -> None:
    """Client by client, sample by sample, without a pad token."""
    batches = [tiny_batch([4, 9, 1], seed=1), tiny_batch([2, 7], "none", seed=2)]
    packed = pack([(5, batches[0]), (2, batches[1])])

    texts = [
        batch.token_ids[row, : int(batch.last_index[row]) + 1]
        for batch in batches
        for row in range(batch.num_samples)
    ]
    assert torch.equal(packed.token_ids, torch.cat(texts))
    assert packed.positions.tolist() == [p for n in (4, 9, 1, 2, 7) for p in range(n)]
    assert packed.rows.tolist() == [0] * 4 + [1] * 9 + [2] + [0] * 2 + [1] * 7
    assert packed.last.tolist() == [3, 12, 13, 15, 22]
    assert [(s.slot, s.start, s.stop) for s in packed.tokens] == [(5, 0, 14), (2, 14, 23)]
    assert [(s.slot, s.start, s.stop) for s in packed.samples] == [(5, 0, 3), (2, 3, 5)]
    labels = [batch.labels for batch in batches if batch.labels is not None]
    assert packed.labels is not None
    assert torch.equal(packed.labels, torch.cat(labels))


def test_one_batch_for_several_clients_is_that_batch_several_times() -> None:
    """As if each had come with it."""
    batch = tiny_batch([4, 9, 1])
    copied, packed = pack([(0, batch)]).for_slots([0, 3]), pack([(0, batch), (3, batch)])
    assert torch.equal(copied.token_ids, packed.token_ids)
    assert torch.equal(copied.plan.order, packed.plan.order)
    assert (copied.tokens, copied.samples) == (packed.tokens, packed.samples)


@pytest.mark.parametrize(
    ("max_filled", "groups"),
    [
        (0, [(1, 1), (2, 1), (3, 2), (4, 3)]),
        (1, [(2, 2), (3, 2), (4, 3)]),
        (100, [(4, 7)]),
    ],
)
def test_groups_hold_every_token_once(max_filled: int, groups: list[tuple[int, int]]) -> None:
    """By rising length, fewer where places may be filled; there and back is where it was."""
    plan = attention_plan(torch.tensor(LENGTHS), max_filled)
    assert [(g.width, g.num_samples) for g in plan.groups] == groups
    everything = torch.arange(sum(LENGTHS))
    assert len(plan.order) == sum(width * number for width, number in groups)
    assert torch.equal(everything[plan.order][plan.inverse], everything)


# --- attention -----------------------------------------------------------------------------------


@pytest.mark.parametrize("max_filled", [0, 2, 100])
@pytest.mark.parametrize("num_kv_heads", [4, 2])
def test_attention_is_that_of_each_sample_alone(num_kv_heads: int, max_filled: int) -> None:
    """Values and gradients; what fills a group's places changes neither."""
    num_heads, size, scaling = 4, 6, 0.3
    width = (num_heads + 2 * num_kv_heads) * size
    qkv = random(sum(LENGTHS), width).requires_grad_()
    found = packed_attention(
        qkv,
        attention_plan(torch.tensor(LENGTHS), max_filled),
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        scaling=scaling,
    )
    other = qkv.detach().clone().requires_grad_()
    expected = []
    for text in other.split(LENGTHS):
        heads = text.view(len(text), -1, size).transpose(0, 1)
        queries, keys, values = heads.split([num_heads, num_kv_heads, num_kv_heads])
        repeats = num_heads // num_kv_heads
        keys, values = keys.repeat_interleave(repeats, 0), values.repeat_interleave(repeats, 0)
        scores = scaling * queries @ keys.transpose(1, 2)
        hidden = torch.ones(len(text), len(text), dtype=torch.bool).triu(1)
        weights = scores.masked_fill(hidden, float("-inf")).softmax(-1)
        expected.append((weights @ values).transpose(0, 1).flatten(1))
    reference = torch.cat(expected)
    torch.testing.assert_close(found, reference)

    weights = random(*found.shape, seed=1)
    (found * weights).sum().backward()
    (reference * weights).sum().backward()
    torch.testing.assert_close(qkv.grad, other.grad)


# --- frozen products -----------------------------------------------------------------------------


@pytest.mark.parametrize("has_residual", [False, True])
@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("is_transposed", [False, True])
@pytest.mark.parametrize("is_blocked", [False, True])
def test_a_frozen_product_is_a_linear_layer(
    is_blocked: bool, is_transposed: bool, has_bias: bool, has_residual: bool
) -> None:
    """Values and gradients of inputs and residual stream, however the weight is stored."""
    weight, bias = random(28, 16, dtype=torch.float32), random(28, seed=1, dtype=torch.float32)
    if is_blocked and not has_blocked_weights(weight):
        pytest.skip("this machine has no blocked weights")
    linear = FrozenLinear(
        weight.t().contiguous() if is_transposed else weight,
        bias if has_bias else None,
        is_transposed=is_transposed,
        is_blocked=is_blocked,
    )
    assert (linear.num_inputs, linear.num_outputs) == (16, 28)
    inputs, residual = (
        random(11, width, seed=width, dtype=torch.float32).requires_grad_() for width in (16, 28)
    )
    found = linear(inputs, residual if has_residual else None)
    expected = functional.linear(inputs, weight, bias if has_bias else None)
    if has_residual:
        expected = expected + residual
    torch.testing.assert_close(found, expected)

    weights = random(11, 28, seed=3, dtype=torch.float32)
    wanted = [inputs, residual] if has_residual else [inputs]
    one = torch.autograd.grad((found * weights).sum(), wanted)
    other = torch.autograd.grad((expected * weights).sum(), wanted)
    torch.testing.assert_close(one, other)
