"""A cohort's clients learn what each learns alone, to the last digits, whoever else is there."""

from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from cohorts import RATE, Pair, batches_of_step, pair
from fedsim.runtime.options import RunOptions
from fedsim.spec.tuning import LoraTuning
from tiny import LANGUAGE_MODEL, tiny_batch, tiny_training

#: What is left of 64-bit rounding after some steps; the loss itself is computed in 32 bits.
EXACT = 1e-8
#: Llama-like norms and rotary positions, and means over many next tokens, round to 32 bits inside.
ROUNDED = 1e-5


def train(found: Pair, num_steps: int = 3, **changes: Any) -> None:
    """Some steps, both ways; the parameters must move."""
    before = found.cohort.adapters(0, with_head=True)
    for step in range(num_steps):
        found.train(batches_of_step(step, len(found.alone), **changes))
    after = found.cohort.adapters(0, with_head=True)
    assert max(float((after[n] - before[n]).abs().max()) for n in after) > 1e-3


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("num_clients", [1, 3, 8])
def test_each_client_learns_what_it_learns_alone(num_clients: int, optimizer: Any) -> None:
    """Three steps with unequal batches, and a client that runs out of them after the first."""
    found = pair(tiny_training(optimizer=optimizer), num_clients)

    train(found)

    assert found.distance() <= EXACT


def test_losses_are_those_of_each_client() -> None:
    """Not the cohort's sum or mean."""
    found = pair()
    found.train(batches_of_step(0))

    expected = [trainer.last_loss for trainer in found.alone]
    assert found.cohort.last_losses.tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3", "gemma"])
@pytest.mark.parametrize("target", ["all-linear", "down", "out", "attention"])
def test_any_choice_of_layers(family: str, target: str) -> None:
    """Attention input, attention output, the last layer of the feed-forward part, or all."""
    is_gpt2 = family == "gpt2"
    modules = {
        "all-linear": ("all-linear",),
        "down": ("mlp.c_proj",) if is_gpt2 else ("down_proj",),
        "out": ("attn.c_proj",) if is_gpt2 else ("o_proj", "gate_proj"),
        "attention": ("attn.c_attn",) if is_gpt2 else ("q_proj", "v_proj"),
    }[target]
    tuning = LoraTuning(r=2, alpha=8.0, target_modules=modules)
    found = pair(tiny_training(family, tuning=tuning, optimizer="sgd"), 2)

    train(found, 2)

    assert found.distance() <= (EXACT if is_gpt2 else ROUNDED)


@pytest.mark.parametrize("num_top_layers", [1, 2])
def test_adapters_in_the_top_blocks_only(num_top_layers: int) -> None:
    """Blocks below the lowest adapter keep no graph and change no result."""
    tuning = LoraTuning(r=2, num_top_layers=num_top_layers)
    found = pair(tiny_training(tuning=tuning))

    train(found)

    assert found.distance() <= EXACT


def test_clients_of_unequal_ranks() -> None:
    """Ranks, scalings and learning rates side by side; what is padded stays exactly zero."""
    tunings = [
        LoraTuning(r=1, alpha=8.0),
        LoraTuning(r=4, alpha=2.0),
        LoraTuning(r=2, alpha=8.0, use_rslora=True),
    ]
    options = [RunOptions(learning_rate=rate) for rate in (0.05, 0.01, 0.02)]
    found = pair(tiny_training(tuning=tunings[0]), tunings=tunings, options=options)

    train(found)

    assert found.distance() <= EXACT
    for factors in found.cohort.bank.factors.values():
        assert not factors.a[0, 1:].any()
        assert not factors.b[2, 2:].any()


def test_a_language_model() -> None:
    """Next tokens of each client over its own number of them; one text has none."""
    found = pair(tiny_training(head=LANGUAGE_MODEL, optimizer="sgd"))

    train(found, is_labeled=False)

    assert found.distance() <= ROUNDED


@pytest.mark.parametrize("padding", ["longest", "none"])
def test_padding_changes_nothing(padding: Any) -> None:
    """However a batch comes, its real tokens are computed and no others."""
    found = pair()

    train(found, padding=padding)

    assert found.distance() <= EXACT


