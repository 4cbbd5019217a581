"""What a cohort cannot do, it refuses, and says what to do instead."""

from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from cohorts import pair
from fedsim.errors import ProtocolError, ScenarioError
from fedsim.runtime.cohort import CohortClient, CohortNetwork, CohortTrainer
from fedsim.runtime.options import RunOptions
from fedsim.spec.plan import Numerics
from fedsim.spec.tuning import FullTuning, LoraTuning
from tiny import tiny_batch, tiny_model, tiny_training

TUNING = LoraTuning(r=2)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"tuning": FullTuning()}, "full fine-tuning"),
        ({"tuning": LoraTuning(r=2, bias="all")}, "lora.bias = 'all'"),
        ({"model_dropout": 0.1}, r"model_dropout = 0.1 \(allowed: 0\)"),
        ({"numerics": Numerics(compute_dtype="bfloat16")}, "compute_dtype = 'bfloat16'"),
        ({"numerics": Numerics(is_checkpointed=True)}, "is_checkpointed = true"),
    ],
)
def test_what_needs_one_client_at_a_time_is_refused(changes: Any, found: str) -> None:
    """By name, and the sequential mode with it."""
    with pytest.raises(ScenarioError, match=rf"{found}.*sequential mode"):
        CohortNetwork(tiny_model(tiny_training(**changes)))


def test_all_mistakes_are_named_at_once() -> None:
    """Not one after the other."""
    training = tiny_training(tuning=LoraTuning(r=2, bias="lora_only"), model_dropout=0.2)
    with pytest.raises(ScenarioError, match=r"lora_only.*model_dropout"):
        CohortNetwork(tiny_model(training))


@pytest.mark.parametrize(
    "client",
    [
        CohortClient("bob", replace(TUNING, num_top_layers=1)),
        CohortClient("bob", replace(TUNING, target_modules=("mlp.c_fc",))),
        CohortClient("bob", TUNING, RunOptions(optimizer_state="keep")),
        CohortClient("bob", TUNING, RunOptions(distillation_temperature=3.0)),
    ],
)
def test_clients_that_do_not_go_together(client: CohortClient) -> None:
    """Other layers, other losses: a cohort of their own."""
    network = CohortNetwork(tiny_model(tiny_training(tuning=TUNING)))
    with pytest.raises(ScenarioError, match=r"client 1 of the cohort \('bob'\).*of their own"):
        CohortTrainer(network, [CohortClient("ann", TUNING), client])


def test_a_cohort_of_nobody() -> None:
    """There is nothing to train."""
    with pytest.raises(ScenarioError, match="no clients"):
        CohortTrainer(CohortNetwork(tiny_model(tiny_training(tuning=TUNING))), [])


def test_a_client_of_another_rank_needs_adapters_first() -> None:
    """The model has none of its rank; zeros would never learn."""
    network = CohortNetwork(tiny_model(tiny_training(tuning=TUNING)))
    cohort = CohortTrainer(network, [CohortClient("ann", replace(TUNING, r=3))])
    with pytest.raises(ProtocolError, match=r"rank 3.*load"):
        cohort.infer(tiny_batch([3, 4]))


def test_clients_of_the_model_s_rank_begin_with_its_adapters() -> None:
    """And with its head."""
    model = tiny_model(tiny_training(tuning=TUNING))
    cohort = CohortTrainer(CohortNetwork(model), [CohortClient("ann", TUNING)])
    for name, tensor in cohort.adapters(0, with_head=True).items():
        assert torch.equal(tensor, dict(model.module.named_parameters())[_inner(name)])


@pytest.mark.parametrize(
    ("name", "shape"), [("score.weight", (5, 16)), ("base_model.model.score.weight", (4, 16))]
)
def test_tensors_that_are_no_client_s(name: str, shape: tuple[int, int]) -> None:
    """Unknown names and other shapes."""
    with pytest.raises(ProtocolError, match="client 0 of the cohort"):
        pair(num_clients=1).cohort.load(0, {name: torch.zeros(shape)})


def test_a_batch_without_labels_is_not_trained_on() -> None:
    """It can be distilled."""
    with pytest.raises(ProtocolError, match="without labels"):
        pair(num_clients=1).cohort.train([tiny_batch([3], is_labeled=False)], is_update=True)


def test_a_private_head_is_left_out() -> None:
    """Everything else is still sent."""
    cohort = pair(num_clients=1).cohort
    every, shared = (cohort.adapters(0, with_head=has_head) for has_head in (True, False))
    assert set(every) - set(shared) == {"base_model.model.score.weight"}


def _inner(name: str) -> str:
    if "lora" in name:
        return name.replace(".weight", ".default.weight")
    return name.replace("score", "score.modules_to_save.default")
