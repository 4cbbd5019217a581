"""Secure aggregation and differential privacy: what is added to a round, counted by hand.

Letters are those of Bonawitz et al. (CCS 2017): n clients, m values, a_K = a_S = 32 B.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim.errors import ProtocolError, ScenarioError
from fedsim.protocol import FEDLLM, FRAMEWORKS, KD_FEDLLM, SPLIT_FEDLLM, kd_fedllm
from fedsim.protocol.operation import Content, InferLogits
from fedsim.protocol.payload import Payload, TensorSpec, masked_payload
from fedsim.protocol.privacy import PRIVACY_STEPS, masked_values, with_privacy
from fedsim.protocol.step import (
    Compute,
    Direction,
    Each,
    Gather,
    Once,
    Site,
    Transfer,
    leaf_steps,
    step_labels,
)
from fedsim.spec.batch import BatchShape, TextLengths
from fedsim.spec.plan import Numerics
from fedsim.spec.privacy import PrivacySpec
from fedsim.spec.tuning import LoraTuning
from hidden_round import (
    PLAN,
    SECAGG,
    SECAGG_PLUS,
    TRAINING,
    WHOLE,
    counted,
    exchanged,
    framework,
    protected,
    toy,
)


def test_four_clients_of_secagg_by_hand() -> None:
    """3 neighbors, 4 shares, 3 of which recover.

    Keys: 2 x 32 B up, 3 x 64 B down. Shares: 3 ciphertexts of 2 x 32 B + 28 B = 92 B, up and down.
    A value: 32 + ceil(log2 4) = 34 bits, so 1,000 of them take 4,250 B. Who is left: 4 B down; 4
    shares of 32 B up.
    """
    rows = protected(SECAGG, 4)

    assert SECAGG.threshold(4) == 3
    assert {step: (row["up"], row["down"]) for step, row in rows.items()} == {
        "sa1": (64, 0),
        "sa2": (276, 192),
        "sa3": (0, 276),
        "up": (4250, 0),
        "sa4": (128, 4),
        "sa5": (0, 0),
        "mean": (0, 0),
    }


def test_ten_clients_of_secagg_plus_by_hand() -> None:
    """2 ceil(log2 10) = 8 neighbors hold 8 shares, 6 of which recover.

    Keys: 64 B up, 8 x 64 B down. Shares: 8 x 92 B, up and down. A value: 32 + 4 = 36 bits, so 1,000
    take 4,500 B. Who is left: 8 B down; 8 x 32 B up.
    """
    rows = protected(SECAGG_PLUS, 10)

    assert (SECAGG_PLUS.num_neighbors(10), SECAGG_PLUS.threshold(10)) == (8, 6)
    assert {step: (row["up"], row["down"]) for step, row in rows.items()} == {
        "sa1": (64, 0),
        "sa2": (736, 512),
        "sa3": (0, 736),
        "up": (4500, 0),
        "sa4": (256, 8),
        "sa5": (0, 0),
        "mean": (0, 0),
    }


@pytest.mark.parametrize(("log_n", "log_m", "expansion"), [(10, 20, 1.73), (14, 24, 1.98)])
def test_the_papers_expansion_comes_out(log_n: int, log_m: int, expansion: float) -> None:
    """Bonawitz et al., abstract: 16-bit values, 2^10 clients and 2^20 values, 2^14 and 2^24.

    Of ours, what the paper leaves out is taken away: 28 B a ciphertext and a byte a survivor.
    """
    n, m = 2**log_n, 2**log_m
    rows = protected(replace(SECAGG, quantization_bits=16), n, m)

    num_bytes = exchanged(rows) + rows["up"]["up"] - 28 * 2 * (n - 1) - n

    assert num_bytes == 32 * (2 * n + 5 * n - 4) + m * (16 + log_n) // 8
    assert round(num_bytes / (2 * m), 2) == expansion


@given(st.integers(2, 10**6))
def test_secagg_takes_bytes_in_proportion_to_n(n: int) -> None:
    """2n keys, 5n - 4 shares, 2(n - 1) frames of 28 B and n survivors: 281 n - 184."""
    assert exchanged(protected(SECAGG, n)) == 281 * n - 184


@given(st.integers(8, 10**8))
def test_secagg_plus_takes_bytes_as_the_logarithm(n: int) -> None:
    """64 B and 281 B a neighbor; twice as many clients have 2 neighbors more each.

    Fewer than 8 clients may have no 2 ceil(log2 n) others.
    """
    one, two = (exchanged(protected(SECAGG_PLUS, size)) for size in (n, 2 * n))

    assert one == 64 + 281 * 2 * ceil(log2(n))
    assert two - one == 2 * 281


@given(st.integers(0, 10**7), st.integers(1, 64))
def test_a_masked_vector_is_packed(num_values: int, bits: int) -> None:
    """``ceil(values bits / 8)``; no values are no message."""
    payload = masked_payload(Content.MASKED_LOGITS, num_values, bits)

    assert payload.payload_bytes == ceil(num_values * bits / 8)
    assert (payload.tensors == ()) == (num_values == 0)


@given(st.integers(2, 10**9), st.integers(1, 32))
def test_no_sum_overflows_and_half_the_ring_would(n: int, bits: int) -> None:
    """n values of up to 2^bits - 1 fit; with a bit less they would not."""
    ring = replace(SECAGG, quantization_bits=bits).ring_bits(n, 32)

    assert n * (2**bits - 1) < 2**ring
    if n <= 2**bits:
        assert n * (2**bits - 1) >= 2 ** (ring - 1)


def test_a_payloads_format_is_its_quantization() -> None:
    """16 bits a value of float16, and log2 of 4 clients."""
    half = replace(PLAN, training=replace(TRAINING, numerics=Numerics(payload_dtype="float16")))
    protocol = with_privacy(framework(toy(1000)), SECAGG, 4)(half)

    assert counted(protocol)["up"]["up"] == 1000 * 18 // 8


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_off_is_the_framework_itself(name: str) -> None:
    """Not a copy that is equal: the same object."""
    assert with_privacy(FRAMEWORKS[name], PrivacySpec(), 5) is FRAMEWORKS[name]


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_everything_but_the_upload_stays(name: str) -> None:
    """Steps of the framework in their order, the set-up, and what follows the server's work."""
    spec = replace(SECAGG, differential_privacy="central")
    plain, hidden = FRAMEWORKS[name](PLAN), with_privacy(FRAMEWORKS[name], spec, 4)(PLAN)
    gather = next(s for s in plain.round if isinstance(s, Gather))
    before, after = counted(plain), counted(hidden)
    del before[gather.label], after[gather.label]

    assert {step: row for step, row in after.items() if step not in PRIVACY_STEPS} == before
    kept = [label for label in step_labels(hidden.round) if label not in PRIVACY_STEPS]
    assert kept == list(step_labels(plain.round))
    assert hidden.setup == plain.setup
    assert set(step_labels(hidden.round)) - set(kept) == set(PRIVACY_STEPS)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_keys_come_first_and_masks_right_ahead_of_the_upload(name: str) -> None:
    """sa1, sa2 ahead of the work, dp1 and sa3 behind it; sa4 of those that were gathered; sa5."""
    spec = replace(SECAGG, differential_privacy="local")
    protocol = with_privacy(FRAMEWORKS[name], spec, 4)(PLAN)
    at = next(i for i, s in enumerate(protocol.round) if isinstance(s, Gather))
    work, gather, unmasking, server = protocol.round[at - 1 : at + 3]
    assert isinstance(work, Each)
    assert isinstance(gather, Gather)
    assert isinstance(unmasking, Each)
    assert isinstance(server, Once)

    labels = [step.label for _, step in leaf_steps(work.steps)]
    assert labels[:6] == ["sa1", "sa1", "sa2", "sa2", "sa2", "sa2"]
    assert labels[labels.index("dp1") :] == ["dp1", "dp1", "sa3", "sa3", "sa3", gather.label]
    assert {step.label for _, step in leaf_steps(unmasking.steps)} == {"sa4"}
    assert next(leaf_steps(server.steps))[1].label == "sa5"


