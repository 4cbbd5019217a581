"""Operations of secure aggregation and differential privacy, by hand and by their order of growth.

Letters are those of Bonawitz et al. (CCS 2017): n clients, m values, threshold t, d drop out.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim.cost.flop import operation_flop
from fedsim.protocol import FRAMEWORKS
from fedsim.protocol.operation import AgreeKeys, MaskVector
from fedsim.protocol.privacy import masked_values, with_privacy
from fedsim.spec.privacy import PrivacySpec
from hidden_round import (
    PLAN,
    SECAGG,
    SECAGG_PLUS,
    TRAINING,
    client_flop,
    counted,
    framework,
    protected,
    server_operations,
    toy,
)

#: X25519 in products (32) and sums (4) of 256-bit numbers: 255 ladder steps of 5 products, 4
#: squares, one product with a small constant (8) and 8 sums; 266 products for the last inverse.
KEY_PRODUCT = 255 * (9 * 32 + 8 + 8 * 4) + 266 * 32


def test_a_key_agreement_is_its_specification() -> None:
    """RFC 7748: 255 ladder steps and an inverse."""
    assert operation_flop(AgreeKeys(1), TRAINING) == KEY_PRODUCT == 92_152


@given(st.integers(1, 3000), st.integers(0, 10**6))
def test_a_client_of_secagg_computes_n_squared_and_m_n(thirds: int, m: int) -> None:
    """Bonawitz et al., section 7.1: O(n^2 + m n).

    2n key agreements; two secrets in n shares of degree t - 1 = 2n/3, 36 operations a coefficient,
    are 48 n^2; n - 1 ciphertexts of 8 words, there and back, 6 a word; n masks of 6 a value and 2
    for its quantization.
    """
    n = 3 * thirds
    if n < 2:
        return
    expected = 2 * n * KEY_PRODUCT + 48 * n * n + 96 * (n - 1) + m * (2 + 6 * n)

    assert client_flop(protected(SECAGG, n, m)) == expected


@given(st.integers(4, 10**8))
def test_a_client_of_secagg_plus_computes_the_logarithm_squared_and_m_log_n(n: int) -> None:
    """Bell et al.: O(log^2 n + m log n), with k, t from log2 n alone."""
    m, k = 10, min(2 * ceil(log2(n)), n - 1)
    t = 2 * k // 3 + 1
    expected = (2 + 2 * k) * KEY_PRODUCT + 72 * k * (t - 1) + 96 * k + m * (2 + 6 * (k + 1))

    assert client_flop(protected(SECAGG_PLUS, n, m)) == expected


@given(st.integers(1, 300), st.integers(0, 10**4), st.data())
def test_the_server_of_secagg_computes_m_n_squared_at_worst(
    thirds: int, m: int, data: st.DataObject
) -> None:
    """Bonawitz et al., section 7.2: n secrets in O(n^2), and O(m n^2) masks where clients drop out.

    With t = 2n/3 + 1: the coefficients (2 t (t - 1) + 3 (t - 1) products and an inverse of 384),
    then 36 for each of n t shares. The masks of n - d clients and of d (n - d) pairs.
    """
    n = 3 * thirds
    if n < 2:
        return
    t = 2 * thirds + 1
    d = data.draw(st.integers(0, n - t))
    expected = 32 * ((2 * t + 3) * (t - 1) + 384) + 36 * n * t
    expected += d * (n - d) * KEY_PRODUCT + m * (2 + 6 * (n - d) * (1 + d))

    assert protected(SECAGG, n, m, d)["sa5"]["flop"] == expected


@given(st.integers(6, 30), st.integers(1, 3))
def test_only_masks_between_those_who_came_and_those_who_did_not_are_left(n: int, d: int) -> None:
    """Pairs of a complete graph, one by one; half of it has the same share of them, rounded up."""
    pairs = sum(1 for u in range(n) for v in range(u) if (u < d) != (v < d))
    complete = with_privacy(framework(toy(1)), SECAGG, n, min(d, n - SECAGG.threshold(n)))(PLAN)
    if d <= n - SECAGG.threshold(n):
        assert AgreeKeys(pairs) in server_operations(complete, "sa5")
        assert MaskVector(1, n - d + pairs) in server_operations(complete, "sa5")
    sparse = replace(SECAGG_PLUS, neighbors=4)
    if sparse.num_shares(n) * (n - d) >= sparse.threshold(n) * n:
        protocol = with_privacy(framework(toy(1)), sparse, n, d)(PLAN)
        assert AgreeKeys(ceil(pairs * 4 / (n - 1))) in server_operations(protocol, "sa5")


@pytest.mark.parametrize("name", ["fedllm", "split_fedllm", "kd_fedllm"])
def test_differential_privacy_sends_nothing(name: str) -> None:
    """Clipping is 4 a value of a change and 3 of a logit; noise is 13, at one of the two places."""
    plain = counted(FRAMEWORKS[name](PLAN))
    values = masked_values(with_privacy(FRAMEWORKS[name], SECAGG, 3)(PLAN))
    per_value = 3 if name == "kd_fedllm" else 4
    for kind, client, server in (("central", 0, 13), ("local", 13, 0)):
        spec = PrivacySpec(differential_privacy=kind)  # type: ignore[arg-type]
        rows = counted(with_privacy(FRAMEWORKS[name], spec, 1)(PLAN))

        assert rows.pop("dp1") == {"up": 0, "down": 0, "flop": values * (per_value + client)}
        assert rows.pop("dp2", {}).get("flop", 0) == values * server
        assert rows == plain
