"""A sample of the clients against all of them: within the stated 2 % in every regime and between.

The other engine of the comparison is ``scale``, which equals ``des`` (``test_engines_agree.py``).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedsim import scale
from fedsim.errors import ScenarioError
from fedsim.fleet import Simulation, SimulationResult, prepare
from fedsim.ledger import COUNTED
from fedsim.protocol import split_fedllm
from fedsim.spec.batch import TextLengths
from fedsim.spec.policy import PolicySpec
from split_fleet import REGIMES, Regime, split_simulation

#: As many as a shipped run takes at least, of twice as many.
_CLIENTS, _SAMPLED = 2000, 1000


def both(simulation: Simulation, num_sampled: int) -> tuple[SimulationResult, SimulationResult]:
    """All mini-batches, and those of a sample."""
    return scale.simulate(simulation), scale.simulate(simulation, num_sampled=num_sampled)


@pytest.mark.parametrize("sigma", [0.0, 0.5])
@pytest.mark.parametrize("num_batches", [1, 7])
@pytest.mark.parametrize("regime", REGIMES.values(), ids=REGIMES)
def test_round_time_is_within_two_percent(regime: Regime, num_batches: int, sigma: float) -> None:
    simulation = split_simulation(
        regime, num_clients=_CLIENTS, num_batches=num_batches, sigma=sigma, num_rounds=2
    )
    exact, sampled = both(simulation, _SAMPLED)
    assert sampled.rounds.end_s == pytest.approx(exact.rounds.end_s, rel=0.02)


@pytest.mark.parametrize("regime", REGIMES.values(), ids=REGIMES)
def test_ledger_of_finished_work(regime: Regime) -> None:
    """Everybody ends: integers and computing are exact, waiting is the sample's."""
    exact, sampled = both(split_simulation(regime, num_clients=_CLIENTS), _SAMPLED)
    assert set(exact.ledger.rows) == set(sampled.ledger.rows)
    for key, row in exact.ledger.rows.items():
        found = sampled.ledger.rows[key]
        for name in COUNTED:
            assert getattr(found, name) == getattr(row, name), (key, name)
        assert found.compute_s == pytest.approx(row.compute_s, rel=1e-9)
        assert found.server_s == pytest.approx(row.server_s, rel=1e-9)
    one, other = exact.ledger.total(), sampled.ledger.total()
    whole = one.compute_s + one.transfer_s + one.wait_s
    assert other.wait_s == pytest.approx(one.wait_s, abs=0.02 * whole)
    assert other.transfer_s == pytest.approx(one.transfer_s, abs=0.02 * whole)
    assert sampled.accelerator_busy_s == pytest.approx(exact.accelerator_busy_s, rel=1e-9)


@pytest.mark.parametrize(
    "policy",
    [
        PolicySpec(quorum=1500),
        PolicySpec(clients_per_round=1200, over_selection=0.3),
        PolicySpec(deadline_s=60.0),
    ],
    ids=["quorum", "over-selection", "deadline"],
)
@pytest.mark.parametrize("name", ["server saturates", "link saturates", "client-bound"])
def test_late_and_lost_work(policy: PolicySpec, name: str) -> None:
    """Who is cut off is counted, and so is nearly as much of what they had done."""
    simulation = split_simulation(
        REGIMES[name], num_clients=_CLIENTS, policy=policy, dropout_probability=0.1
    )
    exact, sampled = both(simulation, 600)
    assert sampled.rounds.end_s == pytest.approx(exact.rounds.end_s, rel=0.02)
    for field in ("num_asked", "num_used", "num_late", "num_lost"):
        expected = getattr(exact.rounds, field)
        assert getattr(sampled.rounds, field) == pytest.approx(expected, abs=0.02 * _CLIENTS)
    asked = int(exact.rounds.num_asked[0])
    assert exact.ledger.total().client_flop == pytest.approx(
        sampled.ledger.total().client_flop, rel=0.05
    )
    for outcome in ("late", "lost"):
        cut = [
            sum(row.compute_s for key, row in found.ledger.rows.items() if key.outcome == outcome)
            for found in (exact, sampled)
        ]
        assert cut[1] == pytest.approx(cut[0], rel=0.25, abs=asked)


@pytest.mark.parametrize("is_unequal", [False, True], ids=["equal data", "unequal data"])
def test_every_client_may_have_a_plan_of_its_own(is_unequal: bool) -> None:
    """Neighbors in rank take alike, though each has a class of its own; else it errs by 16 %."""
    base = split_simulation(REGIMES["server saturates"], num_clients=400, num_batches=2, sigma=0.0)
    (boards,) = base.federation.classes
    rng = np.random.default_rng(7)
    classes = []
    for number in range(400):
        pace, rate = np.exp(0.6 * rng.standard_normal(2)).tolist()
        seconds = {name: pace * s for name, s in boards.device.seconds_per_unit.items()}
        samples = int(rng.integers(1, 64)) if is_unequal else 32
        classes.append(
            replace(
                boards,
                name=f"{number:03}",
                num_clients=1,
                plan=replace(boards.plan, train_epochs=(TextLengths(samples, 80),)),
                device=replace(boards.device, seconds_per_unit=seconds),
                link=replace(
                    boards.link, uplink_bytes_per_s=5e6 * rate, downlink_bytes_per_s=2e7 * rate
                ),
            )
        )
    federation = replace(base.federation, classes=tuple(classes))
    exact, sampled = both(prepare(federation, split_fedllm, PolicySpec(), seed=1), 100)
    assert sampled.makespan_s == pytest.approx(exact.makespan_s, rel=0.02)


def test_a_sample_of_all_is_exact() -> None:
    exact, sampled = both(split_simulation(REGIMES["link saturates"], num_clients=300), 300)
    assert (sampled.rounds.end_s == exact.rounds.end_s).all()
    assert sampled.approximation == ""


def test_an_approximation_says_so() -> None:
    _, sampled = both(split_simulation(REGIMES["client-bound"], num_clients=300), 100)
    assert "100 clients of a round stand for all" in sampled.approximation


def test_more_of_the_fleet_is_a_smaller_error() -> None:
    """Mean error over the regimes, with a twentieth and with half of the clients."""
    errors = []
    for num_sampled in (100, 1000):
        found = [both(split_simulation(r, num_batches=4), num_sampled) for r in REGIMES.values()]
        ratios = [sampled.makespan_s / exact.makespan_s for exact, sampled in found]
        errors.append(float(np.abs(np.log(ratios)).mean()))
    assert errors[1] < errors[0]


@pytest.mark.parametrize(
    ("policy", "found"),
    [
        (PolicySpec(retries=1), "policy.retries = 1"),
        (PolicySpec(mode="windowed", clients_per_round=5, window_s=9.0), "policy.mode"),
    ],
)
def test_refusals(policy: PolicySpec, found: str) -> None:
    simulation = split_simulation(Regime(), num_clients=20, policy=policy)
    with pytest.raises(ScenarioError, match=found):
        scale.simulate(simulation, num_sampled=10)
