"""How many seeds a result is worth follows from its work, never from a clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedsim.scenario import run_scenario
from fedsim.scenario.answer import replication
from scenarios import changed, written

_SOME = {
    "fleet": {"num_clients": 6, "dropout_probability": 0.3},
    "device": {"like": "rpi5-8g", "slowdown_p95": 4.0},
    "policy": {"failure_timeout": "1 s"},
}


def seeds(folder: Path) -> list[int]:
    """Of a fleet whose draws are most of its interval."""
    (result,) = run_scenario(written(folder, changed(**_SOME))).results[:1]
    found: list[int] = result["common_draws"]["seeds"]
    return found


def test_draws_that_decide_are_drawn_more_often(tmp_path: Path) -> None:
    """Thirty seeds, of which the first ten are those of a run that stops there."""
    assert len(seeds(tmp_path)) == 30


def test_plans_of_many_steps_are_not_made_thirty_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each seed plans anew: where that is the work, ten are enough."""
    many = seeds(tmp_path)
    monkeypatch.setattr(replication, "_MANY_STEPS", 3)
    assert seeds(tmp_path) == many[:10]
