"""Modes without common rounds by hand: buffers, staleness, slots and windows."""

import numpy as np
import pytest

from fedsim.des import simulate
from fedsim.draws import purpose_key, uniforms
from fedsim.errors import ScenarioError
from fedsim.fleet import SimulationResult
from fedsim.protocol.step import Repeat
from fedsim.spec.availability import Trace
from fedsim.spec.policy import PolicySpec
from toy_fleet import DOWN, WORK, toy_class, toy_simulation

STEPS = (WORK,)


def times(result: SimulationResult, party: str, outcome: str) -> int:
    """Finished calls of one class."""
    return sum(
        row.times
        for key, row in result.ledger.select(party=party, step="work")
        if key.outcome == outcome
    )


def three(**changes: object) -> SimulationResult:
    """Clients of 1, 2 and 4 s, a buffer of two, and 0.5 s of aggregation."""
    policy = PolicySpec(mode="buffered", buffer_size=2, **changes)  # type: ignore[arg-type]
    classes = toy_class("a", 1.0), toy_class("b", 2.0), toy_class("c", 4.0)
    return simulate(toy_simulation(*classes, steps=STEPS, policy=policy, num_rounds=3))


def test_a_buffer_is_aggregated_when_it_is_full_and_the_server_has_time() -> None:
    """A contributes at 1, 2, 3, 4; B at 2 and 4; C at 4.

    At 2 the buffer holds A, A: version 1 at 2.5. B came at 2 behind them; with A at 3 version 2 is
    made until 3.5. At 4 come A, B and C, in this order: A and B make version 3 until 4.5. C's
    contribution and three pieces of work that began at 4 are late.
    """
    found = three()
    rounds = found.rounds
    assert rounds.start_s == pytest.approx([0.0, 2.5, 3.5], rel=1e-12)
    assert rounds.closed_s == pytest.approx([2.0, 3.0, 4.0], rel=1e-12)
    assert rounds.end_s == pytest.approx([2.5, 3.5, 4.5], rel=1e-12)
    assert rounds.num_asked.tolist() == [6, 1, 3]
    assert rounds.num_used.tolist() == [2, 2, 2]
    assert rounds.num_late.tolist() == [0, 0, 4]
    used = [times(found, party, "used") for party in "abc"]
    assert used == [4, 2, 0]
    assert [times(found, party, "late") for party in "abc"] == [0, 0, 1]
    late = [r for k, r in found.ledger.select(party="a") if k.outcome == "late"]
    assert late[0].compute_s == pytest.approx(0.5, rel=1e-12)
    assert found.makespan_s == pytest.approx(4.5, rel=1e-12)


def test_contributions_to_too_old_a_version_are_thrown_away() -> None:
    """With no staleness allowed, what began on version 0 and is there after 2.5 s is late.

    That is A's third at 3, B's second and C's first at 4. B's first came in time, at 2, and waits.
    A begins at 3 on version 1 and is there at 4: version 2 is made of B's and A's.
    """
    found = three(max_staleness=0)
    assert found.rounds.closed_s[:2] == pytest.approx([2.0, 4.0], rel=1e-12)
    assert found.rounds.num_late[1] == 3
    assert found.rounds.num_used.tolist() == [2, 2, 2]


def test_a_slot_goes_to_the_first_idle_client_of_a_sequence_of_draws() -> None:
    """With two slots for five clients, two picks take the first draws that hit an idle client."""
    policy = PolicySpec(mode="buffered", buffer_size=1, clients_per_round=2)
    seed = 7
    found = simulate(
        toy_simulation(toy_class("c", num=5), steps=STEPS, policy=policy, seed=seed),
        keeps_trace=True,
    )
    key, nobody = purpose_key(seed, "candidate"), np.zeros(1, dtype=np.uint64)
    picked: list[int] = []
    for number in range(2):
        attempt = 0
        while (client := int(uniforms(key, number, nobody, attempt)[0] * 5)) in picked:
            attempt += 1
        picked.append(client)
    assert found.trace is not None
    started = {e.client_index for e in found.trace if e.step == "work" and e.start_s == 0.0}
    assert started == set(picked)


def test_the_fastest_idle_clients_come_first_by_resource() -> None:
    """With two slots, those of 1 s and 2 s work, and the one of 4 s never does."""
    found = three(selection="resource", clients_per_round=2)
    assert found.rounds.num_used.tolist() == [2, 2, 2]
    assert not list(found.ledger.select(party="c"))


