"""What would fit: each suggestion does, and the next smaller change does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedsim.analytic import client_peak_bytes, server_peak_bytes
from fedsim.analytic.fitting import (
    Suggestion,
    _ranked,
    _shortened,
    client_suggestions,
    server_suggestions,
)
from fedsim.analytic.peak_memory import Sender
from fedsim.protocol import fedllm, split_fedllm
from fedsim.spec.batch import TextLengths
from fedsim.spec.model import HeadSpec
from fedsim.spec.model_catalogue import model
from fedsim.spec.plan import ClientPlan, Cut, Numerics, TrainingSpec
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
    assert all(len(each) == 2 for each in keys)
    assert all(s.peak_bytes <= memory for s in found)


def test_a_model_whose_weights_alone_are_too_much_is_offered_a_shorter_format() -> None:
    """29 GB of 32-bit weights in 24 GB: no batch size helps, and half the bytes do."""
    numerics = replace(TRAINING.numerics, is_checkpointed=True)
    tuning = LoraTuning(r=32, target_modules=("q_proj", "v_proj"))
    training = replace(TRAINING, model=model("mistral-7b-v0.1"), tuning=tuning, numerics=numerics)
    plan = ClientPlan(training, (TextLengths(64, 512),), batch_size=16)

    found = client_suggestions(fedllm, plan, 23_700_000_000, ("bfloat16",))

    shorter = (("model.weights_dtype", "bfloat16"), ("model.compute_dtype", "bfloat16"))
    assert [s.changes for s in found] == [shorter]
    assert found[0].peak_bytes <= 23_700_000_000
    assert client_suggestions(fedllm, plan, 23_700_000_000) == ()


def test_a_set_of_changes_is_found_wherever_one_fits() -> None:
    """All kinds at once are as small as a plan gets; one byte more than that is enough."""
    least = replace(
        _shortened(_ranked(PLAN, 1), 1),
        batch_size=1,
        cut=Cut(1),
        training=replace(
            _ranked(PLAN, 1).training,
            numerics=Numerics("bfloat16", "bfloat16", is_checkpointed=True),
        ),
    )
    memory = client_peak_bytes(split_fedllm(least), least)

    found = client_suggestions(split_fedllm, PLAN, memory, ("bfloat16",))

    assert found
    assert all(s.peak_bytes <= memory for s in found)


def test_no_change_of_a_set_could_be_left_out_or_be_smaller() -> None:
    """Each suggested value is the nearest to the plan's with which the set is enough."""
    memory = client_peak_bytes(fedllm(PLAN), PLAN) // 4

    for suggestion in client_suggestions(fedllm, PLAN, memory):
        keys = dict(suggestion.changes)
        for key, value in keys.items():
            rest = {name: keys[name] for name in keys if name != key}
            milder = _applied(rest | {key: value + 1} if type(value) is int else rest)
            assert client_peak_bytes(fedllm(milder), milder) > memory


def _applied(changes: dict[str, object]) -> ClientPlan:
    """The plan after changes of these kinds."""
    plan = PLAN
    for key, value in changes.items():
        if key == "model.gradient_checkpointing":
            numerics = replace(plan.training.numerics, is_checkpointed=True)
            plan = replace(plan, training=replace(plan.training, numerics=numerics))
        elif key == "workload.batch_size":
            plan = replace(plan, batch_size=value)
        elif key == "lora.r":
            plan = _ranked(plan, value)
        else:
            assert key == "workload.max_tokens"
            plan = _shortened(plan, value)
    return plan


def test_nothing_is_suggested_where_the_weights_alone_are_too_much() -> None:
    """No plan of this model fits a megabyte."""
    assert client_suggestions(fedllm, PLAN, 1_000_000) == ()


def alike(num_clients: int) -> list[Sender]:
    """Clients with the server's own plan."""
    return [(split_fedllm(PLAN), PLAN, num_clients)]


@pytest.mark.parametrize("num_clients", [50, 400])
def test_a_server_of_many_copies_is_offered_one_shared_model(num_clients: int) -> None:
    """Or as many clients at once as it can hold."""
    peak = server_peak_bytes(split_fedllm(PLAN), PLAN, alike(num_clients))
    memory = peak - 1

    clients = [(PLAN, num_clients)]
    found = by_key(server_suggestions(split_fedllm, PLAN, clients, num_clients, memory))

    assert found["split.server_variant"].changes[0][1] == "v2"
    fewer = found["policy.clients_per_round"].changes[0][1]
    assert isinstance(fewer, int)
    assert server_peak_bytes(split_fedllm(PLAN), PLAN, alike(fewer)) <= memory
    assert server_peak_bytes(split_fedllm(PLAN), PLAN, alike(fewer + 1)) > memory
