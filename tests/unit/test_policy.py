"""Whom a policy asks, and what it refuses."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim.errors import ScenarioError
from fedsim.scenario import read_scenario
from fedsim.spec.policy import PolicySpec
from scenarios import answered, changed, written


def fedllm(**changes: Any) -> dict[str, Any]:
    """The small scenario with FedLLM alone."""
    table = changed(**changes)
    table["case"] = table["case"][:1]
    return table


@pytest.mark.parametrize(
    ("clients", "share", "asked"),
    [
        (100, 0.1, 110),
        (10, 0.3, 13),
        (100, 0.15, 115),
        (1000, 0.29, 1290),
        (10, 0.25, 13),
        (7, 0, 7),
    ],
)
def test_nobody_is_asked_for_a_rounding_error(clients: int, share: float, asked: int) -> None:
    """100 and 10 % more are 110; in floats 100 x 1.1 is above that and would be 111."""
    policy = PolicySpec(clients_per_round=clients, over_selection=share)
    assert policy.num_asked(10_000) == asked
    assert policy.num_asked(5) == 5


@given(st.integers(1, 10**6), st.integers(0, 10_000))
def test_over_selection_is_what_was_typed(clients: int, per_ten_thousand: int) -> None:
    """However many digits: the smallest whole number that is not below the exact product."""
    share = float(f"{per_ten_thousand / 10_000:.4f}")
    exact = clients * (1 + Fraction(per_ten_thousand, 10_000))
    policy = PolicySpec(clients_per_round=clients, over_selection=share)
    assert policy.num_asked(10**9) == ceil(exact)


@pytest.mark.parametrize("key", ["retry_after", "failure_timeout", "deadline"])
def test_a_wait_of_more_than_a_century_is_a_mistake(tmp_path: Path, key: str) -> None:
    """Not a run at the end of which nothing can be printed."""
    policy = {"retries": 100, key: "1e99 s"}
    table = fedllm(fleet={"dropout_probability": 0.9}, policy=policy, engine="des")
    with pytest.raises(ScenarioError, match=rf"{key} = 1e\+99: allowed: up to .* a century"):
        read_scenario(written(tmp_path, table))


def test_a_window_of_more_than_a_century_is_a_mistake() -> None:
    with pytest.raises(ScenarioError, match="a century"):
        PolicySpec(mode="windowed", window_s=1e99)


def test_a_failure_is_not_noticed_ahead_of_it() -> None:
    with pytest.raises(ScenarioError, match=r"policy.failure_timeout = -1"):
        PolicySpec(failure_timeout_s=-1.0)


def test_the_closed_form_refuses_a_detector_where_clients_fail(tmp_path: Path) -> None:
    """Where nobody fails the key says nothing, and the closed form answers."""
    policy = {"failure_timeout": "9 s"}
    read_scenario(written(tmp_path, fedllm(policy=policy, engine="analytic")))
    table = fedllm(policy=policy, fleet={"dropout_probability": 0.5}, engine="analytic")
    with pytest.raises(ScenarioError, match=r"policy.failure_timeout = 9"):
        read_scenario(written(tmp_path, table))


def test_it_is_said_when_failures_are_noticed(tmp_path: Path) -> None:
    """Where clients fail and nothing is said about it; not where they do not, or it is said."""
    note = "a client that fails is missed when its work would have ended"
    failing = {"fleet": {"dropout_probability": 0.5}, "engine": "des"}
    silent, said, sound = (
        answered(tmp_path, fedllm(**changes))[0]["notes"]
        for changes in (
            failing,
            failing | {"policy": {"failure_timeout": "1 s"}},
            {"engine": "des"},
        )
    )
    assert any(text.startswith(note) for text in silent)
    assert not any(text.startswith(note) for text in [*said, *sound])
