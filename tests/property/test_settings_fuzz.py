"""Sixty keys of shipped scenarios; ``python -m fuzz.settings`` tries every one of all of them."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from fedsim.scenario import run_scenario
from fuzz.settings import Pair, judged, pairs
from scenarios import changed, written
from unit.test_scenario_affects import CHANGES

SEED: Final = int(os.environ.get("FUZZ_SEED", "20"))
PAIRS: Final = 60
BLOCK: Final = 10
#: Nobody fails, nothing is learned, nobody is away: these do nothing there.
WITHOUT_EFFECT: Final = (
    *("policy.failure_timeout", "lora.alpha", "learning.learning_rate", "lora.use_rslora"),
    *("policy.exclude_unfit", "workload.dataset", "learning.weights"),
)


def sample() -> list[Pair]:
    """The same for the same seed."""
    return Random(SEED).sample(pairs(), PAIRS)


@pytest.mark.parametrize("first", range(0, PAIRS, BLOCK))
def test_a_setting_that_changes_no_figure_is_said_to(first: int) -> None:
    """Nobody believes to have compared what was never read."""
    silent = {p: found for p in sample()[first : first + BLOCK]
              if (found := judged(p)).startswith("silent")}  # fmt: skip

    assert not silent


def test_the_sample_tries_both_ways_and_comes_to_all_ends() -> None:
    """It could fail: most pairs are neither refused nor labels."""
    found = sample()

    assert any(pair.is_swept for pair in found)
    assert any(not pair.is_swept for pair in found)
    assert any(pair.key.startswith("fleet.class.") for pair in pairs())
    assert len({pair.scenario for pair in found}) > 8


@pytest.mark.parametrize("key", WITHOUT_EFFECT)
def test_what_has_no_effect_here_warns(tmp_path: Path, key: str) -> None:
    """Though it is part of what is computed from."""
    value: Any = CHANGES[key][0]
    text = str(value).lower() if isinstance(value, bool) else str(value)
    warnings = run_scenario(written(tmp_path, changed()), [f"{key}={text}"]).table["warnings"]

    assert any(line.startswith(f"--set {key}=") and "changes no" in line for line in warnings)


def test_what_has_no_effect_on_some_names_them(tmp_path: Path) -> None:
    """One case has a link of its own; the others follow the command line."""
    cases = [
        {"name": "own", "framework": "fedllm", "link": {"uplink": "1 Mbit/s"}},
        {"name": "kd", "framework": "kd_fedllm"},
    ]
    path = written(tmp_path, changed(case=cases))
    (warning,) = run_scenario(path, ["link.uplink=2 Mbit/s"]).table["warnings"]

    assert warning.startswith("--set link.uplink=2 Mbit/s changes nothing of own:")


def test_an_axis_along_which_no_figure_changes_warns(tmp_path: Path) -> None:
    """Retries of clients that never fail."""
    case = {"name": "x", "framework": "fedllm", "sweep": {"policy.retries": [1, 2]}}
    (warning,) = run_scenario(written(tmp_path, changed(case=[case]))).table["warnings"]

    assert warning.startswith("case 'x': sweeping policy.retries changes no figure")