@given(st.integers(2, 10**6))
def test_more_than_two_thirds_of_the_shares_recover(n: int) -> None:
    """And never more than there are."""
    for spec in (SECAGG, SECAGG_PLUS):
        assert 3 * spec.threshold(n) > 2 * spec.num_shares(n)
        assert 3 * (spec.threshold(n) - 1) <= 2 * spec.num_shares(n)
        assert spec.threshold(n) <= spec.num_shares(n)


@given(st.integers(2, 10**4), st.integers(1, 10**4))
def test_a_graph_of_neighbors_is_regular(n: int, k: int) -> None:
    """Given or not, k n is even and k is at most all others; else it is refused."""
    assert SECAGG_PLUS.num_neighbors(n) <= n - 1
    if SECAGG_PLUS.num_neighbors(n) < n - 1:
        assert SECAGG_PLUS.num_neighbors(n) % 2 == 0
    spec = replace(SECAGG_PLUS, neighbors=k)
    if k <= n - 1 and k * n % 2 == 0:
        assert spec.num_neighbors(n) == k
    else:
        with pytest.raises(ScenarioError, match=r"privacy\.neighbors"):
            spec.num_neighbors(n)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"neighbors": 4}, "neighbors = 4: no meaning unless"),
        ({"secure_aggregation": "secagg", "neighbors": 4}, "neighbors = 4: no meaning unless"),
        ({"secure_aggregation": "secagg+", "neighbors": 0}, "at least 1"),
        ({"quantization_bits": 8}, "quantization_bits = 8: no meaning without"),
        ({"secure_aggregation": "secagg", "quantization_bits": 33}, "allowed: 1 to 32"),
    ],
)
def test_choices_without_meaning_are_refused(changes: dict[str, object], text: str) -> None:
    """With the value and what is allowed."""
    with pytest.raises(ScenarioError, match=text):
        PrivacySpec(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("n", "num_dropouts", "text"),
    [(1, 0, "at least 2 clients"), (4, 2, "3 of 4 shares"), (3, 1, "3 of 3 shares")],
)
def test_a_sum_that_cannot_be_recovered_is_refused(n: int, num_dropouts: int, text: str) -> None:
    """Of one client it is no sum; with fewer left than the threshold nobody unmasks it."""
    with pytest.raises(ScenarioError, match=text):
        with_privacy(FEDLLM, SECAGG, n, num_dropouts)