def test_a_slot_waits_for_the_next_client_to_come() -> None:
    """The only client is there from 3 s on: its work of 1 s is in the buffer at 4 s."""
    late = Trace((((3.0, 90.0),),), period_s=100.0)
    policy = PolicySpec(mode="buffered", buffer_size=1)
    found = simulate(toy_simulation(toy_class("c", availability=late), steps=STEPS, policy=policy))
    assert found.rounds.closed_s[0] == pytest.approx(4.0, rel=1e-12)


def test_a_slot_is_taken_until_the_client_is_through_with_what_follows() -> None:
    """Work of 1 s, aggregation of 0.5 s, message of 1 s: versions at 1.5 and at 1.5 + 1 + 1.5."""
    policy = PolicySpec(mode="buffered", buffer_size=1)
    found = simulate(
        toy_simulation(toy_class("c"), steps=STEPS, behind=(DOWN,), policy=policy, num_rounds=2)
    )
    assert found.rounds.end_s == pytest.approx([1.5, 4.0], rel=1e-12)


def test_a_buffer_that_can_never_fill_is_the_users_mistake() -> None:
    """Clients that wait for the aggregation cannot fill a buffer that is larger than they are."""
    policy = PolicySpec(mode="buffered", buffer_size=3)
    simulation = toy_simulation(toy_class("c", num=2), steps=STEPS, behind=(DOWN,), policy=policy)
    with pytest.raises(ScenarioError, match="buffer never fills"):
        simulate(simulation)


def test_a_fleet_that_only_fails_is_the_users_mistake() -> None:
    """Where every piece of work is lost the run is refused and does not go on for ever."""
    policy = PolicySpec(mode="buffered", buffer_size=1)
    simulation = toy_simulation(toy_class("c", dropout=1.0), steps=STEPS, policy=policy)
    with pytest.raises(ScenarioError, match="in a row were lost"):
        simulate(simulation)


def test_a_window_aggregates_what_came_in_and_the_rest_goes_on() -> None:
    """Windows of 2 s, A works 1 s and B 3 s, aggregation takes 0.5 s.

    Window 1 takes A's at 2; version 1 at 2.5. A starts again and is there at 3.5, B's of window 1
    at 3: window 2 takes both at 4.5, until 5. Both start at 5; window 3 takes A's at 7, until 7.5,
    and B's is late with 2.5 of its 3 s.
    """
    policy = PolicySpec(mode="windowed", window_s=2.0)
    classes = toy_class("a", 1.0), toy_class("b", 3.0)
    found = simulate(toy_simulation(*classes, steps=STEPS, policy=policy, num_rounds=3))
    rounds = found.rounds
    assert rounds.start_s == pytest.approx([0.0, 2.5, 5.0], rel=1e-12)
    assert rounds.closed_s == pytest.approx([2.0, 4.5, 7.0], rel=1e-12)
    assert rounds.end_s == pytest.approx([2.5, 5.0, 7.5], rel=1e-12)
    assert rounds.num_asked.tolist() == [2, 1, 2]
    assert rounds.num_used.tolist() == [1, 2, 1]
    assert rounds.num_late.tolist() == [0, 0, 1]
    late = [r for k, r in found.ledger.select(party="b") if k.outcome == "late"]
    assert late[0].compute_s == pytest.approx(2.5, rel=1e-12)


def test_a_window_without_contributions_makes_no_version() -> None:
    """Work of 3 s in windows of 1 s: only the third window aggregates, and nobody is stale.

    Windows end at 1, 2 and 3, and version 1 is out at 3.5.
    """
    policy = PolicySpec(mode="windowed", window_s=1.0, max_staleness=0)
    found = simulate(toy_simulation(toy_class("c", 3.0), steps=STEPS, policy=policy, num_rounds=3))
    assert found.rounds.end_s == pytest.approx([1.0, 2.0, 3.5], rel=1e-12)
    assert found.rounds.num_used.tolist() == [0, 0, 1]


def test_the_same_question_has_the_same_answer() -> None:
    """Two runs with random selection give equal times, counts and ledgers."""
    policy = PolicySpec(mode="buffered", buffer_size=3, clients_per_round=4, retries=1)
    simulation = toy_simulation(
        toy_class("c", num=9, dropout=0.3),
        steps=(Repeat(3, (WORK,)),),
        policy=policy,
        num_rounds=5,
    )
    one, two = simulate(simulation), simulate(simulation)
    assert one.rounds.end_s.tolist() == two.rounds.end_s.tolist()
    assert one.ledger == two.ledger
