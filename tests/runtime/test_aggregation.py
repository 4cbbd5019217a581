"""Weighted averages of what clients sent."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")

import torch

from fedsim.runtime.aggregation import weighted_average

Weights = dict[str, float]

weights = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.one_of(st.integers(1, 10_000).map(float), st.floats(1e-3, 1e3)),
    min_size=1,
    max_size=8,
)
seeds = st.integers(0, 2**32)


def drawn(seed: int, *, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """Two tensors of one client."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "A": torch.randn(3, 4, generator=generator).to(dtype),
        "B": (1e3 * torch.randn(5, generator=generator)).to(dtype),
    }


def contributions(found: Weights, seed: int) -> dict[str, dict[str, torch.Tensor]]:
    return {name: drawn(seed + index) for index, name in enumerate(found)}


@given(seeds, st.floats(1e-6, 1e6))
def test_one_client_s_average_is_its_own_tensor(seed: int, weight: float) -> None:
    """Bit by bit, whatever its weight."""
    average = weighted_average({"ann": drawn(seed)}, {"ann": weight})

    assert all(torch.equal(average[name], tensor) for name, tensor in drawn(seed).items())


@given(weights, seeds)
def test_the_average_of_equal_tensors_is_that_tensor(found: Weights, seed: int) -> None:
    """Bit by bit, for any number of clients and any weights: sums run in 64 bits."""
    average = weighted_average({name: drawn(seed) for name in found}, found)

    assert all(torch.equal(average[name], tensor) for name, tensor in drawn(seed).items())


@given(weights, seeds, st.randoms())
def test_the_order_of_arrival_changes_nothing(found: Weights, seed: int, random: Any) -> None:
    """Bit by bit, also where no rounding to a narrower format hides it: ids are sorted."""
    sent = {name: drawn(seed + index, dtype=torch.float64) for index, name in enumerate(found)}
    shuffled = list(sent)
    random.shuffle(shuffled)

    one = weighted_average(sent, found)
    other = weighted_average({name: sent[name] for name in shuffled}, found)

    assert all(torch.equal(one[name], other[name]) for name in one)


@given(weights, seeds)
def test_a_weight_is_a_share_of_those_who_sent(found: Weights, seed: int) -> None:
    """sum of w_k x_k / sum of w_k; weights of clients that sent nothing have no part in it."""
    sent = contributions(found, seed)
    average = weighted_average(sent, found | {"absent": 1e6})

    total = sum(found.values())
    for name in ("A", "B"):
        expected = sum(found[k] / total * sent[k][name].double() for k in sent)
        assert isinstance(expected, torch.Tensor)
        torch.testing.assert_close(average[name], expected.float(), rtol=1e-6, atol=1e-6)


@given(weights, seeds, st.floats(1e-3, 1e3))
def test_weights_have_no_unit(found: Weights, seed: int, factor: float) -> None:
    """Samples or thousands of samples: the average is the same."""
    sent = contributions(found, seed)
    scaled = {name: factor * weight for name, weight in found.items()}

    one, other = weighted_average(sent, found), weighted_average(sent, scaled)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-6, atol=1e-6)


@given(weights, seeds)
def test_an_average_lies_among_what_was_sent(found: Weights, seed: int) -> None:
    """No value is above the largest or below the smallest that a client sent."""
    sent = contributions(found, seed)
    average = weighted_average(sent, found)

    for name, tensor in average.items():
        stacked = torch.stack([sent[k][name] for k in sent])
        assert bool((tensor <= stacked.amax(0) + 1e-4).all())
        assert bool((tensor >= stacked.amin(0) - 1e-4).all())


def test_samples_decide_by_hand() -> None:
    """3 samples of 1.0 and 1 sample of 5.0 average to 2.0, not to 3.0."""
    sent = {"ann": {"x": torch.tensor([1.0])}, "bob": {"x": torch.tensor([5.0])}}

    assert weighted_average(sent, {"ann": 3, "bob": 1})["x"].item() == 2.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_an_average_has_the_format_of_what_was_sent(dtype: torch.dtype) -> None:
    """It goes back over the same link."""
    sent = {name: drawn(seed, dtype=dtype) for seed, name in enumerate(("ann", "bob"))}
    average = weighted_average(sent, {"ann": 1, "bob": 2})

    assert {tensor.dtype for tensor in average.values()} == {dtype}


def test_an_average_leaves_what_was_sent_alone() -> None:
    """The contributions are the clients' and are not written to."""
    sent = {"ann": drawn(1), "bob": drawn(2)}
    weighted_average(sent, {"ann": 1, "bob": 2})

    assert torch.equal(sent["ann"]["A"], drawn(1)["A"])
    assert torch.equal(sent["bob"]["B"], drawn(2)["B"])


@given(weights, seeds, st.floats(0.1, 4))
def test_averaging_factors_misses_what_they_do_together(
    found: Weights, seed: int, scaling: float
) -> None:
    """sum p s B_k A_k - s B A = sum p s (B_k - B)(A_k - A), A and B the averages of the factors.

    It is zero if all A_k or all B_k agree, but not only then.
    """
    ids = sorted(found)
    total = sum(found.values())
    generator = torch.Generator().manual_seed(seed)
    sent = {
        k: {
            "A": torch.randn(2, 6, generator=generator, dtype=torch.float64),
            "B": torch.randn(5, 2, generator=generator, dtype=torch.float64),
        }
        for k in ids
    }
    average = weighted_average(sent, found)

    missed = -scaling * average["B"] @ average["A"]
    expected = torch.zeros(5, 6, dtype=torch.float64)
    for k in ids:
        p = found[k] / total
        missed += p * scaling * sent[k]["B"] @ sent[k]["A"]
        expected += p * scaling * (sent[k]["B"] - average["B"]) @ (sent[k]["A"] - average["A"])

    torch.testing.assert_close(missed, expected, rtol=0, atol=1e-12)


def test_averaging_factors_is_exact_where_one_factor_agrees() -> None:
    """A frozen, shared A leaves nothing to miss; and so, by accident, do some A that differ."""
    shared = drawn(7)["A"].double()
    sent = {k: {"A": shared, "B": torch.randn(5, 3).double()} for k in "abc"}
    average = weighted_average(sent, dict.fromkeys("abc", 1.0))
    product = sum(sent[k]["B"] @ sent[k]["A"] for k in "abc") / 3
    assert isinstance(product, torch.Tensor)
    torch.testing.assert_close(average["B"] @ average["A"], product, rtol=0, atol=1e-12)

    # Rank 1: A = (1, -1, 1, -1) and B = (1, 1, -1, -1) over four clients.
    signs = {"a": (1.0, 1.0), "b": (-1.0, 1.0), "c": (1.0, -1.0), "d": (-1.0, -1.0)}
    crossed = {
        k: {"A": torch.tensor([[a]]), "B": torch.tensor([[b]])} for k, (a, b) in signs.items()
    }
    average = weighted_average(crossed, dict.fromkeys(signs, 1.0))
    assert sum(a * b for a, b in signs.values()) == 0
    assert (average["B"] @ average["A"]).item() == 0
