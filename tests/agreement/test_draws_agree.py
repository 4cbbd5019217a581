"""A real run and a simulation with one seed draw the same cohort and the same turns."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from fedsim import des
from fedsim.fleet import Simulation
from fedsim.fleet.trace import TraceEvent
from fedsim.runtime.options import RunOptions
from fedsim.spec.policy import PolicySpec
from split_identities import cut_at, split_federation
from tiny import tiny_training
from toy_fleet import ASK, UP, WORK, toy_class, toy_simulation

NUM_CLIENTS, NUM_ROUNDS = 5, 4
LENGTHS = {f"clients/{number}": (3, 4) for number in range(NUM_CLIENTS)}


def run_turns(seed: int, dropout: float, asked: int | None = None) -> list[list[str]]:
    """By round, the clients of a real Split V2 run in the order in which they begin."""
    options = RunOptions(learning_rate=0.05, seed=seed, dropout_probability=dropout)
    federation = split_federation(
        tiny_training(),
        cut_at(2),
        "v2",
        clients=LENGTHS,
        options=options,
        policy=PolicySpec(clients_per_round=asked),
    )
    executor = federation.executor(counts_flop=False)
    federation.run_setup(executor)
    begun: list[list[str]] = [[] for _ in range(NUM_ROUNDS)]

    def note(round_index: int, party: str, step: str) -> None:
        if step == "c1" and party not in begun[round_index - 1]:
            begun[round_index - 1].append(party)

    executor.on_step = note
    for round_index in range(1, NUM_ROUNDS + 1):
        federation.run_round(executor, round_index)
    return begun


def simulation(seed: int, dropout: float, asked: int | None = None) -> Simulation:
    """The same fleet in a toy protocol with one shared server-side model."""
    return toy_simulation(
        toy_class("clients", num=NUM_CLIENTS, dropout=dropout),
        steps=(WORK, ASK, UP),
        policy=PolicySpec(failure_timeout_s=0.0, clients_per_round=asked),
        num_rounds=NUM_ROUNDS,
        seed=seed,
        is_exclusive=True,
    )


def names(found: Simulation, events: list[TraceEvent]) -> list[str]:
    """Clients of some events, each once, in their order."""
    return list(dict.fromkeys(found.population.client_id(e.client_index) for e in events))


@pytest.mark.parametrize("seed", [0, 3, 8])
def test_one_seed_one_order_of_turns(seed: int) -> None:
    """Split V2: whoever is first in the simulation is first in the run."""
    asked = simulation(seed, 0.0)
    found = des.simulate(asked, keeps_trace=True)
    assert found.trace is not None
    simulated = [
        names(asked, [e for e in found.trace if (e.step, e.round_index) == ("work", index)])
        for index in range(1, NUM_ROUNDS + 1)
    ]
    assert simulated == run_turns(seed, 0.0)


@pytest.mark.parametrize("seed", [0, 3, 8])
def test_one_seed_one_cohort(seed: int) -> None:
    """Who fails in a round of the simulation is absent from the run's; the others are there."""
    asked = simulation(seed, 0.4)
    found = des.simulate(asked)
    run = run_turns(seed, 0.4)
    assert [len(ids) for ids in run] == np.maximum(1, found.rounds.num_used).tolist()
    assert len({len(ids) for ids in run}) > 1


@pytest.mark.parametrize("seed", [0, 3])
def test_one_seed_asks_the_same_clients(seed: int) -> None:
    """Three of five a round, in the same order of turns."""
    asked = simulation(seed, 0.0, 3)
    found = des.simulate(asked, keeps_trace=True)
    assert found.trace is not None
    simulated = [
        names(asked, [e for e in found.trace if (e.step, e.round_index) == ("work", index)])
        for index in range(1, NUM_ROUNDS + 1)
    ]
    assert simulated == run_turns(seed, 0.0, 3)
    assert len({tuple(sorted(ids)) for ids in simulated}) > 1
