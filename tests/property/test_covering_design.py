"""The design of the agreement tests covers what it says it covers."""

from itertools import combinations, product

import pytest

from strategies import axes, covering_design, iter_pairs, uncovered_values

FRAMEWORKS = ("fedllm", "kd_fedllm", "split_fedllm")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_sixty_rows_hold_every_pair_of_values(framework: str) -> None:
    """Whatever two choices go wrong together, some row makes both."""
    design = covering_design(framework, num_rows=60, seed=1)
    values = axes(framework)
    pairs = {
        ((one, a), (other, b))
        for one, other in combinations(values, 2)
        for a, b in product(values[one], values[other])
    }

    assert set(iter_pairs(design)) == pairs
    assert uncovered_values(framework, design) == {}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_longer_design_begins_with_a_shorter_one(framework: str) -> None:
    """Row 17 is the same configuration wherever it is run."""
    assert covering_design(framework, 70, seed=1)[:60] == covering_design(framework, 60, seed=1)


def test_a_missing_value_is_named() -> None:
    """The check of coverage sees what is not there."""
    design = [row for row in covering_design("fedllm", 60, seed=1) if row["family"] != "gemma"]

    assert uncovered_values("fedllm", design) == {"family": ("gemma",)}
