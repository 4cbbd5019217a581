"""Synchronous rounds by hand: who is used, who is late, and what a cut-off message counts."""

from dataclasses import replace
from math import floor

import numpy as np
import pytest

from fedsim.analytic import evaluate
from fedsim.des import simulate
from fedsim.draws import client_keys, purpose_key, uniforms
from fedsim.errors import ScenarioError
from fedsim.fleet import SimulationResult, prepare
from fedsim.ledger import COUNTED, LedgerRow
from fedsim.protocol import fedllm, kd_fedllm, split_fedllm
from fedsim.protocol.step import Repeat
from fedsim.spec.availability import Trace
from fedsim.spec.batch import TextLengths
from fedsim.spec.device import DeviceSpec
from fedsim.spec.federation import ClientClass, FederationSpec, ServerSpec
from fedsim.spec.link import LinkSpec, RateTrace
from fedsim.spec.model import HeadSpec
from fedsim.spec.model_catalogue import model
from fedsim.spec.plan import ClientPlan, Cut, TrainingSpec
from fedsim.spec.policy import PolicySpec
from fedsim.spec.tuning import LoraTuning
from toy_fleet import ASK, BYTES, DOWN, UP, WORK, toy_class, toy_server, toy_simulation

DAY_S = 86400.0


def row(
    result: SimulationResult,
    step: str,
    outcome: str = "used",
    party: str | None = None,
    round_index: int = 1,
) -> LedgerRow:
    """Sum of the rows of one step and outcome."""
    rows = result.ledger.select(round_index=round_index, step=step, party=party)
    return result.ledger.total(item for item in rows if item[0].outcome == outcome)


@pytest.mark.parametrize("framework", [fedllm, kd_fedllm, split_fedllm])
def test_where_nobody_queues_the_round_is_the_analytic_one(framework) -> None:  # type: ignore[no-untyped-def]
    """Two clients with an accelerator each: every round's time, its parts and all counts agree."""
    training = TrainingSpec(model("gpt2-tiny"), HeadSpec(num_classes=4), LoraTuning(r=2))
    plan = ClientPlan(training, (TextLengths(8, 16),), TextLengths(4, 16), 4, cut=Cut(1))
    device = DeviceSpec("d", {"linear_flop": 1e-9, "num_messages": 1e-3}, relative_sigma=0.0)
    link = LinkSpec("l", 1e5, 2e5, 0.04)
    server = ServerSpec(replace(device, name="s"), num_accelerators=2)
    federation = FederationSpec((ClientClass("all", 2, plan, device, link),), server, plan, 3)
    expected = evaluate(federation, framework)
    simulation = prepare(federation, framework, PolicySpec(simulates_setup=True), 0)
    found = simulate(simulation)
    rounds, time = found.rounds, expected.round_time
    assert time.is_exact
    assert rounds.end_s - rounds.start_s == pytest.approx([time.mean_s] * 3, rel=1e-12)
    assert rounds.compute_s == pytest.approx([time.compute_s] * 3, rel=1e-12)
    assert rounds.transfer_s == pytest.approx([time.transfer_s] * 3, rel=1e-12)
    total = found.ledger.total()
    assert [getattr(total, n) for n in COUNTED] == [getattr(expected.total, n) for n in COUNTED]


def test_a_quorum_closes_the_round_and_ties_go_by_client_index() -> None:
    """Three clients end at 1 + 1 = 2 s; with a quorum of two, 0 and 1 are used and 2 is late.

    Its message had flowed in full at 2, so it counts; the server works from 2 to 2.5.
    """
    policy = PolicySpec(quorum=2)
    found = simulate(toy_simulation(toy_class("c", num=3), policy=policy), keeps_trace=True)
    rounds = found.rounds
    assert (rounds.num_used[0], rounds.num_late[0], rounds.num_lost[0]) == (2, 1, 0)
    assert rounds.closed_s[0] == pytest.approx(2.0, rel=1e-12)
    assert rounds.end_s[0] == pytest.approx(2.5, rel=1e-12)
    assert row(found, "up", "used").messages == 2
    assert row(found, "up", "late").uplink_message_bytes == BYTES
    assert found.trace is not None
    late = {event.client_index for event in found.trace if event.outcome == "late"}
    assert late == {2}


