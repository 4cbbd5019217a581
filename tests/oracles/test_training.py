"""Real training is what others' programs do: transformers' Trainer, peft, and sums by hand."""

import pytest

pytest.importorskip("torch")

from oracles.training import average_difference, training_difference


def test_one_client_trains_as_transformers_trainer_does() -> None:
    """Twelve Adam steps: every loss and every trained value, to the last bit."""
    found = training_difference()

    assert (found.losses, found.tensors) == (0.0, 0.0)
    assert found.num_steps == 12
    assert found.moved > 0.01


def test_another_step_size_is_another_training() -> None:
    """Negative control: one hundred thousandth of the learning rate is seen."""
    found = training_difference(learning_rate=3e-3 * (1 + 1e-5))

    assert found.losses > 0
    assert found.tensors > 0


def test_the_global_model_is_the_average_by_hand_of_what_others_trained() -> None:
    """24, 9 and 40 rows, each client's model trained by transformers' Trainer; bit by bit."""
    found = average_difference("sequential")

    assert found.tensors == 0.0
    assert found.moved > 0.01


def test_a_cohort_s_global_model_is_that_average_too() -> None:
    """Clients that go through the frozen network in one pass; 32-bit floats in another order."""
    found = average_difference("cohort")

    assert found.tensors < 1e-6
    assert found.moved > 0.01
