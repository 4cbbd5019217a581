"""Laws of clients that fail: where in their work, and what it costs until the server knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedsim.draws import purpose_key, uniforms
from fedsim.errors import ScenarioError
from fedsim.fleet import Simulation, SimulationResult
from fedsim.ledger import LedgerRow
from fedsim.protocol.step import Repeat
from fedsim.spec.distribution import LogNormal
from fedsim.spec.federation import Spread
from fedsim.spec.link import RateTrace
from fedsim.spec.policy import PolicySpec
from toy_fleet import ASK, BYTES, DOWN, UP, WORK, toy_class, toy_server, toy_simulation

Run = Callable[[Simulation], SimulationResult]

#: Visited once, so that engines have a short way; and again and again, with the server in between.
STRAIGHT = (DOWN, Repeat(20, (WORK,)), UP)
CYCLES = (DOWN, Repeat(4, (WORK, UP, ASK, DOWN)))
BOTH_WAYS = pytest.mark.parametrize("steps", [STRAIGHT, CYCLES], ids=["straight", "cycles"])


def fleet(dropout: float) -> list[Any]:
    """A dozen clients of all paces and rates."""
    spread = Spread(
        slowdown=LogNormal(1.0, 0.5), uplink=LogNormal(BYTES, 0.5), dropout_probability=dropout
    )
    return [replace(toy_class(name, 0.1, num=4), spread=spread) for name in "abc"]


def lost(result: SimulationResult) -> LedgerRow:
    """All that was done in vain by those who failed."""
    rows = result.ledger.rows.items()
    return result.ledger.total((key, row) for key, row in rows if key.outcome == "lost")


def counts(row: LedgerRow) -> tuple[int, ...]:
    return row.times, row.messages, row.uplink_message_bytes, row.client_flop, row.server_flop


@BOTH_WAYS
@pytest.mark.parametrize("discipline", ["fcfs", "sharing"])
@pytest.mark.parametrize("retries", [0, 2])
def test_congestion_neither_saves_nor_wastes_work(
    simulate: Run, steps: Any, discipline: str, retries: int
) -> None:
    """Behind a wide link and many accelerators, or where all wait for one: the same is lost."""
    waited_s = 0.0
    for seed in range(10):
        found = []
        for is_narrow in (False, True):
            simulation = toy_simulation(
                *fleet(0.5), steps=steps, policy=PolicySpec(retries=retries), num_rounds=3,
                seed=seed,
            )  # fmt: skip
            fastest = float(simulation.population.uplink.max())
            # No narrower than one client's own link: that would be another work.
            server = toy_server(
                0.2,
                num_accelerators=1 if is_narrow else 99,
                uplink_bytes_per_s=fastest if is_narrow else None,
                downlink_bytes_per_s=BYTES if is_narrow else None,
                discipline=discipline,
            )
            federation = replace(simulation.federation, server=server)
            found.append(simulate(replace(simulation, federation=federation)))
        assert lost(found[0]).client_flop > 0
        assert counts(lost(found[0])) == counts(lost(found[1]))
        waited_s += found[1].makespan_s - found[0].makespan_s
    assert waited_s > 10, "negative control: there was congestion"


def test_failures_are_uniform_over_the_work(simulate: Run) -> None:
    """Half of the calls of those who fail are done, however long they wait for the link."""
    server = toy_server(downlink_bytes_per_s=BYTES)
    some = toy_class("c", 1.0, 0.01, num=400, dropout=0.5)
    found = simulate(toy_simulation(some, steps=(DOWN, Repeat(100, (WORK,)), UP), server=server))
    done = found.ledger.rows
    times = [row.times for key, row in done.items() if (key.step, key.outcome) == ("work", "lost")]
    num = int(found.rounds.num_lost[0])
    # The standard deviation of a uniform share is 0.29.
    assert sum(times) / (100 * num) == pytest.approx(0.5, abs=4 * 0.29 / num**0.5)


def straggling(dropout: float, timeout_s: float | None, seed: int, **policy: Any) -> Simulation:
    """One of ten is five times as slow."""
    some = [toy_class("fast", num=9, dropout=dropout), toy_class("slow", 5.0, 5.0, dropout=dropout)]
    return toy_simulation(
        *some, steps=(DOWN, Repeat(20, (WORK,)), UP), server=toy_server(0.0), num_rounds=20,
        seed=seed, policy=PolicySpec(failure_timeout_s=timeout_s, **policy),
    )  # fmt: skip


def mean_round_s(simulate: Run, *question: Any, **policy: Any) -> float:
    return float(
        np.mean([simulate(straggling(*question, s, **policy)).makespan_s / 20 for s in range(10)])
    )


@pytest.mark.parametrize("retries", [0, 1])
@pytest.mark.parametrize("timeout_s", [None, 200.0])
def test_a_fleet_that_fails_is_not_a_faster_one(
    simulate: Run, timeout_s: float | None, retries: int
) -> None:
    """Mean round with one straggler among ten; with a perfect detector it would seem so."""
    chances = (0.0, 0.5, 0.9)
    rounds = [mean_round_s(simulate, p, timeout_s, retries=retries) for p in chances]
    assert rounds[0] <= rounds[1] * (1 + 1e-9)
    assert rounds[1] <= rounds[2] * (1 + 1e-9)
    perfect = [mean_round_s(simulate, p, 0.0) for p in chances]
    assert perfect[0] > perfect[1] > perfect[2], "negative control"


@BOTH_WAYS
def test_a_timeout_of_nothing_is_a_perfect_detector(simulate: Run, steps: Any) -> None:
    """Alone on wide links a round ends with whoever ends last, through or failed."""
    for seed in range(20):
        simulation = toy_simulation(
            *(toy_class(f"{i}", 0.1 * i, dropout=0.6) for i in range(1, 6)), steps=steps,
            policy=PolicySpec(failure_timeout_s=0.0), seed=seed,
            server=toy_server(0.2, num_accelerators=9),
        )  # fmt: skip
        keys = simulation.population.keys
        fails = uniforms(purpose_key(seed, "fails"), 1, keys) < 0.6
        when = uniforms(purpose_key(seed, "fails when"), 1, keys)
        calls = 20 if steps is STRAIGHT else 4
        alone_s = 0.1 * np.arange(1, 6) * calls + (2 if steps is STRAIGHT else 9)
        alone_s += 0 if steps is STRAIGHT else 0.8
        expected = float(np.where(fails, when * alone_s, alone_s).max())
        assert simulate(simulation).rounds.closed_s[0] == pytest.approx(expected, rel=1e-9)


seconds = st.sampled_from([0.0, 0.3, 2.0, 50.0]) | st.integers(0, 9000).map(lambda n: n / 1000)


@settings(suppress_health_check=list(HealthCheck), max_examples=25)
@given(st.tuples(seconds, seconds), st.integers(0, 99), st.sampled_from(["straight", "cycles"]))
def test_a_longer_timeout_never_shortens_a_round(
    simulate: Run, timeouts: tuple[float, float], seed: int, way: str
) -> None:
    """Nor does it change who contributes, or what is wasted."""
    found = [
        simulate(
            toy_simulation(
                *fleet(0.5), steps=STRAIGHT if way == "straight" else CYCLES, seed=seed,
                policy=PolicySpec(failure_timeout_s=timeout),
                server=toy_server(0.2, uplink_bytes_per_s=2.0 * BYTES),
            )
        )
        for timeout in sorted(timeouts)
    ]  # fmt: skip
    assert found[0].rounds.closed_s[0] <= found[1].rounds.closed_s[0] + 1e-8
    assert found[0].rounds.num_used.tolist() == found[1].rounds.num_used.tolist()
    assert counts(found[0].ledger.total()) == counts(found[1].ledger.total())


@BOTH_WAYS
def test_a_deadline_that_ends_earlier_wins(simulate: Run, steps: Any) -> None:
    """Who failed before it is lost, though the server had not noticed."""
    for seed in range(10):
        policy = PolicySpec(failure_timeout_s=1e6, deadline_s=500.0)
        found = simulate(toy_simulation(*fleet(0.5), steps=steps, policy=policy, seed=seed))
        assert found.rounds.closed_s[0] == 500.0
        assert found.rounds.num_lost[0] > 0
        assert found.rounds.num_late[0] == 0
        awaited = PolicySpec(failure_timeout_s=1e6, quorum=int(found.rounds.num_used[0]))
        closed = simulate(toy_simulation(*fleet(0.5), steps=steps, policy=awaited, seed=seed))
        assert closed.rounds.closed_s[0] < 500.0, "a quorum does not wait for those who failed"


def test_who_starts_over_starts_when_the_server_knows(simulate: Run) -> None:
    """The first attempt fails at share u of 3 s; 7 s later, and a pause of 2 s, it takes 3 s."""
    seed = next(s for s in range(99) if _fails(s, 0) and not _fails(s, 1))
    policy = PolicySpec(retries=1, retry_after_s=2.0, failure_timeout_s=7.0)
    client = toy_class("c", 2.0, dropout=0.5)
    found = simulate(toy_simulation(client, policy=policy, seed=seed))
    key = toy_simulation(client).population.keys
    share = float(uniforms(purpose_key(seed, "fails when"), 1, key)[0])
    assert found.rounds.closed_s[0] == pytest.approx(3 * share + 7 + 2 + 3, rel=1e-12)
    late = PolicySpec(retries=1, retry_after_s=2.0)
    unsaid = simulate(toy_simulation(client, policy=late, seed=seed))
    assert unsaid.rounds.closed_s[0] == pytest.approx(3 + 2 + 3, rel=1e-12)


def _fails(seed: int, attempt: int) -> bool:
    key = toy_simulation(toy_class("c")).population.keys
    return bool(uniforms(purpose_key(seed, "fails"), 1, key, attempt)[0] < 0.5)


@pytest.mark.parametrize(
    "mode",
    [{"mode": "buffered", "buffer_size": 2}, {"mode": "windowed", "window_s": 5.0}],
    ids=["buffered", "windowed"],
)
def test_a_slot_is_free_when_its_failure_is_noticed(simulate: Run, mode: dict[str, Any]) -> None:
    """The longer that takes, the fewer clients start within the same time."""
    asked = []
    for timeout_s in (0.0, 20.0, 80.0):
        policy = PolicySpec(clients_per_round=3, failure_timeout_s=timeout_s, **mode)
        simulation = toy_simulation(
            *fleet(0.5), steps=STRAIGHT, policy=policy, num_rounds=30, seed=3
        )
        found = simulate(simulation)
        asked.append(float(found.rounds.num_asked.sum()) / found.makespan_s)
        assert found.rounds.num_lost.sum() > 0
    assert asked[0] > 1.2 * asked[1] > 1.2 * asked[2]


def test_the_next_turn_begins_when_the_failure_is_noticed(simulate: Run) -> None:
    """Two clients that fail, one after the other: twice the timeout passes."""
    found = []
    for timeout_s in (0.0, 100.0):
        policy = PolicySpec(failure_timeout_s=timeout_s)
        simulation = toy_simulation(
            toy_class("c", num=2, dropout=1.0), steps=(WORK, ASK), policy=policy,
            is_exclusive=True,
        )  # fmt: skip
        found.append(float(simulate(simulation).rounds.closed_s[0]))
    assert found[1] == pytest.approx(found[0] + 200.0, rel=1e-12)


def outage(factor: float, stop_s: float = 4.0) -> RateTrace:
    """Nothing, or so little of the rate, from 1 s on."""
    return RateTrace((0.0, 1.0, stop_s), (1.0, factor, 1.0), 100.0)


def test_an_outage_is_waited_for(simulate: Run) -> None:
    """A message of 2 s after work of 0.5 s: half a second of it, three of nothing, the rest."""
    client = toy_class("c", 0.5, 2.0, trace=outage(0.0))
    assert simulate(toy_simulation(client)).rounds.closed_s[0] == pytest.approx(5.5, rel=1e-12)
    within = toy_class("c", 2.0, 2.0, trace=outage(0.0))
    assert simulate(toy_simulation(within)).rounds.closed_s[0] == pytest.approx(6.0, rel=1e-12)


def test_an_outage_is_the_limit_of_ever_smaller_rates(simulate: Run) -> None:
    """Shared links, deadlines, failures and retries in it too."""
    policy = PolicySpec(retries=1, deadline_s=9.0)
    found = []
    for factor in (0.0, 1e-9):
        some = [
            toy_class(name, pace, 2 * pace, num=3, dropout=0.3, trace=outage(factor))
            for name, pace in (("a", 0.5), ("b", 0.8))
        ]
        server = toy_server(uplink_bytes_per_s=1.5 * BYTES)
        simulation = toy_simulation(*some, policy=policy, server=server, num_rounds=9, seed=1)
        found.append(simulate(simulation))
    assert found[0].rounds.end_s == pytest.approx(found[1].rounds.end_s, rel=1e-6)
    assert counts(found[0].ledger.total()) == counts(found[1].ledger.total())


@pytest.mark.parametrize("factor", [1e-300, 1e-10, -1.0, float("nan"), float("inf")])
def test_rates_at_which_nothing_ends_are_refused(factor: float) -> None:
    with pytest.raises(ScenarioError, match="allowed: 0 for an outage, and from 1e-09 on"):
        outage(factor)


def test_an_outage_for_ever_is_refused() -> None:
    with pytest.raises(ScenarioError, match="0 throughout"):
        RateTrace((0.0, 1.0), (0.0, 0.0), 2.0)


def test_work_of_more_than_a_century_is_refused(simulate: Run) -> None:
    for trace in (None, RateTrace((0.0,), (1e-9,), 10.0)):
        client = toy_class("c", 1.0, 1e8 if trace else 1e11, trace=trace)
        with pytest.raises(ScenarioError, match="more than a century"):
            simulate(toy_simulation(client))


def test_a_trace_that_changes_too_often_is_refused(simulate: Run) -> None:
    client = toy_class("c", 1.0, 1e9, trace=RateTrace((0.0,), (1.0,), 0.01))
    with pytest.raises(ScenarioError, match="changes about 1e\\+11 times"):
        simulate(toy_simulation(client))


@pytest.mark.parametrize("steps", [(WORK, UP), (WORK, UP, ASK)])
@pytest.mark.parametrize("mode", [{}, {"mode": "buffered", "buffer_size": 1}])
def test_a_clock_that_runs_off_is_stopped(simulate: Run, steps: Any, mode: dict[str, Any]) -> None:
    """Ninety years each, and more of them than there are years."""
    client = toy_class("c", 1.0, 2.8e9)
    simulation = toy_simulation(client, steps=steps, num_rounds=1000, policy=PolicySpec(**mode))
    with pytest.raises(ScenarioError, match="clocks go up to"):
        simulate(simulation)


def test_nobody_who_takes_no_time_fails_for_ever(simulate: Run) -> None:
    """Clients without any work are through, whatever was drawn."""
    client = toy_class("c", 0.0, num=5, dropout=1.0)
    found = simulate(toy_simulation(client, steps=(WORK,)))
    assert found.rounds.num_used[0] == 5
