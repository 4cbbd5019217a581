"""What Split-FedLLM must be by algebra, on real tensors through the real parties."""

from dataclasses import replace

import pytest

pytest.importorskip("torch")

import numpy as np
import torch

from fedsim.draws import client_key, turn_order, visiting_order
from fedsim.protocol.operation import Content, Part
from fedsim.runtime.aggregation import weighted_average
from fedsim.runtime.trainer import Trainer
from fedsim.spec.batch import Padding
from fedsim.spec.tuning import FullTuning, LoraTuning
from identities import (
    LENGTHS,
    RATE,
    WHOLE,
    assert_moved,
    largest_difference,
    listening,
    parameters,
    run,
)
from shapes import NUM_LAYERS
from split_identities import (
    central_training_difference,
    cut_at,
    padding_gradient,
    padding_logit_difference,
    pooled_loss_difference,
    split_federation,
    split_gradient_difference,
    split_round_difference,
)
from tiny import CPU, LANGUAGE_MODEL, settings_of, tiny_federation, tiny_training

FAMILIES = ("gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma")
POSITIONS = range(1, 2 * NUM_LAYERS)
PADDINGS: tuple[Padding, ...] = ("max_tokens", "longest", "none")


@pytest.mark.parametrize("head", ["classification", "language_model"])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_gradients_of_both_sides_are_those_of_the_whole(
    family: str, padding: Padding, head: str
) -> None:
    """S1: bit by bit, for every cut and half cut, through serialized messages."""
    changes = {} if head == "classification" else {"head": LANGUAGE_MODEL}
    training = tiny_training(family, **changes)
    for position in POSITIONS:
        assert split_gradient_difference(training, position, padding) == 0, position


@pytest.mark.parametrize("family", FAMILIES)
def test_any_family_and_tuning_can_be_cut(family: str) -> None:
    """S1: adapters on every layer with all biases, and full tuning, at a cut and a half cut."""
    everything = LoraTuning(r=2, target_modules=("all-linear",), bias="all")
    for tuning in (everything, FullTuning()):
        training = tiny_training(family, tuning=tuning)
        for position in (2, 3):
            assert split_gradient_difference(training, position) == 0, (tuning.kind, position)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("position", POSITIONS)
def test_a_round_with_server_side_copies_is_a_fedllm_round(position: int, optimizer: str) -> None:
    """S2: V1 is FedLLM computed in two places; two rounds end bit by bit where FedLLM's end."""
    assert split_round_difference(position, optimizer) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("padding", PADDINGS)
def test_accumulation_epochs_and_padding_leave_the_rounds_equal(padding: Padding) -> None:
    """S2: whatever makes up a round makes up both."""
    changes = {"accumulation_steps": 2, "local_epochs": 2}
    assert split_round_difference(3, padding=padding, num_rounds=1, **changes) == 0


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("position", POSITIONS)
def test_one_client_with_a_shared_server_is_central_training(position: int, optimizer: str) -> None:
    """S3: V2 with one client ends bit by bit where training in one place ends."""
    assert central_training_difference(position, optimizer) == 0  # type: ignore[arg-type]


def test_a_shared_server_is_trained_by_one_client_after_the_other() -> None:
    """V2: the server's part carries over from turn to turn, the clients' parts are averaged.

    With SGD there is no state, so each turn is training in one place from where the last one left
    the server's part, and from the round's beginning for the client's.
    """
    training = tiny_training(optimizer="sgd")
    federation = split_federation(training, cut_at(2), "v2")
    below, above = Part.below(2), Part.above(2, NUM_LAYERS)
    start = parameters(federation.server.trainer.model)
    model = federation.server.trainer.model.clone()
    trainer = Trainer(model, WHOLE, RATE)
    halves = {}
    names = tuple(LENGTHS)
    keys = np.array([client_key(name) for name in names])
    turns = [names[place] for place in turn_order(RATE.seed, 1, keys)]
    for name in turns:
        trainer.load({key: start[key] for key in model.trained(below)})
        data = federation.clients[name].private
        order = visiting_order(RATE.seed, 1, name, 0, data.data.num_rows).tolist()
        for first in range(0, len(order), 2):
            trainer.train(data.batch(order[first : first + 2], CPU), is_update=True)
        halves[name] = parameters(model, below)
    weights = {name: float(len(lengths)) for name, lengths in LENGTHS.items()}
    expected = parameters(model, above) | weighted_average(halves, weights)

    run(federation)

    assert largest_difference(parameters(federation.server.trainer.model), expected) == 0
    assert_moved(start, expected)


