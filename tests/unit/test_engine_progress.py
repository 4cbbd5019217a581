"""What engines tell of a run that goes on."""

from __future__ import annotations

from typing import Any

import pytest

from fedsim import des, scale
from fedsim.spec.availability import OnOff
from fedsim.spec.policy import PolicySpec
from split_fleet import Regime, split_simulation
from toy_fleet import toy_class, toy_simulation

MODES: dict[str, dict[str, Any]] = {
    "synchronous": {},
    "buffered": {"mode": "buffered", "buffer_size": 2},
    "windowed": {"mode": "windowed", "window_s": 3.0},
}


@pytest.mark.parametrize("engine", [des, scale], ids=["des", "scale"])
@pytest.mark.parametrize("mode", MODES)
def test_every_round_is_told_once(engine: Any, mode: str) -> None:
    """Rounds, versions or windows, one after the other, and the answer is the same."""
    told: list[tuple[int, int]] = []
    simulation = toy_simulation(
        toy_class("c", num=4), policy=PolicySpec(**MODES[mode]), num_rounds=7
    )
    found = engine.simulate(simulation, progress=lambda *some: told.append(some))
    assert told == [(n, 7) for n in range(1, 8)]
    assert found.makespan_s == engine.simulate(simulation).makespan_s


@pytest.mark.parametrize("engine", [des, scale], ids=["des", "scale"])
def test_a_run_that_starts_over_does_not_go_back(engine: Any) -> None:
    """What is known of availability ends after an hour, and again: nobody sees that."""
    told: list[int] = []
    client = toy_class("c", 400.0, num=4, availability=OnOff(900.0, 900.0))
    simulation = toy_simulation(client, num_rounds=20)
    found = engine.simulate(simulation, progress=lambda done, _: told.append(done))
    assert found.makespan_s > 3600, "there was reason to start over"
    assert told == list(range(1, 21))


def test_a_sample_tells_too() -> None:
    told: list[tuple[int, int]] = []
    simulation = split_simulation(Regime(), num_clients=40, num_rounds=3)
    scale.simulate(simulation, num_sampled=10, progress=lambda *some: told.append(some))
    assert told == [(1, 3), (2, 3), (3, 3)]
