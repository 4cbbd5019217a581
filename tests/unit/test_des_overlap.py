"""Clients that send what they are still computing, by hand (``policy.overlap``)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedsim.des import simulate
from fedsim.errors import ScenarioError
from fedsim.fleet import SimulationResult
from fedsim.fleet.overlap import streamed_uploads
from fedsim.ledger import COUNTED
from fedsim.protocol import kd_fedllm, split_fedllm
from fedsim.protocol.operation import Content
from fedsim.protocol.step import Each, Repeat, Step
from fedsim.scenario import run_scenario
from fedsim.spec.policy import PolicySpec
from scenarios import changed, written
from split_fleet import REGIMES, split_simulation
from toy_fleet import ASK, BYTES, DOWN, UP, WORK, toy_class, toy_server, toy_simulation

LOGITS = replace(UP, payload=replace(UP.payload, content=Content.LOGITS))
OVERLAP = PolicySpec(overlap=True)


def run(
    *steps: Step,
    work_s: float = 1.0,
    message_s: float = 1.0,
    policy: PolicySpec = OVERLAP,
    **more: object,
) -> SimulationResult:
    """One client (or ``num``) at some steps, behind a server that needs half a second a round."""
    keys = {name: more.pop(name) for name in ("num", "dropout") if name in more}
    client = toy_class("c", work_s, message_s, **keys)  # type: ignore[arg-type]
    return simulate(toy_simulation(client, steps=steps, policy=policy, **more), keeps_trace=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(("work_s", "message_s"), [(3.0, 1.0), (1.0, 3.0), (2.0, 2.0)])
def test_the_longer_of_the_two_counts(work_s: float, message_s: float) -> None:
    """Three seconds and one take three, not four; 0.5 s at the server follow."""
    found = run(WORK, LOGITS, work_s=work_s, message_s=message_s)
    assert found.rounds.closed_s[0] == pytest.approx(max(work_s, message_s), rel=1e-12)
    apart = run(WORK, LOGITS, work_s=work_s, message_s=message_s, policy=PolicySpec())
    assert apart.rounds.closed_s[0] == pytest.approx(work_s + message_s, rel=1e-12)


def test_all_computations_that_make_a_message_overlap_with_it() -> None:
    """Two in a row and one alone: 3 s of work over a message of 1 s."""
    steps = (Repeat(2, (WORK,)), WORK, LOGITS)
    assert run(*steps).rounds.closed_s[0] == pytest.approx(3.0, rel=1e-12)
    assert streamed_uploads(steps) == {0: 2}


def test_mini_batches_overlap_each() -> None:
    """Three times (2 s of work over 1 s up), then 0.5 s at the server each: 7.5 s."""
    steps = (Repeat(3, (WORK, LOGITS, ASK)),)
    found = run(*steps, work_s=2.0)
    assert found.rounds.closed_s[0] == pytest.approx(7.5, rel=1e-12)


def test_what_is_there_only_at_the_end_waits_for_it() -> None:
    """Adapters, and what another computation made."""
    assert run(WORK, UP).rounds.closed_s[0] == pytest.approx(2.0, rel=1e-12)
    other = replace(WORK, label="other")
    found = run(other, WORK, LOGITS, work_s=1.0, message_s=1.0)
    assert found.rounds.closed_s[0] == pytest.approx(2.0, rel=1e-12)
    assert streamed_uploads((WORK, DOWN)) == {}


def test_the_frameworks_own_pairs() -> None:
    """b2 with b3, c1 with c2; training with its adapters never."""
    plan = split_simulation(REGIMES["client-bound"], num_clients=2).population.groups[0].plan
    (batches, *_) = split_fedllm(plan).round
    assert isinstance(batches, Each)
    (inner,) = (s for s in batches.steps if isinstance(s, Repeat))
    assert streamed_uploads(inner.steps) == {0: 1}
    assert streamed_uploads(batches.steps) == {}
    knowledge = replace(plan, public_text=plan.train_epochs[0], cut=None)
    (first, *_) = kd_fedllm(knowledge).round
    assert isinstance(first, Each)
    ((start, stop),) = streamed_uploads(first.steps).items()
    labels = {
        s.label if not isinstance(s, Repeat) else s.steps[0].label for s in first.steps[start:stop]
    }  # type: ignore[union-attr]
    assert labels == {"b2"}


def test_counts_are_those_without() -> None:
    """Only times move: computing and sending last as long as they do, beside each other."""
    whole, apart = (
        run(WORK, LOGITS, num=3, policy=p, num_rounds=2) for p in (OVERLAP, PolicySpec())
    )
    one, other = whole.ledger.total(), apart.ledger.total()
    assert [getattr(one, name) for name in COUNTED] == [getattr(other, name) for name in COUNTED]
    assert one.compute_s == pytest.approx(other.compute_s, rel=1e-12)
    assert one.transfer_s == pytest.approx(other.transfer_s, rel=1e-12)


def test_the_critical_path_hides_what_is_hidden() -> None:
    """Computing 3 s and 0.5 s at the server; of 1 s of sending nothing is left, and no wait."""
    found = run(WORK, LOGITS, work_s=3.0).rounds
    assert (found.compute_s[0], found.transfer_s[0]) == pytest.approx((3.5, 0.0), abs=1e-12)
    found = run(WORK, LOGITS, message_s=3.0).rounds
    assert (found.compute_s[0], found.transfer_s[0]) == pytest.approx((1.5, 2.0), abs=1e-12)


def test_a_deadline_cuts_both() -> None:
    """After 2 s, of 4 s of work in four calls two are done, and of a message of 8 s a quarter."""
    policy = PolicySpec(overlap=True, deadline_s=2.0)
    found = run(Repeat(4, (WORK,)), LOGITS, message_s=8.0, policy=policy)
    rows = {key.step: row for key, row in found.ledger.rows.items() if key.outcome == "late"}
    assert (rows["work"].times, rows["work"].compute_s) == (2, pytest.approx(2.0))
    assert rows["up"].messages == 0
    assert 0 < rows["up"].uplink_message_bytes <= BYTES / 4
    assert rows["up"].transfer_s == pytest.approx(2.0)


def test_as_many_fail_as_the_draws_say() -> None:
    """The moment of failing lies within what the work takes, the hidden part left out."""
    found = run(WORK, LOGITS, num=400, dropout=0.3, work_s=1.0, message_s=1.0)
    lost = int(found.rounds.num_lost[0])
    assert abs(lost - 120) <= 4 * np.sqrt(400 * 0.3 * 0.7)
    apart = run(WORK, LOGITS, num=400, dropout=0.3, policy=PolicySpec())
    assert int(apart.rounds.num_lost[0]) == lost


@pytest.mark.parametrize("regime", ["client-bound", "server-bound", "link-bound"])
def test_a_split_round_never_gets_longer(regime: str) -> None:
    """With one client there are no queues that could turn; shared links and servers included."""
    times = []
    for policy in (OVERLAP, PolicySpec()):
        simulation = split_simulation(REGIMES[regime], num_clients=1, num_batches=3)
        found = simulate(replace(simulation, policy=policy))
        times.append(found.rounds.end_s[-1])
    assert times[0] < times[1]


def test_the_trace_shows_both_at_once() -> None:
    """One client's computing and sending have common seconds."""
    found = run(WORK, LOGITS, work_s=3.0)
    assert found.trace is not None
    spans = {
        event.kind: (event.start_s, event.end_s)
        for event in found.trace
        if event.step in ("work", "up")
    }
    assert spans["compute"] == pytest.approx((0.0, 3.0))
    assert spans["transfer"] == pytest.approx((0.0, 1.0))


def test_one_accelerator_and_overlap_agree_with_the_sum_of_parts() -> None:
    """What the engine finds for one client alone is what the closed parts say."""
    client = toy_class("c", 2.0, 3.0)
    simulation = toy_simulation(
        client, steps=(WORK, LOGITS, WORK), policy=OVERLAP, server=toy_server(0.25)
    )
    found = simulate(simulation)
    assert found.rounds.closed_s[0] == pytest.approx(3.0 + 2.0, rel=1e-12)


@pytest.mark.parametrize("engine", ["analytic", "scale", "sampled"])
def test_engines_that_cannot_say_so(engine: str, tmp_path: object) -> None:
    """Never ignored; auto takes the one that can."""
    table = changed(policy={"overlap": True}, engine=engine)
    with pytest.raises(ScenarioError, match=r"policy\.overlap = true"):
        run_scenario(written(tmp_path, table))  # type: ignore[arg-type]
    answer = run_scenario(written(tmp_path, changed(policy={"overlap": True}, engine="auto")))  # type: ignore[arg-type]
    assert {result["engine_used"] for result in answer.results} == {"des"}
