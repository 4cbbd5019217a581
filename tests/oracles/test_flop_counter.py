"""FLOP of public models' training steps are those of torch's counter, to the last one."""

from dataclasses import replace

import pytest

pytest.importorskip("torch")

from oracles.flop_counter import CASES, Case, by_fedsim, by_torch


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_training_step_has_the_flop_that_torch_counts(case: Case) -> None:
    """Two texts of 128 tokens, LoRA of rank 8; and as many trained values as peft makes."""
    assert by_fedsim(case) == by_torch(case)


def test_other_adapted_layers_have_another_count() -> None:
    """Negative control."""
    other = replace(CASES[0], targets=("q_proj",))

    assert by_fedsim(other).flop != by_torch(CASES[0]).flop
