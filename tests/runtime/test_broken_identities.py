"""Each identity of the frameworks fails when what it stands for is broken."""

import importlib
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor

from fedsim.runtime import objective
from fedsim.runtime import server as server_module
from fedsim.runtime import trainer as trainer_module
from fedsim.runtime.staged_model import StagedModel
from fedsim.runtime.trainer import Trainer
from identities import (
    LENGTHS,
    central_step_difference,
    distillation_gradient,
    identical_clients_difference,
    local_only_difference,
    one_client_difference,
    order_difference,
    repeated_logits_difference,
    teacher_difference,
)
from split_identities import (
    central_training_difference,
    padding_gradient,
    padding_logit_difference,
    pooled_loss_difference,
    split_gradient_difference,
    split_round_difference,
)
from tiny import tiny_training


def unnormalized_average(contributions: Any, weights: Any) -> dict[str, Tensor]:
    """A sum that divides by the number of clients whatever their weights add up to."""
    names = next(iter(contributions.values()))
    return {
        name: sum(weights[k] * sent[name] for k, sent in contributions.items()) / len(contributions)
        for name in names
    }


def arrival_order_average(contributions: Any, weights: Any) -> dict[str, Tensor]:
    """32-bit sums in the order of arrival."""
    total = sum(weights[k] for k in contributions)
    names = next(iter(contributions.values()))
    return {
        name: sum(weights[k] / total * sent[name] for k, sent in contributions.items())
        for name in names
    }


def test_unnormalized_weights_break_averages(monkeypatch: pytest.MonkeyPatch) -> None:
    """F1, F2: shares that do not add up to one move even what all agree on."""
    monkeypatch.setattr(server_module, "weighted_average", unnormalized_average)

    assert one_client_difference() > 1e-3
    assert identical_clients_difference() > 1e-3


def test_sums_in_the_order_of_arrival_break_bitwise_equality(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F2, F4: in 32 bits neither the mean of equals nor the order is exact."""
    monkeypatch.setattr(server_module, "weighted_average", arrival_order_average)

    assert identical_clients_difference(7) > 0
    assert order_difference_unsorted(monkeypatch) > 0


def order_difference_unsorted(monkeypatch: pytest.MonkeyPatch) -> float:
    """F4 where clients take turns as the file lists them."""
    executor_module = importlib.import_module("fedsim.runtime.executor")
    monkeypatch.setattr(executor_module, "_turns", lambda seed, index, ids: ids)
    return order_difference()


def test_equal_weights_break_the_central_step() -> None:
    """F3: clients of 2, 3 and 5 samples do not have one voice each."""
    assert central_step_difference(weights=dict.fromkeys(LENGTHS, 1.0)) > 1e-4


def test_a_sum_of_logits_breaks_the_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    """K1: three times what each of them says."""

    def total(contributions: Any, weights: Any) -> dict[str, Tensor]:
        return {"logits": sum(sent["logits"] for sent in contributions.values())}

    monkeypatch.setattr(server_module, "weighted_average", total)

    assert teacher_difference() > 1e-3


def test_a_forgotten_temperature_breaks_the_teacher_s_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """K2: a student at T = 1 of a teacher at T = 2 has something to learn."""
    right = objective.distillation_loss

    def wrong(student: Tensor, teacher: Tensor, *rest: Any) -> Tensor:
        return right(student, teacher / 2, *rest)

    monkeypatch.setattr(trainer_module, "distillation_loss", wrong)

    assert distillation_gradient() > 1e-3


def test_public_data_breaks_training_alone() -> None:
    """K3: four public texts are enough to be told from none."""
    assert local_only_difference(num_public=4) > 1e-3


def test_training_mode_breaks_repeated_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    """K4: with dropout on, no two sets of logits are the same."""
    right = StagedModel.train
    monkeypatch.setattr(StagedModel, "train", lambda self, is_training=True: right(self, True))

    assert repeated_logits_difference() > 1e-3


def test_a_scaled_gradient_at_the_cut_breaks_the_client_s_side(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """S1: gradients averaged over samples once more, say."""
    right = Trainer.train_above_cut

    def wrong(self: Trainer, *arguments: Any, **options: Any) -> list[Tensor]:
        return [gradient / 2 for gradient in right(self, *arguments, **options)]

    monkeypatch.setattr(Trainer, "train_above_cut", wrong)

    assert split_gradient_difference(tiny_training(), 2) > 1e-3


@pytest.mark.parametrize("identity", [split_round_difference, central_training_difference])
def test_an_optimizer_made_anew_for_every_batch_breaks_the_round(
    identity: Callable[[int], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """S2, S3: what some published code does on the server makes every step of Adam a first one."""
    right = Trainer.train_above_cut

    def wrong(self: Trainer, *arguments: Any, **options: Any) -> list[Tensor]:
        self.reset_optimizer()
        return right(self, *arguments, **options)

    monkeypatch.setattr(Trainer, "train_above_cut", wrong)

    assert identity(2) > 1e-3


def test_attention_to_what_follows_breaks_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    """S4, S5: without the causal mask padding reaches the logits, and gradients reach padding."""
    right = StagedModel._context

    def wrong(self: StagedModel, hidden: Tensor) -> dict[str, Any]:
        context = right(self, hidden)
        return context | {"attention_mask": torch.zeros_like(context["attention_mask"])}

    monkeypatch.setattr(StagedModel, "_context", wrong)

    assert padding_logit_difference("gpt2") > 1e-3
    assert padding_gradient(2) > 1e-4


def test_pooling_the_last_position_breaks_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """S7: what transformers does when it is shown activations instead of token ids."""
    right = Trainer._loss

    def wrong(self: Trainer, logits: Tensor, batch: Any, chosen: Tensor, length: int) -> Tensor:
        shifted = torch.full_like(batch.last_index, length - 1)
        moved = type(batch)(batch.token_ids, shifted, batch.labels, batch.is_padded)
        return right(self, logits, moved, chosen, length)

    monkeypatch.setattr(Trainer, "_loss", wrong)

    assert pooled_loss_difference(2) > 1e-3
