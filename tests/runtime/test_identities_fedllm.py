"""What FedLLM must be by algebra, on real tensors through the real parties."""

import pytest

pytest.importorskip("torch")

from fedsim.protocol.operation import Content
from fedsim.spec.plan import Numerics
from identities import (
    LENGTHS,
    RATE,
    assert_moved,
    central_step_difference,
    identical_clients_difference,
    largest_difference,
    listening,
    one_client_difference,
    order_difference,
    parameters,
    run,
)
from tiny import LANGUAGE_MODEL, RoundSettings, tiny_federation, tiny_training

HEAD = "base_model.model.score.weight"
NUM_TEXTS = {name: float(len(lengths)) for name, lengths in LENGTHS.items()}


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_average_of_one_client_is_that_client(optimizer: str) -> None:
    """F1: with p = 1 the server takes over what the client trained, bit by bit."""
    assert one_client_difference(optimizer) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("num_clients", [2, 3, 7])
def test_the_average_of_identical_clients_is_any_of_them(num_clients: int) -> None:
    """F2: bit by bit, also where 1/7 is no binary fraction: sums run in 64 bits."""
    assert identical_clients_difference(num_clients) == 0


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_averaged_single_steps_are_one_central_step(family: str) -> None:
    """F3: full-batch SGD weighted by samples is SGD on the union, for A, B and head alike."""
    assert central_step_difference(family=family) <= 1e-6


def test_a_language_model_is_averaged_by_its_next_tokens() -> None:
    """F3: its loss is a mean over them; weighted by texts the step is not the central one."""
    assert central_step_difference(LANGUAGE_MODEL) <= 1e-6
    assert central_step_difference(LANGUAGE_MODEL, NUM_TEXTS) > 1e-5


def test_the_order_of_clients_changes_nothing() -> None:
    """F4: bit by bit, over two rounds: ids are sorted, sums run in 64 bits, draws are by name."""
    assert order_difference() == 0


def test_averaged_factors_miss_what_the_clients_learned_apart() -> None:
    """F5: sum p s B_k A_k - s B A = sum p s (B_k - B)(A_k - A) for the adapters of a real round."""
    federation = tiny_federation("fedllm", tiny_training(), clients=LENGTHS, options=RATE)
    run(federation)
    average = parameters(federation.server.trainer.model)
    trained = {n: parameters(c.trainer.model) for n, c in federation.clients.items()}
    total = sum(len(lengths) for lengths in LENGTHS.values())
    assert federation.training.lora is not None
    s = federation.training.lora.scaling
    layer = "base_model.model.transformer.h.1.attn.c_attn.lora_{}.weight"
    mean_a, mean_b = (average[layer.format(factor)].double() for factor in "AB")
    missed = -s * mean_b @ mean_a
    expected = 0 * missed
    for name, own in trained.items():
        p = len(LENGTHS[name]) / total
        a, b = (own[layer.format(factor)].double() for factor in "AB")
        missed += p * s * b @ a
        expected += p * s * (b - mean_b) @ (a - mean_a)

    assert float(expected.abs().max()) > 1e-4
    # Averages are rounded to 32 bits once; the rest is exact.
    assert float((missed - expected).abs().max()) <= 1e-6


def test_bytes_of_a_round_are_those_of_the_adapters() -> None:
    """F6: 4 (4 d L r + d C) B each way and client: d = 16, L = 3, r = 2, C = 5.

    4 x (4 x 16 x 3 x 2 + 16 x 5) = 1856 B of adapters and head, counted off the buffers themselves.
    """
    federation = tiny_federation("fedllm", tiny_training(), clients=LENGTHS, options=RATE)
    executor = run(federation)

    for name in LENGTHS:
        total = executor.ledger.total(executor.ledger.select(round_index=1, party=name))
        assert total.uplink_payload_bytes == total.downlink_payload_bytes == 1856
        assert total.messages == 2


def test_every_client_begins_a_round_where_the_last_one_ended() -> None:
    """a1 brings the average of the round before, bit by bit."""
    federation = tiny_federation("fedllm", tiny_training(), clients=LENGTHS, options=RATE)
    executor = run(federation)
    average = parameters(federation.server.trainer.model)
    for client in federation.clients.values():
        client.incoming(Content.ADAPTERS, federation.server._outgoing(Content.ADAPTERS, "ann"))
        client.take_adapters()
        assert largest_difference(parameters(client.trainer.model), average) == 0
    federation.run_round(executor, 2)
    assert_moved(average, parameters(federation.server.trainer.model))


def test_private_heads_stay_with_their_clients() -> None:
    """Adapters are averaged; each client's head goes its own way and the server's stands still."""
    settings = RoundSettings(shares_head=False)
    federation = tiny_federation("fedllm", tiny_training(), settings, clients=LENGTHS, options=RATE)
    before = parameters(federation.server.trainer.model)
    with listening(federation) as heard:
        run(federation, 2)
    after = parameters(federation.server.trainer.model)

    heads = [parameters(client.trainer.model)[HEAD] for client in federation.clients.values()]
    assert not any(bool((head == before[HEAD]).all()) for head in heads)
    assert float((heads[0] - heads[1]).abs().max()) > 0
    assert bool((after.pop(HEAD) == before.pop(HEAD)).all())
    assert_moved(before, after)
    assert not any(HEAD.encode() in message.body for message in heard.requests)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_messages_round_and_no_more(dtype: str) -> None:
    """The server's average is within a rounding of the one that full precision gives."""
    found = []
    for payload in ("float32", dtype):
        numerics = Numerics(payload_dtype=payload)  # type: ignore[arg-type]
        training = tiny_training(numerics=numerics, optimizer="sgd")
        federation = tiny_federation("fedllm", training, clients=LENGTHS, options=RATE)
        run(federation)
        found.append(parameters(federation.server.trainer.model))

    relative = {"float16": 2**-11, "bfloat16": 2**-8}[dtype]
    difference = largest_difference(*found)
    assert 0 < difference <= 4 * relative * max(float(t.abs().max()) for t in found[0].values())