def test_the_two_server_variants_differ() -> None:
    """V1 averages copies, V2 has one model: they agree for one client and not for three."""
    found = []
    for variant in ("v1", "v2"):
        federation = split_federation(tiny_training(), cut_at(2), variant)  # type: ignore[arg-type]
        run(federation)
        found.append(parameters(federation.server.trainer.model))
        trainers = {id(federation.server.server_side_trainer(name)) for name in LENGTHS}
        assert len(trainers) == (3 if variant == "v1" else 1)

    assert largest_difference(*found) > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_changes_no_logit(family: str) -> None:
    """S4: padded on the right, no mask needed: equal but for the order of sums."""
    assert padding_logit_difference(family) <= 1e-6


@pytest.mark.parametrize("head", ["classification", "language_model"])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_no_gradient_comes_back_for_padding(family: str, head: str) -> None:
    """S5: exactly zero at every padded position, for every cut and half cut."""
    for position in POSITIONS:
        spec = LANGUAGE_MODEL if head == "language_model" else None
        assert padding_gradient(position, spec, family) == 0, position


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("position", POSITIONS)
def test_a_cut_moves_flops_and_makes_none(position: int, padding: Padding) -> None:
    """S6: client and server together do FedLLM's FLOPs, counted by torch in real rounds."""
    training = tiny_training()
    split = split_federation(training, cut_at(position), padding=padding)
    settings = replace(settings_of(split), cut=None)
    whole = tiny_federation("fedllm", training, settings, clients=LENGTHS, options=RATE)
    parts = run(split, counts_flop=True).ledger.total()
    all_in_one = run(whole, counts_flop=True).ledger.total()

    assert parts.server_flop > 0
    assert parts.client_flop + parts.server_flop == all_in_one.client_flop > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_the_server_pools_each_text_s_last_token(family: str) -> None:
    """S7: its loss is that of the library's own ``forward``, which is shown the token ids."""
    for position in (2, 3, 5):
        assert pooled_loss_difference(position, family) <= 1e-6, position


def test_the_server_of_a_classification_is_shown_no_text() -> None:
    """Activations, labels and last-token indices go up; token ids do not."""
    federation = split_federation(tiny_training(), cut_at(2))
    with listening(federation) as heard:
        run(federation)
    uplink = [message for message in heard.requests if message.body]

    assert {message.content for message in uplink} == {Content.ACTIVATIONS, Content.ADAPTERS}
    names = set()
    for message in uplink:
        if message.content == Content.ACTIVATIONS:
            header = message.body[8 : 8 + int.from_bytes(message.body[:8], "little")].decode()
            names |= {
                name for name in ("activations", "labels", "last_index", "ids") if name in header
            }
    assert names == {"activations", "labels", "last_index"}


def test_clients_of_a_round_end_equal() -> None:
    """cc4: every client goes on from the same average, and so does the server."""
    federation = split_federation(tiny_training(), cut_at(3))
    executor = run(federation)
    federation.run_round(executor, 2)
    below = Part.below(3)
    expected = parameters(federation.server.trainer.model, below)

    for client in federation.clients.values():
        assert largest_difference(parameters(client.trainer.model, below), expected) == 0


def test_a_client_that_trains_nothing_sends_activations_alone() -> None:
    """No gradients come down and no adapters are exchanged; the server still learns."""
    tuning = LoraTuning(r=2, num_top_layers=1)
    federation = split_federation(tiny_training(tuning=tuning), cut_at(2))
    before = parameters(federation.server.trainer.model)
    with listening(federation) as heard:
        run(federation)

    assert {m.content for m in heard.requests if m.label != "setup"} == {Content.ACTIVATIONS}
    assert not any(m.body for m in heard.replies if m.label != "setup")
    assert_moved(before, parameters(federation.server.trainer.model))


def test_a_tied_head_above_a_cut_is_a_matrix_of_its_own() -> None:
    """Fully tuned, the client's embedding and the server's head part; the client's is kept."""
    training = tiny_training(head=LANGUAGE_MODEL, tuning=FullTuning())
    federation = split_federation(training, cut_at(2))
    run(federation)
    embedding = "transformer.wte.weight"
    server_side = federation.server.server_side_trainer("ann").model
    final = parameters(federation.server.trainer.model)[embedding]

    client = parameters(federation.clients["ann"].trainer.model, Part.below(2))[embedding]
    assert torch.equal(final, client)
    assert not torch.equal(final, server_side.head.weight)