def test_whoever_is_late_stops_at_once() -> None:
    """B has computed for 1.3 s and sent for 0.7 s when A closes the round at 2 s.

    Seven tenths of its message had flowed; whole segments of 1448 bytes count.
    """
    fast, slow = toy_class("a"), toy_class("b", work_s=1.3)
    found = simulate(toy_simulation(fast, slow, policy=PolicySpec(quorum=1)))
    late = row(found, "work", "late")
    assert late.times == 1
    assert late.compute_s == pytest.approx(1.3, rel=1e-12)
    assert row(found, "up", "late").transfer_s == pytest.approx(0.7, rel=1e-12)
    assert row(found, "up", "late").messages == 0
    sent = floor(0.7 * BYTES / 1448) * 1448
    assert row(found, "up", "late").uplink_message_bytes == sent
    assert found.idle_s == pytest.approx((0.5, 0.0), rel=1e-12)


def test_executions_of_a_repeat_that_were_finished_count_at_a_cut() -> None:
    """A of five calls of 0.7 s, floor(2 / 0.7) = 2 are done when the other client closes at 2 s."""
    fast, slow = toy_class("a"), toy_class("b", work_s=0.7)
    simulation = toy_simulation(fast, slow, policy=PolicySpec(quorum=1))
    longer = replace(
        simulation.protocols[1],
        round=(
            replace(simulation.protocols[1].round[0], steps=(Repeat(5, (WORK,)), UP)),
            *simulation.protocols[1].round[1:],
        ),
    )
    found = simulate(replace(simulation, protocols=(simulation.protocols[0], longer)))
    late = row(found, "work", "late")
    assert late.times == 2
    assert late.compute_s == pytest.approx(2.0, rel=1e-12)


def test_a_contribution_at_the_nanosecond_of_the_deadline_counts() -> None:
    """A is there at 2 s, B at 2.000001 s: a deadline of 2 s keeps A and loses B."""
    classes = toy_class("a"), toy_class("b", work_s=1.000001)
    found = simulate(toy_simulation(*classes, policy=PolicySpec(deadline_s=2.0)))
    assert (found.rounds.num_used[0], found.rounds.num_late[0]) == (1, 1)
    assert found.rounds.closed_s[0] == pytest.approx(2.0, rel=1e-12)
    later = simulate(toy_simulation(*classes, policy=PolicySpec(deadline_s=2.000001)))
    assert (later.rounds.num_used[0], later.rounds.num_late[0]) == (2, 0)


def test_a_round_without_contributions_fails_and_the_next_one_starts() -> None:
    """With a deadline of 0.5 s nobody is through: both rounds end there, nothing is merged."""
    policy = PolicySpec(deadline_s=0.5)
    found = simulate(toy_simulation(toy_class("a"), policy=policy, num_rounds=2))
    assert found.rounds.end_s == pytest.approx([0.5, 1.0], rel=1e-12)
    assert found.rounds.num_used.tolist() == [0, 0]
    assert not list(found.ledger.select(party="server"))


def _seed_of_one_failure() -> tuple[int, float]:
    """A seed with which the client fails in its message, and not when it tries again."""
    keys = client_keys("c", 1)
    for seed in range(1000):
        fails, when = purpose_key(seed, "fails"), purpose_key(seed, "fails when")
        first, second = (float(uniforms(fails, 1, keys, attempt)[0]) for attempt in (0, 1))
        share = float(uniforms(when, 1, keys, 0)[0])
        if first < 0.5 <= second and 0.6 < share < 0.9:
            return seed, share
    raise AssertionError


