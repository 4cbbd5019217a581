"""A KD-FedLLM round that was really run counts what the formulas say, to the last unit."""

import pytest
from hypothesis import given, settings

pytest.importorskip("torch")

from executed import Reached, differences_of, federation_of
from strategies import Configuration, configurations, covering_design, uncovered_values

# 60 rows hold every pair; the rest of a hundred are random.
EFFORT = settings().max_examples
DESIGN = covering_design("kd_fedllm", num_rows=max(60, EFFORT), seed=1)
REACHED = Reached()


@pytest.mark.parametrize("row", range(len(DESIGN)))
def test_every_pair_of_choices_counts_what_the_formulas_say(row: int) -> None:
    """Any two choices together leave every byte, FLOP, token and message as predicted."""
    assert REACHED.run(DESIGN[row]) == [], DESIGN[row]


@settings(max_examples=max(100, EFFORT))
@given(configurations("kd_fedllm"))
def test_any_choices_count_what_the_formulas_say(configuration: Configuration) -> None:
    """No combination of choices makes a real round differ from its prediction."""
    assert REACHED.run(configuration) == []


def test_later_rounds_count_what_the_formulas_say() -> None:
    """Orders of visiting, and so batches, change by round; the prediction follows them."""
    assert differences_of(federation_of(DESIGN[0]), num_rounds=3) == []


def test_the_runs_reach_every_value_of_every_axis() -> None:
    """Agreement is no accident of what was left out: every value of every axis was run."""
    if len(REACHED.configurations) < len(DESIGN):
        pytest.skip("only a part of the design was selected")
    assert uncovered_values("kd_fedllm", REACHED.configurations) == {}
    expected = {
        "b1 accumulates",
        "b1 has unequal batches",
        "b5 accumulates",
        "b8 has unequal batches",
        "b3 carries nothing",
        "b7 carries nothing",
        "equal batches are written once",
    }
    assert expected <= REACHED.situations