@pytest.mark.parametrize("optimizer_state", ["keep", "reset"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_optimizer_state_over_rounds(optimizer: Any, optimizer_state: Any) -> None:
    """Kept or forgotten as for one client, with a count of steps for each."""
    options = RunOptions(learning_rate=0.05, optimizer_state=optimizer_state)
    found = pair(tiny_training(optimizer=optimizer), options=options)

    for round_index in (1, 2):
        found.begin_round(round_index)
        train(found, 2)

    assert found.distance() <= EXACT


def test_optimizer_state_goes_out_and_in() -> None:
    """Under the trainer's names; another cohort goes on with it as if it were the first."""
    tunings = [LoraTuning(r=1), LoraTuning(r=3)]
    found, other = (pair(tiny_training(tuning=tunings[0]), tunings=tunings) for _ in range(2))
    train(found, 2)
    for slot, trainer in enumerate(found.alone):
        state, expected = found.cohort.optimizer_tensors(slot), trainer.optimizer_tensors()
        assert set(state) == set(expected)
        for name, tensor in state.items():
            torch.testing.assert_close(tensor, expected[name], rtol=0, atol=EXACT)
        other.cohort.load(slot, found.cohort.adapters(slot, with_head=True))
        other.cohort.load_optimizer(slot, state)

    batches = batches_of_step(0, 2)
    found.train(batches)
    other.cohort.train(batches, is_update=True)

    found.cohort = other.cohort
    assert found.distance() <= EXACT


def test_accumulation() -> None:
    """Groups of batches that end at different steps, and one that ends early."""
    found = pair()
    turns = [(False, True, False), (True, True, True), (False, True, False), (True, True, True)]
    for step, turn in enumerate(turns):
        found.train(batches_of_step(step), turn)

    assert found.distance() <= EXACT


def test_the_proximal_term() -> None:
    """FedProx pulls each client towards where its own round began."""
    options = RunOptions(learning_rate=0.05, proximal_mu=0.5)
    found = pair(options=options)
    found.cohort.set_anchor()
    for trainer in found.alone:
        trainer.set_anchor()

    train(found)

    assert found.distance() <= EXACT


@pytest.mark.parametrize("tokens_at_once", [1, 40])
def test_clients_in_several_groups(tokens_at_once: int) -> None:
    """How many go through the network together changes no result."""
    found = pair(num_clients=8, tokens_at_once=tokens_at_once)

    train(found)

    assert found.distance() <= EXACT


def test_in_32_bits() -> None:
    """As it is run, on oneDNN's blocked weights where the machine has them."""
    found = pair(tiny_training(optimizer="sgd"), dtype=torch.float32)

    train(found)

    assert found.distance() <= ROUNDED


# --- dropout -------------------------------------------------------------------------------------


def dropped(**changes: Any) -> Pair:
    """Clients with dropout rates of their own."""
    tunings = [LoraTuning(r=2, dropout=rate) for rate in (0.5, 0.1, 0.0)]
    return pair(tiny_training(tuning=tunings[0], **changes), tunings=tunings)


@pytest.mark.parametrize("padding", ["max_tokens", "none"])
def test_dropout_masks_belong_to_the_client(padding: Any) -> None:
    """Drawn by name, they are the same in a cohort and alone, over rounds and steps."""
    found = dropped()
    for round_index in (1, 2):
        found.begin_round(round_index)
        train(found, 2, padding=padding)

    assert found.distance() <= EXACT


@pytest.mark.parametrize("head", [None, LANGUAGE_MODEL])
def test_dropout_in_every_layer(head: Any) -> None:
    """Each adapted layer of each block has masks of its own, also behind the pooling."""
    tuning = LoraTuning(r=2, dropout=0.3, target_modules=("all-linear",))
    found = pair(tiny_training("qwen3", tuning=tuning, head=head, optimizer="sgd"), 2)

    train(found, 2, is_labeled=head is None)

    assert found.distance() <= ROUNDED


def test_dropout_is_no_noise_where_it_is_off() -> None:
    """Evaluation drops nothing: the same logits twice, and the trainer's."""
    found = dropped()
    batch = tiny_batch([4, 9, 1])
    one, other = (found.cohort.infer(batch) for _ in range(2))
    for slot, trainer in enumerate(found.alone):
        assert torch.equal(one[slot], other[slot])
        expected = trainer.infer(batch, all_positions=False)
        torch.testing.assert_close(one[slot], expected, rtol=0, atol=EXACT)


# --- negative controls ---------------------------------------------------------------------------


def test_a_wrong_scaling_is_seen() -> None:
    """Otherwise the equalities above would say nothing."""
    found = pair(tiny_training(optimizer="sgd"))
    found.cohort.bank.tunings = (LoraTuning(r=2, alpha=9.0),) * 3

    train(found)

    assert found.distance() > 1e-4


def test_masks_without_the_client_s_name_are_seen() -> None:
    """One name for all is another mask for each but that one."""
    found = dropped(optimizer="sgd")
    for stream in found.cohort._streams:
        stream.client_id = "client-2"

    train(found)

    assert found.distance() > 1e-4


def test_a_neighbour_s_adapters_are_seen() -> None:
    """Two clients that change places end elsewhere."""
    found = pair(tiny_training(optimizer="sgd"))
    found.alone.reverse()

    found.train(batches_of_step(0))

    assert found.distance() > 1e-2


def test_the_default_rate_is_used() -> None:
    """The options above are not what a client has by itself."""
    assert RATE.learning_rate != RunOptions().learning_rate