def test_a_client_that_fails_in_mid_transfer_starts_over() -> None:
    """Work of 1 + 1 s fails at share u of 2 s; after a pause of 0.25 s it takes 2 s again.

    Of the message 2 u - 1 of its seconds had flowed: whole segments of 1448 bytes count.
    """
    seed, share = _seed_of_one_failure()
    policy = PolicySpec(retries=1, retry_after_s=0.25, failure_timeout_s=0.0)
    client = toy_class("c", dropout=0.5)
    found = simulate(toy_simulation(client, policy=policy, seed=seed), keeps_visits=True)
    assert found.rounds.closed_s[0] == pytest.approx(2 * share + 0.25 + 2.0, rel=1e-12)
    assert row(found, "work", "lost").times == row(found, "work", "used").times == 1
    lost = row(found, "up", "lost")
    assert (lost.times, lost.messages) == (0, 0)
    assert lost.uplink_message_bytes == floor((2 * share - 1) * BYTES / 1448) * 1448
    assert lost.transfer_s == pytest.approx(2 * share - 1, rel=1e-12)
    assert found.visits is not None
    assert found.visits["attempt"].tolist() == [0, 1]
    once = simulate(toy_simulation(client, seed=seed))
    assert once.rounds.num_lost[0] == 1
    assert once.rounds.end_s[0] == pytest.approx(2.0, rel=1e-12), "it is missed when it is due"


def test_a_client_that_leaves_comes_back_to_start_over() -> None:
    """It is there from 0 to 1.5 s and from 4 s on: its second attempt ends at 6 s."""
    there = Trace((((0.0, 1.5), (4.0, 90.0)),), period_s=100.0)
    client = toy_class("c", availability=there)
    found = simulate(toy_simulation(client, policy=PolicySpec(retries=1)))
    assert found.rounds.closed_s[0] == pytest.approx(6.0, rel=1e-12)
    assert row(found, "up", "lost").transfer_s == pytest.approx(0.5, rel=1e-12)


def test_work_that_ends_as_the_client_leaves_has_ended() -> None:
    """A client that leaves at 2 s is through with its 2 s of work."""
    there = Trace((((0.0, 2.0),),), period_s=100.0)
    found = simulate(toy_simulation(toy_class("c", availability=there)))
    assert (found.rounds.num_used[0], found.rounds.num_lost[0]) == (1, 0)


def test_a_round_waits_until_enough_clients_are_available() -> None:
    """Of three that come at 0, 5 and 7 s, two are there from 5 s on; the round asks these two."""
    classes = [
        toy_class(name, availability=Trace((((start, 90.0),),), period_s=100.0))
        for name, start in (("a", 0.0), ("b", 5.0), ("c", 7.0))
    ]
    found = simulate(toy_simulation(*classes, policy=PolicySpec(min_available=2)))
    assert found.rounds.start_s[0] == pytest.approx(5.0, rel=1e-12)
    assert found.rounds.num_asked[0] == 2


def test_a_run_that_passes_the_horizon_starts_over_with_a_later_one() -> None:
    """A client that first comes after 20 days starts then, and not at the horizon of 4 days."""
    there = Trace((((20 * DAY_S, 21 * DAY_S),),), period_s=40 * DAY_S)
    found = simulate(toy_simulation(toy_class("c", availability=there)))
    assert found.rounds.start_s[0] == pytest.approx(20 * DAY_S, rel=1e-12)


def test_a_fleet_that_never_comes_is_the_users_mistake() -> None:
    """Without any available client within 100 days the run is refused with what to change."""
    never = Trace(((),), period_s=100.0)
    with pytest.raises(ScenarioError, match="let clients be available"):
        simulate(toy_simulation(toy_class("c", availability=never)))


def test_a_rate_trace_changes_a_flow_on_its_way() -> None:
    """A message of 1 s starts at 1; from 1.5 s on its rate is halved: 1.5 + 0.5 / 0.5 = 2.5."""
    trace = RateTrace((0.0, 1.5), (1.0, 0.5), period_s=100.0)
    found = simulate(toy_simulation(toy_class("c", trace=trace)))
    assert found.rounds.closed_s[0] == pytest.approx(2.5, rel=1e-12)


def test_clients_take_turns_at_one_shared_model() -> None:
    """Each of three works 1 s, asks for 0.5 s and sends for 1 s: 2.5 s a turn, 7.5 s in all.

    The first waits for two turns after its own, the second for one, and all for 0.5 s of the
    server's work: 7.5 + 1.5 s of idle time.
    """
    found = simulate(
        toy_simulation(toy_class("c", num=3), steps=(WORK, ASK, UP), is_exclusive=True),
        keeps_trace=True,
    )
    assert found.rounds.closed_s[0] == pytest.approx(7.5, rel=1e-12)
    assert found.idle_s == pytest.approx((9.0,), rel=1e-12)
    assert found.trace is not None
    draws = uniforms(purpose_key(0, "turns"), 1, client_keys("c", 3))
    starts = [event.client_index for event in found.trace if event.step == "work"]
    assert starts == np.argsort(draws).tolist()


