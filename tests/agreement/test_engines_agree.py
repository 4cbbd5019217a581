"""The two simulating engines, written apart, on the same random fleets: equal to the last unit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from engine_cases import Case, simulations
from fedsim import des, scale
from fedsim.errors import ScenarioError
from fedsim.fleet import Simulation, SimulationResult, prepare
from fedsim.ledger import COUNTED, Ledger
from fedsim.protocol import FRAMEWORKS
from fedsim.spec.batch import TextLengths
from fedsim.spec.device import DeviceSpec
from fedsim.spec.federation import ClientClass, FederationSpec, ServerSpec
from fedsim.spec.link import LinkSpec, RateTrace
from fedsim.spec.model import HeadSpec
from fedsim.spec.model_catalogue import model
from fedsim.spec.plan import ClientPlan, TrainingSpec
from fedsim.spec.policy import PolicySpec
from fedsim.spec.tuning import LoraTuning

#: Half a nanosecond and rounding of the time itself.
_TIE_S = 1.1e-9


def answer(engine: object, simulation: Simulation) -> SimulationResult | str:
    """Result, or the class of the refusal."""
    try:
        return engine.simulate(simulation, keeps_visits=True)  # type: ignore[attr-defined]
    except ScenarioError:
        return "refused"


def assert_equal(one: SimulationResult, other: SimulationResult) -> None:
    """Rounds, integers, seconds and every visit."""
    for field in dataclasses.fields(one.rounds):
        first, second = getattr(one.rounds, field.name), getattr(other.rounds, field.name)
        assert first == pytest.approx(second, rel=1e-12, abs=_TIE_S), field.name
    _assert_ledgers(one.ledger, other.ledger)
    assert one.visits is not None
    assert other.visits is not None
    _assert_visits(one, other)
    assert one.idle_s == pytest.approx(other.idle_s, rel=1e-9, abs=1e-6)
    assert one.accelerator_busy_s == pytest.approx(other.accelerator_busy_s, rel=1e-9, abs=1e-6)


def _assert_ledgers(one: Ledger, other: Ledger) -> None:
    assert set(one.rows) == set(other.rows)
    for key, row in one.rows.items():
        for name in COUNTED:
            assert getattr(row, name) == getattr(other.rows[key], name), (key, name)
        for name in ("compute_s", "server_s", "transfer_s", "wait_s", "start_s"):
            expected = getattr(other.rows[key], name)
            assert getattr(row, name) == pytest.approx(expected, rel=1e-9, abs=1e-6), (key, name)


def _assert_visits(one: SimulationResult, other: SimulationResult) -> None:
    assert one.visits is not None
    assert other.visits is not None
    assert len(one.visits) == len(other.visits)
    for name in ("round_index", "client", "segment", "attempt", "visit", "resource"):
        assert (one.visits[name] == other.visits[name]).all(), name
    for name in ("join_s", "leave_s"):
        assert np.allclose(one.visits[name], other.visits[name], rtol=1e-12, atol=_TIE_S), name


def assert_agreement(case: Case) -> None:
    """Both refuse, or both find the same."""
    one, other = answer(des, case.simulation), answer(scale, case.simulation)

    if isinstance(one, str) or isinstance(other, str):
        assert one == other
        return
    assert_equal(one, other)


@settings(suppress_health_check=list(HealthCheck))
@given(simulations())
def test_synchronous_rounds_are_equal(case: Case) -> None:
    """Any framework, policy, discipline, failure, absence and trace: event times and ledgers."""
    assert_agreement(case)


@settings(suppress_health_check=list(HealthCheck))
@given(simulations(modes=("buffered", "windowed")))
def test_modes_without_common_rounds_are_equal(case: Case) -> None:
    """The same for FedBuff's buffer and for windows: versions, staleness, who fills a slot."""
    assert_agreement(case)


@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(simulations(hides=True))
def test_rounds_that_hide_contributions_are_equal(case: Case) -> None:
    """Keys and shares ahead of the work, masks, and a segment of unmasking behind the gathering."""
    assert_agreement(case)


@settings(max_examples=10, suppress_health_check=list(HealthCheck))
@given(simulations(modes=("synchronous", "buffered", "windowed"), max_clients=200))
def test_larger_fleets_are_equal(case: Case) -> None:
    """Up to 200 clients."""
    assert_agreement(case)


@pytest.mark.parametrize("num_clients", [20, 35, 36])
@pytest.mark.parametrize("mode", ["synchronous", "buffered"])
def test_what_ends_as_an_outage_begins_has_ended(mode: str, num_clients: int) -> None:
    """A flow that is through in the nanosecond in which its rate falls to 0 waits for nothing."""
    tuning = LoraTuning(r=5)
    training = TrainingSpec(model("gpt2-tiny"), HeadSpec(num_classes=4), tuning)
    plan = ClientPlan(training, (TextLengths(1, 8),), batch_size=1)
    idle = DeviceSpec("idle", {"num_calls": 0.0}, relative_sigma=0.1)
    outages = RateTrace((0.0, 1.5), (1.0, 0.0), 4.0)
    link = LinkSpec("trace", 1e4, 1e4, 0.0, 0.0, 0, 1.0, trace=outages)
    clients = ClientClass("all", num_clients, plan, idle, link)
    server = ServerSpec(idle, 1, None, 30_000.0)
    buffered = PolicySpec(mode="buffered", buffer_size=1)
    policy = buffered if mode == "buffered" else PolicySpec()
    federation = FederationSpec((clients,), server, plan, num_rounds=1)
    simulation = prepare(federation, FRAMEWORKS["fedllm"], policy, 0)
    assert_equal(*(engine.simulate(simulation, keeps_visits=True) for engine in (des, scale)))