def test_what_is_no_sum_is_refused() -> None:
    """Activations of a frozen client, logits with their places, a round without a Gather."""
    top = replace(TRAINING, tuning=LoraTuning(r=2, num_top_layers=1))
    frozen = replace(PLAN, training=top, train_epochs=(TextLengths(2, 8),))
    with pytest.raises(ProtocolError, match="activations, which the server does not sum"):
        with_privacy(SPLIT_FEDLLM, SECAGG, 4)(frozen)
    with pytest.raises(ProtocolError, match="not one message"):
        with_privacy(SPLIT_FEDLLM, SECAGG, 4)(replace(frozen, train_epochs=(TextLengths(4, 8),)))
    places = TensorSpec("places", (3,), "int32")
    sparse = Payload(Content.LOGITS, (TensorSpec("values", (3,), "float32"), places))
    round_ = (Each((Transfer("up", Direction.UP, sparse),)), *toy(1).round[1:])
    with pytest.raises(ProtocolError, match="with their places"):
        with_privacy(framework(replace(toy(1), round=round_)), SECAGG, 4)(PLAN)
    with pytest.raises(ProtocolError, match="one Gather"):
        with_privacy(framework(replace(toy(1), round=round_[:1])), SECAGG, 4)(PLAN)


def test_a_server_that_averages_nothing_adds_no_noise() -> None:
    """Central noise needs an average; the message names the other kind."""
    infer = Compute("infer", Site.SERVER, InferLogits(WHOLE, BatchShape.padded(1, 8)))
    strange = replace(toy(1), round=(*toy(1).round[:2], Once((infer,))))
    with pytest.raises(ProtocolError, match="differential_privacy = 'local'"):
        with_privacy(framework(strange), PrivacySpec(differential_privacy="central"), 4)(PLAN)


def test_knowledge_is_masked_as_logits() -> None:
    """2 public samples of 4 classes."""
    protocol = with_privacy(KD_FEDLLM, SECAGG, 4)(PLAN)

    assert masked_values(protocol) == 8
    assert masked_values(kd_fedllm(PLAN)) == 0