def test_interleaved_mini_batches_queue_for_one_accelerator() -> None:
    """Three ask at 1 s for 0.5 s each and wait 0, 0.5 and 1 s, however many accelerators there are.

    The last ends at 1 + 1.5 + 1 = 3.5.
    """
    server = toy_server(order="interleaved", num_accelerators=3)
    found = simulate(
        toy_simulation(
            toy_class("c", num=3), steps=(WORK, ASK, UP), server=server, is_exclusive=True
        )
    )
    assert found.rounds.closed_s[0] == pytest.approx(3.5, rel=1e-12)
    assert row(found, "ask").wait_s == pytest.approx(1.5, rel=1e-12)
    assert row(found, "ask").server_s == pytest.approx(1.5, rel=1e-12)
    # Three requests and the server's own work once.
    assert found.accelerator_busy_s == pytest.approx(2.0, rel=1e-12)


def test_a_shared_uplink_is_waited_for() -> None:
    """Two messages of 1 s through an uplink of one message a second take 2 s, from 1 to 3."""
    server = toy_server(uplink_bytes_per_s=float(BYTES))
    found = simulate(toy_simulation(toy_class("c", num=2), server=server), keeps_visits=True)
    assert found.rounds.closed_s[0] == pytest.approx(3.0, rel=1e-12)
    assert found.rounds.transfer_s[0] == pytest.approx(1.0, rel=1e-12)
    assert found.visits is not None
    assert found.visits["join_s"] == pytest.approx([1.0, 1.0], rel=1e-12)
    assert found.visits["leave_s"] == pytest.approx([3.0, 3.0], rel=1e-12)


def test_only_clients_whose_work_was_used_go_on_behind_the_gathering() -> None:
    """Two of three receive the result: the round ends at 2 + 0.5 + 1 = 3.5 with two messages."""
    policy = PolicySpec(quorum=2)
    found = simulate(toy_simulation(toy_class("c", num=3), behind=(DOWN,), policy=policy))
    assert found.rounds.end_s[0] == pytest.approx(3.5, rel=1e-12)
    assert row(found, "down").messages == 2


def test_round_one_starts_when_all_have_the_set_up() -> None:
    """Set-up messages of 1 s and 3 s end at 3 s; the round then takes 1 + 3 + 0.5 s."""
    classes = toy_class("a"), toy_class("b", message_s=3.0)
    found = simulate(toy_simulation(*classes, policy=PolicySpec(simulates_setup=True)))
    assert found.setup_s == pytest.approx(3.0, rel=1e-12)
    assert found.makespan_s == pytest.approx(7.5, rel=1e-12)
    assert row(found, "setup", round_index=0).downlink_message_bytes == 2 * BYTES


def test_a_trace_accounts_for_every_second_of_the_ledger() -> None:
    """Lengths of a run's trace events add up to the ledger's seconds, kind by kind."""
    server = toy_server(uplink_bytes_per_s=1.5 * BYTES)
    found = simulate(
        toy_simulation(toy_class("c", num=4), steps=(DOWN, WORK, ASK, UP), server=server),
        keeps_trace=True,
    )
    assert found.trace is not None
    total = found.ledger.total()
    lengths = dict.fromkeys(("compute", "transfer", "wait", "server"), 0.0)
    for event in found.trace:
        lengths[event.kind] += event.end_s - event.start_s
    assert lengths["transfer"] == pytest.approx(total.transfer_s, rel=1e-9)
    assert lengths["wait"] == pytest.approx(total.wait_s, rel=1e-9)
    assert lengths["server"] == pytest.approx(total.server_s, rel=1e-9)
    assert lengths["compute"] == pytest.approx(total.compute_s - total.server_s, rel=1e-9)
