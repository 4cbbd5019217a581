"""What would fit: each suggestion does, and the next smaller change does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedsim.analytic import client_peak_bytes, server_peak_bytes
from fedsim.analytic.fitting import Suggestion, client_suggestions, server_suggestions
from fedsim.protocol import fedllm, split_fedllm
from fedsim.spec.batch import TextLengths
from fedsim.spec.model import HeadSpec
from fedsim.spec.model_catalogue import model
from fedsim.spec.plan import ClientPlan, Cut, TrainingSpec
from fedsim.spec.tuning import LoraTuning

TRAINING = TrainingSpec(model("gpt2"), HeadSpec(num_classes=77), LoraTuning(r=8))
PLAN = ClientPlan(TRAINING, (TextLengths(64, 80),), batch_size=16, cut=Cut(6))


def by_key(found: tuple[Suggestion, ...]) -> dict[str, Suggestion]:
    """Suggestions of one change."""
    return {s.changes[0][0]: s for s in found if len(s.changes) == 1}


def test_what_is_suggested_fits_and_the_next_larger_does_not() -> None:
    """With a tenth less memory than is needed."""
    peak = client_peak_bytes(fedllm(PLAN), PLAN)
    memory = peak * 9 // 10

    found = by_key(client_suggestions(fedllm, PLAN, memory))

    assert set(found) == {
        "model.gradient_checkpointing",
        "workload.batch_size",
        "workload.max_tokens",
    } | (found.keys() & {"lora.r"})
    assert all(s.peak_bytes <= memory for s in found.values())
    size = found["workload.batch_size"].changes[0][1]
    assert isinstance(size, int)
    more = replace(PLAN, batch_size=size + 1)
    assert client_peak_bytes(fedllm(more), more) > memory
    fits = replace(PLAN, batch_size=size)
    assert client_peak_bytes(fedllm(fits), fits) == found["workload.batch_size"].peak_bytes


def test_a_split_client_is_offered_the_nearest_cut_that_fits() -> None:
    """Fewer blocks, but no fewer than needed."""
    memory = client_peak_bytes(split_fedllm(PLAN), PLAN) * 3 // 4

    found = by_key(client_suggestions(split_fedllm, PLAN, memory))

    layer = found["split.cut_layer"].changes[0][1]
    assert isinstance(layer, int)
    above = replace(PLAN, cut=Cut(layer + 1))
    assert client_peak_bytes(split_fedllm(above), above) > memory


def test_two_changes_are_combined_where_one_is_not_enough() -> None:
    """Checkpointing and single samples come first."""
    small = replace(
        PLAN,
        batch_size=1,
        training=replace(TRAINING, numerics=replace(TRAINING.numerics, is_checkpointed=True)),
    )
    memory = client_peak_bytes(fedllm(small), small)

    found = client_suggestions(fedllm, PLAN, memory)

    keys = [[key for key, _ in s.changes] for s in found]
    assert ["model.gradient_checkpointing", "workload.batch_size"] in keys
    assert all(s.peak_bytes <= memory for s in found)


def test_nothing_is_suggested_where_the_weights_alone_are_too_much() -> None:
    """No plan of this model fits a megabyte."""
    assert client_suggestions(fedllm, PLAN, 1_000_000) == ()


@pytest.mark.parametrize("num_clients", [50, 400])
def test_a_server_of_many_copies_is_offered_one_shared_model(num_clients: int) -> None:
    """Or as many clients at once as it can hold."""
    peak = server_peak_bytes(split_fedllm(PLAN), PLAN, num_clients)
    memory = peak - 1

    found = by_key(server_suggestions(split_fedllm, PLAN, num_clients, memory))

    assert found["split.server_variant"].changes[0][1] == "v2"
    fewer = found["policy.clients_per_round"].changes[0][1]
    assert isinstance(fewer, int)
    assert server_peak_bytes(split_fedllm(PLAN), PLAN, fewer) <= memory
    assert server_peak_bytes(split_fedllm(PLAN), PLAN, fewer + 1) > memory
